"""Metrics of predicted numbers."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, SumCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.shapes import (
    flags,
    require_one_shape,
    spread_weights,
)


@final
@dataclass(frozen=True)
class ResidualCounter(SumCounter):
    """Entries, Σr², Σ|r|, Σt and Σt² with r = output − target, in float64."""

    @property
    @override
    def size(self) -> int:
        return 5 + FLAGS

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        require_one_shape(outputs, targets)
        if outputs.is_complex() or targets.is_complex():
            raise TypeError(f"expected real numbers, got {outputs.dtype}")
        targets = targets.detach().double().reshape(-1)
        residuals = outputs.detach().double().reshape(-1) - targets
        each = torch.ones_like(targets)
        if weights is not None:
            each = spread_weights(weights, outputs).double()
            # What weighs nothing may be NaN: it is not counted.
            targets = targets.where(each != 0, 0.0)
            residuals = residuals.where(each != 0, 0.0)
        columns = torch.stack(
            (each, residuals**2 * each, residuals.abs() * each, targets * each)
        )
        sums = torch.cat((columns.sum(1), (targets**2 * each).sum()[None]))
        bad_targets = ~targets.isfinite()
        bad_outputs = ~residuals.isfinite() & ~bad_targets
        wrong = flags(each != 0, bad_targets, None, None, bad_outputs)
        return torch.cat((sums.where(sums.isfinite(), 0.0), wrong))

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        bad = counts[-FLAGS:].astype(int)
        return (
            f"{bad[0]} targets are NaN or infinite",
            "",
            "",
        )


class Residuals(CountedMetric):
    """A metric of sums of residuals; outputs and targets have one shape."""

    def __init__(self) -> None:
        super().__init__(ResidualCounter())


@final
class MeanSquaredError(Residuals):
    """Mean of (output − target)² over all entries; lower is better.

    >>> import torch
    >>> metric = MeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    2.0
    """

    key = "mse"

    @override
    def value(self, *state: np.ndarray) -> Value:
        return float(state[0][1] / self.require_samples(state[0][0]))


@final
class MeanAbsoluteError(Residuals):
    """Mean of abs(output − target) over all entries; lower is better.

    >>> import torch
    >>> metric = MeanAbsoluteError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    1.0
    """

    key = "mae"

    @override
    def value(self, *state: np.ndarray) -> Value:
        return float(state[0][2] / self.require_samples(state[0][0]))


@final
class R2Score(Residuals):
    """1 − Σ(output − target)² / Σ(target − mean target)²; 1 is perfect, 0 is the mean.

    All entries are pooled. NaN, with a warning, where the targets are constant, or so
    close to it (a spread of 1e-6 of their size) that float64 sums cannot tell.

    >>> import torch
    >>> metric = R2Score()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    >>> metric.compute()
    0.5
    """

    key = "r2"

    @override
    def value(self, *state: np.ndarray) -> Value:
        count, residual, _, total, squares = state[0][:-FLAGS]
        self.require_samples(count)
        spread = squares - total**2 / count
        # Sums of squares round at about 1e-16 of their size an entry.
        if spread <= 1e-12 * squares:
            warnings.warn("r2 is undefined: the targets are constant", stacklevel=2)
            return math.nan
        return float(1 - residual / spread)
