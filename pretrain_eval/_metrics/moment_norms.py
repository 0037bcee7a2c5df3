"""What an optimizer remembers of gradients: the sizes of Adam's two moments."""

from __future__ import annotations

from typing import final

import torch
from typing_extensions import override

from pretrain_eval._metrics.step_metric import StepMetric, record_unknown
from pretrain_eval._steps import MOMENTS, Step


@final
class MomentNorm(StepMetric):
    """Size of the optimizer's running mean of gradients after its step, ‖m‖₂.

    `exp_avg` of Adam and its kin, not corrected for bias, or SGD's and RMSprop's
    `momentum_buffer`. Far below the gradient's norm, gradients of different steps point
    in different directions. A parameter that has had no gradient counts as zero. NaN, and
    the first time a warning, where the optimizer keeps none.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.999))
    >>> with (metric := MomentNorm()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> round(metric.compute(), 6)
    1.0
    """

    key = "moment_norm"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("moment")

    @override
    def after_step(self, step: Step) -> None:
        if _is_kept(self, step, "moment"):
            self.record_sums(step, torch.sqrt, step.moment_squares)


@final
class SecondMomentNorm(StepMetric):
    """Size of the optimizer's running mean of squared gradients after its step, ‖v‖₂.

    `exp_avg_sq` of Adam and its kin, not corrected for bias, or `square_avg` of RMSprop
    and Adadelta. It falls behind where gradients grow, and steps are then large. A
    parameter that has had no gradient counts as zero. NaN, and the first time a warning,
    where the optimizer keeps none.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 0.0]))
    >>> optimizer = torch.optim.Adam([weight], lr=0.1, betas=(0.9, 0.75))
    >>> with (metric := SecondMomentNorm()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.compute()
    9.0
    """

    key = "second_moment_norm"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("second moment")

    @override
    def after_step(self, step: Step) -> None:
        if _is_kept(self, step, "second moment"):
            self.record_sums(step, torch.sqrt, step.second_moment_squares)


def _is_kept(metric: StepMetric, step: Step, moment: str) -> bool:
    """Whether an optimizer keeps the moment; else NaN is recorded."""
    states = [s for o in step.optimizers for s in getattr(o, "state", {}).values()]
    if any(name in state for state in states for name in MOMENTS[moment]):
        return True
    names = ", ".join(type(each).__name__ for each in step.optimizers)
    record_unknown(metric, step, f"{names} keeps no {moment} of the gradient")
    return False
