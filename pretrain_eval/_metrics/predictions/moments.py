"""Sizes, means and spreads of outputs and targets, which merge without cancelling."""

from __future__ import annotations

import math
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import Held, OneRowCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.formulas import undefined
from pretrain_eval._metrics.predictions.shapes import (
    check_choice,
    require_real,
    spread_weights,
)

# How the values of several outputs become one.
Outputs = Literal["uniform", "pooled", "none"]

# What stands in front of the moments: how many targets and outputs are not finite.
NUM_FLAGS = 2


class Moments(NamedTuple):
    """Weighted moments, a column for each output of a sample.

    Attributes:
        weight: Sum of weights.
        outputs: Mean output.
        targets: Mean target.
        of_outputs: Σ (output − mean)².
        of_targets: Σ (target − mean)².
        of_both: Σ (output − mean) (target − mean).
        residual: Σ (output − target)².
        rest_of_outputs: What the mean output is beyond float64's rounding of it.
        rest_of_targets: The same of the mean target.
    """

    weight: Tensor
    outputs: Tensor
    targets: Tensor
    of_outputs: Tensor
    of_targets: Tensor
    of_both: Tensor
    residual: Tensor
    rest_of_outputs: Tensor
    rest_of_targets: Tensor

    @classmethod
    def of(cls, outputs: Tensor, targets: Tensor, weights: Tensor) -> Moments:
        """Those of `(num_samples, num_outputs)`; what weighs nothing is finite."""
        weight = weights.sum(0)
        divisor = weight.where(weight > 0, 1.0)
        # Relative to a sample that counts, a far offset costs no digits of the mean.
        means, rests, apart = [], [], []
        for values in (outputs, targets):
            first = _first(values, weights)
            near = values - first
            beyond = (near * weights).sum(0) / divisor
            mean, rest = _exact_sum(first, beyond)
            means.append(mean.where(weight > 0, 0.0))
            rests.append(rest.where(weight > 0, 0.0))
            apart.append(near - beyond)
        return cls(
            weight,
            means[0],
            means[1],
            (apart[0].square() * weights).sum(0),
            (apart[1].square() * weights).sum(0),
            (apart[0] * apart[1] * weights).sum(0),
            ((outputs - targets).square() * weights).sum(0),
            *rests,
        )

    def plus(self, other: Moments) -> Moments:
        """Those of both, by Chan, Golub and LeVeque's update (1979)."""
        weight = self.weight + other.weight
        share = other.weight / weight.where(weight > 0, 1.0)
        between = self.weight * share
        # Means far from 0 may be nearer to each other than float64 tells numbers apart.
        outputs = other.outputs - self.outputs
        outputs = outputs + (other.rest_of_outputs - self.rest_of_outputs)
        targets = other.targets - self.targets
        targets = targets + (other.rest_of_targets - self.rest_of_targets)
        mean_output, output_rest = _exact_sum(self.outputs, outputs * share)
        mean_target, target_rest = _exact_sum(self.targets, targets * share)
        # What has counted nothing so far has no mean to start from.
        begins = self.weight == 0
        return Moments(
            weight,
            torch.where(begins, other.outputs, mean_output),
            torch.where(begins, other.targets, mean_target),
            self.of_outputs + other.of_outputs + outputs.square() * between,
            self.of_targets + other.of_targets + targets.square() * between,
            self.of_both + other.of_both + outputs * targets * between,
            self.residual + other.residual,
            torch.where(
                begins, other.rest_of_outputs, self.rest_of_outputs + output_rest
            ),
            torch.where(
                begins, other.rest_of_targets, self.rest_of_targets + target_rest
            ),
        )

    def pooled(self) -> Moments:
        """Those of all outputs as one."""
        weight = self.weight.sum()
        share = self.weight / weight.where(weight > 0, 1.0)
        origins = self.outputs[:1].sum(), self.targets[:1].sum()
        near = (
            self.outputs - origins[0] + self.rest_of_outputs,
            self.targets - origins[1] + self.rest_of_targets,
        )
        beyond = [(share * each).sum() for each in near]
        apart = [each - mean for each, mean in zip(near, beyond, strict=True)]
        pooled = (
            weight,
            origins[0] + beyond[0],
            origins[1] + beyond[1],
            (self.of_outputs + apart[0].square() * self.weight).sum(),
            (self.of_targets + apart[1].square() * self.weight).sum(),
            (self.of_both + apart[0] * apart[1] * self.weight).sum(),
            self.residual.sum(),
            torch.zeros_like(weight),
            torch.zeros_like(weight),
        )
        return Moments(*(each[None] for each in pooled))


