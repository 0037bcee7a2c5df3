"""Measure a model on held-out batches and leave no trace."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pretrain_eval._metric import Metric, MetricCollection, Value
from pretrain_eval._rng import preserved_rng


def validate(
    model: nn.Module,
    loader: Iterable[Sequence[Tensor]],
    metrics: Metric | MetricCollection | Sequence[Metric],
    *,
    device: torch.device | str | None = None,
) -> dict[str, Value]:
    """Measure `model` on `loader` and leave model and randomness as they were.

    The model runs in eval mode under `torch.inference_mode`; every module's mode and
    the random generators are restored, also where the loop raises.

    Args:
        model: Called with a batch's inputs.
        loader: Gives `(inputs, targets)`.
        metrics: Reset first, then updated with every batch.
        device: Where inputs and targets are moved; by default where the model's
            parameters are.

    Returns:
        Each metric's value by key.

    Raises:
        ValueError: The loader is empty.
    """
    collection = as_collection(metrics)
    collection.reset()
    device = torch.device(device) if device is not None else device_of(model)
    empty = True
    with preserved_rng(), evaluating(model), torch.inference_mode():
        for inputs, targets in loader:
            empty = False
            collection.update(logits(model(inputs.to(device))), targets.to(device))
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
