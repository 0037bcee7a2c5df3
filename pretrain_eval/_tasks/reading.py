"""How a batch is taken apart and a model called with its inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

# What collators call the targets of a batch given by name.
LABELS = ("labels", "label")


def parted(batch: Any) -> tuple[Any, Any]:
    """Inputs and targets of a batch or a sample.

    Args:
        batch: `(inputs, targets)`; a longer tuple, whose last entry is the targets; or
            a mapping with `labels` or `label`.

    Raises:
        ValueError: It is none of these; says what came.
    """
    if isinstance(batch, Mapping):
        return _by_name(batch)
    if isinstance(batch, Sequence) and not isinstance(batch, str) and len(batch) > 1:
        *inputs, targets = batch
        return (inputs[0] if len(inputs) == 1 else tuple(inputs)), targets
    raise ValueError(
        "a batch is expected to be (inputs, targets) or a mapping with 'labels', got"
        f" {_described(batch)}; give Splits a target=..., Pretrained a collate=..., or"
        " Task a forward=..."
    )


def _by_name(batch: Mapping[str, Any]) -> tuple[dict[str, Any], Any]:
    found = [name for name in LABELS if name in batch]
    if not found:
        raise ValueError(
            f"a batch by name needs its targets under 'labels', got {list(batch)};"
            " say which with Splits(..., target=...)"
        )
    return {k: v for k, v in batch.items() if k != found[0]}, batch[found[0]]


def called(model: Callable[..., Any], inputs: Any) -> Any:
    """What a model returns: a mapping goes by name, several inputs one by one."""
    if isinstance(inputs, Mapping):
        return model(**inputs)
    if isinstance(inputs, tuple | list):
        return model(*inputs)
    return model(inputs)


def cut(batch: Any, num_samples: int) -> Any:
    """The first samples of a batch, whatever holds them."""
    size = _size(batch)
    if size <= num_samples:
        return batch
    if isinstance(batch, Mapping):
        return {name: _cut(part, size, num_samples) for name, part in batch.items()}
    return type(batch)(_cut(part, size, num_samples) for part in batch)


def _size(batch: Any) -> int:
    """How many samples a batch has; one by name may have no targets."""
    if isinstance(batch, Mapping) and not any(name in batch for name in LABELS):
        return len(next(iter(batch.values())))
    return len(parted(batch)[1])


def inputs_of(sample: Any) -> Any:
    """All of a sample but its target, where it has one."""
    try:
        return parted(sample)[0]
    except ValueError:
        return sample


def _cut(part: Any, size: int, num_samples: int) -> Any:
    if isinstance(part, Mapping):
        return {name: _cut(value, size, num_samples) for name, value in part.items()}
    if isinstance(part, Tensor) and part.ndim == 0:
        return part
    if isinstance(part, Tensor | tuple | list) and len(part) == size:
        return part[:num_samples]
    if isinstance(part, tuple | list):
        return type(part)(_cut(value, size, num_samples) for value in part)
    return part


def _described(batch: Any) -> str:
    size = f" of length {len(batch)}" if isinstance(batch, Sequence) else ""
    return f"{type(batch).__name__}{size}"
