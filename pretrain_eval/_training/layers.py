"""What the inner layers of a network give, one row a sample."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from pretrain_eval._training.headed import pooled


def find_layers(network: nn.Module, names: tuple[str, ...]) -> list[nn.Module]:
    """The modules at dotted paths.

    Raises:
        ValueError: There is none at some path.
    """
    modules = dict(network.named_modules())
    unknown = [name for name in names if name not in modules or not name]
    if unknown:
        known = [name for name in modules if name and name.count(".") < 2]
        raise ValueError(
            f"{type(network).__name__} has no layers {unknown}; it has {known[:20]}"
        )
    return [modules[name] for name in names]


@contextmanager
def heard(network: nn.Module, names: tuple[str, ...]) -> Iterator[dict[str, Tensor]]:
    """For a while the mapping gets what each layer gave last, one row a sample.

    Maps are averaged over positions, `(N, C, H, W)`, or `(N, H, W, C)` where the layer's
    own modules say that channels come last; sequences `(N, T, C)` over the tokens that
    the attention mask of the network's call keeps.
    """
    found: dict[str, Tensor] = {}
    mask: list[Tensor | None] = [None]

    def called(_: nn.Module, __: Any, kwargs: Mapping[str, Any]) -> None:
        mask[0] = kwargs.get("attention_mask")

    def keep(name: str, layer: nn.Module, given: Any) -> None:
        # Blocks of transformers give their tokens first, and attentions after them.
        first = given[0] if isinstance(given, tuple) else given
        if isinstance(first, Tensor) and _has_channels_last(layer, first):
            first = first.movedim(-1, 1)
        found[name] = pooled(first, mask[0]).flatten(1)

    with ExitStack() as stack:
        stack.enter_context(network.register_forward_pre_hook(called, with_kwargs=True))
        for name, layer in zip(names, find_layers(network, names), strict=True):
            stack.enter_context(
                layer.register_forward_hook(
                    lambda layer, _, given, name=name: keep(name, layer, given)
                )
            )
        yield found


def _has_channels_last(layer: nn.Module, maps: Tensor) -> bool:
    """Whether a layer gives `(N, H, W, C)`, as blocks of Swin do.

    Convolutions and their norms have as many channels as the second dimension has; where
    none does, linear layers and layer norms are of the last one.
    """
    if maps.ndim != 4:
        return False
    second, last = set(), set()
    for module in layer.modules():
        second.add(getattr(module, "out_channels", None))
        second.add(getattr(module, "num_features", None))
        last.add(getattr(module, "out_features", None))
        last.add((getattr(module, "normalized_shape", None) or (None,))[-1])
    return maps.shape[1] not in second and maps.shape[-1] in last
