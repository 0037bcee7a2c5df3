"""What a batch of outputs and targets may look like, checked at the door."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor

Kind = Literal["multiclass", "binary", "multilabel"]
Scores = Literal["logits", "probabilities"]

INTEGERS = frozenset(
    {torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
)


def require_integers(tensor: Tensor, what: str) -> None:
    """Class indices are integers."""
    if tensor.dtype not in INTEGERS:
        raise TypeError(f"{what} must be class indices (integers), got {tensor.dtype}")


def require_one_shape(outputs: Tensor, targets: Tensor) -> None:
    """Every output has its target."""
    if outputs.shape != targets.shape:
        raise ValueError(
            f"expected outputs and targets of one shape, got {tuple(outputs.shape)} and"
            f" {tuple(targets.shape)}"
        )


def class_dimension(
    outputs: Tensor,
    targets: Tensor,
    class_dim: int | None = None,
    num_classes: int | None = None,
) -> int | None:
    """The dimension of the outputs that runs over classes, None for class indices.

    Raises:
        ValueError: The shapes do not fit, fit both ways and `class_dim` does not tell,
            or the dimension is not of length `num_classes`.
    """
    shape, wanted = outputs.shape, targets.shape
    # By far the commonest, so asked for before what is general.
    if (
        len(shape) == 2
        and len(wanted) == 1
        and shape[0] == wanted[0]
        and (num_classes is None or num_classes == shape[1])
    ):
        return 1
    if shape == wanted:
        return None
    dims = []
    if len(shape) == len(wanted) + 1:
        last = len(shape) - 1
        given = None if class_dim is None else class_dim % len(shape)
        for dim in (last, 1) if last > 1 else (last,):
            fits = shape[:dim] == wanted[:dim] and shape[dim + 1 :] == wanted[dim:]
            if fits and given in (None, dim):
                dims.append(dim)
    if len(dims) > 1 and num_classes is not None:
        dims = [dim for dim in dims if shape[dim] == num_classes] or dims
    if len(dims) == 1 and num_classes in (None, shape[dims[0]]):
        return dims[0]
    if len(dims) == 1:
        raise ValueError(
            f"expected scores of {num_classes} classes, got {shape[dims[0]]}"
        )
    both = f"{tuple(shape)} and {tuple(wanted)}"
    if dims:
        raise ValueError(
            f"outputs and targets {both} fit with classes in dimension 1 and in the"
            " last; say which: class_dim=1 or class_dim=-1"
        )
    raise ValueError(
        "expected outputs (num_samples, num_classes) or (num_samples,) and targets"
        f" (num_samples,), or both with further dimensions, got {both}"
    )


def decide(
    outputs: Tensor, scores: Scores | None, threshold: float
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Predictions 0 and 1, which scores are no probabilities, which not finite."""
    if outputs.dtype in INTEGERS:
        return outputs.long(), None, None
    outputs = outputs.detach()
    require_kind(outputs, scores)
    infinite = ~outputs.isfinite()
    if scores == "probabilities":
        improper = ((outputs < 0) | (outputs > 1)) & ~infinite
        return (outputs > threshold).long(), improper, infinite
    # The sigmoid is monotone: its threshold is compared where it has not saturated.
    return (outputs > logit(threshold)).long(), None, infinite


def require_kind(outputs: Tensor, scores: Scores | None) -> None:
    """Scores are said to be logits or probabilities, never guessed."""
    if not outputs.is_floating_point():
        raise TypeError(f"scores must be floats or 0 and 1, got {outputs.dtype}")
    if scores is None:
        raise ValueError(
            "say what the scores are: scores='logits' or scores='probabilities';"
            " it is never guessed from their values"
        )


def logit(probability: float) -> float:
    """log(p / (1 − p)), infinite at 0 and 1."""
    if probability <= 0:
        return -math.inf
    return math.inf if probability >= 1 else math.log(probability / (1 - probability))


def zeros_and_ones(targets: Tensor) -> Tensor:
    """Integers as they are; floats 0.0 and 1.0 too, others so that they are flagged."""
    if targets.is_floating_point():
        return torch.where(targets == targets.trunc(), targets, -(2.0**40)).long()
    require_integers(targets, "targets")
    return targets.long()


def flags(keep: Tensor, *wrong: Tensor | None) -> Tensor:
    """How much of what is kept is wrong, in each of several ways."""
    zero = torch.zeros_like(keep.sum())
    return torch.stack(
        [
            zero if each is None else (keep & each.reshape(keep.shape)).sum()
            for each in wrong
        ]
    )


def spread_weights(weights: Tensor, targets: Tensor) -> Tensor:
    """One weight an entry of the targets, flat, from one a sample or one an entry."""
    if weights.shape not in (targets.shape, targets.shape[:1]):
        raise ValueError(
            f"expected weights of shape {tuple(targets.shape[:1])} or"
            f" {tuple(targets.shape)}, got {tuple(weights.shape)}"
        )
    # Reading a device's weights would wait for it: there NaN shows in the value.
    if weights.is_cpu and not bool((weights >= 0).all()):
        raise ValueError("expected weights of at least 0, got negative ones or NaN")
    missing = targets.ndim - weights.ndim
    return (
        weights.reshape(*weights.shape, *[1] * missing).expand_as(targets).reshape(-1)
    )
