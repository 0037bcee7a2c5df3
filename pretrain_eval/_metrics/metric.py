"""What a metric is: of batches, and of sums over samples."""

from __future__ import annotations

import copy
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from inspect import Parameter, Signature, signature
from typing import (
    TYPE_CHECKING,
    Any,
    Protocol,
    TypeAlias,
    final,
    runtime_checkable,
)

import numpy as np
from torch import Tensor
from typing_extensions import Self, override

from pretrain_eval._habits import refusal, unknown_arguments
from pretrain_eval._metrics.counter import Counter, Held
from pretrain_eval._metrics.forward import unwrapped
from pretrain_eval._metrics.sync import fetch_counts

# A number, or a tuple of them, one a class: which one, the arguments of a metric say and
# its type does not. As Any besides, so that nobody has to ask again in a comparison.
Value: TypeAlias = float | Any


@runtime_checkable
class SupportsUpdate(Protocol):
    """The trio of the field; objects of other libraries that have it are metrics."""

    def update(self, outputs: Tensor, targets: Tensor, /) -> None:
        """Count one batch."""

    def compute(self) -> object:
        """The value of all batches since the last reset."""

    def reset(self) -> None:
        """Forget all batches."""


class _Signature:
    """What a class tells of its arguments: `__new__`, asked first by Python 3.10, has none."""

    def __get__(self, metric: object, cls: type) -> Signature | None:
        return _taken(cls) if metric is None else None


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
        given: The arguments that it was made with, which it prints.

    >>> import torch
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
    given: tuple[tuple[Any, ...], dict[str, Any]] = ((), {})

    @abstractmethod
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch."""

    @abstractmethod
    def compute(self) -> Value:
        """The value of everything since the last reset."""

    @abstractmethod
    def reset(self) -> None:
        """Forget everything since the last reset."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Value:
        """Count one batch, and give the value of this batch alone, of this process."""
        batch = self.clone()
        batch.reset()
        batch.update(outputs, targets)
        value = value_of(batch, sync=False)
        self.update(outputs, targets)
        return value

    def clone(self) -> Self:
        """A copy that counts by itself, with what was counted so far."""
        return copy.deepcopy(self)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The arguments that make another one, as scikit-learn's `clone` does.

        Args:
            deep: Means nothing: no argument is an estimator.
        """
        args, named = self.given
        taken = _taken(type(self))
        bound = taken.bind(*args, **named)
        bound.apply_defaults()
        for each in taken.parameters.values():
            if each.kind is each.VAR_KEYWORD:
                bound.arguments |= bound.arguments.pop(each.name)
        return dict(bound.arguments)

    if not TYPE_CHECKING:
        __getattr__ = refusal("metric")

    __signature__ = _Signature()

    def __new__(cls, *args: Any, **named: Any) -> Self:
        """What was given is kept to be printed."""
        _check_arguments(cls, args, named)
        made = super().__new__(cls)
        made.given = (args, named)
        return made

    def __repr__(self) -> str:
        args, named = self.given
        told = [*map(repr, args), *(f"{key}={value!r}" for key, value in named.items())]
        return f"{type(self).__name__}({', '.join(each[:80] for each in told)})"

    def beside(self) -> Mapping[str, Value]:
        """What a collection reports beside the value just computed.

        By what follows the key: `"_50"` is `map_50` of a metric called `map`.
        """
        return {}


def _taken(cls: type) -> Signature:
    """What `__init__` takes, whatever `__new__` does."""
    if cls.__init__ is object.__init__:  # type: ignore[misc] # only compared
        return Signature()
    own = signature(cls.__init__)  # type: ignore[misc] # only read
    return own.replace(parameters=list(own.parameters.values())[1:])


def _check_arguments(
    cls: type[Metric], args: Sequence[object], named: Mapping[str, object]
) -> None:
    if not (args or named):  # a copy is made of none
        return
    parameters = _taken(cls).parameters.values()
    kinds = {each.kind for each in parameters}
    known = [each.name for each in parameters if each.kind is not each.VAR_POSITIONAL]
    placed = [p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD]
    too_many = len(args) > len(placed) and Parameter.VAR_POSITIONAL not in kinds
    strange = not named.keys() <= set(known) and Parameter.VAR_KEYWORD not in kinds
    if too_many or strange:
        raise unknown_arguments(cls.__name__, known, args, named)


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


def _unknown(value: Value) -> Value:
    return tuple(map(_unknown, value)) if isinstance(value, tuple) else math.nan
