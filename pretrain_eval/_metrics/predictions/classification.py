"""Accuracy: how often the predicted class is the target."""

from __future__ import annotations

import math
from typing import final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.class_counters import (
    LabelCounter,
    PerClass,
    TopKCounter,
    class_counter,
)
from pretrain_eval._metrics.predictions.formulas import divide
from pretrain_eval._metrics.predictions.shapes import Kind, Scores


@final
class Accuracy(CountedMetric):
    """Share of samples whose predicted class is the target, in [0, 1].

    Args:
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`; right where
            every label is.
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
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

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
        if type(top_k) is not int or top_k < 1 or (top_k > 1 and task != "multiclass"):
            raise ValueError(
                f"top_k must be 1, or more for task='multiclass', got {top_k} for {task!r}"
            )
        if per_label and task != "multilabel":
            raise ValueError(f"per_label is for task='multilabel', got {task!r}")
        counts: PerClass | TopKCounter = class_counter(
            task, num_classes, scores, threshold, ignore_index, class_dim
        )
        if top_k > 1:
            counts = TopKCounter(top_k, num_classes, ignore_index, class_dim)
        super().__init__(counts)
        self._counted, self._per_label = counts, per_label

    @override
    def formula(self, sums: np.ndarray) -> Value:
        if isinstance(self._counted, LabelCounter) and self._per_label:
            hits, predicted, actual, judged = self._counted.judged(sums)
            right = judged - predicted - actual + 2 * hits
            return tuple(divide(right, judged, math.nan).tolist())
        num_right, num_samples = self._counted.right(sums)
        return float(num_right / self.require_samples(num_samples))


@final
class TopKAccuracy(CountedMetric):
    """Share of samples whose target is among the k highest scores, in [0, 1].

    Of equal scores the higher class counts first, as in scikit-learn's
    `top_k_accuracy_score`.

    Args:
        k: How many classes are looked at.
        num_classes: How many there are, where it is to be checked.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = TopKAccuracy(k=2)
    >>> scores = torch.tensor([[0.1, 0.6, 0.3], [0.8, 0.2, 0.0]])
    >>> metric.update(scores, torch.tensor([2, 2]))
    >>> metric.compute()
    0.5
    """

    key = "top_k_accuracy"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        *,
        k: int = 5,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        if type(k) is not int or k < 1:
            raise ValueError(
                f"k must be an int of at least 1, the classes looked at, got {k!r}"
            )
        super().__init__(TopKCounter(k, num_classes, ignore_index, class_dim))

    @override
    def formula(self, sums: np.ndarray) -> Value:
        num_right, num_samples = sums
        return float(num_right / self.require_samples(num_samples))
