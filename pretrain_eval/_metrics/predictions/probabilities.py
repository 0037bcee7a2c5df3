"""Scores of a batch as rows of probabilities, one row a sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain_eval._metrics.predictions.shapes import (
    Kind,
    Scores,
    entry_weights,
    one_score,
    require_kind,
    require_one_shape,
    score_rows,
    zeros_and_ones,
)


@dataclass(frozen=True)
class ScoreRows:
    """How outputs and targets become rows.

    Attributes:
        task: "multiclass", "binary" or "multilabel".
        scores: "logits", "probabilities", or None where any order-preserving score
            will do.
        ignore_index: Rows with this target are dropped; entries of a multilabel task.
        class_dim: Where the classes of scores lie, where shapes do not tell.
    """

    task: Kind
    scores: Scores | None
    ignore_index: int | None
    class_dim: int | None

    def rows(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Scores, targets and weights.

        Scores are `(num_rows, num_classes)`, one column for a binary task; NaN where
        they are not finite, infinite where they should be probabilities and are none.
        Targets are `(num_rows,)`, or as scores are for "multilabel"; infinite where
        out of range. Weights are of the targets' shape, 0 where a row is dropped.
        """
        scores, targets, num_classes = self._read(outputs.detach(), targets)
        if not scores.is_floating_point():
            raise TypeError(f"scores must be floats, got {outputs.dtype}")
        weights = entry_weights(targets, self.ignore_index, weights)
        targets = targets.long()
        if self.task != "multilabel":
            weights, targets = weights.reshape(-1), targets.reshape(-1)
        wide = scores.double() if scores.dtype is torch.float64 else scores.float()
        fits = (targets >= 0) & (targets < num_classes)
        truth = torch.where(fits, targets.to(wide.dtype), torch.inf)
        # What weighs nothing may be anything.
        heavy = weights != 0
        scores = self._probabilities(wide)
        heavy_scores = heavy if self.task == "multilabel" else heavy[:, None]
        return scores.where(heavy_scores, 0.5), truth.where(heavy, 0.0), weights

    def _read(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, int]:
        """Rows of scores, integer targets, and how many classes these may be of."""
        if self.task == "multiclass":
            scores = score_rows(outputs, targets, self.class_dim)
            return scores, targets, scores.shape[1]
        if self.task == "binary":
            scores = one_score(outputs, targets).reshape(-1, 1)
            return scores, zeros_and_ones(targets), 2
        require_one_shape(outputs, targets)
        return outputs, zeros_and_ones(targets), 2

    def _probabilities(self, scores: Tensor) -> Tensor:
        finite = torch.where(scores.isfinite(), scores, torch.nan)
        if self.scores is None:
            return finite
        require_kind(scores, self.scores)
        if self.scores == "logits":
            return finite.softmax(1) if self.task == "multiclass" else finite.sigmoid()
        fits = (scores >= 0) & (scores <= 1)
        if self.task == "multiclass":
            fits &= sum_to_one(scores)[:, None]
        return torch.where(fits | finite.isnan(), finite, torch.inf)


def sum_to_one(scores: Tensor) -> Tensor:
    """Which rows may be probabilities."""
    # Those that were computed in half precision sum to 1 ± 1 %.
    return (scores.sum(1) - 1).abs() < 0.01
