"""What a metric is, and how several become one."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._attach import Attachment, Step, watch

Value = float | tuple[float, ...]


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
        self._metrics[key] = metric

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

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch in every member."""
        for metric in self._metrics.values():
            metric.update(outputs, targets)

    def compute(self) -> dict[str, Value]:
        """Every member's value by key, fetched from the device together."""
        deferred = {
            key: list(metric.state())
            for key, metric in self._metrics.items()
            if isinstance(metric, DeferredMetric)
        }
        fetched = iter(fetch([t for tensors in deferred.values() for t in tensors]))
        values: dict[str, Value] = {}
        for key, metric in self._metrics.items():
            if isinstance(metric, DeferredMetric):
                values[key] = metric.value(*(next(fetched) for _ in deferred[key]))
            else:
                values[key] = _plain_value(metric.compute())
        return values

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


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The tensors on the host in float64, in one transfer a device."""
    if not tensors:
        return []
    flat = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
    parts = flat.cpu().numpy()
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    shapes: Sequence[torch.Size] = [tensor.shape for tensor in tensors]
    return [
        part.reshape(shape)
        for part, shape in zip(np.split(parts, ends[:-1]), shapes, strict=True)
    ]


def _plain_value(value: object) -> Value:
    if isinstance(value, Tensor | np.ndarray):
        value = value.tolist()
    if isinstance(value, Sequence):
        return tuple(float(each) for each in value)
    if isinstance(value, Mapping):
        raise TypeError(
            f"a metric in a collection computes numbers, got {sorted(value)}; add its"
            " members one by one"
        )
    return float(value)  # type: ignore[arg-type] # whatever has __float__
