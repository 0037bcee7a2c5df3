"""Measure a model on held-out batches and leave no trace."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pretrain_eval._metric import Metric, MetricCollection, Value
from pretrain_eval._rng import preserved_rng

Forward = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]


def validate(
    model: nn.Module,
    loader: Iterable[Any],
    metrics: Metric | MetricCollection | Sequence[Metric],
    *,
    forward: Forward | None = None,
) -> dict[str, Value]:
    """Measure `model` on `loader` and leave model and randomness as they were.

    The model runs in eval mode under `torch.inference_mode`; every module's mode and
    the random generators are restored, also where the loop raises.

    Args:
        model: Called with a batch's inputs.
        loader: Gives `(inputs, targets)`.
        metrics: Reset first, then updated with every batch.
        forward: Called with model and batch, returns `(outputs, targets)`; by default
            a batch is `(inputs, targets)`, moved to where the model is.

    Returns:
        Each metric's value by key.

    Raises:
        ValueError: The loader is empty.
    """
    collection = as_collection(metrics)
    collection.reset()
    forward = forward or forward_pair
    empty = True
    with preserved_rng(), evaluating(model), torch.inference_mode():
        for batch in loader:
            empty = False
            collection.update(*forward(model, batch))
    if empty:
        raise ValueError("validate expects a loader with at least one batch, got none")
    return collection.compute()


def as_collection(
    metrics: Metric | MetricCollection | Sequence[Metric],
) -> MetricCollection:
    """The metrics as one."""
    if isinstance(metrics, MetricCollection):
        return metrics
    return MetricCollection(*([metrics] if isinstance(metrics, Metric) else metrics))


def forward_pair(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """The outputs and targets of a batch `(inputs, targets)`, where the model is."""
    inputs, targets = batch
    device = device_of(model)
    return logits(model(inputs.to(device))), targets.to(device)


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter is; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Eval mode for a while; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        # Not model.train(): a frozen BatchNorm must stay in eval mode.
        for module, training in modes.items():
            module.training = training


def logits(outputs: object) -> Tensor:
    """The tensor in what a model returns: itself, `.logits`, or `["logits"]`."""
    if isinstance(outputs, Mapping):
        outputs = outputs.get("logits")
    outputs = getattr(outputs, "logits", outputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            "a model is expected to return a tensor or an object with logits, got"
            f" {type(outputs).__name__}"
        )
    return outputs
