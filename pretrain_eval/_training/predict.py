"""What a network says of every example, kept instead of counted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from pretrain_eval._metrics import (
    device_of,
    evaluating,
    loader_generators,
    logits,
    moved,
    named_device,
    preserved_rng,
    takes,
)
from pretrain_eval._training.head import find_head, overheard


def predict(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    features: bool = True,
    head: str | None = None,
    forward: Callable[[nn.Module, Any], tuple[Any, Any]] | None = None,
    device: torch.device | str | None = None,
) -> dict[str, npt.NDArray[Any]]:
    """Outputs, targets and features of every example, as `monitor` takes them.

    The model runs in eval mode under `torch.inference_mode`; modes, the global random
    generators and the loader's own are as before afterwards. `numpy.savez(path,
    **predict(model, loader))` keeps them, without pickles.

    Args:
        model: Called with a batch's inputs.
        loader: Gives `(inputs, targets)`, or, where there are no labels, inputs as a
            tensor or alone in a tuple; or mappings whose entries the model takes by
            name, with or without `labels`.
        features: Whether to keep what the head reads, too.
        head: The head's dotted path; by default found as in a sweep.
        forward: Called with model and batch, returns `(outputs, targets)`, targets None
            where there are none, for batches of any other shape.
        device: Where batches are moved; by default where the model's parameters are.

    Returns:
        "outputs", `(num_examples, ...)`; "targets" where there are labels; "features",
        `(num_examples, num_features)`, maps averaged over their positions.

    Raises:
        TypeError: The model is no module.
        ValueError: The loader is empty, the head cannot be told, it is not called once a
            batch, or some batches have labels and others have none.

    >>> model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
    >>> batches = [(torch.ones(5, 3), torch.zeros(5, dtype=torch.long))]
    >>> found = predict(model, batches, head="2")
    >>> {name: array.shape for name, array in found.items()}
    {'outputs': (5, 2), 'targets': (5,), 'features': (5, 4)}
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"predict expects a torch module, got {model!r:.200}")
    path = find_head(model, head) if features else None
    where = device_of(model) if device is None else named_device(device)
    parts: dict[str, list[Tensor]] = {}
    number = 0
    listening: AbstractContextManager[list[Tensor]] = (
        nullcontext([]) if path is None else overheard(model, path)
    )
    with (
        preserved_rng(*loader_generators(loader)),
        evaluating(model),
        torch.inference_mode(),
        listening as heard,
    ):
        for batch in loader:
            number += 1
            outputs, targets = (forward or _forward)(model, moved(batch, where))
            found = {"outputs": outputs, "targets": targets}
            if path is not None:
                found["features"] = _features(model, path, heard, len(outputs))
            for name, part in found.items():
                if part is not None:
                    parts.setdefault(name, []).append(part.cpu())
    if not number:
        raise ValueError("predict expects a loader with at least one batch, got none")
    if len(parts.get("targets", ())) not in (0, number):
        raise ValueError(
            f"predict expects labels in all batches or in none, got some in"
            f" {len(parts['targets'])} of {number}"
        )
    return {name: _array(torch.cat(each)) for name, each in parts.items()}


def _forward(model: nn.Module, batch: Any) -> tuple[Tensor, Any]:
    """The outputs of a batch, and its targets where it has some."""
    if isinstance(batch, Mapping):
        named = dict(batch)
        targets = named.get("labels")
        if "labels" in named and not takes(model, "labels"):
            del named["labels"]
        return logits(model(**named)), targets
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return logits(model(batch[0])), batch[1]
    if isinstance(batch, tuple | list) and len(batch) == 1:
        return logits(model(batch[0])), None
    if isinstance(batch, Tensor):
        return logits(model(batch)), None
    raise ValueError(
        "a batch is expected to be (inputs, targets), inputs alone, or a mapping by name,"
        f" got {type(batch).__name__}; give predict a forward=..."
    )


def _features(
    model: nn.Module, path: str, heard: list[Tensor], num_examples: int
) -> Tensor:
    """What the head read of the latest batch, `(num_examples, num_features)`."""
    if len(heard) != 1:
        raise ValueError(
            f"predict expects the head {path!r} to be called once a batch, it was called"
            f" {len(heard)} times; features=False leaves features out"
        )
    found = heard.pop()
    if len(found) != num_examples:
        raise ValueError(
            f"the head {path!r} read {len(found)} rows of {num_examples} examples;"
            " features=False leaves features out"
        )
    if found.ndim == 2:
        return found
    if isinstance(model.get_submodule(path.split(",")[0]), nn.Conv2d):
        return found.flatten(2).mean(2)  # channels stand first
    return found.reshape(num_examples, -1, found.shape[-1]).mean(1)


def _array(values: Tensor) -> npt.NDArray[Any]:
    if values.dtype in (torch.bfloat16, torch.float16):
        values = values.float()
    return np.asarray(values)
