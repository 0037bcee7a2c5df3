"""What one optimizer step does: the gradient it reads, the movement it makes."""

from __future__ import annotations

from typing import Literal, final

import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.step_metric import StepMetric, record_unknown
from pretrain_eval._steps import Per, Statistic, Step


def _ratio(moved: Tensor, were: Tensor) -> Tensor:
    return (moved / were).sqrt()


def _cosine(products: Tensor, gradients: Tensor, parameters: Tensor) -> Tensor:
    return (products / gradients.sqrt() / parameters.sqrt()).clamp(-1, 1)


def _zero_share(nonzero: Tensor, entries: Tensor) -> Tensor:
    return (entries - nonzero) / entries


@final
class GradNorm(StepMetric):
    """Norm of the gradient that the optimizer reads, over all its parameters.

    ‖g‖₂ = √Σg², or the sum of absolute entries, ‖g‖₁ = Σ|g|, under the key `grad_norm_1`.
    The largest entry, ‖g‖∞, is `GradQuantile(1.0)`.

    After clipping and unscaling, where the loop clips and scales. Parameters without
    a gradient count as zero. With a closure, the gradient of its first evaluation,
    which is the one at θ_t.

    Args:
        ord: 2 or 1.
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    Raises:
        ValueError: The norm is neither of the two.

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

    def __init__(
        self,
        ord: Literal[1, 2] = 2,
        *,
        statistic: Statistic = "mean",
        per: Per | None = None,
    ) -> None:
        super().__init__(statistic=statistic, per=per)
        if ord not in (1, 2):
            raise ValueError(
                f"ord must be 1 or 2, got {ord!r}; GradQuantile(1.0) is the largest entry"
            )
        self.ord = ord
        if ord == 1:
            self.key = "grad_norm_1"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("gradient" if self.ord == 2 else "magnitude")

    @override
    def after_step(self, step: Step) -> None:
        if self.ord == 2:
            self.record_sums(step, torch.sqrt, "gradient")
        else:
            self.record_sums(step, torch.Tensor.clone, "magnitude")


@final
class ZeroGradShare(StepMetric):
    """Share of the gradient's entries that are exactly zero, in [0, 1].

    Weights that this batch taught nothing: behind a ReLU that is never active, or of
    words that do not occur. A parameter without a gradient counts with all its entries,
    so that it does not matter whether `zero_grad` sets gradients to zero or to None.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := ZeroGradShare()).attach(optimizer):
    ...     weight[0].square().backward()
    ...     optimizer.step()
    >>> metric.compute()
    0.5
    """

    key = "zero_grad_share"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("nonzero")

    @override
    def after_step(self, step: Step) -> None:
        counts = step.nonzero_counts
        sizes = torch.tensor([p.numel() for p in step.parameters], dtype=counts.dtype)
        entries = sizes.to(counts.device, non_blocking=True)
        self.record_sums(step, _zero_share, counts, entries)


@final
class GradParameterCosine(StepMetric):
    """Cosine of gradient and parameters, ⟨g, θ_t⟩ / (‖g‖₂ ‖θ_t‖₂), in [−1, 1].

    Where it is negative, a step against the gradient makes the weights longer; it is 0
    where their length changes no output, as before a normalisation. NaN where gradient
    or parameters are all zero.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := GradParameterCosine()).attach(optimizer):
    ...     weight[0].square().backward()
    ...     optimizer.step()
    >>> round(metric.compute(), 6)
    0.6
    """

    key = "grad_param_cosine"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("gradient", "parameter", "product")

    @override
    def after_step(self, step: Step) -> None:
        sizes = step.gradient_squares, step.parameter_squares
        self.record_sums(step, _cosine, step.gradient_products, *sizes)


@final
class UpdateNorm(StepMetric):
    """Size of one update, ‖θ_{t+1} − θ_t‖₂ over all parameters.

    The real movement of the weights: momentum, weight decay and the optimizer's
    preconditioning count.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := UpdateNorm()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> round(metric.compute(), 6)
    1.0
    """

    key = "update_norm"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("update")

    @override
    def after_step(self, step: Step) -> None:
        self.record_sums(step, torch.sqrt, "update")


@final
class ParameterNorm(StepMetric):
    """Size of what the step started from, ‖θ_t‖₂ over all parameters.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := ParameterNorm()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.compute()
    5.0
    """

    key = "param_norm"

    @override
    def before_step(self, step: Step) -> None:
        step.keep("parameter")

    @override
    def after_step(self, step: Step) -> None:
        self.record_sums(step, torch.sqrt, "parameter")


@final
class UpdateRatio(StepMetric):
    """Relative size of one update, ‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂.

    Infinite where all parameters were zero and one moved, NaN where none moved.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

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
        step.keep("update", "parameter")

    @override
    def after_step(self, step: Step) -> None:
        self.record_sums(step, _ratio, "update", "parameter")


