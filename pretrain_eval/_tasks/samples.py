"""What a split holds: samples or none, their targets, and how they are batched."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence, Sized
from typing import Any, TypeVar, final

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

from pretrain_eval._metrics import loader_generators, preserved_rng, seed_all
from pretrain_eval._tasks.reading import LABELS, inputs_of, parted
from pretrain_eval._tasks.stream import Stream
from pretrain_eval._tasks.views import Rows, View

T = TypeVar("T")

_SIGNED = {
    torch.uint16: torch.int16,
    torch.uint32: torch.int32,
    torch.uint64: torch.int64,
}


def is_empty(split: Dataset[Any] | DataLoader[Any], what: str) -> bool:
    """Whether one pass gives nothing.

    Raises:
        TypeError: The samples cannot be counted or read by index.
    """
    if isinstance(split, Stream):
        return False
    dataset = split.dataset if isinstance(split, DataLoader) else split
    if isinstance(dataset, IterableDataset) or not isinstance(dataset, Sized):
        raise TypeError(
            f"{what} must know its length and give samples by index, got"
            f" {type(dataset).__name__}; make it a map-style Dataset, or, to train on,"
            " pretrain_eval.Stream(it, num_samples, version=...)"
        )
    return len(dataset) == 0 or (isinstance(split, DataLoader) and len(split) == 0)


def read_targets(split: Dataset[Any] | DataLoader[Any]) -> Tensor:
    """The targets of all samples, shape `(num_samples, ...)`.

    Read from the dataset's own list where it has one that agrees with its samples;
    otherwise every sample is read once, randomness restored.
    """
    dataset, indices = located(split)
    with preserved_rng(*loader_generators(split)):
        seed_all(0)
        if isinstance(split, Stream):
            return _loaded_targets(as_loader(split, 64, shuffle=False))
        if indices is None:
            return _loaded_targets(split)
        listed = _listed_targets(dataset)
        if listed is not None:
            return picked(listed, torch.as_tensor(indices, dtype=torch.long))
        try:
            return torch.stack([_target(dataset, i) for i in indices])
        except (KeyError, TypeError, ValueError):
            if not isinstance(split, DataLoader):
                raise
            return _loaded_targets(split)  # its collate function makes them


def each_target(
    split: Dataset[Any] | DataLoader[Any],
    read: Callable[[Any], T],
    most: int | None = None,
) -> list[T]:
    """What is read of each sample's target, for targets of any form and size.

    Args:
        split: Read sample by sample, randomness restored; a loader batch by batch where
            only its collate function makes targets.
        read: Called with one target at a time, so that masks need not all be held.
        most: At most so many samples, evenly spread; by default all.
    """
    dataset, indices = located(split)
    with preserved_rng(*loader_generators(split)):
        seed_all(0)
        if indices is not None and most is not None and len(indices) > most:
            indices = [indices[i * len(indices) // most] for i in range(most)]
        if type(dataset) is TensorDataset and indices is not None:
            return [read(dataset.tensors[-1][i]) for i in indices]
        if isinstance(split, Stream):
            samples = itertools.islice(split, most)
            return [read(parted(sample)[1]) for sample in samples]
        by_batch = isinstance(split, DataLoader)
        if indices is None or (by_batch and not _has_target(dataset, indices[0])):
            batches: Any = split
            return [read(one) for batch in batches for one in parted(batch)[1]]
        return [read(parted(dataset[i])[1]) for i in indices]


def _has_target(dataset: Any, index: int) -> bool:
    """Whether a sample says itself which entry is its target."""
    try:
        parted(dataset[index])
    except ValueError:
        return False
    return True


def read_each(
    split: Dataset[Any] | DataLoader[Any], read: Callable[[Any], T]
) -> list[T]:
    """What is read of each sample, or of each batch of a loader; randomness restored."""
    with preserved_rng(*loader_generators(split)):
        seed_all(0)
        if isinstance(split, DataLoader | Stream):
            return [read(each) for each in split]
        size = len(split)  # type: ignore[arg-type] # Splits checked that it is sized
        return [read(split[index]) for index in range(size)]


def _loaded_targets(batches: Any) -> Tensor:
    return torch.cat([torch.as_tensor(parted(batch)[1]) for batch in batches])


def as_loader(
    split: Dataset[Any] | DataLoader[Any], batch_size: int, *, shuffle: bool
) -> DataLoader[Any] | TensorBatches:
    """Batches of the split; a `DataLoader` is used as it is.

    A shuffled last batch of a single sample is dropped: batch normalisation cannot
    train on it, and the next epoch leaves out another sample.
    """
    if isinstance(split, DataLoader):
        return split
    size = len(split)  # type: ignore[arg-type] # Splits checked that it is sized
    lonely = shuffle and size > batch_size and size % batch_size == 1
    if isinstance(split, Stream):
        samples = split.mixed() if shuffle else split
        return DataLoader(
            samples, batch_size, drop_last=lonely, collate_fn=split.collate
        )
    tensors = _held_tensors(split)
    if tensors is not None:
        return TensorBatches(tensors, batch_size, shuffle=shuffle, drop_last=lonely)
    collate = split.collate if isinstance(split, View) else None
    return DataLoader(
        split, batch_size, shuffle=shuffle, drop_last=lonely, collate_fn=collate
    )


def picked(tensor: Tensor, rows: Tensor) -> Tensor:
    """These rows of it; older torch picks none of the wider unsigned integers."""
    rows = rows.to(tensor.device)
    if tensor.dtype not in _SIGNED:
        return tensor[rows]
    return tensor.view(_SIGNED[tensor.dtype])[rows].view(tensor.dtype)


@final
class TensorBatches:
    """The batches that a `DataLoader` gives of tensors, cut out whole.

    A `DataLoader` takes sample by sample and puts them together again. The order, and
    what is drawn of the global generator, are the same to the bit.

    >>> batches = TensorBatches([torch.arange(5)], 2, shuffle=False, drop_last=False)
    >>> [batch[0].tolist() for batch in batches]
    [[0, 1], [2, 3], [4]]
    """

    def __init__(
        self,
        tensors: Sequence[Tensor],
        batch_size: int,
        *,
        shuffle: bool,
        drop_last: bool,
    ) -> None:
        self._tensors, self._batch_size = tensors, batch_size
        self._shuffle = shuffle
        size = len(tensors[0])
        self._ends = range(batch_size, size + batch_size, batch_size)
        if drop_last:
            self._ends = range(batch_size, size + 1, batch_size)

    def __len__(self) -> int:
        return len(self._ends)

    def __iter__(self) -> Iterator[list[Tensor]]:
        torch.empty((), dtype=torch.int64).random_()  # the seed of its workers
        order = None
        if self._shuffle:
            seed = int(torch.empty((), dtype=torch.int64).random_().item())
            generator = torch.Generator().manual_seed(seed)
            order = torch.randperm(len(self._tensors[0]), generator=generator)
        for end in self._ends:
            cut = slice(end - self._batch_size, end)
            if order is None:
                yield [tensor[cut] for tensor in self._tensors]
            else:
                yield [picked(tensor, order[cut]) for tensor in self._tensors]


def _held_tensors(split: Dataset[Any]) -> list[Tensor] | None:
    """All samples as tensors, where the split is nothing but tensors in memory."""
    # A subclass may read its tensors in another way.
    if type(split) is TensorDataset:
        return list(split.tensors)
    if type(split) is Subset:
        held = _held_tensors(split.dataset)
        if held is not None:
            index = torch.as_tensor(list(split.indices), dtype=torch.long)
            return [tensor[index.to(tensor.device)] for tensor in held]
    return None


def reads_alike(split: Dataset[Any] | DataLoader[Any]) -> bool:
    """Whether every sample is the same each time it is read, as far as can be told.

    Tells augmentation, by whatever source of randomness, by reading twice. A
    `DataLoader` is not asked: it may draw its samples in a way of its own.
    """
    if isinstance(split, DataLoader | Stream):
        return False
    if _held_tensors(split) is not None:
        return True
    with preserved_rng():
        for index in range(len(split)):  # type: ignore[arg-type] # checked to be sized
            seed_all(0, index)
            first = inputs_of(split[index])
            seed_all(1, index)
            if not equal(first, inputs_of(split[index])):
                return False
    return True


def located(split: Any) -> tuple[Any, list[int] | None]:
    """The innermost dataset and the indices read from it, None where unknown."""
    if isinstance(split, DataLoader):
        dataset, indices = located(split.dataset)
        sampler = split.sampler
        if indices is None or isinstance(sampler, SequentialSampler | RandomSampler):
            return dataset, indices
        if isinstance(sampler, SubsetRandomSampler):
            return dataset, [indices[i] for i in sampler.indices]
        return dataset, None
    if isinstance(split, Subset):
        dataset, indices = located(split.dataset)
        chosen = [int(i) for i in split.indices]
        return dataset, None if indices is None else [indices[i] for i in chosen]
    if isinstance(split, Stream):
        return split, None
    return split, list(range(len(split)))


def _listed_targets(dataset: Any) -> Tensor | None:
    """The targets as the dataset lists them, None where its list is another thing."""
    if isinstance(dataset, TensorDataset):
        return dataset.tensors[-1]
    if isinstance(dataset, View):
        return _column(dataset)
    if isinstance(dataset, ConcatDataset):
        parts = [_listed_targets(part) for part in dataset.datasets]
        listed_parts = [part for part in parts if part is not None]
        return torch.cat(listed_parts) if len(listed_parts) == len(parts) else None
    listed = getattr(dataset, "targets", getattr(dataset, "labels", None))
    if listed is None or len(listed) != len(dataset):
        return None
    transform = getattr(dataset, "target_transform", None)
    if transform is not None:
        listed = [transform(target) for target in listed]
    try:
        targets = torch.as_tensor(listed)
    except (TypeError, ValueError, RuntimeError):
        return None
    ends = (0, len(dataset) - 1)
    agree = all(equal(targets[i], _target(dataset, i)) for i in ends)
    return targets if agree else None


def _column(view: View) -> Tensor | None:
    """The column that holds the targets of a table, whose rows need not be read."""
    frame = view.dataset.frame if isinstance(view.dataset, Rows) else view.dataset
    names = getattr(frame, "column_names", getattr(frame, "columns", ()))
    wanted = LABELS if view.target is None else (view.target,)
    found = [name for name in wanted if name in list(names)]
    if not found:
        return None
    try:
        return torch.as_tensor(np.array(frame[found[0]]))
    except (TypeError, ValueError):  # no numbers
        return None


def _target(dataset: Any, index: int) -> Tensor:
    return torch.as_tensor(parted(dataset[index])[1])


def equal(first: Any, second: Any) -> bool:
    """Whether two samples, or parts of them, are of equal content."""
    if isinstance(first, Tensor) and isinstance(second, Tensor):
        return first.shape == second.shape and bool((first == second).all())
    if isinstance(first, Mapping) and isinstance(second, Mapping):
        return first.keys() == second.keys() and all(
            equal(value, second[name]) for name, value in first.items()
        )
    if isinstance(first, tuple) and isinstance(second, tuple):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(np.array_equal(np.asarray(first), np.asarray(second)))
