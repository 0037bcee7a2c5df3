"""Metrics of how scores order samples, exact from all of them or from bins."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Flags, RowCounter, SumCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.formulas import average_of, undefined
from pretrain_eval._metrics.predictions.probabilities import ScoreRows
from pretrain_eval._metrics.predictions.ratios import Absent
from pretrain_eval._metrics.predictions.shapes import (
    Kind,
    Scores,
    check_choice,
    check_scores,
)

# Weights of positives and of negatives at each score, falling.
Curve = tuple[np.ndarray, np.ndarray]


@final
@dataclass(frozen=True)
class ScoreCounter(RowCounter):
    """Keeps every sample's scores, targets and weights."""

    reader: ScoreRows

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        scores, truth, weights = self.reader.rows(outputs, targets, weights)
        columns = [scores, truth, weights.to(scores.dtype)]
        return torch.cat([c if c.ndim == 2 else c[:, None] for c in columns], 1)

    def curves(self, rows: np.ndarray) -> list[Curve]:
        """One curve a class."""
        if self.reader.task == "multilabel":
            labels = zip(*np.split(rows.T, 3), strict=True)
            return [_curve(scores, hot == 1, heavy) for scores, hot, heavy in labels]
        scores, truth, weights = rows[:, :-2], rows[:, -2], rows[:, -1]
        if self.reader.task == "binary":
            return [_curve(scores[:, 0], truth == 1, weights)]
        return [
            _curve(column, truth == label, weights)
            for label, column in enumerate(scores.T)
        ]


@final
@dataclass(frozen=True)
class BinCounter(SumCounter):
    """Weights of positives and negatives in each of `num_bins` equal bins of [0, 1]."""

    reader: ScoreRows
    num_bins: int
    num_classes: int | None

    @property
    @override
    def size(self) -> int | None:
        if self.num_classes is None:
            return None
        return 2 * self.num_bins * self.num_classes + FLAGS

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        scores, truth, weights = self.reader.rows(outputs, targets, weights)
        classes = torch.arange(scores.shape[1], device=scores.device)
        if truth.ndim == 1:
            truth, weights = truth[:, None], weights[:, None].expand_as(scores)
        wanted = classes if self.reader.task == "multiclass" else 1
        positive = truth == wanted
        improper, infinite = scores.isinf(), scores.isnan()
        # One row of bins for each class and, in it, for negatives and for positives.
        place = (scores.nan_to_num(0.0, 0.0) * self.num_bins).long()
        place = place.clamp(0, self.num_bins - 1)
        place = (classes * 2 + positive.long()) * self.num_bins + place
        counts = weights.new_zeros(2 * self.num_bins * len(classes))
        counts.scatter_add_(0, place.reshape(-1), weights.reshape(-1).contiguous())
        bad_targets = truth.isinf().expand_as(scores)
        flags = Flags(bad_targets, None, improper, infinite)
        return flags.behind(counts, weights != 0)

    def curves(self, sums: np.ndarray) -> list[Curve]:
        """One curve a class, a point a bin."""
        bins = sums.reshape(-1, 2, self.num_bins)[:, :, ::-1]
        return [(positives, negatives) for negatives, positives in bins]


class Ranking(CountedMetric):
    """A metric of the order that scores give, one class against the rest.

    Args:
        task: "binary": one score a sample. "multiclass": `(num_samples, num_classes)`.
            "multilabel": `(num_samples, num_labels)`.
        scores: "logits" or "probabilities"; needed for "multiclass", whose logits
            order samples otherwise than its probabilities, and with `num_bins`.
        average: Of several classes: "macro", the mean; "weighted", weighted by
            targets; "none", one value a class.
        absent: What a class does whose value is undefined: "count", the average is
            NaN, with a warning; "drop", it is left out.
        num_bins: Count scores in so many equal bins of [0, 1], in constant memory; by
            default every sample is kept and the value is exact.
        num_classes: Classes or labels, where a process may see no batch at all.
        ignore_index: Rows with this target are dropped; entries for "multilabel".
        class_dim: Where the classes of scores lie, where shapes do not tell.
    """

    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        *,
        task: Kind,
        scores: Scores | None = None,
        average: Literal["macro", "weighted", "none"] = "macro",
        absent: Absent = "count",
        num_bins: int | None = None,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        _check_ranking(task, average, absent, num_bins)
        check_scores(scores)
        if scores is None and (num_bins is not None or task == "multiclass"):
            raise ValueError(
                f"{self.key} must know what scores are: scores='logits' or"
                " scores='probabilities'"
            )
        # Exact orders need no sigmoid, which would tie what saturates.
        exact = scores if task == "multiclass" or num_bins is not None else None
        reader = ScoreRows(task, exact, ignore_index, class_dim)
        self._scores: ScoreCounter | BinCounter = ScoreCounter(reader)
        if num_bins is not None:
            num_columns = 1 if task == "binary" else num_classes
            self._scores = BinCounter(reader, num_bins, num_columns)
        super().__init__(self._scores)
        self._task, self._average, self._absent = task, average, absent

    @staticmethod
    @abstractmethod
    def area(positives: np.ndarray, negatives: np.ndarray) -> float:
        """The value of one class, from weights at each score, falling."""

    @override
    def formula(self, sums: np.ndarray) -> Value:
        curves = self._scores.curves(sums)
        self.require_samples(sum(float(p.sum() + n.sum()) for p, n in curves))
        areas = np.array([self.area(*curve) for curve in curves])
        missing = np.flatnonzero(np.isnan(areas)).tolist()
        if missing and (self._absent == "count" or len(missing) == len(areas)):
            undefined(self.key, f"classes {missing} lack positives or negatives")
        if self._task == "binary":
            return float(areas[0])
        if self._average == "none":
            return tuple(areas.tolist())
        if missing and self._absent == "count":
            return math.nan
        support = np.array([positives.sum() for positives, _ in curves])
        return average_of(areas, support if self._average == "weighted" else None)