@final
class GradNormBeforeClipping(StepMetric):
    """Norm of the gradient before it was clipped, ‖g‖₂ over what was clipped.

    Clip by the handle's `clip_grad_norm_`, hand the norm over by its `hand_over`, or let
    its `before_clipping` read the gradients, as the callback for Lightning does. A step
    before which nothing of that happened is NaN, and the first one warns.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Means nothing here: the value has no parts.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := GradNormBeforeClipping()).attach(optimizer) as steps:
    ...     weight.square().sum().backward()
    ...     _ = steps.clip_grad_norm_([weight], max_norm=1.0)
    ...     optimizer.step()
    >>> metric.compute()
    10.0
    """

    key = "grad_norm_before_clipping"
    reads_clipping = True

    @override
    def after_step(self, step: Step) -> None:
        if step.clippings:
            self.record(step, step.clipping_squares.sum().sqrt())
        else:
            _unseen(self, step)


@final
class Clipped(StepMetric):
    """Share of the steps whose gradient was made smaller by clipping, in [0, 1].

    Clipping is seen as by `GradNormBeforeClipping`, and a step without it is NaN alike.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Means nothing here: the value has no parts.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := Clipped()).attach(optimizer) as steps:
    ...     weight.square().sum().backward()
    ...     for max_norm in (20.0, 1.0):
    ...         _ = steps.clip_grad_norm_([weight], max_norm)
    ...         optimizer.step()
    >>> metric.compute()
    0.5
    """

    key = "clipped"
    reads_clipping = True

    @override
    def after_step(self, step: Step) -> None:
        if not step.clippings:
            _unseen(self, step)
            return
        flags = [each.clipped.reshape(()).double() for each in step.clippings]
        self.record(step, torch.stack(flags).amax())


def _unseen(metric: StepMetric, step: Step) -> None:
    """Record NaN for a step whose clipping nobody has seen; warn of the first."""
    record_unknown(
        metric,
        step,
        f"no clipping was seen before step {step.number}; clip by the handle that attach"
        " returns, steps.clip_grad_norm_(parameters, max_norm), or tell it of yours"
        " before: steps.before_clipping(parameters, max_norm)",
    )


@final
class Skipped(StepMetric):
    """Share of the steps that a gradient scaler made the optimizer skip, in [0, 1].

    Only fused optimizers skip by themselves; GradScaler does not even call another
    one's `step`, and what is not called is no step here.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Means nothing here: the value has no parts.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := Skipped()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.compute()
    0.0
    """

    key = "skipped"
    counts_skipped = True

    @override
    def after_step(self, step: Step) -> None:
        flag = torch.zeros(()) if step.skipped is None else step.skipped
        self.record(step, flag.double())


@final
class LearningRate(StepMetric):
    """The first parameter group's learning rate; the others' as parts `group 1`, ....

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Means nothing here: the parts are groups.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.5)
    >>> with (metric := LearningRate()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.compute()
    0.5
    """

    key = "learning_rate"

    @override
    def after_step(self, step: Step) -> None:
        groups = [group for o in step.optimizers for group in o.param_groups]
        rates = [torch.as_tensor(group["lr"], dtype=torch.float64) for group in groups]
        names = ("", *(f"group {index}" for index in range(1, len(groups))))
        self.record(step, torch.stack([rate.reshape(()) for rate in rates]), names)
