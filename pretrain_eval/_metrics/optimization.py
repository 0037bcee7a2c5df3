"""What one optimizer step does: the gradient it reads, the movement it makes."""

from __future__ import annotations

from typing import final

from typing_extensions import override

from pretrain_eval._attach import Step
from pretrain_eval._metric import StepMetric


@final
class GradNorm(StepMetric):
    """Norm of the gradient that the optimizer reads, ‖g‖₂ over all its parameters.

    After clipping, where the loop clips; the mean over the steps since the last reset.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := GradNorm()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.compute()
    10.0
    """

    key = "grad_norm"

    @override
    def before_step(self, step: Step) -> None:
        self.record(step, step.gradient_norm)


@final
class UpdateRatio(StepMetric):
    """Relative size of one update, ‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂.

    The real movement of the weights: momentum, weight decay and the optimizer's
    preconditioning count. The mean over the steps since the last reset.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := UpdateRatio()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> round(metric.compute(), 6)
    0.2
    """

    key = "update_ratio"

    @override
    def before_step(self, step: Step) -> None:
        step.keep_parameters()

    @override
    def after_step(self, step: Step) -> None:
        self.record(step, step.update_ratio)
