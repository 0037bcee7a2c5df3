"""Which parameters a strategy trains, and the modes that follow from it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from torch import nn

from pretrain_eval._training.head import head_modules
from pretrain_eval._training.strategy import Choice, Strategy

Rule = Callable[[str, nn.Parameter], bool]


def select_trainable(
    network: nn.Module, path: str, strategy: Strategy, epoch: int = 0
) -> None:
    """Gradients where the strategy trains, eval mode where everything is frozen.

    Args:
        network: Changed in place.
        path: Of its head.
        strategy: What trains.
        epoch: How many epochs are done, where it trains more from one to the next.
    """
    chosen = strategy.trained_at(epoch)
    if chosen == "head" and not path:
        raise ValueError(
            f"strategy {strategy.name!r} trains the head alone, but this task gives"
            f" {type(network).__name__} none; say which layers by trainable=[...]"
        )
    trains = _rule(network, path, chosen, prepared=strategy.prepare is not None)
    selected = [(p, trains(name, p)) for name, p in network.named_parameters()]
    if not any(one for _, one in selected):
        raise ValueError(
            f"strategy {strategy.name!r} trains no parameter of"
            f" {type(network).__name__}; check its trainable, {chosen!r}"
        )
    for parameter, one in selected:
        parameter.requires_grad_(one)
    set_modes(network, path, strategy, epoch)


def set_modes(
    network: nn.Module, path: str, strategy: Strategy, epoch: int = 0
) -> None:
    """Train mode where something trains, eval mode where everything is frozen."""
    if strategy.trained_at(epoch) == "head":
        network.eval()
        for module in head_modules(network, path):
            module.train()
    else:
        _set_modes(network, training=True)


def _rule(network: nn.Module, path: str, chosen: Choice, *, prepared: bool) -> Rule:
    head = {p for module in head_modules(network, path) for p in module.parameters()}
    if callable(chosen):
        return lambda name, parameter: bool(chosen(name, parameter))
    if chosen == "head":
        return lambda _, parameter: parameter in head
    if chosen == "all":
        # What prepared the network has frozen what it does not adapt.
        return lambda _, p: not prepared or p.requires_grad or p in head
    if isinstance(chosen, int):
        blocks = blocks_of(network, path)
        prefixes = blocks[max(len(blocks) - chosen, 0) :]
    else:
        prefixes = list(chosen)
        _check_names(network, prefixes)
    return lambda name, p: p in head or any(_within(name, one) for one in prefixes)


def _within(name: str, prefix: str) -> bool:
    return name == prefix or name.startswith(f"{prefix.rstrip('.')}.")


def blocks_of(network: nn.Module, path: str) -> list[str]:
    """The blocks of the backbone, in the order in which its modules were made.

    A block is a member of an `nn.Sequential` or `nn.ModuleList`, however deep these lie
    in one another, or a module beside them.
    """
    heads = path.split(",")
    names = [name for name, _ in _walk("", network, inside=False)]
    return [name for name in names if not any(_within(h, name) for h in heads if h)]


def _walk(
    name: str, module: nn.Module, *, inside: bool
) -> Iterator[tuple[str, nn.Module]]:
    container = type(module) in (nn.Sequential, nn.ModuleList)
    if name and not container and (inside or not _holds_blocks(module)):
        yield name, module
        return
    for child_name, child in module.named_children():
        if any(True for _ in child.parameters()):
            full = f"{name}.{child_name}" if name else child_name
            yield from _walk(full, child, inside=container)


def _holds_blocks(module: nn.Module) -> bool:
    """Whether most parameters lie in a list of blocks somewhere inside."""
    size = sum(p.numel() for p in module.parameters())
    return any(
        type(inner) in (nn.Sequential, nn.ModuleList)
        and 2 * sum(p.numel() for p in inner.parameters()) > size
        for inner in module.modules()
    )


def union_trainable(network: nn.Module, path: str, strategy: Strategy) -> None:
    """Gradients wherever the strategy trains at one stage or another."""
    assert isinstance(strategy.trainable, Mapping)  # else there are no stages
    trained: set[nn.Parameter] = set()
    for begin in strategy.trainable:
        select_trainable(network, path, strategy, begin)
        trained |= {p for p in network.parameters() if p.requires_grad}
    for parameter in network.parameters():
        parameter.requires_grad_(parameter in trained)


def _check_names(network: nn.Module, prefixes: Sequence[str]) -> None:
    """Raise ValueError where no prefix names anything in a network."""
    names = [name for name, _ in network.named_parameters()]
    unknown = [p for p in prefixes if not any(_within(name, p) for name in names)]
    if len(unknown) == len(prefixes):
        tops = sorted({name.split(".")[0] for name in names})
        raise ValueError(
            f"no parameter of {type(network).__name__} begins with any of"
            f" {list(prefixes)}; its parts are {tops}"
        )


def _set_modes(module: nn.Module, *, training: bool) -> None:
    # Normalisation layers update their buffers in train mode, frozen or not; a module
    # without parameters follows the one that holds it.
    parameters = list(module.parameters())
    if parameters:
        training = any(p.requires_grad for p in parameters)
    module.training = training
    for child in module.children():
        _set_modes(child, training=training)
