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
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.loss import MeanOfSamples
from pretrain_eval._metrics.predictions.moments import (
    Moments,
    OfMoments,
    is_constant,
)
from pretrain_eval._metrics.predictions.shapes import require_real, spread_weights

# What a target of 0 counts as where it is divided by, as in scikit-learn.
EPSILON = torch.finfo(torch.float64).eps


@final
@dataclass(frozen=True)
class ResidualCounter(SumCounter):
    """Entries, Σr², Σ|r| with r = output − target, and Σ|r/t|, in float64."""

    size = 4 + FLAGS
    said = Words(targets="targets are NaN or infinite")

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        require_real(outputs, targets)
        targets = targets.detach().double().reshape(-1)
        residuals = outputs.detach().double().reshape(-1) - targets
        if weights is None:
            weights = torch.ones_like(targets)
        else:
            weights = spread_weights(weights, outputs).double()
            # What weighs nothing may be NaN: it is not counted.
            targets = targets.where(weights != 0, 0.0)
            residuals = residuals.where(weights != 0, 0.0)
        bad_targets = ~targets.isfinite()
        bad_outputs = ~residuals.isfinite() & ~bad_targets
        # What is flagged adds nothing; a sum that overflows stays infinite.
        residuals = residuals.where(residuals.isfinite(), 0.0)
        columns = (
            weights,
            residuals**2 * weights,
            residuals.abs() * weights,
            residuals.abs() / targets.abs().clamp_min(EPSILON) * weights,
        )
        sums = torch.stack(columns).sum(1)
        flags = Flags(targets=bad_targets, outputs=bad_outputs)
        return flags.behind(sums, weights != 0)


class Residuals(MeanOfSamples):
    """A mean of residuals over entries; outputs and targets have one shape."""

    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, math.inf)

    def __init__(self) -> None:
        super().__init__(ResidualCounter())


@final
class MeanSquaredError(Residuals):
    """Mean of (output − target)² over all entries, at least 0; lower is better.

    Infinite where the sum of squares overflows float64.

    >>> import torch
    >>> metric = MeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    2.0
    """

    key = "mse"
    place = 1


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
    place = 2


@final
class MeanAbsolutePercentageError(Residuals):
    """Mean of abs(output − target) / abs(target) over all entries; lower is better.

    A share, not percent: 0.1 is an error of a tenth. At least 0; a target of 0 counts
    as one of 2⁻⁵², as in scikit-learn, and makes the value enormous.

    >>> import torch
    >>> metric = MeanAbsolutePercentageError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    0.25
    """

    key = "mape"
    place = 3


@final
class RootMeanSquaredError(OfMoments):
    """√(mean of (output − target)²), at least 0; lower is better.

    Infinite where the sum of squares overflows float64.

    Args:
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> metric = RootMeanSquaredError()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.compute()
    1.414...
    """

    key = "rmse"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, math.inf)
    reason = "every weight is 0"

    @override
    def of_outputs(self, moments: Moments) -> np.ndarray:
        return (moments.residual / moments.weight).sqrt().numpy()


@final
class R2Score(OfMoments):
    """1 − Σ(output − target)² / Σ(target − mean target)²; 1 is perfect, 0 is the mean.

    NaN, with a warning, where the targets of an output are constant, or their squares
    overflow float64.

    Args:
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> metric = R2Score()
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    >>> metric.compute()
    0.5
    """

    key = "r2"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (-math.inf, 1.0)
    reason = "the targets are constant, or their squares overflow"

    @override
    def of_outputs(self, moments: Moments) -> np.ndarray:
        spread = moments.of_targets
        constant = is_constant(spread, moments.weight, moments.targets)
        spread = spread.where(~constant & spread.isfinite(), torch.nan)
        return formulas.r2(moments.residual.numpy(), spread.numpy())
