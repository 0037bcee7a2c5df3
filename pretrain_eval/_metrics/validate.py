"""Measure a model on held-out batches and leave no trace."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from pretrain_eval._metrics.collection import MetricCollection, Metrics
from pretrain_eval._metrics.forward import (
    Forward,
    device_of,
    forward_batch,
    moved,
    named_device,
    num_own_samples,
)
from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.randomness import loader_generators, preserved_rng
from pretrain_eval._metrics.undisturbed import evaluating
from pretrain_eval._optional import needs


def validate(
    model: nn.Module,
    loader: Iterable[Any],
    metrics: Metrics,
    *,
    forward: Forward | None = None,
    device: torch.device | str | None = None,
    autocast: torch.dtype | None = None,
    optimizer: Optimizer | None = None,
    progress: bool = False,
    sync: bool = True,
) -> dict[str, Value]:
    """Measure `model` on `loader` and leave model and randomness as they were.

    The model runs in eval mode under `torch.inference_mode`. Every module's mode, the
    global random generators and the loader's own are restored, also where the loop
    raises. What a `DistributedSampler` repeats to fill its last round is not counted.

    Args:
        model: Called with a batch's inputs.
        loader: Gives `(inputs, targets)`, or mappings with `labels` whose entries the
            model takes by name.
        metrics: Reset first, then updated with every batch: a metric of this library or
            of torchmetrics, several, or a `{"name": metric}` mapping.
        forward: Called with model and batch, returns `(outputs, targets)`, for
            batches of any other shape.
        device: Where batches are moved; by default where the model's parameters are.
        autocast: The dtype to compute in where torch allows it, such as
            `torch.bfloat16`.
        optimizer: Needed where it keeps other weights for evaluation than for
            training (schedule-free ones): it is switched, and back to the bit.
        progress: Show a bar over the batches, in a terminal.
        sync: Sum over the processes of torch.distributed, where it was started; every
            process must then call this.

    Returns:
        Each metric's value by key.

    Raises:
        ValueError: The loader is empty, or a metric met what it cannot count.

    >>> from pretrain_eval import Accuracy
    >>> batches = [(torch.eye(2), torch.tensor([0, 0]))]
    >>> validate(nn.Identity(), batches, Accuracy())
    {'accuracy': 0.5}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"validate expects a torch module, got {model!r:.200}")
    if not isinstance(loader, Iterable) or isinstance(loader, str):
        raise TypeError(f"validate expects an iterable of batches, got {loader!r:.200}")
    if forward is not None and not callable(forward):
        raise TypeError(
            "validate expects forward as a function of model and batch that gives outputs"
            f" and targets, got {forward!r}"
        )
    collection = as_collection(metrics)
    collection.reset()
    forward = forward or forward_batch
    device = named_device(device) if device is not None else device_of(model)
    empty = True
    with ExitStack() as stack:
        stack.enter_context(preserved_rng(*loader_generators(loader)))
        stack.enter_context(evaluating(model, optimizer))
        stack.enter_context(torch.inference_mode())
        if autocast is not None:
            stack.enter_context(torch.autocast(device.type, autocast))
        left = num_own_samples(loader)
        for batch in _shown(loader, progress):
            empty = False
            outputs, targets = forward(model, moved(batch, device))
            if left is not None and len(targets) > left:
                outputs, targets = outputs[:left], targets[:left]
            if len(targets):
                collection.update(outputs, targets)
            left = None if left is None else left - len(targets)
    if empty:
        raise ValueError("validate expects a loader with at least one batch, got none")
    return collection.compute(sync=sync)


def as_collection(metrics: Metrics) -> MetricCollection:
    """The metrics as one; what they may be, `MetricCollection` says."""
    if isinstance(metrics, MetricCollection):
        return metrics
    return MetricCollection(metrics)


def _shown(batches: Iterable[Any], progress: bool) -> Iterable[Any]:
    if not progress:
        return batches
    shown: Iterable[Any] = needs("progress").tqdm(
        batches, desc="validate", leave=False, disable=None
    )  # where no terminal is: nothing
    return shown
