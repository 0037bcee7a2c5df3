"""How predicted classes are counted: three counters a class."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Array, SumCounter
from pretrain_eval._metrics.predictions.shapes import (
    Scores,
    class_dimension,
    decide,
    flags,
    require_integers,
    require_one_shape,
    spread_weights,
    zeros_and_ones,
)

_HALVES = frozenset({torch.float16, torch.bfloat16})


# Where something is so of each entry, or None: nowhere.
Mask = Tensor | None

# Predictions, targets, number of classes, what is kept, weights, which scores are no
# probabilities, which not finite.
Decided = tuple[Array, Tensor, int, Mask, Tensor | None, Mask, Mask]


class PerClass(SumCounter):
    """Counts whose first rows are hits, predictions and targets of each class."""

    def rows(self, counts: np.ndarray) -> np.ndarray:
        """Hits, predictions and targets, `(3, num_classes)`."""
        return counts[:-FLAGS].reshape(3, -1)

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        bad = counts[-FLAGS:].astype(int)
        num_classes = self.rows(counts).shape[1]
        return (
            f"{bad[0]} targets lie outside 0..{num_classes - 1}; a value that marks"
            " rows to drop is given by ignore_index=...",
            f"{bad[1]} predictions lie outside 0..{num_classes - 1}",
            f"{bad[2]} scores were declared as probabilities and lie outside 0..1",
        )


@final
@dataclass(frozen=True)
class ClassCounter(PerClass):
    """Hits, predictions and targets of each class.

    Outputs are scores with a class dimension, or class indices of the targets' shape.
    The class dimension is the last one or, as in `torch.nn.CrossEntropyLoss`, the
    second; shapes tell which, and where they fit both ways `class_dim` must.
    """

    num_classes: int | None = None
    ignore_index: int | None = None
    class_dim: int | None = None

    @property
    @override
    def size(self) -> int | None:
        return None if self.num_classes is None else 3 * self.num_classes + FLAGS

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        decided = self.decided(outputs, targets, weights)
        return (count_on_host if outputs.is_cpu else count_on_device)(*decided)

    def decided(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> Decided:
        """Predictions and what is needed to count them."""
        require_integers(targets, "targets")
        dim = class_dimension(outputs, targets, self.class_dim, self.num_classes)
        num_classes = self.num_classes if dim is None else outputs.shape[dim]
        if num_classes is None:
            raise ValueError(
                "class indices do not tell the number of classes; give it:"
                " num_classes=..."
            )
        keep, each = kept(targets, self.ignore_index, weights)
        if dim is None:
            require_integers(outputs, "outputs of the targets' shape")
            return outputs, targets, num_classes, keep, each, None, None
        if outputs.is_cpu:
            predicted, infinite = _argmax(outputs, dim)
        else:
            predicted, infinite = outputs.argmax(dim), ~outputs.isfinite().all(dim)
        return predicted, targets, num_classes, keep, each, None, infinite


@final
@dataclass(frozen=True)
class BinaryCounter(PerClass):
    """The same for classes 0 and 1, from the score of class 1.

    Outputs have the targets' shape, or one more dimension of length 1: logits or
    probabilities, whichever was declared, or predictions 0 and 1.
    """

    scores: Scores | None = None
    threshold: float = 0.5
    ignore_index: int | None = None

    @property
    @override
    def size(self) -> int | None:
        return 3 * 2 + FLAGS

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        return count_on_device(*self.decided(outputs, targets, weights))

    def decided(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> Decided:
        """Predictions and what is needed to count them."""
        if outputs.shape == (*targets.shape, 1):
            outputs = outputs.squeeze(-1)
        require_one_shape(outputs, targets)
        predictions, improper, infinite = decide(outputs, self.scores, self.threshold)
        targets = zeros_and_ones(targets)
        keep, each = kept(targets, self.ignore_index, weights)
        return predictions, targets, 2, keep, each, improper, infinite


@final
@dataclass(frozen=True)
class LabelCounter(PerClass):
    """The same for each of several labels that a sample may have together.

    Outputs and targets are `(num_samples, num_labels)`. Further counters: how often
    each label was judged, and samples with every label right, and samples.
    """

    num_labels: int | None = None
    scores: Scores | None = None
    threshold: float = 0.5
    ignore_index: int | None = None

    @property
    @override
    def size(self) -> int | None:
        return None if self.num_labels is None else 4 * self.num_labels + 2 + FLAGS

    @override
    def rows(self, counts: np.ndarray) -> np.ndarray:
        return self.judged(counts)[:3]

    def judged(self, counts: np.ndarray) -> np.ndarray:
        """Hits, predictions, targets and how often judged, `(4, num_labels)`."""
        return counts[: -2 - FLAGS].reshape(4, -1)

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        predicted, actual, keep, each, wrong = label_matrices(
            outputs, targets, weights, self
        )
        dtype = each.dtype
        columns = [
            (column.to(dtype) * each).sum(0)
            for column in (predicted & actual, predicted, actual, keep)
        ]
        right = ((predicted == actual) | ~keep).all(1) & keep.any(1)
        sample = each[:, 0]
        totals = [(right * sample).sum(), (keep.any(1) * sample).sum()]
        return torch.cat((*columns, torch.stack(totals), wrong.to(dtype)))


@final
@dataclass(frozen=True)
class SampleCounter(PerClass):
    """How many samples have h labels right of b, for every h and b.

    Args:
        bottom: What b counts: predicted labels, actual ones, or both together.
    """

    bottom: str
    num_labels: int | None = None
    scores: Scores | None = None
    threshold: float = 0.5
    ignore_index: int | None = None

    @property
    @override
    def size(self) -> int | None:
        length = self.num_labels
        return None if length is None else (length + 1) * (2 * length + 1) + FLAGS

    @override
    def rows(self, counts: np.ndarray) -> np.ndarray:
        """Samples by labels right and b, `(num_labels + 1, 2 num_labels + 1)`."""
        # Of length (L + 1)(2L + 1), which has one positive root.
        length = round((np.sqrt(8 * (len(counts) - FLAGS) + 1) - 3) / 4)
        return counts[:-FLAGS].reshape(length + 1, 2 * length + 1)

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        predicted, actual, keep, each, wrong = label_matrices(
            outputs, targets, weights, self
        )
        columns = {"predicted": predicted.sum(1), "actual": actual.sum(1)}
        columns["both"] = columns["predicted"] + columns["actual"]
        length = targets.shape[1]
        place = (predicted & actual).sum(1) * (2 * length + 1) + columns[self.bottom]
        counts = each.new_zeros((length + 1) * (2 * length + 1))
        counts.scatter_add_(0, place, each[:, 0] * keep.any(1))
        return torch.cat((counts, wrong.to(counts.dtype)))


@final
@dataclass(frozen=True)
class TopKCounter(SumCounter):
    """Samples whose target is among the k highest scores, and samples.

    Of equal scores the higher class counts first, as in scikit-learn's
    `top_k_accuracy_score`.
    """

    top_k: int
    num_classes: int | None = None
    ignore_index: int | None = None
    class_dim: int | None = None

    @property
    @override
    def size(self) -> int:
        return 2 + FLAGS

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        require_integers(targets, "targets")
        dim = class_dimension(outputs, targets, self.class_dim, self.num_classes)
        if dim is None:
            raise ValueError(
                f"top_k={self.top_k} needs scores with a class dimension, got outputs"
                f" {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            )
        keep, each = kept(targets, self.ignore_index, weights)
        scores = outputs.detach().movedim(dim, -1).reshape(-1, outputs.shape[dim])
        targets = targets.reshape(-1).long()
        keep = torch.ones_like(targets, dtype=torch.bool) if keep is None else keep
        each = keep.long() if each is None else each
        fits = (targets >= 0) & (targets < scores.shape[1])
        place = targets.where(fits, 0)[:, None]
        own = scores.gather(1, place)
        classes = torch.arange(scores.shape[1], device=scores.device)
        ahead = (scores > own) | ((scores == own) & (classes > place))
        hit = (ahead.sum(1) < self.top_k) & keep
        sums = torch.stack([(hit * each).sum(), (keep * each).sum()])
        infinite = ~scores.isfinite().all(1)
        return torch.cat((sums, flags(keep, ~fits, None, None, infinite)))

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        bad = counts[-FLAGS:].astype(int)
        return (
            f"{bad[0]} targets are none of the scores' classes; a value that marks"
            " rows to drop is given by ignore_index=...",
            "",
            "",
        )


def kept(
    targets: Tensor, ignore_index: int | None, weights: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Which entries are counted and how much each weighs, flat; None: all, 1."""
    keep = each = None
    if ignore_index is not None:
        keep = targets.reshape(-1) != ignore_index
    if weights is not None:
        each = spread_weights(weights, targets)
        heavy = each != 0
        keep = heavy if keep is None else keep & heavy
        each = None if each.dtype is torch.bool else each.double()
    return keep, each


