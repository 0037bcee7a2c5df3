"""Eval mode for a while, and everything as it was afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import Optimizer


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
def gradients_on() -> Iterator[None]:
    """Gradients for a while, also under the caller's no_grad or inference_mode."""
    with torch.inference_mode(mode=False), torch.enable_grad():
        yield


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
