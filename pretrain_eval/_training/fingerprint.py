"""Which content decides a run's result, as one short key."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pretrain_eval._metrics import loader_generators, preserved_rng, seed_all
from pretrain_eval._tasks import Split, Splits, Stream, View
from pretrain_eval._training.describe import describe, describe_class, tensor_bytes


def fingerprint(parts: Iterable[object]) -> str:
    """32 hexadecimal digits that differ where any part differs in content."""
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        if isinstance(part, Tensor):
            digest.update(f"{part.dtype}{tuple(part.shape)}".encode())
            digest.update(tensor_bytes(part))
        elif isinstance(part, np.ndarray):
            digest.update(f"{part.dtype}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).data)
        elif isinstance(part, bytes):
            digest.update(part)
        else:
            digest.update(describe(part).encode())
        digest.update(b"\0")
    return digest.hexdigest()


def fingerprint_model(network: nn.Module) -> str:
    """The architecture, module by module, and every parameter and buffer."""
    modules = [
        f"{name}:{_architecture(type(module))}({module.extra_repr()})"
        for name, module in network.named_modules()
    ]
    state: Mapping[str, Any] = network.state_dict()
    return fingerprint([*modules, *(part for item in state.items() for part in item)])


def _architecture(cls: type) -> str:
    """The classes' names, and the code of those that torch does not bring."""
    return " ".join(
        f"{parent.__module__}.{parent.__qualname__}"
        if parent.__module__.startswith("torch.")
        else describe_class(parent)
        for parent in cls.__mro__
        if issubclass(parent, nn.Module)
    )


def fingerprint_splits(splits: Splits) -> str:
    """Every sample of every part, as it is read, and how it is read."""
    return fingerprint(
        content
        for name, split in splits.parts.items()
        for content in (name, *_split_content(split))
    )


def _split_content(split: Split) -> Iterable[object]:
    if isinstance(split, Stream):
        yield ((split.version, split.num_samples, split.buffer))
        yield describe([split.target, split.transform, split.collate])
        return
    dataset: Any = split
    if isinstance(split, DataLoader):
        dataset = split.dataset
        yield (split.batch_size, split.drop_last, type(split.sampler).__name__)
        yield list(getattr(split.sampler, "indices", ()))
        if split.num_workers:  # what samples draw, they draw in each worker anew
            yield ("num_workers", split.num_workers)
        yield describe(split.collate_fn)
    if isinstance(dataset, TensorDataset):
        yield from dataset.tensors
        return
    yield describe(getattr(dataset, "transform", None))
    if isinstance(dataset, View):
        yield describe(dataset.target)
    generators = loader_generators(dataset)
    for index in range(len(dataset)):
        # Random augmentation is read with one randomness, whoever asks.
        with preserved_rng(*generators):
            seed_all(index, generators=generators)
            sample = dataset[index]
        yield from _sample_content(sample)


def _sample_content(sample: Any) -> Iterable[object]:
    """The parts of a sample, whatever holds them."""
    parts = sample.items() if isinstance(sample, Mapping) else sample
    for part in parts:
        yield from _part_content(part)


def _part_content(part: Any) -> Iterable[object]:
    if isinstance(part, Tensor | str | bytes):
        yield part
        return
    ragged = isinstance(part, tuple | list) and not _is_numeric(part)
    if ragged or isinstance(part, Mapping):
        yield from _sample_content(part)
        return
    array = np.asarray(part)
    # The address of an object says nothing of its content.
    yield array if array.dtype != object else describe(part)


def _is_numeric(values: Any) -> bool:
    """Whether nested numbers make an array."""
    try:
        return bool(np.asarray(values).dtype.kind in "biufc")
    except (TypeError, ValueError, RuntimeError):
        return False


# Part of a run's key: change it when the same call would train another model.
TRAINING_SEMANTICS = 3
SEED_SEMANTICS = 2  # of draws from the seed alone, whose runs old stores hold
