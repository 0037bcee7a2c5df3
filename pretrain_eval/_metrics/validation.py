"""Validation in the middle of training, as a step metric."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from pretrain_eval._metric import Metric, MetricCollection, StepMetric, Value
from pretrain_eval._step import Step
from pretrain_eval._validate import Forward, as_collection, validate


@final
class Validation(StepMetric):
    """What `validate` measures after every n-th optimizer step.

    `history` holds `valid_<key>` of each metric and the `step`s they were measured
    at; the value is the latest one of the first metric. Training goes on as if nothing
    had been measured: see `validate`.

    Args:
        model: What is measured.
        loader: Held-out batches.
        metrics: One or several; each must compute one number.
        every: Optimizer steps between measurements; `len(train_loader)` for epochs.
        forward: As for `validate`.
        device: As for `validate`.
        autocast: As for `validate`.
        optimizer: As for `validate`.

    >>> from pretrain_eval import Accuracy
    >>> model = nn.Linear(2, 2)
    >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> held_out = [(torch.eye(2), torch.tensor([0, 1]))]
    >>> validation = Validation(model, held_out, Accuracy(), every=5)
    >>> with validation.attach(optimizer):
    ...     for _ in range(10):
    ...         optimizer.zero_grad()
    ...         loss = nn.functional.cross_entropy(model(torch.eye(2)), torch.arange(2))
    ...         loss.backward()
    ...         optimizer.step()
    >>> validation.history["step"]
    (5, 10)
    """

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        metrics: Metric | MetricCollection | Sequence[Metric],
        *,
        every: int,
        forward: Forward | None = None,
        device: torch.device | str | None = None,
        autocast: torch.dtype | None = None,
        optimizer: Optimizer | None = None,
    ) -> None:
        super().__init__(statistic="last")
        if every < 1:
            raise ValueError(f"every counts optimizer steps, from 1, got {every}")
        self._metrics = as_collection(metrics)
        self.key = f"valid_{next(iter(self._metrics))}"
        self._model, self._loader, self._every = model, loader, every
        self._forward, self._device = forward, device
        self._autocast, self._optimizer = autocast, optimizer
        self._measured: list[tuple[int, dict[str, float]]] = []

    @override
    def after_step(self, step: Step) -> None:
        if step.number % self._every:
            return
        values = validate(
            self._model,
            self._loader,
            self._metrics,
            forward=self._forward,
            device=self._device,
            autocast=self._autocast,
            optimizer=self._optimizer,
        )
        numbers = {f"valid_{key}": _number(key, value) for key, value in values.items()}
        self._measured.append((step.number, numbers))
        self.record(step, torch.tensor(numbers[self.key], dtype=torch.float64))

    @property
    @override
    def history(self) -> dict[str, tuple[float, ...]]:
        """Every measurement, a column a metric, and the `step` it was taken at."""
        keys = [f"valid_{key}" for key in self._metrics]
        table: dict[str, tuple[float, ...]] = {
            key: tuple(numbers[key] for _, numbers in self._measured) for key in keys
        }
        return table | {"step": tuple(number for number, _ in self._measured)}


def _number(key: str, value: Value) -> float:
    if isinstance(value, tuple):
        raise TypeError(
            f"Validation keeps one number a metric, {key!r} computes several"
        )
    return value
