"""What a metric is, and how several become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeAlias, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._attach import Attachment, Step, watch
from pretrain_eval._counter import Counter, Held
from pretrain_eval._sync import fetch, fetch_counts

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
        counts, _ = fetch_counts([self], [], sync=sync)
        return self.value(*counts)

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
    The value is the mean over the steps since the last reset; `history` keeps them all.
    """

    def __init__(self) -> None:
        self._recorded: list[Tensor] = []
        self._steps: list[int] = []
        self._window = 0

    def before_step(self, step: Step) -> None:
        """Gradients at θ_t are ready, the parameters have not moved."""

    def after_step(self, step: Step) -> None:
        """The parameters are at θ_{t+1}."""

    @final
    def record(self, step: Step, value: Tensor) -> None:
        """Keep the step's value, a scalar on its own device."""
        self._recorded.append(value)
        self._steps.append(step.number)

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """Every step's value under `key`, and its number, from 1, under `step`."""
        values = fetch(self._recorded)
        return {
            self.key: tuple(float(value) for value in values),
            "step": tuple(self._steps),
        }

    @final
    @override
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """A step metric reads steps; batches mean nothing to it."""

    @override
    def state(self) -> Sequence[Tensor]:
        if len(self._recorded) == self._window:
            raise RuntimeError(
                f"{self.key} has seen no optimizer step since its last reset; attach it"
                " before training: with metric.attach(optimizer): ..."
            )
        return [torch.stack(self._recorded[self._window :])]

    @override
    def value(self, *state: np.ndarray) -> Value:
        return float(state[0].mean())

    @override
    def reset(self) -> None:
        self._window = len(self._recorded)

    @final
    def attach(
        self, optimizer: torch.optim.Optimizer, model: nn.Module | None = None
    ) -> Attachment:
        """Watch the optimizer's steps until the handle is closed."""
        return MetricCollection(self).attach(optimizer, model)


