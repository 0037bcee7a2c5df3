"""What a batch of outputs and targets may look like, checked at the door."""

from __future__ import annotations

import math
from collections.abc import Sequence
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


def require_real(outputs: Tensor, targets: Tensor) -> None:
    """They are numbers that can be compared, of one shape."""
    require_one_shape(outputs, targets)
    if outputs.is_complex() or targets.is_complex():
        raise TypeError(f"expected real numbers, got {outputs.dtype}")


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
    dims = _dims_that_fit(shape, wanted, class_dim)
    if len(dims) > 1 and num_classes is not None:
        dims = [dim for dim in dims if shape[dim] == num_classes] or dims
    if len(dims) == 1:
        (dim,) = dims
        if num_classes not in (None, shape[dim]):
            raise ValueError(
                f"expected scores of {num_classes} classes, got {shape[dim]}"
            )
        return dim
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


def _dims_that_fit(
    shape: Sequence[int], wanted: Sequence[int], class_dim: int | None
) -> list[int]:
    """The last dimension and the second, where the others are those of the targets."""
    if len(shape) != len(wanted) + 1:
        return []
    last = len(shape) - 1
    candidates = [last, 1] if last > 1 else [last]
    if class_dim is not None:
        candidates = [dim for dim in candidates if dim == class_dim % len(shape)]
    return [
        dim
        for dim in candidates
        if shape[:dim] == wanted[:dim] and shape[dim + 1 :] == wanted[dim:]
    ]


def as_rows(
    outputs: Tensor, targets: Tensor, class_dim: int | None, num_classes: int | None
) -> Tensor | None:
    """Scores as `(num_rows, num_classes)`, None where outputs are class indices."""
    require_integers(targets, "targets")
    dim = class_dimension(outputs, targets, class_dim, num_classes)
    if dim is None:
        return None
    return outputs.detach().movedim(dim, -1).reshape(-1, outputs.shape[dim])


def score_rows(outputs: Tensor, targets: Tensor, class_dim: int | None) -> Tensor:
    """Scores as `(num_rows, num_classes)`; class indices raise."""
    rows = as_rows(outputs, targets, class_dim, None)
    if rows is None:
        raise ValueError(
            "expected scores with a class dimension, got outputs and targets of"
            f" shape {tuple(outputs.shape)}"
        )
    return rows


def one_score(outputs: Tensor, targets: Tensor) -> Tensor:
    """Outputs of the targets' shape, of which a last dimension of length 1 is cut."""
    if outputs.shape == (*targets.shape, 1):
        outputs = outputs.squeeze(-1)
    require_one_shape(outputs, targets)
    return outputs


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


def check_choice(name: str, given: str, *choices: str) -> None:
    """An argument is one of two or more words."""
    if given not in choices:
        known = f"{', '.join(choices[:-1])} or {choices[-1]}"
        raise ValueError(f"{name} must be {known}, got {given!r}")


def check_scores(scores: str | None, *, needed: bool = False) -> None:
    """What scores are called."""
    if scores not in ("logits", "probabilities") and (needed or scores is not None):
        raise ValueError(f"scores must be 'logits' or 'probabilities', got {scores!r}")


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
    spread = weights.reshape(*weights.shape, *[1] * missing).expand_as(targets)
    return spread.reshape(-1)


def entry_weights(
    targets: Tensor, ignore_index: int | None, weights: Tensor | None
) -> Tensor:
    """Float64 weights of the targets' shape, 1 where none are given, 0 where dropped."""
    if weights is None:
        full = torch.ones(targets.shape, dtype=torch.float64, device=targets.device)
    else:
        full = spread_weights(weights, targets).double().view(targets.shape)
    return full if ignore_index is None else full.where(targets != ignore_index, 0.0)
