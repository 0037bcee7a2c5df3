"""How a batch becomes outputs and targets."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence
from torch.utils.data.distributed import DistributedSampler

Forward = Callable[[nn.Module, Any], tuple[Tensor, Tensor]]


def forward_batch(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """The outputs and targets of `(inputs, targets)` or of a mapping with `labels`."""
    if isinstance(batch, Mapping):
        if "labels" not in batch:
            raise ValueError(
                f"a batch by name needs its targets under 'labels', got {list(batch)};"
                " give validate a forward=..."
            )
        named = dict(batch)
        if not takes(model, "labels"):
            del named["labels"]
        outputs = model(**named)
        _check_not_shifted(outputs, batch["labels"])
        return logits(outputs), batch["labels"]
    if not isinstance(batch, Sequence) or len(batch) != 2:
        raise ValueError(
            "a batch is expected to be (inputs, targets) or a mapping with 'labels',"
            f" got {type(batch).__name__}; give validate a forward=..."
        )
    inputs, targets = batch
    return logits(model(inputs)), targets


def named_device(device: torch.device | str) -> torch.device:
    """The device of this name.

    Raises:
        ValueError: torch knows none of this name, or it is not there.
    """
    try:
        found = torch.device(device)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"device must be one of torch's, such as 'cpu' or 'cuda:0', got {device!r}"
        ) from error
    num_devices = torch.cuda.device_count()
    if found.type == "cuda" and (found.index or 0) >= num_devices:
        raise ValueError(
            f"device must be one that is there, got {str(device)!r}; torch sees"
            f" {num_devices} CUDA devices"
        )
    return found


def device_of(model: nn.Module) -> torch.device:
    """Where the model's first parameter is; the CPU where it has none."""
    return next((p.device for p in model.parameters()), torch.device("cpu"))


def moved(batch: Any, device: torch.device) -> Any:
    """The batch with every tensor in it on the device, whatever holds them."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, Mapping):
        return {key: moved(value, device) for key, value in batch.items()}
    if isinstance(batch, PackedSequence):  # whose sizes stay on the CPU
        return batch.to(device)  # type: ignore[arg-type] # torch types it as a dtype
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(moved(value, device) for value in batch))
    if isinstance(batch, list | tuple):
        return type(batch)(moved(value, device) for value in batch)
    return batch


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


def unwrapped(outputs: Any) -> Any:
    """The logits of an object or a mapping that has some; anything else as it is."""
    if isinstance(outputs, Tensor):
        return outputs
    if isinstance(outputs, Mapping):
        return outputs.get("logits", outputs)
    return getattr(outputs, "logits", outputs)


def logits(outputs: object) -> Tensor:
    """The tensor in what a model returns: itself, `.logits`, or `["logits"]`."""
    outputs = unwrapped(outputs)
    if not isinstance(outputs, Tensor):
        raise TypeError(
            "a model is expected to return a tensor or an object with logits, got"
            f" {type(outputs).__name__}"
        )
    return outputs


def _check_not_shifted(outputs: Any, labels: Any) -> None:
    """Raise ValueError where the model scores each position by the next label.

    Told by its own loss: that of a causal model is the cross-entropy of labels that are
    shifted by one, and not of labels as they stand.
    """
    loss = getattr(outputs, "loss", None)
    if loss is None or not isinstance(labels, Tensor) or labels.ndim != 2:
        return
    scores = logits(outputs)
    if scores.ndim != 3 or scores.shape[:2] != labels.shape or loss.numel() != 1:
        return
    if _explains(loss, scores, labels) or not _explains(
        loss, scores[:, :-1], labels[:, 1:]
    ):
        return
    raise ValueError(
        "the model is causal: its own loss scores each position by the next label, which"
        " metrics of its outputs as they stand do not; give validate"
        " forward=LanguageModelling().forward"
    )


def _explains(loss: Tensor, scores: Tensor, labels: Tensor) -> bool:
    """Whether a loss is the mean cross-entropy of scores and labels."""
    own = nn.functional.cross_entropy(
        scores.flatten(0, 1).float(), labels.flatten().to(scores.device).long()
    )
    return bool(torch.isclose(loss.float().reshape(()), own, rtol=1e-4, atol=1e-5))


def takes(model: nn.Module, name: str) -> bool:
    parameters = inspect.signature(model.forward).parameters
    kinds = {parameter.kind for parameter in parameters.values()}
    return name in parameters or inspect.Parameter.VAR_KEYWORD in kinds
