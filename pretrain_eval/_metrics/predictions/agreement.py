"""Metrics of predicted classes that correct for chance or imbalance."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Array, SumCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.averages import divide, undefined
from pretrain_eval._metrics.predictions.class_counters import (
    BinaryCounter,
    ClassCounter,
)
from pretrain_eval._metrics.predictions.classification import class_counter, class_rows
from pretrain_eval._metrics.predictions.shapes import Kind, Scores, flags


class Agreement(CountedMetric):
    """A metric of how predicted and true classes agree.

    Args:
        task: "multiclass" or "binary", as for `Accuracy`.
        num_classes: As for `Accuracy`.
        scores: As for `Accuracy`.
        threshold: As for `Accuracy`.
        ignore_index: As for `Accuracy`.
        class_dim: As for `Accuracy`.
    """

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
        if task == "multilabel":
            raise ValueError(f"{self.key} needs one class a sample, got {task!r}")
        super().__init__(
            class_counter(task, num_classes, scores, threshold, ignore_index, class_dim)
        )

    @final
    def rows(self, counts: np.ndarray) -> np.ndarray:
        """Hits, predictions and targets of each class, of at least one sample."""
        rows = class_rows(self.counter, counts)
        self.require_samples(rows[2].sum())
        return rows


@final
class BalancedAccuracy(Agreement):
    """Mean recall of the classes that occur among the targets; 1 is perfect.

    The arguments are those of `Accuracy`.

    >>> metric = BalancedAccuracy(num_classes=2)
    >>> metric.update(torch.tensor([0, 0, 0, 0]), torch.tensor([0, 0, 0, 1]))
    >>> metric.compute()
    0.5
    """

    key = "balanced_accuracy"

    @override
    def value(self, *state: np.ndarray) -> Value:
        hits, _, actual = self.rows(state[0])
        occurs = actual > 0
        return float((hits[occurs] / actual[occurs]).mean())


@final
class CohenKappa(Agreement):
    """Agreement beyond chance, (p_o − p_e) / (1 − p_e); 1 is perfect, 0 is chance.

    p_o is the accuracy, p_e the accuracy of drawing classes as often as predicted.
    NaN, with a warning, where one class is all there is.
    The arguments are those of `Accuracy`.

    >>> metric = CohenKappa(num_classes=2)
    >>> metric.update(torch.tensor([0, 1, 1, 1]), torch.tensor([0, 1, 1, 0]))
    >>> metric.compute()
    0.5
    """

    key = "kappa"

    @override
    def value(self, *state: np.ndarray) -> Value:
        hits, predicted, actual = self.rows(state[0])
        total = actual.sum()
        chance = (predicted * actual).sum() / total**2
        if chance == 1:
            return undefined(self.key, "one class is all there is")
        return float((hits.sum() / total - chance) / (1 - chance))


@final
class MatthewsCorrCoef(Agreement):
    """Correlation of predicted and true classes, in [−1, 1]; 0 is chance.

    (c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)) with s samples, c of them right,
    p_k predictions and t_k targets of class k. 0 where all predictions or all targets
    are one class, as in scikit-learn. The arguments are those of `Accuracy`.

    Source: Gorodkin, Computational Biology and Chemistry 28, 2004.

    >>> metric = MatthewsCorrCoef(num_classes=2)
    >>> metric.update(torch.tensor([0, 1, 1, 0]), torch.tensor([0, 1, 0, 1]))
    >>> metric.compute()
    0.0
    """

    key = "mcc"

    @override
    def value(self, *state: np.ndarray) -> Value:
        hits, predicted, actual = self.rows(state[0])
        total = actual.sum()
        spreads = total**2 - (predicted**2).sum(), total**2 - (actual**2).sum()
        if spreads[0] <= 0 or spreads[1] <= 0:
            return 0.0
        covariance = hits.sum() * total - (predicted * actual).sum()
        return float(covariance / math.sqrt(spreads[0]) / math.sqrt(spreads[1]))


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
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        decided = self.classes.decided(outputs, targets, weights)
        predicted, actual, num_classes, keep, each, improper, infinite = decided
        predicted = torch.as_tensor(predicted).reshape(-1).long()
        actual = actual.reshape(-1).long()
        keep = torch.ones_like(actual, dtype=torch.bool) if keep is None else keep
        each = torch.ones_like(actual) if each is None else each
        fits = (actual >= 0) & (actual < num_classes)
        guessed = (predicted >= 0) & (predicted < num_classes)
        good = keep & fits & guessed
        # What is dropped or bad is counted at the end, which is then cut off.
        place = (actual * num_classes + predicted).where(good, num_classes**2)
        counts = each.new_zeros(num_classes**2 + 1).scatter_add_(0, place, each)
        wrong = flags(keep, ~fits, ~guessed, improper, infinite)
        return torch.cat((counts[:-1], wrong.to(counts.dtype)))

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        num_classes = math.isqrt(len(counts) - FLAGS)
        rows = np.zeros(3 * num_classes)
        return self.classes.complaints(np.append(rows, counts[-FLAGS:]))


@final
class ConfusionMatrix(CountedMetric):
    """How often class j was predicted where i was right, row i, column j.

    Args:
        normalize: "true", rows sum to 1; "pred", columns; "all", everything; None,
            counts. A row or column without samples is 0, as in scikit-learn.
        task: "multiclass" or "binary", as for `Accuracy`.
        num_classes: As for `Accuracy`.
        scores: As for `Accuracy`.
        threshold: As for `Accuracy`.
        ignore_index: As for `Accuracy`.
        class_dim: As for `Accuracy`.

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
        if not isinstance(counter, ClassCounter | BinaryCounter):
            raise ValueError(f"{self.key} needs one class a sample, got {task!r}")
        if normalize not in (None, "true", "pred", "all"):
            raise ValueError(f"normalize must be true, pred or all, got {normalize!r}")
        super().__init__(PairCounter(counter))
        self._normalize = normalize

    @override
    def value(self, *state: np.ndarray) -> Value:
        num_classes = math.isqrt(len(state[0]) - FLAGS)
        matrix = state[0][:-FLAGS].reshape(num_classes, num_classes)
        self.require_samples(matrix.sum())
        if self._normalize is not None:
            axis = {"true": 1, "pred": 0, "all": None}[self._normalize]
            totals = matrix.sum(axis=axis, keepdims=True)
            matrix = divide(matrix, np.broadcast_to(totals, matrix.shape), 0.0)
        return tuple(tuple(row) for row in matrix.tolist())
