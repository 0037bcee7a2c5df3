"""Metrics of predicted numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Flags, SumCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.shapes import require_one_shape, spread_weights


@final
@dataclass(frozen=True)
class ResidualCounter(SumCounter):
    """Entries, Σr², Σ|r|, Σt and Σt² with r = output − target, in float64."""

    @property
    @override
    def size(self) -> int:
        return 5 + FLAGS

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        require_one_shape(outputs, targets)
        if outputs.is_complex() or targets.is_complex():
            raise TypeError(f"expected real numbers, got {outputs.dtype}")
        targets = targets.detach().double().reshape(-1)
        residuals = outputs.detach().double().reshape(-1) - targets
        if weights is None:
            weights = torch.ones_like(targets)
        else:
            weights = spread_weights(weights, outputs).double()
            # What weighs nothing may be NaN: it is not counted.
            targets = targets.where(weights != 0, 0.0)
            residuals = residuals.where(weights != 0, 0.0)
        columns = (
            weights,
            residuals**2 * weights,
            residuals.abs() * weights,
            targets * weights,
        )
        squares = (targets**2 * weights).sum()
        sums = torch.cat((torch.stack(columns).sum(1), squares[None]))
        bad_targets = ~targets.isfinite()
        bad_outputs = ~residuals.isfinite() & ~bad_targets
        flags = Flags(targets=bad_targets, outputs=bad_outputs)
        return flags.behind(sums.where(sums.isfinite(), 0.0), weights != 0)

    @override
    def words(self, counts: np.ndarray) -> Words:
        return Words(targets="targets are NaN or infinite")


class Residuals(CountedMetric):
    """A metric of sums of residuals; outputs and targets have one shape."""

    def __init__(self) -> None:
        super().__init__(ResidualCounter())


@final
class MeanSquaredError(Residuals):
    """Mean of (output − target)² over all entries, at least 0; lower is better.

    >>> import torch
    >>> metric = MeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    2.0
    """

    key = "mse"
    higher_is_better = False
    bounds = (0.0, math.inf)

    @override
    def formula(self, sums: np.ndarray) -> Value:
        count, squared, *_ = sums
        return float(squared / self.require_samples(count))


@final
class MeanAbsoluteError(Residuals):
    """Mean of abs(output − target) over all entries, at least 0; lower is better.

    >>> import torch
    >>> metric = MeanAbsoluteError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    1.0
    """

    key = "mae"
    higher_is_better = False
    bounds = (0.0, math.inf)

    @override
    def formula(self, sums: np.ndarray) -> Value:
        count, _, absolute, *_ = sums
        return float(absolute / self.require_samples(count))


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
    higher_is_better = True
    bounds = (-math.inf, 1.0)

    @override
    def formula(self, sums: np.ndarray) -> Value:
        count, squared, _, total, squares = sums
        self.require_samples(count)
        return formulas.r2(count, squared, total, squares)
