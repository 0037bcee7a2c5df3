"""Metrics of this library as those of torchmetrics and ignite."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from pretrain_eval._metrics import Metric, value_of
from pretrain_eval._optional import needs


def as_torchmetrics(metric: Metric) -> Any:
    """The metric as a `torchmetrics.Metric`, for its collections and Lightning's log.

    It counts, synchronises and computes by itself; torchmetrics sees no state of it
    that it could merge with another metric's.

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
    needs("torchmetrics")
    import torchmetrics

    class Adapted(torchmetrics.Metric):
        full_state_update = False
        higher_is_better = metric.higher_is_better

        def __init__(self) -> None:
            super().__init__()
            self.metric = metric

        def update(self, outputs: Tensor, targets: Tensor) -> None:
            self.metric.update(outputs, targets)

        def compute(self) -> Tensor:
            return torch.tensor(self.metric.compute(), dtype=torch.float64)

        def reset(self) -> None:
            super().reset()
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

    Adapted.__name__ = type(metric).__name__
    return Adapted()


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