@final
class AUROC(Ranking):
    """Chance that a positive scores above a negative, ties counting half.

    The area under the receiver operating characteristic, in [0, 1]; 0.5 is chance.
    Undefined where a class has no positives or no negatives.

    Args:
        task: "binary": one score a sample. "multiclass": `(num_samples, num_classes)`.
            "multilabel": `(num_samples, num_labels)`.
        scores: "logits" or "probabilities"; needed for "multiclass", whose logits
            order samples otherwise than its probabilities, and with `num_bins`.
        average: Of several classes: "macro", the mean; "weighted", weighted by
            targets; "none", one value a class.
        absent: What a class does whose value is undefined: "count", the average is
            NaN, with a warning; "drop", it is left out.
        num_bins: Count scores in so many equal bins of [0, 1], in constant memory; by
            default every sample is kept and the value is exact.
        num_classes: Classes or labels, where a process may see no batch at all.
        ignore_index: Rows with this target are dropped; entries for "multilabel".
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = AUROC(task="binary")
    >>> metric.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> metric.compute()
    0.75
    """

    key = "auroc"

    area = staticmethod(formulas.auroc)


@final
class AveragePrecision(Ranking):
    """Precision averaged over recall, Σ (R_n − R_{n−1}) P_n, thresholds falling.

    In [0, 1]; a random order gives the share of positives.
    Undefined where a class has no positives.

    Args:
        task: "binary": one score a sample. "multiclass": `(num_samples, num_classes)`.
            "multilabel": `(num_samples, num_labels)`.
        scores: "logits" or "probabilities"; needed for "multiclass", whose logits
            order samples otherwise than its probabilities, and with `num_bins`.
        average: Of several classes: "macro", the mean; "weighted", weighted by
            targets; "none", one value a class.
        absent: What a class does whose value is undefined: "count", the average is
            NaN, with a warning; "drop", it is left out.
        num_bins: Count scores in so many equal bins of [0, 1], in constant memory; by
            default every sample is kept and the value is exact.
        num_classes: Classes or labels, where a process may see no batch at all.
        ignore_index: Rows with this target are dropped; entries for "multilabel".
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = AveragePrecision(task="binary")
    >>> metric.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> metric.compute()
    0.833...
    """

    key = "average_precision"

    area = staticmethod(formulas.average_precision)


def _check_ranking(task: str, average: str, absent: str, num_bins: int | None) -> None:
    check_choice("task", task, "binary", "multiclass", "multilabel")
    check_choice("average", average, "macro", "weighted", "none")
    if absent not in ("count", "drop"):
        raise ValueError(f"absent must be 'count' or 'drop', got {absent!r}")
    if num_bins is not None and (type(num_bins) is not int or num_bins < 2):
        raise ValueError(f"num_bins must be an int of at least 2, got {num_bins!r}")


def _curve(scores: np.ndarray, positive: np.ndarray, weights: np.ndarray) -> Curve:
    """Weights of positives and negatives at each distinct score, falling."""
    kept = weights > 0
    scores, positive, weights = scores[kept], positive[kept], weights[kept]
    distinct, place = np.unique(-scores, return_inverse=True)
    place = place.reshape(-1)
    return (
        np.bincount(place, weights * positive, len(distinct)),
        np.bincount(place, weights * ~positive, len(distinct)),
    )
