"""What a metric of an optimizer's step is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics.metric import Metric, Value
from pretrain_eval._metrics.sync import fetch
from pretrain_eval._metrics.telling import Log, Telling
from pretrain_eval._steps import (
    Attachment,
    Formula,
    Per,
    Quantity,
    Row,
    Statistic,
    Step,
    StepLog,
    checked_per,
    checked_statistic,
    keyed,
    warn,
    watch,
    watched_step,
)

# Sums of more parameters than that are not kept: those of 256 steps would be megabytes.
_MANY = 1 << 10


class StepMetric(Metric):
    """A metric of the optimizer's step; `attach` tells it when one happens.

    A member overrides `before_step` or `after_step` and calls `record` once a step.
    What it reads of a step, `Step` documents.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their "mean",
            the "last" one's value, the largest, "max", or their spread, "std", which is
            √(Σ(x − mean)² / n). Steps that a gradient scaler made the optimizer skip are
            left out.
        per: Besides the total, values per "parameter", per "module", or per whatever
            label a function gives to a parameter's name.

    Raises:
        ValueError: The statistic is none of the four.

    >>> class LargestGradient(StepMetric):
    ...     key = "largest_gradient"
    ...
    ...     def before_step(self, step):
    ...         grads = [parameter.grad for parameter in step.parameters]
    ...         self.largest = torch.stack([grad.abs().max() for grad in grads]).max()
    ...
    ...     def after_step(self, step):
    ...         self.record(step, self.largest)
    >>> weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    >>> optimizer = torch.optim.SGD([weight], lr=0.1)
    >>> with (metric := LargestGradient()).attach(optimizer):
    ...     weight.square().sum().backward()
    ...     optimizer.step()
    >>> metric.compute()
    8.0
    """

    #: Whether skipped steps count in the statistic.
    counts_skipped: ClassVar[bool] = False
    #: Whether it needs what the handle's `clip_grad_norm_` reads.
    reads_clipping: bool = False

    def __init__(
        self, *, statistic: Statistic = "mean", per: Per | None = None
    ) -> None:
        self.statistic = checked_statistic(statistic)
        self.per = checked_per(per)
        self.log: StepLog = StepLog(counts_skipped=self.counts_skipped)

    def before_step(self, step: Step) -> None:
        """Gradients at θ_t are ready, the parameters have not moved."""

    def after_step(self, step: Step) -> None:
        """The parameters are at θ_{t+1}."""

    @final
    def record(
        self, step: Step, values: Tensor, names: tuple[str, ...] = ("",)
    ) -> None:
        """Keep the step's value.

        Args:
            step: The step.
            values: A scalar, or a vector that goes with `names`.
            names: The total's, which is empty, and those of its parts.
        """
        self.log.add(Row(step.number, names, values.reshape(-1), step.skipped))

    @final
    def record_sums(
        self, step: Step, formula: Formula, *sums: Tensor | Quantity
    ) -> None:
        """Keep the step's value in total and per part, as a formula of sums.

        It is computed for many steps at once, when somebody asks; of more than 1,024
        parameters in the step.

        Args:
            step: The step.
            formula: Of as many tensors as there are sums, each of shape
                `(num_steps, num_parts)`, makes one of that shape.
            sums: One number for each of the step's parameters, such as
                `step.gradient_squares`; or all of them by what was kept, such as
                "gradient", which takes less time.
        """
        split = step.split(self.per)
        # All of them are names, or none.
        made: tuple[Tensor, ...] = sums  # type: ignore[assignment]
        if isinstance(sums[0], str):
            made = step.sums(*sums)  # type: ignore[arg-type,assignment]
        row = Row(step.number, split.names, made, step.skipped, formula, split)
        if made[0].shape[0] > _MANY:
            self.record(step, row.values, row.names)
        else:
            self.log.add(row)

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """The measured steps' values under `key`, and their numbers under `step`.

        Parts stand under `key/part`. Where there are more than 10,000 steps, every
        second one is dropped, then every fourth, and so on.
        """
        return keyed(self.key, self.log.columns())

    @final
    @override
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """A step metric reads steps; batches mean nothing to it."""

    @final
    @override
    def __call__(self, outputs: Tensor, targets: Tensor) -> Value:
        raise TypeError(
            f"{self.key} reads steps, not batches: with metric.attach(optimizer): ..."
        )

    @override
    def compute(self, *, sync: bool = True) -> Value:
        """The statistic of the steps since the last reset.

        Args:
            sync: Means nothing to a step, which was measured with its whole gradient.
        """
        return self.value(*fetch(self.state()))

    def state(self) -> Sequence[Tensor]:
        """Tensors that hold everything since the last reset."""
        folds = self.log.folds()
        if not folds:
            raise RuntimeError(
                f"{self.key} has seen no optimizer step since its last reset; attach it"
                " before training: with metric.attach(optimizer): ..."
            )
        return folds

    def value(self, *state: np.ndarray) -> Value:
        """The value from the fetched `state`."""
        return self.parts(*state)[""]

    @final
    def parts(self, *state: np.ndarray) -> dict[str, float]:
        """The value by name, the total's being empty, from the fetched `state`."""
        return self.log.statistics(self.statistic, state)

    @override
    def reset(self) -> None:
        """Start a new window; the history stays."""
        self.log.forget_window()

    @final
    def state_dict(self) -> dict[str, Any]:
        """History and window, to be continued by a resumed training."""
        return self.log.state_dict()

    @final
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue what `state_dict` holds."""
        self.log.load_state_dict(state)

    @final
    def attach(
        self,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        model: nn.Module | None = None,
        *,
        every: int = 1,
        log: Log | None = None,
    ) -> Attachment:
        """Watch the optimizer's steps until the handle is closed.

        Args:
            optimizer: Watched, never changed. Several ones count together: a step is
                over when each of them has stepped, or one steps again.
            model: Gives the parameters their names, where the metric asks for them.
            every: Steps 1, 1 + every, 1 + 2·every, ... are measured, the others cost
                nothing. Steps of the optimizer, not batches.
            log: Called with the values of each measured step by key and its number, within
                a second, such as `integrations.trackers.tensorboard(writer)`; where it
                raises, it is called no more, and a warning says so.

        Returns:
            A context manager with `close`, and with a `clip_grad_norm_` that the
            metrics of clipping see.

        Raises:
            ValueError: The optimizer holds no parameters, the metric is attached
                already, or `every` is not positive.
            TypeError: It is no optimizer and wraps none.
        """
        tells = None if log is None else Telling({self.key: self}, log)
        return watch(optimizer, [self], model, every=every, tells=tells)

    @final
    def step(self, model: nn.Module | Iterable[Tensor]) -> AbstractContextManager[None]:
        """Measure the step that happens inside the block, where nothing can be hooked.

        Gradients are read as they are when the block begins.

        Args:
            model: What the step moves: a model or its parameters.
        """
        return watched_step(model, [self])


def record_unknown(
    metric: StepMetric, step: Step, why: str, names: tuple[str, ...] = ("",)
) -> None:
    """Record NaN under each name; say why, the first time."""
    if not metric.log.has_warned:
        metric.log.has_warned = True
        warn(f"{metric.key} is NaN: {why}")
    metric.record(
        step, torch.full((len(names),), torch.nan, dtype=torch.float64), names
    )
