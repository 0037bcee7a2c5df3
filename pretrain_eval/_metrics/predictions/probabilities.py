"""Scores of a batch as rows of probabilities, one row a sample."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain_eval._metrics.predictions.shapes import (
    Kind,
    Scores,
    class_dimension,
    require_integers,
    require_kind,
    require_one_shape,
    spread_weights,
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
        outputs = outputs.detach()
        if self.task == "multiclass":
            require_integers(targets, "targets")
            dim = class_dimension(outputs, targets, self.class_dim)
            if dim is None:
                raise ValueError(
                    "expected scores with a class dimension, got outputs and targets of"
                    f" shape {tuple(outputs.shape)}"
                )
            scores = outputs.movedim(dim, -1).reshape(-1, outputs.shape[dim])
            num_classes = scores.shape[1]
            shape: tuple[int, ...] = (-1,)
        else:
            if self.task == "binary" and outputs.shape == (*targets.shape, 1):
                outputs = outputs.squeeze(-1)
            require_one_shape(outputs, targets)
            targets = zeros_and_ones(targets)
            shape = (-1,) if self.task == "binary" else tuple(targets.shape)
            scores, num_classes = outputs.reshape(-1, *outputs.shape[1:]), 2
            if self.task == "binary":
                scores = outputs.reshape(-1, 1)
        if not scores.is_floating_point():
            raise TypeError(f"scores must be floats, got {outputs.dtype}")
        each = torch.ones(targets.shape, dtype=torch.float64, device=targets.device)
        if weights is not None:
            each = spread_weights(weights, targets).double().view(targets.shape)
        if self.ignore_index is not None:
            each = each.where(targets != self.ignore_index, 0.0)
        each, targets = each.reshape(shape), targets.reshape(shape).long()
        fits = (targets >= 0) & (targets < num_classes)
        wide = scores.double() if scores.dtype is torch.float64 else scores.float()
        truth = torch.where(fits, targets.to(wide.dtype), torch.inf)
        # What weighs nothing may be anything.
        truth = truth.where(each != 0, 0.0)
        scores = self._probabilities(wide)
        heavy = each[:, None] if each.ndim < scores.ndim else each
        return scores.where(heavy != 0, 0.5), truth, each

    def _probabilities(self, scores: Tensor) -> Tensor:
        finite = torch.where(scores.isfinite(), scores, torch.nan)
        if self.scores is None:
            return finite
        require_kind(scores, self.scores)
        if self.scores == "logits":
            return finite.softmax(1) if self.task == "multiclass" else finite.sigmoid()
        fits = (scores >= 0) & (scores <= 1)
        if self.task == "multiclass":
            # Probabilities that were computed in half precision sum to 1 ± 1 %.
            fits &= ((scores.sum(1) - 1).abs() < 0.01)[:, None]
        return torch.where(fits | finite.isnan(), finite, torch.inf)
