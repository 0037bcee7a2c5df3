"""Ratios of a class's counts: precision, recall, and what combines them."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import ClassVar, Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.class_counters import (
    Bottom,
    SampleCounter,
    class_counter,
)
from pretrain_eval._metrics.predictions.formulas import average_of, divide
from pretrain_eval._metrics.predictions.shapes import Kind, Scores, check_choice

Average = Literal["default", "micro", "macro", "weighted", "none", "samples", "binary"]
Absent = Literal["count", "drop"]


class ClassRatio(CountedMetric):
    """A ratio of a class's counts, averaged over classes.

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
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
    """

    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)
    #: What a sample's ratio divides by, None where it has no average over samples.
    bottom: ClassVar[Bottom | None] = None

    def __init__(
        self,
        *,
        average: Average | None = "default",
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
        if average is None:  # as in scikit-learn
            average = "none"
        if average == "default":
            average = "binary" if task == "binary" else "macro"
        _check_averaging(average, task, labels, absent, zero_division)
        self._classes = class_counter(
            task, num_classes, scores, threshold, ignore_index, class_dim
        )
        self._samples = None
        if average == "samples":
            if self.bottom is None:
                raise ValueError(f"{self.key} has no average='samples'")
            self._samples = SampleCounter(
                self.bottom, num_classes, scores, threshold, ignore_index
            )
        super().__init__(self._samples or self._classes)
        self._average = average
        self._labels = None if labels is None else list(labels)
        self._absent = absent
        self._zero_division = float(zero_division)

    @staticmethod
    @abstractmethod
    def ratio(
        hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Numerator and denominator, from the counts of each class."""

    @override
    def formula(self, sums: np.ndarray) -> Value:
        if self._samples is not None:
            return self._over_samples(self._samples.table(sums))
        # Samples without any label, predicted or actual, are samples all the same.
        self.require_samples(sums.sum())
        rows = self._classes.rows(sums)
        if self._average == "binary":
            rows = rows[:, 1:]
        if self._labels is not None:
            rows = self._chosen(rows)
        if self._average == "micro":
            rows = rows.sum(axis=1, keepdims=True)
        hits, predicted, actual = rows
        ratios = divide(*self.ratio(hits, predicted, actual), self._zero_division)
        if self._average in ("micro", "binary"):
            return float(ratios[0])
        if self._absent == "drop":
            occurs = predicted + actual > 0
            if self._average == "none":
                return tuple(np.where(occurs, ratios, np.nan).tolist())
            ratios, actual = ratios[occurs], actual[occurs]
        if self._average == "none":
            return tuple(ratios.tolist())
        return average_of(ratios, actual if self._average == "weighted" else None)

    def _chosen(self, rows: np.ndarray) -> np.ndarray:
        labels, num_classes = self._labels or [], rows.shape[1]
        if not all(0 <= label < num_classes for label in labels):
            raise ValueError(
                f"{self.key}: labels must lie in 0..{num_classes - 1}, got {labels}"
            )
        return rows[:, labels]

    def _over_samples(self, samples: np.ndarray) -> float:
        """The mean over samples, which are counted by labels right and by b."""
        self.require_samples(samples.sum())
        places: np.ndarray = np.indices(samples.shape)
        hits, predicted = places[0], places[1]
        # Where b is of predicted and actual labels together, it is their sum.
        actual = np.zeros_like(predicted)
        if self.bottom == "actual":
            predicted, actual = actual, predicted
        ratios = divide(*self.ratio(hits, predicted, actual), self._zero_division)
        filled = samples > 0
        return average_of(ratios[filled], samples[filled])


@final
class Precision(ClassRatio):
    """Share of a class's predictions that are right, tp / (tp + fp), in [0, 1].

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
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
    bottom: ClassVar[Bottom | None] = "predicted"

    ratio = staticmethod(formulas.precision)


@final
class Recall(ClassRatio):
    """Share of a class's samples that are found, tp / (tp + fn), in [0, 1].

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
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
    >>> metric = Recall(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (0.5, 1.0)
    """

    key = "recall"
    bottom: ClassVar[Bottom | None] = "actual"

    ratio = staticmethod(formulas.recall)


@final
class F1Score(ClassRatio):
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn), in [0, 1].

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
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
    >>> metric = F1Score(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (0.666..., 0.666...)
    """

    key = "f1"
    bottom: ClassVar[Bottom | None] = "both"

    ratio = staticmethod(formulas.dice)


def _check_averaging(
    average: str,
    task: str,
    labels: Sequence[int] | None,
    absent: str,
    zero_division: float,
) -> None:
    averages = "micro", "macro", "weighted", "none", "samples", "binary"
    check_choice("average", average, *averages)
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
