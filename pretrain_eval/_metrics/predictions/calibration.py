"""Metrics of whether confidence is what it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Flags, SumCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.probabilities import ScoreRows
from pretrain_eval._metrics.predictions.shapes import Kind, Scores, check_scores
from pretrain_eval._metrics.sync import fetch_counts


@final
@dataclass(frozen=True)
class ConfidenceCounter(SumCounter):
    """Samples, their confidence and their hits in each bin of confidence."""

    reader: ScoreRows
    num_bins: int

    said = Words(probabilities=f"rows of {Words().probabilities}")

    @property
    @override
    def size(self) -> int:
        return 3 * self.num_bins + FLAGS

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        scores, truth, weights = self.reader.rows(outputs, targets, weights)
        if self.reader.task == "binary":
            confidence, hit = scores[:, 0], truth == 1
        else:
            confidence, predicted = scores.max(1)
            hit = predicted == truth
        improper, infinite = confidence.isinf(), confidence.isnan()
        confidence = confidence.nan_to_num(0.0, 0.0).double()
        # Bins are open on the left: (0, 1/n], (1/n, 2/n], ...
        place = (confidence * self.num_bins).ceil().long() - 1
        place = place.clamp(0, self.num_bins - 1).expand(3, -1)
        columns = torch.stack((weights, weights * confidence, weights * hit))
        sums = columns.new_zeros(3, self.num_bins).scatter_add_(1, place, columns)
        flags = Flags(truth.isinf(), None, improper, infinite)
        return flags.behind(sums, weights != 0)

    def bins(self, sums: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Samples, Σ confidence and hits of each bin."""
        samples, confidence, hits = sums.reshape(3, -1)
        return samples, confidence, hits


@final
class CalibrationError(CountedMetric):
    """Expected calibration error, Σ_b n_b/n · abs(accuracy_b − confidence_b); 0 is honest.

    Confidence is the highest probability of a row and a hit is that class being the
    target; for a binary task it is the probability of class 1 and a hit is class 1.
    Bins are equal shares of [0, 1]. `bins()` gives what a reliability diagram shows.

    Args:
        scores: What scores are, "logits" or "probabilities".
        task: "multiclass" or "binary".
        num_bins: How many bins.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    Source: Guo et al., On Calibration of Modern Neural Networks, ICML 2017.

    >>> import torch
    >>> metric = CalibrationError(scores="probabilities", task="binary", num_bins=2)
    >>> metric.update(torch.tensor([0.25, 0.75, 0.75]), torch.tensor([0, 1, 1]))
    >>> metric.compute()
    0.25
    """

    key = "calibration_error"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        *,
        scores: Scores,
        task: Kind = "multiclass",
        num_bins: int = 15,
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        if task not in ("multiclass", "binary"):
            raise ValueError(f"{self.key} needs one class a sample, got {task!r}")
        check_scores(scores, needed=True)
        if type(num_bins) is not int or num_bins < 1:
            raise ValueError(f"num_bins must be an int of at least 1, got {num_bins!r}")
        reader = ScoreRows(task, scores, ignore_index, class_dim)
        self._confidence = ConfidenceCounter(reader, num_bins)
        super().__init__(self._confidence)

    @override
    def formula(self, sums: np.ndarray) -> Value:
        samples, confidence, hits = self._confidence.bins(sums)
        self.require_samples(samples.sum())
        return formulas.calibration_error(samples, confidence, hits)

    def bins(self) -> dict[str, tuple[float, ...]]:
        """Samples, mean confidence and accuracy of each bin, NaN of empty ones."""
        (counts,), _ = fetch_counts([self], sync=False)
        sums = self.counter.unflagged(counts)
        samples, confidence, hits = self._confidence.bins(sums)
        return {
            "num_samples": tuple(samples.tolist()),
            "confidence": tuple(formulas.divide(confidence, samples, np.nan).tolist()),
            "accuracy": tuple(formulas.divide(hits, samples, np.nan).tolist()),
        }