def count_on_host(
    predictions: Array,
    targets: Tensor,
    num_classes: int,
    keep: Tensor | None,
    each: Tensor | None,
    improper: Mask,
    infinite: Mask,
) -> np.ndarray:
    """Hits, predictions and targets of each class; what is out of range raises."""
    predicted, actual = _on_host(predictions), _on_host(targets)
    weight = None if each is None else each.numpy()
    if keep is not None:
        rows = keep.numpy()
        predicted, actual = predicted[rows], actual[rows]
        weight = None if weight is None else weight[rows]
    hits = predicted == actual
    counts = np.zeros(
        3 * num_classes + FLAGS, np.int64 if weight is None else np.float64
    )
    counts[2 * num_classes : -FLAGS] = _bincount("targets", actual, weight, num_classes)
    counts[num_classes : 2 * num_classes] = _bincount(
        "predictions", predicted, weight, num_classes
    )
    counts[:num_classes] = np.bincount(
        actual[hits], None if weight is None else weight[hits], num_classes
    )
    if infinite is not None:
        kept_rows = infinite if keep is None else infinite & keep
        counts[-1] = int(kept_rows.sum())
    return counts


def _bincount(
    what: str, classes: np.ndarray, weights: np.ndarray | None, num_classes: int
) -> np.ndarray:
    try:
        column = np.bincount(classes, weights, num_classes)
        if len(column) == num_classes:
            return column
    except ValueError:
        if not (classes < 0).any():
            raise
    outside = classes[(classes < 0) | (classes >= num_classes)][0]
    raise ValueError(
        f"{what} must lie in 0..{num_classes - 1}, got {outside}"
        + (f"; ignore_index={outside} drops such rows" if what == "targets" else "")
    )


