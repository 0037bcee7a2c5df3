"""Metrics of predicted classes that correct for chance or imbalance."""

from __future__ import annotations

from abc import abstractmethod
from typing import final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.class_counters import (
    BinaryCounter,
    ClassCounter,
    LabelCounter,
    PairCounter,
    class_counter,
)
from pretrain_eval._metrics.predictions.shapes import Kind, Scores


class Agreement(CountedMetric):
    """A metric of how predicted and true classes agree.

    Args:
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.
    """

    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (-1.0, 1.0)

    def __init__(
        self,
        *,
        task: Kind = "multiclass",
        num_classes: int | None = None,
        scores: Scores | None = None,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        counter = class_counter(
            task, num_classes, scores, threshold, ignore_index, class_dim
        )
        self._classes = _one_class_a_sample(self.key, counter)
        super().__init__(self._classes)

    @staticmethod
    @abstractmethod
    def agreement(hits: np.ndarray, predicted: np.ndarray, actual: np.ndarray) -> float:
        """The value, from the counts of each class."""

    @override
    def formula(self, sums: np.ndarray) -> Value:
        hits, predicted, actual = self._classes.rows(sums)
        self.require_samples(actual.sum())
        return self.agreement(hits, predicted, actual)


@final
class BalancedAccuracy(Agreement):
    """Mean recall of the classes that occur among the targets, in [0, 1].

    Args:
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = BalancedAccuracy(num_classes=2)
    >>> metric.update(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 1]))
    >>> metric.compute()
    0.5
    """

    key = "balanced_accuracy"
    bounds: tuple[float, float] = (0.0, 1.0)

    agreement = staticmethod(formulas.balanced_accuracy)


@final
class CohenKappa(Agreement):
    """Agreement beyond chance, (p_o − p_e) / (1 − p_e); 1 is perfect, 0 is chance.

    p_o is the accuracy, p_e the accuracy of drawing classes as often as predicted.
    NaN, with a warning, where one class is all there is.

    Args:
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = CohenKappa(num_classes=2)
    >>> metric.update(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 1, 0]))
    >>> metric.compute()
    0.5
    """

    key = "kappa"

    agreement = staticmethod(formulas.cohen_kappa)


@final
class MatthewsCorrCoef(Agreement):
    """Correlation of predicted and true classes, in [−1, 1]; 0 is chance.

    (c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)) with s samples, c of them right,
    p_k predictions and t_k targets of class k. 0 where all predictions or all targets
    are one class, as in scikit-learn.

    Args:
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    Source: Gorodkin, Computational Biology and Chemistry 28, 2004.

    >>> import torch
    >>> metric = MatthewsCorrCoef(num_classes=2)
    >>> metric.update(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1]))
    >>> metric.compute()
    0.0
    """

    key = "mcc"

    agreement = staticmethod(formulas.matthews_corrcoef)


@final
class ConfusionMatrix(CountedMetric):
    """How often class j was predicted where i was right, row i, column j.

    Args:
        normalize: "true", rows sum to 1; "pred", columns; "all", everything; None,
            counts. A row or column without samples is 0, as in scikit-learn.
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample.
        num_classes: How many there are; needed where outputs are class indices.
        scores: What binary scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = ConfusionMatrix(num_classes=2)
    >>> metric.update(torch.tensor([0, 1, 1]), torch.tensor([0, 0, 1]))
    >>> metric.compute()
    ((1.0, 1.0), (0.0, 1.0))
    """

    key = "confusion_matrix"

    def __init__(
        self,
        *,
        normalize: str | None = None,
        task: Kind = "multiclass",
        num_classes: int | None = None,
        scores: Scores | None = None,
        threshold: float = 0.5,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        counter = class_counter(
            task, num_classes, scores, threshold, ignore_index, class_dim
        )
        classes = _one_class_a_sample(self.key, counter)
        if normalize not in (None, "true", "pred", "all"):
            raise ValueError(f"normalize must be true, pred or all, got {normalize!r}")
        self._pairs = PairCounter(classes)
        super().__init__(self._pairs)
        self._normalize = normalize

    @override
    def formula(self, sums: np.ndarray) -> Value:
        matrix = self._pairs.matrix(sums)
        self.require_samples(matrix.sum())
        rows = formulas.normalized(matrix, self._normalize).tolist()
        return tuple(tuple(row) for row in rows)


def _one_class_a_sample(
    key: str, counter: ClassCounter | BinaryCounter | LabelCounter
) -> ClassCounter | BinaryCounter:
    if isinstance(counter, LabelCounter):
        raise ValueError(f"{key} needs one class a sample, got 'multilabel'")
    return counter
