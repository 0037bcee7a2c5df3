"""Metrics of whether confidence is what it claims."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, SumCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.probabilities import ScoreRows
from pretrain_eval._metrics.predictions.shapes import Kind, Scores, flags


@final
@dataclass(frozen=True)
class ConfidenceCounter(SumCounter):
    """Samples, their confidence and their hits in each bin of confidence."""

    reader: ScoreRows
    bins: int

    @property
    @override
    def size(self) -> int:
        return 3 * self.bins + FLAGS

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        scores, truth, each = self.reader.rows(outputs, targets, weights)
        if self.reader.task == "binary":
            confidence, hit = scores[:, 0], truth == 1
        else:
            confidence, predicted = scores.max(1)
            hit = predicted == truth
        improper, infinite = confidence.isinf(), confidence.isnan()
        confidence = confidence.nan_to_num(0.0, 0.0).double()
        # Bins are open on the left: (0, 1/n], (1/n, 2/n], ...
        place = ((confidence * self.bins).ceil().long() - 1).clamp(0, self.bins - 1)
        sums = torch.zeros(
            3, self.bins, dtype=torch.float64, device=confidence.device
        ).scatter_add_(
            1, place.expand(3, -1), torch.stack((each, each * confidence, each * hit))
        )
        wrong = flags(each != 0, truth.isinf(), None, improper, infinite)
        return torch.cat((sums.reshape(-1), wrong.double()))

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        bad = counts[-FLAGS:].astype(int)
        return (
            f"{bad[0]} targets are out of range",
            "",
            f"{bad[2]} rows of scores were declared as probabilities and are none",
        )


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

    >>> metric = CalibrationError(scores="probabilities", task="binary", num_bins=2)
    >>> metric.update(torch.tensor([0.25, 0.75, 0.75]), torch.tensor([0, 1, 1]))
    >>> metric.compute()
    0.25
    """

    key = "calibration_error"

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
        if scores not in ("logits", "probabilities"):
            raise ValueError(
                f"scores must be 'logits' or 'probabilities', got {scores!r}"
            )
        if num_bins < 1:
            raise ValueError(f"num_bins must be positive, got {num_bins}")
        reader = ScoreRows(task, scores, ignore_index, class_dim)
        super().__init__(ConfidenceCounter(reader, num_bins))

    @override
    def value(self, *state: np.ndarray) -> Value:
        each, confidence, hits = state[0][:-FLAGS].reshape(3, -1)
        total = self.require_samples(each.sum())
        return float(np.abs(hits - confidence).sum() / total)

    def bins(self) -> dict[str, tuple[float, ...]]:
        """Samples, mean confidence and accuracy of each bin, NaN of empty ones."""
        each, confidence, hits = self.state()[0].cpu().numpy()[:-FLAGS].reshape(3, -1)
        means = np.full((2, len(each)), np.nan)
        np.divide((confidence, hits), each, out=means, where=each > 0)
        return {
            "num_samples": tuple(each.tolist()),
            "confidence": tuple(means[0].tolist()),
            "accuracy": tuple(means[1].tolist()),
        }
