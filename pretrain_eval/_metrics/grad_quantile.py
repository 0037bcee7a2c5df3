"""How large single entries of the gradient are: its quantiles, and the largest one."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, final

import torch
from torch import Tensor
from torch.optim import Optimizer
from typing_extensions import override

from pretrain_eval._metrics.step_metric import StepMetric, record_unknown
from pretrain_eval._steps import Per, Statistic, Step, is_sharded


@final
class GradQuantile(StepMetric):
    """A quantile of the absolute entries of the gradient that the optimizer reads.

    The smallest absolute entry that a share `q` of all entries does not exceed, exact:
    0.5 is the median, 1.0 the largest, ‖g‖∞. Several of them are a histogram whose bins
    hold equal shares. After clipping and unscaling, where the loop clips and scales. All
    entries of a parameter without a gradient count as zero, NaN as the largest. NaN, and
    the first time a warning, for parameters that lie in shards on several processes.

    Each measured step copies the gradients once and selects in them, some ten times the
    time of `GradNorm`: attach it with `every=`.

    Args:
        q: The share, from 0 to 1; of 0 the smallest entry is given.
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std".
        per: Besides the total, values per "parameter", per "module", per "group" of
            the optimizer, or per whatever label a function gives to a parameter's name.

    Raises:
        ValueError: q is not from 0 to 1.

    >>> import torch
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0, 0.5]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := GradQuantile(0.5)).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.key, metric.compute()
    ('grad_quantile_50', 6.0)
    """

    key = "grad_quantile"

    def __init__(
        self, q: float, *, statistic: Statistic = "mean", per: Per | None = None
    ) -> None:
        super().__init__(statistic=statistic, per=per)
        if not 0 <= q <= 1:
            raise ValueError(f"q must be from 0 to 1, 0.5 for the median, got {q!r}")
        self.q = q
        self.key = f"grad_quantile_{100 * q:g}"
        self._entries: dict[int, Tensor] = {}

    @override
    def before_step(self, step: Step) -> None:
        for parameter, entries in _absolute_entries(step.optimizers[-1]):
            self._entries[id(parameter)] = entries

    @override
    def after_step(self, step: Step) -> None:
        entries, split = self._entries, step.split(self.per)
        self._entries = {}
        known = [entries[id(p)] for p in step.parameters if id(p) in entries]
        if len(known) < len(step.parameters):
            why = "parameters lie in shards on several processes"
            record_unknown(self, step, why, split.names)
            return
        quantiles = [
            _quantile([known[place] for place in places], self.q)
            for places in split.members(len(known))
        ]
        self.record(step, torch.stack(quantiles), split.names)


def _absolute_entries(optimizer: Optimizer) -> Iterator[tuple[Tensor, Tensor]]:
    """Of each parameter that lies here as a whole, |g| in one dimension."""
    # A fused optimizer under GradScaler holds scaled gradients until its step.
    scale: Any = getattr(optimizer, "grad_scale", None)
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if is_sharded(parameter):
                continue
            gradient = parameter.grad
            if gradient is None:
                gradient = torch.zeros_like(parameter)
            entries = gradient.detach().to_dense().abs().reshape(-1)
            if entries.dtype != torch.float64:
                entries = entries.float()
            yield parameter, entries if scale is None else entries / scale


def _quantile(entries: list[Tensor], q: float) -> Tensor:
    """The smallest one that a share q does not exceed, float64."""
    device = entries[0].device
    together = torch.cat([each.to(device, non_blocking=True) for each in entries])
    if not len(together):
        return torch.full((), torch.nan, dtype=torch.float64)
    rank = max(1, math.ceil(q * len(together) * (1 - 1e-12)))
    if device.type != "cpu":
        return together.kthvalue(rank).values.double()
    values = together.numpy()
    values.partition(rank - 1)  # in place, several times as fast as torch
    return torch.tensor(float(values[rank - 1]), dtype=torch.float64)
