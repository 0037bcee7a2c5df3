"""Samples of any form as a dataset of inputs and targets, read when they are needed."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from torch.utils.data import DataLoader, Dataset, Subset
from typing_extensions import override

from pretrain_eval._tasks.reading import parted

# The entry of a sample that is the target: a name, or a place in a tuple.
Target = str | int


@final
@dataclass(frozen=True, eq=False)
class View(Dataset[Any]):
    """A dataset, read in another way.

    Attributes:
        dataset: Anything with a length and samples by index.
        target: Which entry of a sample is its target, where that must be said.
        transform: What becomes of a sample's inputs.
        collate: What makes a batch of a list of samples, where torch's own does not.
    """

    dataset: Any
    target: Target | None = None
    transform: Callable[[Any], Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None

    def __len__(self) -> int:
        return len(self.dataset)

    @override
    def __getitem__(self, index: int) -> Any:
        sample = retargeted(self.dataset[index], self.target)
        if self.transform is None:
            return sample
        inputs, target = parted(sample)
        return self.transform(inputs), target


@final
@dataclass(frozen=True, eq=False)
class Rows(Dataset[Any]):
    """The rows of a table, each a mapping from column to value.

    Attributes:
        frame: A pandas `DataFrame`.
    """

    frame: Any

    def __len__(self) -> int:
        return len(self.frame)

    @override
    def __getitem__(self, index: int) -> dict[str, Any]:
        columns = self.frame.columns
        # By column, since a row of a table turns all its numbers into floats.
        return {str(name): self.frame[name].to_numpy()[index] for name in columns}


@final
@dataclass(frozen=True)
class _Retargeted:
    """A collate function whose batches have their target last."""

    collate: Callable[[list[Any]], Any]
    target: Target

    def __call__(self, samples: list[Any]) -> Any:
        return retargeted(self.collate(samples), self.target)


def viewed(split: Any, target: Target | None) -> Any:
    """The split as a torch dataset or loader whose samples end in their target."""
    if isinstance(split, DataLoader):
        if target is None:
            return split
        loader = copy.copy(split)
        loader.collate_fn = _Retargeted(split.collate_fn, target)
        return loader
    if hasattr(split, "iloc") and hasattr(split, "columns"):
        split = Rows(split)
    plain = isinstance(split, Dataset) or not _is_map_style(split)
    return split if plain and target is None else View(split, target)


def chosen(split: Any, indices: Sequence[int]) -> Any:
    """Some samples of a dataset, read and batched as all are."""
    if isinstance(split, View):
        return replace(split, dataset=chosen(split.dataset, indices))
    return Subset(split, indices)


def _is_map_style(split: Any) -> bool:
    """Whether it has a length and gives samples by index, whatever its class."""
    if isinstance(split, str | bytes | Mapping):
        return False
    return hasattr(split, "__len__") and hasattr(split, "__getitem__")


def retargeted(sample: Any, target: Target | None) -> Any:
    """A sample or a batch as `(inputs, target)`.

    Args:
        sample: A mapping or a tuple.
        target: The name or the place of the target; None leaves the sample as it is.

    Raises:
        ValueError: The sample has no such entry; says what it has.

    >>> retargeted({"user": 1, "item": 2, "rating": 5.0}, "rating")
    ({'user': 1, 'item': 2}, 5.0)
    >>> retargeted((1, 2, 5.0), 2)
    ((1, 2), 5.0)
    """
    if target is None:
        return sample
    if isinstance(sample, Mapping):
        if target not in sample:
            raise ValueError(
                f"target={target!r} is no entry of a sample; it has {list(sample)}"
            )
        return {k: v for k, v in sample.items() if k != target}, sample[target]
    size = len(sample) if isinstance(sample, Sequence) else 0
    if not isinstance(target, int) or not -size <= target < size or size < 2:
        raise ValueError(
            f"target={target!r} is no place in a sample, which is"
            f" {type(sample).__name__} of length {size}"
        )
    place = target % size
    inputs = tuple(entry for i, entry in enumerate(sample) if i != place)
    return (inputs[0] if len(inputs) == 1 else inputs), sample[place]
