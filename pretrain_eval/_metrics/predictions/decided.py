"""Predicted classes beside true ones, and how they are counted class by class."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._metrics.counter import FLAGS, Array, Flags
from pretrain_eval._metrics.predictions.shapes import require_integers, spread_weights

_HALVES = frozenset({torch.float16, torch.bfloat16})

# Where something is so of each entry, or None: nowhere.
Mask = Tensor | None

# How much each entry counts, or None: 1.
Weights = Tensor | None


class Decided(NamedTuple):
    """A batch of predictions, and what is needed to count them.

    Attributes:
        predicted: Classes.
        targets: Classes.
        num_classes: How many there are.
        keep: Which entries are counted, flat; None: all.
        weights: How much each entry counts, flat; None: 1.
        improper: Which scores were declared as probabilities and are none.
        infinite: Which scores are NaN or infinite.
    """

    predicted: Array
    targets: Tensor
    num_classes: int
    keep: Mask = None
    weights: Weights = None
    improper: Mask = None
    infinite: Mask = None


class Entries(NamedTuple):
    """The same as flat tensors.

    Attributes:
        predicted: Classes.
        actual: Classes.
        good: Which entries are counted, both of whose classes are in range.
        weights: How much each entry counts.
        keep: Which entries are counted, or flagged.
        flags: Which entries are wrong.
    """

    predicted: Tensor
    actual: Tensor
    good: Tensor
    weights: Tensor
    keep: Tensor
    flags: Flags


def kept(
    targets: Tensor, ignore_index: int | None, weights: Weights
) -> tuple[Mask, Weights]:
    """Which entries are counted and how much each weighs, flat; None: all, 1."""
    keep = None
    if ignore_index is not None:
        keep = targets.reshape(-1) != ignore_index
    if weights is None:
        return keep, None
    weights = spread_weights(weights, targets)
    heavy = weights != 0
    keep = heavy if keep is None else keep & heavy
    if weights.dtype is torch.bool:
        return keep, None
    return keep, weights.double()


def entries_of(decided: Decided) -> Entries:
    """The batch without waiting for its device: what is out of range is flagged."""
    predicted = torch.as_tensor(decided.predicted).reshape(-1).long()
    actual = decided.targets.reshape(-1).long()
    keep, weights = decided.keep, decided.weights
    if keep is None:
        keep = torch.ones_like(actual, dtype=torch.bool)
    if weights is None:
        weights = torch.ones_like(actual)
    fits = _in_range(actual, decided.num_classes)
    guessed = _in_range(predicted, decided.num_classes)
    flags = Flags(~fits, ~guessed, decided.improper, decided.infinite)
    good = keep & fits & guessed
    return Entries(predicted, actual, good, weights, keep, flags)


def _in_range(classes: Tensor, num_classes: int) -> Tensor:
    """Which entries are classes."""
    return (classes >= 0) & (classes < num_classes)


def count_on_device(decided: Decided) -> Tensor:
    """Hits, predictions and targets of each class, and flags, on the device."""
    predicted, actual, good, weights, keep, flags = entries_of(decided)
    hit = good & (predicted == actual)
    # What is dropped or bad is counted in one more class, which is then cut off.
    rest = decided.num_classes
    rows = torch.stack(
        (
            actual.where(hit, rest),
            predicted.where(good, rest),
            actual.where(good, rest),
        )
    )
    counts = weights.new_zeros(3, rest + 1)
    counts.scatter_add_(1, rows, weights.expand(3, -1))
    return flags.behind(counts[:, :-1], keep)


def count_on_host(decided: Decided) -> np.ndarray:
    """The same in numpy; what is out of range raises."""
    predicted, targets, num_classes, keep, given, _, infinite = decided
    guesses, actual = _on_host(predicted), _on_host(targets)
    weights = None if given is None else given.numpy()
    if keep is not None:
        rows = keep.numpy()
        guesses, actual = guesses[rows], actual[rows]
        weights = None if weights is None else weights[rows]
        infinite = None if infinite is None else infinite & keep
    dtype = np.int64 if weights is None else np.float64
    counts = np.zeros(3 * num_classes + FLAGS, dtype)
    column = _bincount("targets", actual, weights, num_classes)
    counts[2 * num_classes : -FLAGS] = column
    column = _bincount("predictions", guesses, weights, num_classes)
    counts[num_classes : 2 * num_classes] = column
    hit = guesses == actual
    hit_weights = None if weights is None else weights[hit]
    counts[:num_classes] = np.bincount(actual[hit], hit_weights, num_classes)
    if infinite is not None:
        counts[-1] = int(infinite.sum())
    return counts


def _bincount(
    what: str, classes: np.ndarray, weights: np.ndarray | None, num_classes: int
) -> np.ndarray:
    """How often each class stands there; one that is no class raises by its name."""
    try:
        column = np.bincount(classes, weights, num_classes)
        if len(column) == num_classes:
            return column
    except ValueError:
        if not (classes < 0).any():
            raise
    bad = (classes < 0) | (classes >= num_classes)
    outside = classes[bad][0]
    message = f"{what} must lie in 0..{num_classes - 1}, got {outside}"
    if what == "targets":
        message += f"; ignore_index={outside} drops such rows"
    raise ValueError(message)


def _on_host(classes: Array) -> np.ndarray:
    """The classes in numpy, flat, without a copy."""
    array = classes.numpy() if isinstance(classes, Tensor) else classes
    return array if array.ndim == 1 else array.reshape(-1)


def argmax(outputs: Tensor, dim: int) -> tuple[Array, Mask]:
    """The class of the highest score, the first of equal ones; rows with NaN or ∞."""
    if not outputs.is_cpu:
        return outputs.argmax(dim), ~outputs.isfinite().all(dim)
    scores = outputs.detach() if outputs.requires_grad else outputs
    if scores.dtype in _HALVES:
        scores = scores.float()
    rows = scores.numpy()
    infinite = None
    if not scores.is_floating_point():
        require_integers(scores, "scores that are no floats")
    elif not _surely_finite(scores, rows):
        infinite = ~scores.isfinite().all(dim).reshape(-1)
    if dim == rows.ndim - 1:
        # numpy's is up to twenty times faster along contiguous rows.
        return rows.argmax(-1), infinite
    return scores.argmax(dim), infinite


def _surely_finite(scores: Tensor, rows: np.ndarray) -> bool:
    """False where a value is NaN or infinite, or where finite ones overflow a sum."""
    if rows.size < 2**13:
        # The cheapest sum that nothing infinite can hide in.
        flat = rows.reshape(-1)
        return math.isfinite(np.vdot(flat, flat))
    return math.isfinite(scores.sum().numpy())
