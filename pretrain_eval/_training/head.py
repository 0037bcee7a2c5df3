"""Where a network's backbone ends and its head begins."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import evaluating
from pretrain_eval._training.headed import Headed, width_of

# What torchvision, timm and transformers call the last part of a network.
_HEAD_NAMES = ("fc", "classifier", "head", "heads")
# A network that was distilled has two, whose outputs it averages; one for pixels may
# add the scores of two maps, or have a second head for the loss alone.
_PAIRS = (
    ("cls_classifier", "distillation_classifier"),
    ("head", "head_dist"),
    ("classifier.high_classifier", "classifier.low_classifier"),
    ("classifier", "aux_classifier"),
)
_LAYERS = (nn.Linear, nn.Conv2d)
# Reads a batch through a network, as the task does.
Run = Callable[[nn.Module], Any]


def find_head(model: nn.Module, path: str | None = None) -> str:
    """The dotted path of the layer that gives the outputs; of several, joined by ",".

    Args:
        model: The network.
        path: A layer, or a module whose last layer is meant; by default what timm's
            `get_classifier` gives, the one child that is called `fc`, `classifier`,
            `head` or `heads`, or the only linear layer where it is the last one.

    Raises:
        ValueError: There is no such layer, or the names leave a choice; the message
            lists the candidates.
    """
    if path is not None:
        return ",".join(_named(model, one) for one in path.split(","))
    pair = next((pair for pair in _PAIRS if all(_has(model, p) for p in pair)), None)
    if pair:
        return ",".join(_named(model, one) for one in pair)
    named = [name for name in _HEAD_NAMES if _has(model, name)]
    if len(named) == 1:
        return _named(model, named[0])
    only = _classifier(model) or (not named and _only_linear(model))
    if only:
        return only
    what = f"several modules are named like one: {named}" if named else "none found"
    candidates = _last(model)
    example = f", for example one of {candidates}" if candidates else ""
    raise ValueError(
        f"cannot tell the head of {type(model).__name__}: {what}; name it with"
        f" head=... (in a sweep heads={{model: ...}}){example}; if it has none,"
        " head='new' adds one"
    )


def _has(model: nn.Module, path: str) -> bool:
    found: Any = model
    for part in path.split("."):
        found = getattr(found, part, None)
    return isinstance(found, nn.Module)


def _named(model: nn.Module, path: str) -> str:
    """The last layer at a path."""
    modules = dict(model.named_modules())
    what = type(model).__name__
    if path not in modules or not path:
        raise ValueError(
            f"{what} has no module {path!r} to be its head; candidates are"
            f" {_last(model)}; head='new' adds one to a model without a head"
        )
    inside = [
        name
        for name, module in modules.items()
        if isinstance(module, _LAYERS) and f"{name}.".startswith(f"{path}.")
    ]
    if not inside and not isinstance(modules[path], nn.Identity):
        raise ValueError(
            f"{path!r} of {what} holds no Linear or Conv2d layer to replace; candidates"
            f" are {_last(model)}; head='new' adds one to a model without a head"
        )
    layer = inside[-1] if inside else path
    if _reads_neighbours(modules[layer]):
        raise ValueError(
            f"{layer!r} of {what} is a convolution over"
            f" {tuple(modules[layer].kernel_size)} positions, a part of the backbone"
            " and no head; head='new' adds one"
        )
    return layer


def _reads_neighbours(module: nn.Module) -> bool:
    """Whether it is a convolution of more than one position, which is no head."""
    return isinstance(module, nn.Conv2d) and module.kernel_size != (1, 1)


def _classifier(model: nn.Module) -> str | None:
    """What timm's models say themselves."""
    get = getattr(model, "get_classifier", None)
    if not callable(get):
        return None
    given = get()
    wanted = given if isinstance(given, tuple) else (given,)
    names = {id(module): name for name, module in model.named_modules()}
    if not all(isinstance(m, (*_LAYERS, nn.Identity)) for m in wanted):
        return None
    found = [names.get(id(module), "") for module in wanted]
    return ",".join(found) if all(found) else None


