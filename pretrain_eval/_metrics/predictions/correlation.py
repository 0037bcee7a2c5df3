"""Metrics of how outputs and targets go together, whatever their units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import RowCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.moments import (
    Moments,
    OfMoments,
    Outputs,
    averaged,
    is_constant,
)
from pretrain_eval._metrics.predictions.shapes import check_choice, require_real


@final
class PearsonCorrCoef(OfMoments):
    """Σ(o − ō)(t − t̄) / √(Σ(o − ō)² Σ(t − t̄)²), in [−1, 1]; higher is better.

    0 is no linear relation. NaN, with a warning, where outputs or targets are constant,
    or squares overflow float64.

    Args:
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> metric = PearsonCorrCoef()
    >>> metric.update(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 6.0]))
    >>> round(metric.compute(), 6)
    0.944911
    """

    key = "pearson"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (-1.0, 1.0)
    reason = "outputs or targets are constant, or their squares overflow"

    @override
    def of_outputs(self, moments: Moments) -> np.ndarray:
        constant = is_constant(
            moments.of_outputs, moments.weight, moments.outputs
        ) | is_constant(moments.of_targets, moments.weight, moments.targets)
        spreads = moments.of_outputs.sqrt() * moments.of_targets.sqrt()
        known = ~constant & spreads.isfinite() & moments.of_both.isfinite()
        values = moments.of_both / spreads.where(known, torch.nan)
        return values.clamp(-1.0, 1.0).numpy()


@final
@dataclass(frozen=True)
class PairCounter(RowCounter):
    """Keeps every sample's outputs and, behind them, as many targets."""

    entries = "outputs"
    said = Words(outputs="samples have outputs that are NaN or infinite")

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        require_real(outputs, targets)
        columns = [each.detach().double() for each in (outputs, targets)]
        if weights is not None:
            if weights.dtype != torch.bool or weights.shape != targets.shape[:1]:
                raise TypeError(
                    "ranks have no weights; a boolean mask, one entry a sample, keeps"
                    " samples"
                )
            columns = [each[weights] for each in columns]
        found, truth = (
            each.reshape(len(each), math.prod(outputs.shape[1:])) for each in columns
        )
        found = found.where(found.isfinite(), torch.nan)
        return torch.cat((found, truth.where(truth.isfinite(), torch.inf)), 1)

    @override
    def check(self, counts: np.ndarray) -> None:
        num_bad = int(np.isinf(counts).sum())
        if num_bad:
            raise ValueError(f"{num_bad} targets are NaN or infinite")


@final
class SpearmanCorrCoef(CountedMetric):
    """Pearson's correlation of ranks, in [−1, 1]; higher is better.

    Exact: every sample is kept, and equal values share the mean of their ranks. 0 is no
    monotone relation. NaN, with a warning, where outputs or targets are constant.

    Args:
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> metric = SpearmanCorrCoef()
    >>> metric.update(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 6.0, 2.0]))
    >>> metric.compute()
    0.5
    """

    key = "spearman"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (-1.0, 1.0)

    def __init__(self, *, average: Outputs = "uniform") -> None:
        super().__init__(PairCounter())
        check_choice("average", average, "uniform", "pooled", "none")
        self._average = average

    @override
    def formula(self, sums: np.ndarray) -> Value:
        self.require_samples(len(sums))
        outputs, targets = np.split(sums.T, 2)
        if self._average == "pooled":
            outputs, targets = outputs.reshape(1, -1), targets.reshape(1, -1)
        pairs = zip(outputs, targets, strict=True)
        values = np.array([formulas.spearman(*pair) for pair in pairs])
        reason = None if np.isnan(sums).any() else "outputs or targets are constant"
        return averaged(values, self._average, self.key, reason)
