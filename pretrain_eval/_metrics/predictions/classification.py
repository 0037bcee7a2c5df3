"""Metrics of predicted classes, from three counters a class."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Counter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.averages import average_of, divide
from pretrain_eval._metrics.predictions.class_counters import (
    BinaryCounter,
    ClassCounter,
    LabelCounter,
    PerClass,
    SampleCounter,
    TopKCounter,
)
from pretrain_eval._metrics.predictions.shapes import Kind, Scores

Average = Literal["micro", "macro", "weighted", "none", "samples", "binary"]
Absent = Literal["count", "drop"]


@final
class Accuracy(CountedMetric):
    """Share of samples whose predicted class is the target.

    Args:
        task: "multiclass": scores `(num_samples, num_classes)`, or with further
            dimensions, or class indices. "binary": one score a sample.
            "multilabel": `(num_samples, num_labels)`; right where every label is.
        top_k: Right where the target is among the k highest scores. Of equal scores
            the lowest class is predicted; from k = 2 on the higher class counts
            first, as in scikit-learn's `top_k_accuracy_score`.
        per_label: For "multilabel", one accuracy a label.
        num_classes: Classes or labels; needed where outputs are class indices.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    Raises:
        ValueError: At `update` on the CPU, otherwise at `compute`: targets or
            predictions out of range, scores that are NaN or infinite.

    >>> import torch
    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    key = "accuracy"

    def __init__(
        self,
        *,
        task: Kind = "multiclass",
        top_k: int = 1,
        per_label: bool = False,
        num_classes: int | None = None,
        scores: Scores | None = None,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        if top_k < 1 or (top_k > 1 and task != "multiclass"):
            raise ValueError(
                f"top_k is 1, or more for task='multiclass', got {top_k} for {task!r}"
            )
        if per_label and task != "multilabel":
            raise ValueError(f"per_label is for task='multilabel', got {task!r}")
        counter: Counter = class_counter(
            task, num_classes, scores, threshold, ignore_index, class_dim
        )
        if top_k > 1:
            counter = TopKCounter(top_k, num_classes, ignore_index, class_dim)
        super().__init__(counter)
        self._per_label = per_label

    @override
    def value(self, *state: np.ndarray) -> Value:
        counts = state[0]
        if isinstance(self.counter, TopKCounter):
            hits, judged = counts[0], counts[1]
        elif isinstance(self.counter, LabelCounter):
            right, predicted, actual, each = self.counter.judged(counts)
            hits, judged = counts[-FLAGS - 2], counts[-FLAGS - 1]
            if self._per_label:
                hits = each - predicted - actual + 2 * right
                return tuple(divide(hits, each, math.nan).tolist())
        else:
            hits, _, judged = class_rows(self.counter, counts).sum(axis=1)
        return float(hits / self.require_samples(judged))


class ClassRatio(CountedMetric):
    """A ratio of a class's counts, averaged over classes.

    The arguments are those of `Precision`.
    """

    def __init__(
        self,
        *,
        average: Average | None = None,
        task: Kind = "multiclass",
        num_classes: int | None = None,
        labels: Sequence[int] | None = None,
        absent: Absent = "count",
        zero_division: float = 0.0,
        scores: Scores | None = None,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        if average is None:
            average = "binary" if task == "binary" else "macro"
        _check_averaging(average, task, labels, absent, zero_division)
        counter = class_counter(
            task, num_classes, scores, threshold, ignore_index, class_dim
        )
        if average == "samples":
            if self.bottom not in ("predicted", "actual", "both"):
                raise ValueError(f"{self.key} has no average='samples'")
            counter = SampleCounter(
                self.bottom, num_classes, scores, threshold, ignore_index
            )
        super().__init__(counter)
        self._average = average
        self._labels = None if labels is None else list(labels)
        self._absent = absent
        self._zero_division = float(zero_division)

    bottom: str
    """What the ratio divides by: counts of predicted, of actual, or of both."""

    @abstractmethod
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numerator and denominator, from rows of hits, predictions and targets."""

    @override
    def value(self, *state: np.ndarray) -> Value:
        rows = class_rows(self.counter, state[0])
        if self._average == "samples":
            return self._over_samples(rows)
        self.require_samples(rows[1:].sum() + _judged(self.counter, state[0]))
        if self._average == "binary":
            rows = rows[:, 1:]
        if self._labels is not None:
            rows = self._chosen(rows)
        support = rows[2]
        occurs = rows[1] + rows[2] > 0
        if self._average == "micro":
            rows = rows.sum(axis=1, keepdims=True)
        ratios = divide(*self.ratio(rows), self._zero_division)
        if self._average in ("micro", "binary"):
            return float(ratios[0])
        if self._average == "none":
            shown = (
                ratios if self._absent == "count" else np.where(occurs, ratios, np.nan)
            )
            return tuple(shown.tolist())
        if self._absent == "drop":
            ratios, support = ratios[occurs], support[occurs]
        return average_of(ratios, support if self._average == "weighted" else None)

    def _chosen(self, rows: np.ndarray) -> np.ndarray:
        labels, num_classes = self._labels or [], rows.shape[1]
        if not all(0 <= label < num_classes for label in labels):
            raise ValueError(
                f"{self.key}: labels must lie in 0..{num_classes - 1}, got {labels}"
            )
        return rows[:, labels]

    def _over_samples(self, samples: np.ndarray) -> float:
        """The mean over samples, which are counted by labels right and b."""
        self.require_samples(samples.sum())
        places: np.ndarray = np.indices(samples.shape)
        hits = places[0] * 2 if self.bottom == "both" else places[0]
        ratios = divide(hits, places[1], self._zero_division)
        filled = samples > 0
        return average_of(ratios[filled], samples[filled])


@final
class Precision(ClassRatio):
    """Share of a class's predictions that are right, tp / (tp + fp).

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class; "samples", the
            mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: As for `Accuracy`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = Precision(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (1.0, 0.5)
    """

    key = "precision"
    bottom = "predicted"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return counts[0], counts[1]


@final
class Recall(ClassRatio):
    """Share of a class's samples that are found, tp / (tp + fn).

    The arguments are those of `Precision`.

    >>> import torch
    >>> metric = Recall(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (0.5, 1.0)
    """

    key = "recall"
    bottom = "actual"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return counts[0], counts[2]


@final
class F1Score(ClassRatio):
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn).

    The arguments are those of `Precision`.

    >>> import torch
    >>> metric = F1Score(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (0.666..., 0.666...)
    """

    key = "f1"
    bottom = "both"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2 * counts[0], counts[1] + counts[2]


def class_counter(
    task: Kind,
    num_classes: int | None,
    scores: Scores | None,
    threshold: float,
    ignore_index: int | None,
    class_dim: int | None,
) -> Counter:
    """The counter of a task; arguments that mean nothing to it raise."""
    if scores not in (None, "logits", "probabilities"):
        raise ValueError(f"scores must be 'logits' or 'probabilities', got {scores!r}")
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold is a probability in [0, 1], got {threshold}")
    if num_classes is not None and num_classes < 1:
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


def class_rows(counter: Counter, counts: np.ndarray) -> np.ndarray:
    """Hits, predictions and targets of each class."""
    if not isinstance(counter, PerClass):
        raise TypeError(f"{type(counter).__name__} does not count class by class")
    return counter.rows(counts)


def _judged(counter: Counter, counts: np.ndarray) -> float:
    # Samples without any label, predicted or actual, are samples all the same.
    return float(counts[-FLAGS - 1]) if isinstance(counter, LabelCounter) else 0.0


def _check_averaging(
    average: str,
    task: str,
    labels: Sequence[int] | None,
    absent: str,
    zero_division: float,
) -> None:
    if average not in ("micro", "macro", "weighted", "none", "samples", "binary"):
        raise ValueError(
            "average must be micro, macro, weighted, none, samples or binary, got"
            f" {average!r}"
        )
    for only, kind in (("samples", "multilabel"), ("binary", "binary")):
        if average == only and task != kind:
            raise ValueError(f"average={only!r} needs task={kind!r}, got {task!r}")
    if labels is not None and (not labels or len(set(labels)) < len(labels)):
        raise ValueError(f"labels must be distinct classes, got {list(labels)}")
    if labels is not None and average in ("samples", "binary"):
        raise ValueError(f"labels choose classes, which average={average!r} has not")
    if absent not in ("count", "drop"):
        raise ValueError(f"absent must be 'count' or 'drop', got {absent!r}")
    if not (zero_division in (0, 1) or math.isnan(zero_division)):
        raise ValueError(f"zero_division must be 0, 1 or NaN, got {zero_division}")