def _only_linear(model: nn.Module) -> str | None:
    """The only linear layer, where nothing with parameters comes after it."""
    linear = [n for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    leaves = [n for n, m in model.named_modules() if any(True for _ in m.parameters())]
    return linear[0] if len(linear) == 1 and leaves[-1] == linear[0] else None


def _last(model: nn.Module) -> list[str]:
    """The ten last layers that may be a head, the likeliest first."""
    layers = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _LAYERS) and not _reads_neighbours(module)
    ]
    return layers[:-11:-1]


def head_modules(model: nn.Module, path: str) -> list[nn.Module]:
    """The layers at the path of a head; none where a model keeps its own."""
    return [model.get_submodule(one) for one in path.split(",") if one]


def replace_head(model: nn.Module, path: str, num_outputs: int, run: Run) -> None:
    """Put a freshly initialised layer of `num_outputs` outputs at `path`.

    Args:
        model: Changed in place, the number of labels in its `config` too.
        path: From `find_head`.
        num_outputs: Outputs of the new layer.
        run: Puts a batch through, where the old head is an `Identity` of unknown width.
    """
    for one in path.split(","):
        old = model.get_submodule(one)
        by_position = isinstance(old, nn.Conv2d)
        if isinstance(old, nn.Conv2d):
            width = old.in_channels
        elif isinstance(old, nn.Linear):
            width = old.in_features
        else:
            width = width_of(model, old, run)
            by_position = isinstance(model, Headed) and model.place == "pixel"
        set_head(model, one, fresh_layer(width, num_outputs, by_position=by_position))


def fresh_layer(
    width: int, num_outputs: int, *, by_position: bool
) -> nn.Linear | nn.Conv2d:
    """A head; where it is a convolution, as in SqueezeNet, it reads positions alone."""
    if by_position:
        return nn.Conv2d(width, num_outputs, kernel_size=1)
    return nn.Linear(width, num_outputs)


def set_head(model: nn.Module, path: str, layer: nn.Linear | nn.Conv2d) -> None:
    """Put a layer at a path, and what the model says of its number of labels right."""
    like = next(model.parameters(), torch.empty(0))
    model.set_submodule(path, layer.to(like.device, like.dtype))
    by_position = isinstance(layer, nn.Conv2d)
    holders: list[Any] = [model, getattr(model, "config", None)]
    for holder in holders:
        if isinstance(getattr(holder, "num_labels", None), int):
            # What transformers' own losses read.
            holder.num_labels = (
                layer.out_channels if by_position else layer.out_features
            )


def check_last(model: nn.Module, path: str, run: Run) -> None:
    """Refuse a layer that is followed by others with parameters, as no head is.

    Args:
        model: Read in eval mode, left as it was.
        path: Of a layer that the caller named.
        run: Puts a batch through.

    Raises:
        ValueError: Layers follow it; names the last one.
    """
    order: list[str] = []
    with evaluating(model), torch.no_grad(), ExitStack() as stack:
        for name, module in model.named_modules():
            own = any(True for _ in module.parameters(recurse=False))
            if own or isinstance(module, nn.Identity):
                handle = module.register_forward_hook(
                    lambda *_, name=name: order.append(name)
                )
                stack.enter_context(handle)
        run(model)
    wanted = path.split(",")
    after = order[
        max((i for i, n in enumerate(order) if n in wanted), default=-1) + 1 :
    ]
    after = [n for n in after if not isinstance(model.get_submodule(n), nn.Identity)]
    if after:
        raise ValueError(
            f"{path!r} of {type(model).__name__} is followed by {after[-1]!r}, so it is"
            " no head; name the last layer, or let head='new' add one"
        )


@contextmanager
def overheard(model: nn.Module, path: str) -> Iterator[list[Tensor]]:
    """For a while the list gets what the head, or its first layer, is called with."""
    found: list[Tensor] = []
    layer = model.get_submodule(path.split(",")[0])
    handle = layer.register_forward_pre_hook(lambda _, inputs: found.append(inputs[0]))
    with handle:
        yield found


@contextmanager
def headless(model: nn.Module, path: str) -> Iterator[None]:
    """For a while the network's outputs are the features that its head reads."""
    heads = {one: model.get_submodule(one) for one in path.split(",") if one}
    for one in heads:
        model.set_submodule(one, nn.Identity())
    try:
        yield
    finally:
        for one, head in heads.items():
            model.set_submodule(one, head)
