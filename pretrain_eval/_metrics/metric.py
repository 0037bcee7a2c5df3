"""What a metric is: of batches, of sums over samples, of an optimizer's steps."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from inspect import signature
from typing import Any, ClassVar, Protocol, TypeAlias, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics.counter import Counter, Held
from pretrain_eval._metrics.forward import unwrapped
from pretrain_eval._metrics.sync import fetch, fetch_counts
from pretrain_eval._steps import (
    Attachment,
    Per,
    Row,
    Statistic,
    Step,
    StepLog,
    checked_per,
    checked_statistic,
    keyed,
    watch,
    watched_step,
)

Value: TypeAlias = "float | tuple[Value, ...]"


@runtime_checkable
class SupportsUpdate(Protocol):
    """The trio of the field; objects of other libraries that have it are metrics."""

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Count one batch."""

    def compute(self) -> object:
        """The value of all batches since the last reset."""

    def reset(self) -> None:
        """Forget all batches."""


class Metric(ABC):
    """A quantity that is updated batch by batch and computed when asked.

    A metric of one's own gives a `key` and three methods, and then is a member of a
    `MetricCollection`, measured by `validate` and taken by the adapters. One that is
    a function of sums over samples is shorter as a `SumMetric`.

    Every metric of this library also takes `compute(sync=False)`, the value of this
    process alone. One of your own may: where `compute` has an argument `sync`, it is
    told, and where it has none, its value counts as this process's own.

    Attributes:
        key: The name of the value in a collection, a record and a picture.
        higher_is_better: Whether the higher of two values is the better one; None where
            neither is, or nobody said.
        bounds: The lowest and the highest possible value.

    >>> class Count(Metric):
    ...     key = "count"
    ...     count = 0
    ...
    ...     def update(self, outputs, targets):
    ...         self.count += len(targets)
    ...
    ...     def compute(self):
    ...         return float(self.count)
    ...
    ...     def reset(self):
    ...         self.count = 0
    >>> metric = Count()
    >>> metric.update(torch.zeros(3, 2), torch.zeros(3))
    >>> metric.compute()
    3.0
    """

    key: str
    higher_is_better: bool | None = None
    bounds: tuple[float, float] = (-math.inf, math.inf)

    @abstractmethod
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch."""

    @abstractmethod
    def compute(self) -> Value:
        """The value of everything since the last reset."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything since the last reset."""

    def beside(self) -> Mapping[str, Value]:
        """What a collection reports beside the value just computed.

        By what follows the key: `"_50"` is `map_50` of a metric called `map`.
        """
        return {}


def value_of(metric: Metric | SupportsUpdate, *, sync: bool) -> Value:
    """The metric's value in plain numbers.

    Args:
        metric: Told of `sync` where its `compute` takes it.
        sync: Whether the value is of all processes, or of this one alone.
    """
    return plain_value(computed(metric, sync=sync))


def computed(metric: Metric | SupportsUpdate, *, sync: bool) -> object:
    """What the metric computes, as it gives it; `compute` is told of `sync` if it can."""
    told = {"sync": sync} if "sync" in signature(metric.compute).parameters else {}
    return metric.compute(**told)


def plain_value(value: object) -> Value:
    """Numbers of whatever kind as floats and tuples of them."""
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if isinstance(value, str):
        raise TypeError(f"a metric computes numbers, got the text {value!r}")
    if isinstance(value, Sequence):
        return tuple(plain_value(entry) for entry in value)
    if isinstance(value, Mapping):
        raise TypeError(
            f"expected a metric of one value, got the values {sorted(value)}; a"
            " MetricCollection holds one of several"
        )
    return float(value)  # type: ignore[arg-type] # whatever has __float__


