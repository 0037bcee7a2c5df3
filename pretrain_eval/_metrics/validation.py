"""Validation in the middle of training, as a step metric."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, final

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from pretrain_eval._metrics.collection import Metrics
from pretrain_eval._metrics.forward import Forward
from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.step_metric import StepMetric
from pretrain_eval._metrics.validate import as_collection, validate
from pretrain_eval._steps import Step


@final
class Validation(StepMetric):
    """What `validate` measures after every n-th optimizer step.

    `history` and a collection's `compute` hold `valid/<key>` of each metric, and the
    `step`s they were measured at; the value is the latest one of the first metric.
    Training goes on as if nothing had been measured: see `validate`. Where `attach`
    measures only some steps, the first one from each n-th on counts.

    Args:
        model: What is measured.
        loader: Held-out batches.
        metrics: One or several; each must compute one number.
        every: Optimizer steps between measurements; `len(train_loader)` for epochs.
        forward: Called with model and batch, returns `(outputs, targets)`, for
            batches of any other shape than `validate` reads.
        device: Where batches are moved; by default where the model's parameters are.
        autocast: The dtype to compute in where torch allows it, such as
            `torch.bfloat16`.
        optimizer: Needed where it keeps other weights for evaluation than for
            training (schedule-free ones): it is switched, and back to the bit.

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

    key = "valid"
    counts_skipped = True

    def __init__(
        self,
        model: nn.Module,
        loader: Iterable[Any],
        metrics: Metrics,
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
        self._model, self._loader, self._every = model, loader, every
        self._forward, self._device = forward, device
        self._autocast, self._optimizer = autocast, optimizer

    @override
    def after_step(self, step: Step) -> None:
        if step.number // self._every <= self.log.last_step // self._every:
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
        numbers = [_number(key, value) for key, value in values.items()]
        self.record(step, torch.tensor(numbers, dtype=torch.float64), tuple(values))

    @override
    def value(self, *state: np.ndarray) -> Value:
        return self.parts(*state)[next(iter(self._metrics))]


def _number(key: str, value: Value) -> float:
    if isinstance(value, tuple):
        raise TypeError(
            f"Validation keeps one number a metric, {key!r} computes several"
        )
    return value
