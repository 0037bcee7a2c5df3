"""Metrics of how scores order samples, exact from all of them or from bins."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, RowCounter, SumCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.averages import average_of, undefined
from pretrain_eval._metrics.predictions.classification import Absent
from pretrain_eval._metrics.predictions.probabilities import ScoreRows
from pretrain_eval._metrics.predictions.shapes import Kind, Scores, flags


@final
@dataclass(frozen=True)
class ScoreCounter(RowCounter):
    """Keeps every sample's scores, targets and weights."""

    reader: ScoreRows

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        scores, truth, each = self.reader.rows(outputs, targets, weights)
        columns = [scores, truth, each.to(scores.dtype)]
        return torch.cat([c if c.ndim == 2 else c[:, None] for c in columns], 1)

    def curves(self, rows: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights of positives and negatives at each score, falling, a class each."""
        length = rows.shape[1]
        if self.reader.task == "multilabel":
            third = length // 3
            parts = [rows[:, [i, third + i, 2 * third + i]] for i in range(third)]
            return [_curve(part[:, 0], part[:, 1] == 1, part[:, 2]) for part in parts]
        scores, truth, each = rows[:, :-2], rows[:, -2], rows[:, -1]
        if self.reader.task == "binary":
            return [_curve(scores[:, 0], truth == 1, each)]
        return [
            _curve(scores[:, label], truth == label, each)
            for label in range(scores.shape[1])
        ]


@final
@dataclass(frozen=True)
class BinCounter(SumCounter):
    """Weights of positives and negatives in each of `bins` equal bins of [0, 1]."""

    reader: ScoreRows
    bins: int
    num_classes: int | None

    @property
    @override
    def size(self) -> int | None:
        if self.num_classes is None:
            return None
        return 2 * self.bins * self.num_classes + FLAGS

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        scores, truth, each = self.reader.rows(outputs, targets, weights)
        if truth.ndim == 1:
            classes = torch.arange(scores.shape[1], device=scores.device)
            wanted = classes[None] if self.reader.task == "multiclass" else 1
            positive = truth[:, None] == wanted
            each = each[:, None].expand_as(scores)
        else:
            positive = truth == 1
        improper, infinite = scores.isinf(), scores.isnan()
        place = (scores.nan_to_num(0.0, 0.0) * self.bins).long().clamp(0, self.bins - 1)
        label = torch.arange(scores.shape[1], device=scores.device)
        place = (label * 2 + positive.long()) * self.bins + place
        counts = torch.zeros(
            2 * self.bins * scores.shape[1], dtype=torch.float64, device=scores.device
        )
        counts.scatter_add_(0, place.reshape(-1), each.reshape(-1).contiguous())
        bad_targets = (truth if truth.ndim == 2 else truth[:, None]).isinf()
        bad_targets = bad_targets.expand_as(scores)
        wrong = flags(each != 0, bad_targets, None, improper, infinite)
        return torch.cat((counts, wrong.double()))

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        bad = counts[-FLAGS:].astype(int)
        return (
            f"{bad[0]} targets are out of range",
            "",
            f"{bad[2]} scores were declared as probabilities and are none",
        )

    def curves(self, counts: np.ndarray) -> list[tuple[np.ndarray, np.ndarray]]:
        """Weights of positives and negatives in each bin, falling, a class each."""
        bins = counts[:-FLAGS].reshape(-1, 2, self.bins)[:, :, ::-1]
        return [(positives, negatives) for negatives, positives in bins]


class Ranking(CountedMetric):
    """A metric of the order that scores give, one class against the rest.

    Args:
        task: "binary": one score a sample. "multiclass": `(num_samples, num_classes)`.
            "multilabel": `(num_samples, num_labels)`.
        scores: "logits" or "probabilities"; needed for "multiclass", whose logits
            order samples otherwise than its probabilities, and with `bins`.
        average: Of several classes: "macro", the mean; "weighted", weighted by
            targets; "none", one value a class.
        absent: What a class does whose value is undefined: "count", the average is
            NaN, with a warning; "drop", it is left out.
        bins: Count scores in so many equal bins of [0, 1], in constant memory; by
            default every sample is kept and the value is exact.
        num_classes: Classes or labels, where a process may see no batch at all.
        ignore_index: Rows with this target are dropped; entries for "multilabel".
        class_dim: Where the classes of scores lie, where shapes do not tell.
    """

    def __init__(
        self,
        *,
        task: Kind,
        scores: Scores | None = None,
        average: Literal["macro", "weighted", "none"] = "macro",
        absent: Absent = "count",
        bins: int | None = None,
        num_classes: int | None = None,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        if task not in ("binary", "multiclass", "multilabel"):
            raise ValueError(
                f"task must be binary, multiclass or multilabel, got {task!r}"
            )
        if scores not in (None, "logits", "probabilities"):
            raise ValueError(
                f"scores must be 'logits' or 'probabilities', got {scores!r}"
            )
        if scores is None and (bins is not None or task == "multiclass"):
            raise ValueError(
                f"{self.key} must know what scores are: scores='logits' or"
                " scores='probabilities'"
            )
        if average not in ("macro", "weighted", "none"):
            raise ValueError(
                f"average must be macro, weighted or none, got {average!r}"
            )
        if absent not in ("count", "drop"):
            raise ValueError(f"absent must be 'count' or 'drop', got {absent!r}")
        if bins is not None and bins < 2:
            raise ValueError(f"bins must be at least 2, got {bins}")
        # Exact orders need no sigmoid, which would tie what saturates.
        exact = scores if task == "multiclass" or bins is not None else None
        reader = ScoreRows(task, exact, ignore_index, class_dim)
        counter: ScoreCounter | BinCounter = ScoreCounter(reader)
        if bins is not None:
            counter = BinCounter(reader, bins, 1 if task == "binary" else num_classes)
        super().__init__(counter)
        self._curves: Callable[[np.ndarray], list[tuple[np.ndarray, np.ndarray]]]
        self._curves = counter.curves
        self._task, self._average, self._absent = task, average, absent

    @abstractmethod
    def area(self, positives: np.ndarray, negatives: np.ndarray) -> float:
        """The value of one class, from weights at each score, falling."""

    @override
    def value(self, *state: np.ndarray) -> Value:
        curves = self._curves(state[0])
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

    >>> metric = AUROC(task="binary")
    >>> metric.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> metric.compute()
    0.75
    """

    key = "auroc"

    @override
    def area(self, positives: np.ndarray, negatives: np.ndarray) -> float:
        pairs = positives.sum() * negatives.sum()
        if pairs == 0:
            return math.nan
        below = negatives.sum() - np.cumsum(negatives)
        return float((positives * (below + negatives / 2)).sum() / pairs)


@final
class AveragePrecision(Ranking):
    """Precision averaged over recall, Σ (R_n − R_{n−1}) P_n, thresholds falling.

    In [0, 1]; a random order gives the share of positives.
    Undefined where a class has no positives.

    >>> metric = AveragePrecision(task="binary")
    >>> metric.update(torch.tensor([0.1, 0.4, 0.35, 0.8]), torch.tensor([0, 0, 1, 1]))
    >>> metric.compute()
    0.833...
    """

    key = "average_precision"

    @override
    def area(self, positives: np.ndarray, negatives: np.ndarray) -> float:
        if positives.sum() == 0:
            return math.nan
        hits = np.cumsum(positives)
        predicted = hits + np.cumsum(negatives)
        filled = predicted > 0
        precision = hits[filled] / predicted[filled]
        return float((positives[filled] * precision).sum() / hits[-1])


def _curve(
    scores: np.ndarray, positive: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of positives and negatives at each distinct score, falling."""
    kept = weights > 0
    scores, positive, weights = scores[kept], positive[kept], weights[kept]
    distinct, place = np.unique(-scores, return_inverse=True)
    place = place.reshape(-1)
    return (
        np.bincount(place, weights * positive, len(distinct)),
        np.bincount(place, weights * ~positive, len(distinct)),
    )
