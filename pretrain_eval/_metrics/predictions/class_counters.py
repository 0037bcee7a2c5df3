"""How predicted classes are counted: three counters a class, or pairs of classes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import DROPS, FLAGS, Array, Flags, SumCounter, Words
from pretrain_eval._metrics.predictions.decided import (
    Decided,
    argmax,
    count_on_device,
    count_on_host,
    entries_of,
    kept,
)
from pretrain_eval._metrics.predictions.shapes import (
    Kind,
    Scores,
    as_rows,
    check_scores,
    class_dimension,
    decide,
    one_score,
    require_integers,
    require_one_shape,
    zeros_and_ones,
)

Bottom = Literal["predicted", "actual", "both"]


class PerClass(SumCounter):
    """Counts whose first rows are hits, predictions and targets of each class."""

    def rows(self, sums: np.ndarray) -> np.ndarray:
        """Hits, predictions and targets, `(3, num_classes)`."""
        return sums.reshape(3, -1)

    def right(self, sums: np.ndarray) -> tuple[float, float]:
        """Samples that are right, and samples."""
        hits, _, actual = self.rows(sums).sum(axis=1)
        return hits, actual

    @override
    def words(self, counts: np.ndarray) -> Words:
        return out_of(self.rows(self.unflagged(counts)).shape[1])


def out_of(num_classes: int) -> Words:
    """What to say of classes that are none."""
    outside = f"lie outside 0..{num_classes - 1}"
    return Words(
        targets=f"targets {outside}{DROPS}",
        predictions=f"predictions {outside}",
        probabilities="scores were declared as probabilities and lie outside 0..1",
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
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        decided = self.decided(outputs, targets, weights)
        return count_on_host(decided) if outputs.is_cpu else count_on_device(decided)

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
        keep, weights = kept(targets, self.ignore_index, weights)
        if dim is None:
            require_integers(outputs, "outputs of the targets' shape")
            return Decided(outputs, targets, num_classes, keep, weights)
        predicted, infinite = argmax(outputs, dim)
        return Decided(predicted, targets, num_classes, keep, weights, None, infinite)


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

    size = 3 * 2 + FLAGS

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        return count_on_device(self.decided(outputs, targets, weights))

    def decided(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> Decided:
        """Predictions and what is needed to count them."""
        outputs = one_score(outputs, targets)
        predicted, improper, infinite = decide(outputs, self.scores, self.threshold)
        targets = zeros_and_ones(targets)
        keep, weights = kept(targets, self.ignore_index, weights)
        return Decided(predicted, targets, 2, keep, weights, improper, infinite)


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
    def rows(self, sums: np.ndarray) -> np.ndarray:
        return self.judged(sums)[:3]

    def judged(self, sums: np.ndarray) -> np.ndarray:
        """Hits, predictions, targets and how often judged, `(4, num_labels)`."""
        return sums[:-2].reshape(4, -1)

    @override
    def right(self, sums: np.ndarray) -> tuple[float, float]:
        return sums[-2], sums[-1]

    @override
    def words(self, counts: np.ndarray) -> Words:
        return out_of(2)

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        labels = labels_of(outputs, targets, weights, self)
        predicted, actual, judged = labels.predicted, labels.actual, labels.judged
        columns = [
            (mask.to(labels.weights.dtype) * labels.weights).sum(0)
            for mask in (predicted & actual, predicted, actual, judged)
        ]
        sampled = judged.any(1)
        right = ((predicted == actual) | ~judged).all(1) & sampled
        weight = labels.weights[:, 0]
        samples = torch.stack([(right * weight).sum(), (sampled * weight).sum()])
        return labels.flags.behind(torch.cat((*columns, samples)), judged)


@final
@dataclass(frozen=True)
class SampleCounter(SumCounter):
    """How many samples have h labels right of b, for every h and b.

    Args:
        bottom: What b counts: predicted labels, actual ones, or both together.
    """

    bottom: Bottom
    num_labels: int | None = None
    scores: Scores | None = None
    threshold: float = 0.5
    ignore_index: int | None = None

    said = out_of(2)

    @property
    @override
    def size(self) -> int | None:
        length = self.num_labels
        return None if length is None else (length + 1) * (2 * length + 1) + FLAGS

    def table(self, sums: np.ndarray) -> np.ndarray:
        """Samples by labels right and b, `(num_labels + 1, 2 num_labels + 1)`."""
        # Of length (L + 1)(2L + 1), which has one positive root.
        length = round((np.sqrt(8 * len(sums) + 1) - 3) / 4)
        return sums.reshape(length + 1, 2 * length + 1)

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        labels = labels_of(outputs, targets, weights, self)
        sizes = {"predicted": labels.predicted.sum(1), "actual": labels.actual.sum(1)}
        sizes["both"] = sizes["predicted"] + sizes["actual"]
        hits = (labels.predicted & labels.actual).sum(1)
        length = targets.shape[1]
        place = hits * (2 * length + 1) + sizes[self.bottom]
        counts = labels.weights.new_zeros((length + 1) * (2 * length + 1))
        counts.scatter_add_(0, place, labels.weights[:, 0] * labels.judged.any(1))
        return labels.flags.behind(counts, labels.judged)


class Labels(NamedTuple):
    """A batch of labels that samples may have together, `(num_samples, num_labels)`.

    Attributes:
        predicted: Which labels were predicted, of those that are judged.
        actual: Which labels there are, of those that are judged.
        judged: Which entries are counted.
        weights: How much each entry counts.
        flags: Which entries are wrong.
    """

    predicted: Tensor
    actual: Tensor
    judged: Tensor
    weights: Tensor
    flags: Flags


def labels_of(
    outputs: Tensor,
    targets: Tensor,
    weights: Tensor | None,
    counter: LabelCounter | SampleCounter,
) -> Labels:
    """What a batch says of each label."""
    require_one_shape(outputs, targets)
    if targets.ndim != 2 or counter.num_labels not in (None, targets.shape[1]):
        length = "num_labels" if counter.num_labels is None else counter.num_labels
        raise ValueError(
            f"multilabel outputs and targets are (num_samples, {length}), got"
            f" {tuple(targets.shape)}"
        )
    predicted, improper, infinite = decide(outputs, counter.scores, counter.threshold)
    targets = zeros_and_ones(targets)
    keep, weights = kept(targets, counter.ignore_index, weights)
    judged = torch.ones_like(targets, dtype=torch.bool)
    judged = judged if keep is None else keep.view(targets.shape)
    fits = (targets == 0) | (targets == 1)
    guessed = (predicted == 0) | (predicted == 1)
    return Labels(
        (predicted == 1) & judged,
        (targets == 1) & judged,
        judged,
        torch.ones_like(targets) if weights is None else weights.view(targets.shape),
        Flags(~fits, ~guessed, improper, infinite),
    )


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

    size = 2 + FLAGS
    said = Words(targets=f"targets are none of the scores' classes{DROPS}")

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        scores = as_rows(outputs, targets, self.class_dim, self.num_classes)
        if scores is None:
            raise ValueError(
                f"top_k={self.top_k} needs scores with a class dimension, got outputs"
                f" {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            )
        keep, weights = kept(targets, self.ignore_index, weights)
        targets = targets.reshape(-1).long()
        keep = torch.ones_like(targets, dtype=torch.bool) if keep is None else keep
        weights = keep.long() if weights is None else weights
        fits = (targets >= 0) & (targets < scores.shape[1])
        place = targets.where(fits, 0)[:, None]
        own = scores.gather(1, place)
        classes = torch.arange(scores.shape[1], device=scores.device)
        ahead = (scores > own) | ((scores == own) & (classes > place))
        hit = (ahead.sum(1) < self.top_k) & keep
        sums = torch.stack([(hit * weights).sum(), (keep * weights).sum()])
        infinite = ~scores.isfinite().all(1)
        return Flags(targets=~fits, outputs=infinite).behind(sums, keep)

    def right(self, sums: np.ndarray) -> tuple[float, float]:
        """Samples that are right, and samples."""
        return sums[0], sums[1]


@final
@dataclass(frozen=True)
class PairCounter(SumCounter):
    """How often each class was predicted for each, row by true class."""

    classes: ClassCounter | BinaryCounter

    @property
    @override
    def size(self) -> int | None:
        if isinstance(self.classes, BinaryCounter):
            return 4 + FLAGS
        length = self.classes.num_classes
        return None if length is None else length**2 + FLAGS

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        decided = self.classes.decided(outputs, targets, weights)
        entries, num_classes = entries_of(decided), decided.num_classes
        # What is dropped or bad is counted at the end, which is then cut off.
        place = entries.actual * num_classes + entries.predicted
        place = place.where(entries.good, num_classes**2)
        counts = entries.weights.new_zeros(num_classes**2 + 1)
        counts.scatter_add_(0, place, entries.weights)
        return entries.flags.behind(counts[:-1], entries.keep)

    def matrix(self, sums: np.ndarray) -> np.ndarray:
        """Counts by true and predicted class, `(num_classes, num_classes)`."""
        num_classes = math.isqrt(len(sums))
        return sums.reshape(num_classes, num_classes)

    @override
    def words(self, counts: np.ndarray) -> Words:
        return out_of(len(self.matrix(self.unflagged(counts))))


def class_counter(
    task: Kind,
    num_classes: int | None,
    scores: Scores | None,
    threshold: float,
    ignore_index: int | None,
    class_dim: int | None,
) -> ClassCounter | BinaryCounter | LabelCounter:
    """The counter of a task; arguments that mean nothing to it raise."""
    check_scores(scores)
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is a probability in [0, 1], got {threshold}")
    if num_classes is not None and (type(num_classes) is not int or num_classes < 1):
        raise ValueError(f"num_classes must be positive, got {num_classes}")
    if task == "multiclass":
        if scores is not None or threshold != 0.5:
            raise ValueError(
                "scores and threshold are for task='binary' or 'multilabel'; of"
                " several classes the one with the highest score is predicted"
            )
        return ClassCounter(num_classes, ignore_index, class_dim)
    if class_dim is not None:
        raise ValueError(f"class_dim is for task='multiclass', got {task!r}")
    if task == "multilabel":
        return LabelCounter(num_classes, scores, threshold, ignore_index)
    if task == "binary":
        if num_classes not in (None, 2):
            raise ValueError(f"a binary task has 2 classes, got {num_classes}")
        return BinaryCounter(scores, threshold, ignore_index)
    raise ValueError(f"task must be multiclass, binary or multilabel, got {task!r}")
