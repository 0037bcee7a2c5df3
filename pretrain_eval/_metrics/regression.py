"""Metrics of predicted numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metric import DeferredMetric, Value


class Residuals(DeferredMetric):
    """A metric that reads the sums of residuals and of targets, in float64.

    `outputs` and `targets` have one shape, `(num_samples, ...)`.
    """

    def __init__(self) -> None:
        self._sums: Tensor | None = None

    @override
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        if outputs.shape != targets.shape:
            raise ValueError(
                f"{self.key} expects outputs and targets of one shape, got"
                f" {tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        outputs, targets = outputs.detach().double(), targets.double()
        sums = torch.stack(
            [
                torch.full_like(targets.sum(), targets.numel()),
                (outputs - targets).square().sum(),
                targets.sum(),
                targets.square().sum(),
            ]
        )
        self._sums = sums if self._sums is None else self._sums + sums

    @override
    def reset(self) -> None:
        self._sums = None

    @override
    def state(self) -> Sequence[Tensor]:
        if self._sums is None:
            raise RuntimeError(f"{self.key} has seen no batch since its last reset")
        return [self._sums]


@final
class MeanSquaredError(Residuals):
    """Mean of (output − target)² over all entries; lower is better.

    >>> metric = MeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    2.0
    """

    key = "mse"

    @override
    def value(self, *state: np.ndarray) -> Value:
        count, residual, _, _ = state[0]
        return float(residual / count)


@final
class R2Score(Residuals):
    """1 − Σ(output − target)² / Σ(target − mean target)²; 1 is perfect, 0 is the mean.

    All entries are pooled. NaN where the targets are constant.

    >>> metric = R2Score()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    >>> metric.compute()
    0.5
    """

    key = "r2"

    @override
    def value(self, *state: np.ndarray) -> Value:
        count, residual, total, squares = state[0]
        spread = squares - total**2 / count
        return float(1 - residual / spread) if spread > 0 else float("nan")