def _first(values: Tensor, weights: Tensor) -> Tensor:
    """The first one of each column that counts."""
    if not len(values):
        return values.sum(0)
    place = (weights != 0).to(torch.uint8).argmax(0, keepdim=True)
    return values.gather(0, place)[0]


def _exact_sum(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The sum, and what its rounding left out (Knuth's TwoSum)."""
    total = first + second
    part = total - first
    return total, (first - (total - part)) + (second - part)


def _total(many: list[Moments]) -> Moments:
    total = many[0]
    for each in many[1:]:
        total = total.plus(each)
    return total


@final
@dataclass(frozen=True)
class MomentCounter(OneRowCounter):
    """Keeps one row a process: flags, then the moments of each output.

    Rows travel as they are, since moments around different means do not add up.
    """

    entries = "outputs"
    num_flags = NUM_FLAGS

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        require_real(outputs, targets)
        if weights is None:
            weights = torch.ones(targets.shape, device=targets.device)
        else:
            weights = spread_weights(weights, targets).view(targets.shape)
        outputs, targets, weights = (
            each.detach().double().reshape(len(each), math.prod(each.shape[1:]))
            for each in (outputs, targets, weights)
        )
        kept = weights != 0
        bad_targets = kept & ~targets.isfinite()
        bad_outputs = kept & ~outputs.isfinite() & ~bad_targets
        good = kept & targets.isfinite() & outputs.isfinite()
        outputs, targets = outputs.where(good, 0.0), targets.where(good, 0.0)
        moments = Moments.of(outputs, targets, weights)
        flags = torch.stack((bad_targets.sum(), bad_outputs.sum())).double()
        return torch.cat((flags, *moments))[None]

    @override
    def add(self, counts: Held | None, batch: Held) -> Held:
        if counts is None:
            return batch
        own, new = self.whole(counts), self.whole(batch)
        if own.shape[1] != new.shape[1]:
            raise ValueError(
                f"this batch has {num_outputs(new)} outputs a sample, the ones before"
                f" it have {num_outputs(own)}"
            )
        own = own.to(new.device)
        flags = own[:, :NUM_FLAGS] + new[:, :NUM_FLAGS]
        moments = moments_of(own).plus(moments_of(new))
        return (torch.cat((flags[0], *moments))[None],)

    @override
    def check(self, counts: np.ndarray) -> None:
        num_bad = int(counts[:, 0].sum())
        if num_bad:
            raise ValueError(f"{num_bad} targets are NaN or infinite")

    @override
    def num_unknown(self, counts: np.ndarray) -> int:
        return int(counts[:, 1].sum())


def num_outputs(rows: Tensor) -> int:
    """How many outputs a sample has."""
    return (rows.shape[1] - NUM_FLAGS) // len(Moments._fields)


def moments_of(rows: Tensor | np.ndarray) -> Moments:
    """The moments of all rows, whichever process sent them."""
    rows = torch.as_tensor(rows)
    each = rows[:, NUM_FLAGS:].reshape(len(rows), len(Moments._fields), -1)
    return _total([Moments(*row) for row in each])


class OfMoments(CountedMetric):
    """A metric of the moments of each output.

    Args:
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.
    """

    #: Why a value is undefined.
    reason: ClassVar[str] = ""

    def __init__(self, *, average: Outputs = "uniform") -> None:
        super().__init__(MomentCounter())
        check_choice("average", average, "uniform", "pooled", "none")
        self._average = average

    @abstractmethod
    def of_outputs(self, moments: Moments) -> np.ndarray:
        """One value an output, NaN where it is undefined."""

    @final
    @override
    def formula(self, sums: np.ndarray) -> Value:
        moments = moments_of(sums)
        self.require_samples(float(moments.weight.numpy().sum()))
        if self._average == "pooled":
            moments = moments.pooled()
        # Where nothing is known of the outputs, that has been said.
        reason = None if sums[:, 1].any() else self.reason
        return averaged(self.of_outputs(moments), self._average, self.key, reason)


def averaged(
    values: np.ndarray, average: Outputs, key: str, reason: str | None
) -> Value:
    """The values of several outputs as one, or each.

    Args:
        values: One an output, NaN where it is undefined.
        average: "none" for each.
        key: Of the metric.
        reason: Why a value is undefined, to warn of it; None where that is known.
    """
    missing = np.flatnonzero(np.isnan(values)).tolist()
    if missing and reason is not None:
        of = f" of outputs {missing}" if len(values) > 1 else ""
        undefined(key, f"{reason}{of}")
    return tuple(values.tolist()) if average == "none" else float(values.mean())


def is_constant(spread: Tensor, weight: Tensor, mean: Tensor) -> Tensor:
    """Whether a spread is the rounding of one number: 1e-14 of its size, or none."""
    return spread <= 1e-28 * weight * mean.square()