class CountedMetric(Metric):
    """A metric of sums over samples, whatever the batches and processes.

    Sums of equal `counter`s are counted once in a collection. They are vectors that
    never change in place, so that metrics may hold the same one and still own it.

    Args:
        counter: What is counted of a batch.
    """

    counts: Held | None = None
    agreed_size: int | None = None

    def __init__(self, counter: Counter) -> None:
        self._counter = counter

    @property
    def counter(self) -> Counter:
        """What is counted of a batch."""
        return self._counter

    @abstractmethod
    def formula(self, sums: np.ndarray) -> Value:
        """The value, a pure function of what was counted, in float64."""

    @override
    def update(
        self, outputs: Tensor, targets: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Count one batch.

        Args:
            outputs: What the model returned.
            targets: What is right.
            weights: One a sample; a boolean mask keeps samples, exactly.
        """
        counter = self.counter
        batch = counter.batch(unwrapped(outputs), targets, weights)
        self.counts = counter.add(self.counts, batch)

    @override
    def compute(self, *, sync: bool = True) -> Value:
        """The value of everything since the last reset.

        Args:
            sync: Sum over the processes of torch.distributed, where it was started;
                every process must then call this.
        """
        (counts,), _ = fetch_counts([self], sync=sync)
        return self.reported(counts)

    @final
    def reported(self, counts: np.ndarray) -> Value:
        """The value of fetched counts; NaN, with a warning, where it is unknown."""
        counter = self.counter
        num_unknown = counter.num_unknown(counts)
        if num_unknown:
            warnings.warn(
                f"{self.key} is NaN: {num_unknown} {counter.words(counts).outputs}",
                stacklevel=3,
            )
        value = self.formula(counter.unflagged(counts))
        return _unknown(value) if num_unknown else value

    @override
    def reset(self) -> None:
        self.counts = None

    @final
    def require_samples(self, num_samples: float) -> float:
        """The number, unless it is zero."""
        if num_samples > 0:
            return num_samples
        raise ValueError(
            f"{self.key} has counted no sample: batches were empty, or every row was"
            " dropped"
        )

    @final
    def merge(self, other: CountedMetric) -> None:
        """Count what `other` has counted, too."""
        counter = self.counter
        if type(other) is not type(self) or not counter.merges(other.counter):
            raise ValueError(
                f"{self.key} can merge what was counted alike, got {other.counter}"
                f" for {counter}"
            )
        if other.counts is not None:
            self.counts = counter.add(self.counts, other.counts)

    @final
    def state_dict(self) -> dict[str, Any]:
        """The counts and what they count; for `torch.save` and `load_state_dict`."""
        counts = None if self.counts is None else self.counter.whole(self.counts)
        return {
            "counter": repr(self.counter),
            "counts": None if counts is None else counts.clone(),
        }

    @final
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; a differently declared one raises."""
        if state["counter"] != repr(self.counter):
            raise ValueError(
                f"{self.key} counts {self.counter!r}, the state is of"
                f" {state['counter']}"
            )
        counts: Tensor | None = state["counts"]
        self.counts = None if counts is None else self.counter.kept(counts.clone())


class StepMetric(Metric):
    """A metric of the optimizer's step; `attach` tells it when one happens.

    A member overrides `before_step` or `after_step` and calls `record` once a step.
    What it reads of a step, `Step` documents.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their mean,
            the last one's value or the largest. Steps that a gradient scaler made
            the optimizer skip are left out.
        per: Besides the total, values per "parameter", per "module", or per whatever
            label a function gives to a parameter's name.

    Raises:
        ValueError: The statistic is none of the three.

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
        self.log = StepLog(counts_skipped=self.counts_skipped)

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
    ) -> Attachment:
        """Watch the optimizer's steps until the handle is closed.

        Args:
            optimizer: Watched, never changed. Several ones count together: a step is
                over when each of them has stepped, or one steps again.
            model: Gives the parameters their names, where the metric asks for them.
            every: Steps 1, 1 + every, 1 + 2·every, ... are measured, the others cost
                nothing. Steps of the optimizer, not batches.

        Returns:
            A context manager with `close`, and with a `clip_grad_norm_` that the
            metrics of clipping see.

        Raises:
            ValueError: The optimizer holds no parameters, the metric is attached
                already, or `every` is not positive.
            TypeError: It is no optimizer and wraps none.
        """
        return watch(optimizer, [self], model, every=every)

    @final
    def step(self, model: nn.Module | Iterable[Tensor]) -> AbstractContextManager[None]:
        """Measure the step that happens inside the block, where nothing can be hooked.

        Gradients are read as they are when the block begins.

        Args:
            model: What the step moves: a model or its parameters.
        """
        return watched_step(model, [self])


def _unknown(value: Value) -> Value:
    return tuple(map(_unknown, value)) if isinstance(value, tuple) else math.nan