@final
class MetricCollection:
    """Several metrics as one.

    Args:
        metrics: Metrics of this library, or objects with `update`, `compute` and
            `reset`, for example torchmetrics'; give those by name.
        named: The same by name, which replaces their key.

    >>> from pretrain_eval import Accuracy, F1Score
    >>> metrics = MetricCollection(Accuracy(), F1Score(num_classes=2))
    >>> metrics.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metrics.compute()
    {'accuracy': 0.5, 'f1': 0.333...}
    """

    def __init__(self, *metrics: Metric, **named: Metric | SupportsUpdate) -> None:
        self._metrics: dict[str, Metric | SupportsUpdate] = {}
        self._counted: dict[Counter, list[CountedMetric]] = {}
        self._others: list[Metric | SupportsUpdate] = []
        for metric in metrics:
            key = getattr(metric, "key", None)
            if not isinstance(key, str):
                raise TypeError(
                    f"{metric!r} has no key; name it: MetricCollection(my_name=...)"
                )
            self._add(key, metric)
        for key, other in named.items():
            self._add(key, other)
        if not self._metrics:
            raise ValueError("MetricCollection expects at least one metric, got none")

    def _add(self, key: str, metric: object) -> None:
        if isinstance(metric, type) or not isinstance(metric, Metric | SupportsUpdate):
            raise TypeError(
                f"MetricCollection expects objects with update, compute and reset,"
                f" got {metric!r} for {key!r}"
            )
        if key in self._metrics:
            raise ValueError(
                f"two metrics have the key {key!r}; name one of them:"
                " MetricCollection(my_name=...)"
            )
        if any(metric is other for other in self._metrics.values()):
            raise ValueError(f"the metric {key!r} was given twice")
        self._metrics[key] = metric
        if isinstance(metric, CountedMetric):
            self._counted.setdefault(metric.counter, []).append(metric)
        elif not isinstance(metric, StepMetric):
            self._others.append(metric)

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __getitem__(self, key: str) -> Metric | SupportsUpdate:
        return self._metrics[key]

    @property
    def step_metrics(self) -> tuple[StepMetric, ...]:
        """The members that read the optimizer's steps."""
        return tuple(m for m in self._metrics.values() if isinstance(m, StepMetric))

    def update(
        self, outputs: Tensor, targets: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Count one batch in every member; what members count alike, once.

        Args:
            outputs: What the model returned.
            targets: What is right.
            weights: One a sample; a boolean mask keeps samples, exactly.

        Raises:
            TypeError: A member does not take weights.
        """
        if weights is not None and self._others:
            raise TypeError(f"weights mean nothing to {self._others[0]!r}")
        # All are counted before any is added: a batch that raises leaves no trace.
        batches = [
            counter.batch(outputs, targets, weights) for counter in self._counted
        ]
        for metrics, batch in zip(self._counted.values(), batches, strict=True):
            _add_batch(metrics, batch)
        for metric in self._others:
            metric.update(outputs, targets)

    def compute(self, *, sync: bool = True) -> dict[str, Value]:
        """Every member's value by key, fetched from the device together.

        Args:
            sync: Sum over the processes of torch.distributed, where it was started, in
                one all_reduce; every process must then call this.
        """
        counted = [m for m in self._metrics.values() if isinstance(m, CountedMetric)]
        deferred = {
            key: list(metric.state())
            for key, metric in self._metrics.items()
            if isinstance(metric, DeferredMetric)
            and not isinstance(metric, CountedMetric)
        }
        counts, states = fetch_counts(
            counted, [t for tensors in deferred.values() for t in tensors], sync=sync
        )
        sums, rest = iter(counts), iter(states)
        values: dict[str, Value] = {}
        for key, metric in self._metrics.items():
            if isinstance(metric, CountedMetric):
                values[key] = metric.value(next(sums))
            elif isinstance(metric, DeferredMetric):
                values[key] = metric.value(*(next(rest) for _ in deferred[key]))
            else:
                values[key] = _plain_value(metric.compute())
        return values

    def merge(self, other: MetricCollection) -> None:
        """Count what the members of `other` have counted, too; keys must agree."""
        if set(self) != set(other):
            raise ValueError(f"expected members {sorted(self)}, got {sorted(other)}")
        pairs = [(self[key], other[key]) for key in self]
        for metric, _ in pairs:
            if not isinstance(metric, CountedMetric):
                raise TypeError(f"{metric!r} cannot be merged: it is no sum of samples")
        for metric, twin in pairs:
            if isinstance(metric, CountedMetric) and isinstance(twin, CountedMetric):
                metric.merge(twin)

    def state_dict(self) -> dict[str, Any]:
        """What every counted member has counted, by key."""
        return {
            key: metric.state_dict()
            for key, metric in self._metrics.items()
            if isinstance(metric, CountedMetric)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; other keys or declarations raise."""
        own = {k: m for k, m in self._metrics.items() if isinstance(m, CountedMetric)}
        if set(own) != set(state):
            raise ValueError(
                f"expected the state of {sorted(own)}, got {sorted(state)}"
            )
        for key, metric in own.items():
            metric.load_state_dict(state[key])

    def reset(self) -> None:
        """Forget everything since the last reset, in every member."""
        for metric in self._metrics.values():
            metric.reset()

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """The step metrics' values, a column each, and their `step` numbers."""
        table: dict[str, tuple[float, ...]] = {}
        for metric in self.step_metrics:
            table |= metric.history
        # The axis comes last, so that what was asked for comes first.
        return table | {"step": table.pop("step", ())} if table else {}

    def attach(
        self, optimizer: torch.optim.Optimizer, model: nn.Module | None = None
    ) -> Attachment:
        """Watch the optimizer's steps until the handle is closed.

        Args:
            optimizer: Watched, never changed.
            model: Gives the parameters their names.

        Returns:
            A context manager with `close`.

        Raises:
            ValueError: The optimizer holds no parameters, or the collection holds no
                step metric, or is attached already.
        """
        return watch(optimizer, self.step_metrics, model)


def _add_batch(metrics: Sequence[CountedMetric], batch: Held) -> None:
    """Add to every metric's counts; those that hold the same ones go on doing so."""
    before, after = metrics[0].counts, metrics[0].counter.add(metrics[0].counts, batch)
    others: dict[int, tuple[Held | None, Held]] = {}
    for metric in metrics:
        counts = metric.counts
        if counts is before:
            metric.counts = after
            continue
        if id(counts) not in others:
            # The old vector is kept too, so that nothing else takes its identity.
            others[id(counts)] = counts, metric.counter.add(counts, batch)
        metric.counts = others[id(counts)][1]


def _plain_value(value: object) -> Value:
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        return tuple(_plain_value(each) for each in value)
    if isinstance(value, Mapping):
        raise TypeError(
            f"a metric in a collection computes numbers, got {sorted(value)}; add its"
            " members one by one"
        )
    return float(value)  # type: ignore[arg-type] # whatever has __float__
