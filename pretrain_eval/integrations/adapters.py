"""Metrics of this library as those of torchmetrics and ignite."""

from __future__ import annotations

import copy
from functools import cache
from typing import Any

import torch
from torch import Tensor

from pretrain_eval._metrics import Metric, value_of
from pretrain_eval._optional import needs


def as_torchmetrics(metric: Metric) -> Any:
    """The metric as a `torchmetrics.Metric`, for its collections and Lightning's log.

    It counts, synchronises and computes by itself. Its state is part of `state_dict`,
    and so of checkpoints; it can be copied, pickled and tracked.

    Args:
        metric: A metric of one number or several.

    Returns:
        A `torchmetrics.Metric`; computing gives a tensor.

    Raises:
        ImportError: torchmetrics is not installed.

    >>> from pretrain_eval import Accuracy
    >>> metric = as_torchmetrics(Accuracy())
    >>> metric.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metric.compute()
    tensor(0.5000, dtype=torch.float64)
    """
    return _adapted()(metric)


@cache
def _adapted() -> Any:
    """The class, which needs torchmetrics for its parent."""
    needs("torchmetrics")
    import torchmetrics

    return type("Adapted", (_ByItself, torchmetrics.Metric), {})


class _ByItself:
    """What torchmetrics asks of a metric; the second parent is its `Metric`."""

    full_state_update = False

    def __init__(self, metric: Metric) -> None:
        super().__init__()
        self.metric = metric

    @property
    def higher_is_better(self) -> bool | None:
        return self.metric.higher_is_better

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.metric.update(outputs, targets)

    def compute(self) -> Tensor:
        return torch.tensor(self.metric.compute(), dtype=torch.float64)

    def reset(self) -> None:
        super().reset()  # type: ignore[misc] # of the other parent
        self.metric.reset()

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        batch = copy.deepcopy(self.metric)
        batch.reset()
        batch.update(outputs, targets)
        # One batch's value is this process' own: no collective a step.
        value = value_of(batch, sync=False)
        tensor = torch.tensor(value, dtype=torch.float64)
        self._forward_cache: Any = tensor
        self.update(outputs, targets)
        return tensor

    @property
    def metric_state(self) -> dict[str, Any]:
        return _state_of(self.metric)

    def get_extra_state(self) -> dict[str, Any]:
        # What `state_dict` holds beside tensors of its own.
        return {"metric": _state_of(self.metric), "updates": self._update_count}

    def set_extra_state(self, state: dict[str, Any]) -> None:
        load: Any = getattr(self.metric, "load_state_dict", None)
        if load is not None:
            load(state["metric"])
        self._update_count = state["updates"]
        self._computed = None

    def __reduce__(self) -> tuple[Any, ...]:
        # A class in a function has no name that pickle could find.
        return _restored, (self.metric, self._update_count)

    def __repr__(self) -> str:
        return f"as_torchmetrics({self.metric!r})"


def _state_of(metric: Metric) -> dict[str, Any]:
    """All that a metric holds; nothing, where it cannot say it."""
    state: Any = getattr(metric, "state_dict", dict)
    return dict(state())


def _restored(metric: Metric, num_updates: int) -> Any:
    """The adapted metric of a copy or a pickle."""
    adapted = as_torchmetrics(metric)
    adapted._update_count = num_updates
    return adapted


def as_ignite(metric: Metric) -> Any:
    """The metric as an `ignite.metrics.Metric`, whose `attach` takes an engine.

    Args:
        metric: A metric of one number or several.

    Returns:
        An `ignite.metrics.Metric`; the engine's output is `(outputs, targets)`.

    Raises:
        ImportError: ignite is not installed.

    >>> from ignite.engine import Engine
    >>> from pretrain_eval import Accuracy
    >>> evaluator = Engine(lambda engine, batch: batch)
    >>> as_ignite(Accuracy()).attach(evaluator, "accuracy")
    >>> batch = torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1])
    >>> evaluator.run([batch]).metrics
    {'accuracy': 0.5}
    """
    needs("ignite")
    from ignite.metrics import Metric as IgniteMetric

    class Adapted(IgniteMetric):
        def update(self, output: tuple[Tensor, Tensor]) -> None:
            metric.update(*output)

        def compute(self) -> Any:
            return metric.compute()

        def reset(self) -> None:
            metric.reset()

    return Adapted()
