"""What a metric is: of batches, of sums over samples, of an optimizer's steps."""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, ClassVar, Protocol, TypeAlias, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics.counter import Counter, Held
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

    Attributes:
        key: The name of the value in a collection, a record and a picture.
    """

    key: str

    @abstractmethod
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch."""

    @abstractmethod
    def compute(self) -> Value:
        """The value of everything since the last reset."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything since the last reset."""


class DeferredMetric(Metric):
    """A metric whose state lies on the device until it is asked for.

    A collection fetches the states of all such metrics together, in one transfer.
    """

    @abstractmethod
    def state(self) -> Sequence[Tensor]:
        """Tensors that hold everything since the last reset."""

    @abstractmethod
    def value(self, *state: np.ndarray) -> Value:
        """The value, a pure function of the fetched `state` in float64."""

    @override
    def compute(self) -> Value:
        return self.value(*fetch(self.state()))


class CountedMetric(DeferredMetric):
    """A metric of sums over samples, whatever the batches and processes.

    Sums of equal `counter`s are counted once in a collection. They are vectors that
    never change in place, so that metrics may hold the same one and still own it.

    Args:
        counter: What is counted of a batch.
    """

    def __init__(self, counter: Counter) -> None:
        self.counter = counter
        self.counts: Held | None = None
        self.agreed_size: int | None = None

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
        batch = self.counter.batch(outputs, targets, weights)
        self.counts = self.counter.add(self.counts, batch)

    @override
    def compute(self, *, sync: bool = True) -> Value:
        """The value of everything since the last reset.

        Args:
            sync: Sum over the processes of torch.distributed, where it was started;
                every process must then call this.
        """
        (counts,), _ = fetch_counts([self], [], sync=sync)
        return self.reported(counts)

    @final
    def reported(self, counts: np.ndarray) -> Value:
        """The value of fetched counts; NaN, with a warning, where it is unknown."""
        num_unknown = self.counter.num_unknown(counts)
        if not num_unknown:
            return self.value(counts)
        warnings.warn(
            f"{self.key} is NaN: {num_unknown} of the model's outputs are NaN or"
            " infinite",
            stacklevel=3,
        )
        return _unknown(self.value(counts))

    @override
    def reset(self) -> None:
        self.counts = None

    @override
    def state(self) -> Sequence[Tensor]:
        if self.counts is None:
            raise RuntimeError(f"{self.key} has seen no batch since its last reset")
        return [self.counter.whole(self.counts)]

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
        if type(other) is not type(self) or other.counter != self.counter:
            raise ValueError(
                f"{self.key} can merge what was counted alike, got {other.counter}"
                f" for {self.counter}"
            )
        if other.counts is not None:
            self.counts = self.counter.add(self.counts, other.counts)

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


class StepMetric(DeferredMetric):
    """A metric of the optimizer's step; `attach` tells it when one happens.

    A member overrides `before_step` or `after_step` and calls `record` once a step.

    Args:
        statistic: What `compute` makes of the steps since the last reset: their mean,
            the last one's value or the largest. Steps that a gradient scaler made
            the optimizer skip are left out.
        per: Besides the total, values per "parameter", per "module", or per whatever
            label a function gives to a parameter's name.

    Raises:
        ValueError: The statistic is none of the three.
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
    def state(self) -> Sequence[Tensor]:
        folds = self.log.folds()
        if not folds:
            raise RuntimeError(
                f"{self.key} has seen no optimizer step since its last reset; attach it"
                " before training: with metric.attach(optimizer): ..."
            )
        return folds

    @override
    def value(self, *state: np.ndarray) -> Value:
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

        See `MetricCollection.attach`.
        """
        return watch(optimizer, [self], model, every=every)

    @final
    def step(self, model: nn.Module | Iterable[Tensor]) -> AbstractContextManager[None]:
        """Measure the step that happens inside the block.

        See `MetricCollection.step`.
        """
        return watched_step(model, [self])


def _unknown(value: Value) -> Value:
    return tuple(map(_unknown, value)) if isinstance(value, tuple) else math.nan