def _on_host(classes: Array) -> np.ndarray:
    array = classes.numpy() if isinstance(classes, Tensor) else classes
    return array if array.ndim == 1 else array.reshape(-1)


def count_on_device(
    predictions: Array,
    targets: Tensor,
    num_classes: int,
    keep: Mask,
    each: Tensor | None,
    improper: Mask,
    infinite: Mask,
) -> Tensor:
    """The same without waiting for the device: what is out of range is flagged."""
    predictions = torch.as_tensor(predictions).reshape(-1).long()
    targets = targets.reshape(-1).long()
    keep = torch.ones_like(targets, dtype=torch.bool) if keep is None else keep
    each = torch.ones_like(targets) if each is None else each
    fits = (targets >= 0) & (targets < num_classes)
    guessed = (predictions >= 0) & (predictions < num_classes)
    good = keep & fits & guessed
    # What is dropped or bad is counted in one more class, which is then cut off.
    rows = torch.stack(
        (
            targets.where(good & (predictions == targets), num_classes),
            predictions.where(good, num_classes),
            targets.where(good, num_classes),
        )
    )
    counts = each.new_zeros(3, num_classes + 1)
    counts.scatter_add_(1, rows, each.expand(3, -1))
    wrong = flags(keep, ~fits, ~guessed, improper, infinite)
    return torch.cat((counts[:, :-1].reshape(-1), wrong.to(counts.dtype)))


def label_matrices(
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    counter: LabelCounter | SampleCounter,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Predicted, actual, judged, weights, `(num_samples, num_labels)`, and flags."""
    require_one_shape(outputs, targets)
    if targets.ndim != 2 or counter.num_labels not in (None, targets.shape[1]):
        length = "num_labels" if counter.num_labels is None else counter.num_labels
        raise ValueError(
            f"multilabel outputs and targets are (num_samples, {length}), got"
            f" {tuple(targets.shape)}"
        )
    predictions, improper, infinite = decide(outputs, counter.scores, counter.threshold)
    targets = zeros_and_ones(targets)
    keep, each = kept(targets, counter.ignore_index, weights)
    shape = targets.shape
    judged = torch.ones_like(targets, dtype=torch.bool)
    judged = judged if keep is None else keep.view(shape)
    each = torch.ones_like(targets) if each is None else each.view(shape)
    fits = (targets == 0) | (targets == 1)
    guessed = (predictions == 0) | (predictions == 1)
    wrong = flags(judged, ~fits, ~guessed, improper, infinite)
    return (predictions == 1) & judged, (targets == 1) & judged, judged, each, wrong


def _argmax(outputs: Tensor, dim: int) -> tuple[Array, Mask]:
    """The class of the highest score, the first of equal ones; rows with NaN or ∞."""
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
