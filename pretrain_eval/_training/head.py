"""Where a network's backbone ends and its head begins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import evaluating
from pretrain_eval._training.strategy import Strategy

# What torchvision, timm and transformers call the last part of a network.
_HEAD_NAMES = ("fc", "classifier", "head", "heads")
_LAYERS = (nn.Linear, nn.Conv2d)


def find_head(model: nn.Module, path: str | None = None) -> str:
    """The dotted path of the layer that gives the outputs.

    Args:
        model: The network.
        path: A layer, or a module whose last layer is meant; by default the one child
            that is called `fc`, `classifier`, `head` or `heads`.

    Raises:
        ValueError: There is no such layer, or the names leave a choice; the message
            lists the candidates.
    """
    layers = [
        name for name, module in model.named_modules() if isinstance(module, _LAYERS)
    ]
    named = [
        name
        for name in _HEAD_NAMES
        if isinstance(getattr(model, name, None), nn.Module)
    ]
    if path is None and len(named) != 1:
        what = f"several modules are named like one: {named}" if named else "none found"
        raise ValueError(
            f"cannot tell the head of {type(model).__name__}: {what}; name it with"
            f" head=..., for example one of {_last(layers)}"
        )
    path = named[0] if path is None else path
    modules = dict(model.named_modules())
    if path not in modules or not path:
        raise ValueError(
            f"{type(model).__name__} has no module {path!r} to be its head; candidates"
            f" are {_last(layers)}"
        )
    inside = [
        layer for layer in layers if layer == path or layer.startswith(f"{path}.")
    ]
    if not inside and not isinstance(modules[path], nn.Identity):
        raise ValueError(
            f"{path!r} of {type(model).__name__} holds no Linear or Conv2d layer to"
            f" replace; candidates are {_last(layers)}"
        )
    return inside[-1] if inside else path


def _last(layers: list[str]) -> list[str]:
    """The ten last layers, the likeliest first."""
    return layers[:-11:-1]


def replace_head(model: nn.Module, path: str, num_outputs: int, inputs: Tensor) -> None:
    """Put a freshly initialised layer of `num_outputs` outputs at `path`.

    Args:
        model: Changed in place.
        path: From `find_head`.
        num_outputs: Outputs of the new layer.
        inputs: One batch, read where the old head is an `Identity` of unknown width.
    """
    old = model.get_submodule(path)
    new: nn.Module
    if isinstance(old, nn.Conv2d):
        # A head that is a convolution reads each position alone, as in SqueezeNet.
        new = nn.Conv2d(old.in_channels, num_outputs, kernel_size=1)
    elif isinstance(old, nn.Linear):
        new = nn.Linear(old.in_features, num_outputs)
    else:
        new = nn.Linear(_width(model, path, inputs), num_outputs)
    like = next(model.parameters(), torch.empty(0))
    model.set_submodule(path, new.to(like.device, like.dtype))


def _width(model: nn.Module, path: str, inputs: Tensor) -> int:
    outputs: list[Tensor] = []
    layer = model.get_submodule(path)
    handle = layer.register_forward_hook(lambda _m, _a, output: outputs.append(output))
    with handle, evaluating(model), torch.no_grad():
        model(inputs)
    return int(outputs[0].shape[-1])


@contextmanager
def headless(model: nn.Module, path: str) -> Iterator[None]:
    """For a while the network's outputs are the features that its head reads."""
    head = model.get_submodule(path)
    model.set_submodule(path, nn.Identity())
    try:
        yield
    finally:
        model.set_submodule(path, head)


def select_trainable(network: nn.Module, path: str, strategy: Strategy) -> None:
    """Gradients where the strategy trains, eval mode where everything is frozen."""
    chosen = strategy.trainable
    head = set(network.get_submodule(path).parameters())
    for name, parameter in network.named_parameters():
        trains = (
            chosen(name, parameter)
            if callable(chosen)
            else chosen == "all" or parameter in head
        )
        parameter.requires_grad_(bool(trains))
    if not any(p.requires_grad for p in network.parameters()):
        raise ValueError(
            f"strategy {strategy.name!r} trains no parameter of"
            f" {type(network).__name__}; check its trainable function"
        )
    if strategy.trains_head_alone:
        network.eval()
        network.get_submodule(path).train()
    else:
        _set_modes(network, training=True)


def _set_modes(module: nn.Module, *, training: bool) -> None:
    # Normalisation layers update their buffers in train mode, frozen or not; a module
    # without parameters follows the one that holds it.
    parameters = list(module.parameters())
    if parameters:
        training = any(p.requires_grad for p in parameters)
    module.training = training
    for child in module.children():
        _set_modes(child, training=training)
