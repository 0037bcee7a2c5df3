"""Measure a model on held-out batches and leave no trace."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data.distributed import DistributedSampler

from pretrain_eval._collection import MetricCollection
from pretrain_eval._metric import Metric, Value
from pretrain_eval._rng import loader_generators, preserved_rng

Forward = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]


def validate(
    model: nn.Module,
    loader: Iterable[Any],
    metrics: Metric | MetricCollection | Sequence[Metric],
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
        metrics: Reset first, then updated with every batch.
        forward: Called with model and batch, returns `(outputs, targets)`, for
            batches of any other shape.
        device: Where batches are moved; by default where the model's parameters are.
        autocast: The dtype to compute in where torch allows it, such as
            `torch.bfloat16`.
        optimizer: Needed where it keeps other weights for evaluation than for
            training (schedule-free ones): it is switched, and back to the bit.
        progress: Show a bar over the batches.
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
    collection = as_collection(metrics)
    collection.reset()
    forward = forward or forward_batch
    device = torch.device(device) if device is not None else device_of(model)
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


def as_collection(
    metrics: Metric | MetricCollection | Sequence[Metric],
) -> MetricCollection:
    """The metrics as one."""
    if isinstance(metrics, MetricCollection):
        return metrics
    return MetricCollection(*([metrics] if isinstance(metrics, Metric) else metrics))


def forward_batch(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """The outputs and targets of `(inputs, targets)` or of a mapping with `labels`."""
    if isinstance(batch, Mapping):
        if "labels" not in batch:
            raise ValueError(
                f"a batch by name needs its targets under 'labels', got {list(batch)};"
                " give validate a forward=..."
            )
        named = dict(batch)
        if not _takes(model, "labels"):
            del named["labels"]
        return logits(model(**named)), batch["labels"]
    if not isinstance(batch, Sequence) or len(batch) != 2:
        raise ValueError(
            "a batch is expected to be (inputs, targets) or a mapping with 'labels',"
            f" got {type(batch).__name__}; give validate a forward=..."
        )
    inputs, targets = batch
    return logits(model(inputs)), targets


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter is; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def moved(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device, whatever holds them."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(moved(value, device) for value in batch)
    return batch


@contextmanager
def evaluating(model: nn.Module, optimizer: Optimizer | None = None) -> Iterator[None]:
    """Eval mode for a while; afterwards every module is in the mode it was in."""
    modes = {module: module.training for module in model.modules()}
    with _evaluation_weights(optimizer):
        # Not model.eval() and model.train(): a frozen BatchNorm must stay in eval
        # mode, and modules that act on the switch (merging adapters) must not.
        for module in modes:
            module.training = False
        try:
            yield
        finally:
            for module, training in modes.items():
                module.training = training
            _thaw(modes)


@contextmanager
def _evaluation_weights(optimizer: Optimizer | None) -> Iterator[None]:
    """The weights that a schedule-free optimizer evaluates, then those of before."""
    switch = getattr(optimizer, "eval", None), getattr(optimizer, "train", None)
    if optimizer is None or not (callable(switch[0]) and callable(switch[1])):
        yield
        return
    groups = optimizer.param_groups
    if not all(group.get("train_mode", True) for group in groups):
        yield
        return
    # Its way back is arithmetic, which rounds: the weights are put back themselves.
    kept = [(p, p.detach().clone()) for group in groups for p in group["params"]]
    switch[0]()
    try:
        yield
    finally:
        switch[1]()
        with torch.no_grad():
            for parameter, weights in kept:
                parameter.copy_(weights)


def _thaw(modules: Iterable[nn.Module]) -> None:
    """Make tensors ordinary that modules cached under inference mode.

    Training could not use them: "Inference tensors cannot be saved for backward".
    """
    with torch.inference_mode(mode=False):
        for module in modules:
            for names in (module._buffers, module.__dict__):
                for name, value in names.items():
                    if isinstance(value, Tensor) and value.is_inference():
                        names[name] = value.clone()


def num_own_samples(loader: object) -> int | None:
    """How many samples this process has before its sampler repeats others' ones.

    A `DistributedSampler` gives sample r, r + P, r + 2P, … of an order to process r of
    P, and goes on from the order's beginning until all have as many.
    """
    sampler = getattr(loader, "sampler", None)
    if not isinstance(sampler, DistributedSampler):
        sampler = getattr(getattr(loader, "batch_sampler", None), "sampler", None)
    if not isinstance(sampler, DistributedSampler):
        return None
    num_samples = len(sampler.dataset)  # type: ignore[arg-type] # Dataset hides it
    last = len(sampler) * sampler.num_replicas  # drop_last: fewer than the data set
    return len(range(sampler.rank, min(num_samples, last), sampler.num_replicas))


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


def _takes(model: nn.Module, name: str) -> bool:
    parameters = inspect.signature(model.forward).parameters
    return name in parameters or any(
        parameter.kind is inspect.Parameter.VAR_KEYWORD
        for parameter in parameters.values()
    )


def _shown(batches: Iterable[Any], progress: bool) -> Iterable[Any]:
    if not progress:
        return batches
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError(
            "a progress bar needs tqdm: pip install 'pretrain-eval[progress]'"
        ) from error
    shown: Iterable[Any] = tqdm(batches, desc="validate", leave=False)
    return shown
