"""How a strategy has the outputs of a network computed: precision, layout, compiler."""

from __future__ import annotations

from typing import Any, cast, final

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from pretrain_eval._metrics import device_of
from pretrain_eval._training.strategy import Strategy

_HALF = (torch.float16, torch.bfloat16)


def computing(network: nn.Module, strategy: Strategy) -> Any:
    """The network as the strategy has it compute; what it does not alter, itself.

    Outputs of 16 bits are widened: losses and scores are of 32 bits.
    """
    if strategy.amp is None and not strategy.channels_last:
        return network
    return _Computing(network, strategy)


@final
class _Computing:
    """Stands in a network's place where it is called."""

    def __init__(self, network: nn.Module, strategy: Strategy) -> None:
        self._network, self._strategy = network, strategy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._network, name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._strategy.channels_last:
            args, kwargs = tree_map(_channels_last, (args, kwargs))
        if self._strategy.amp is None:
            return self._network(*args, **kwargs)
        device = device_of(self._network)
        with torch.autocast(device.type, getattr(torch, self._strategy.amp)):
            outputs = self._network(*args, **kwargs)
        return _widened(outputs)


def _channels_last(value: Any) -> Any:
    if isinstance(value, Tensor) and value.ndim == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value


def _widened(outputs: Any) -> Any:
    """The tensors of whatever a network returns, those of 16 bits as of 32."""
    if isinstance(outputs, Tensor):
        return outputs.float() if outputs.dtype in _HALF else outputs
    if isinstance(outputs, dict):  # as are the outputs of transformers
        for name, value in outputs.items():
            outputs[name] = _widened(value)
        return outputs
    if isinstance(outputs, list):
        return [_widened(value) for value in outputs]
    if type(outputs) is tuple:
        return tuple(_widened(value) for value in outputs)
    if isinstance(getattr(outputs, "logits", None), Tensor):
        outputs.logits = _widened(outputs.logits)
    return outputs


def arranged(network: nn.Module, strategy: Strategy) -> None:
    """Lay the weights out in memory as the strategy says; no value changes."""
    if strategy.channels_last:
        network.to(memory_format=torch.channels_last)


def compiled(network: nn.Module, strategy: Strategy) -> nn.Module:
    """What to call in the network's place; its weights and modes are the network's."""
    if not strategy.compile:
        return network
    # torch compiles the code of a class a few times, then no more, and turns sizes
    # that change into variables: what came before would decide a run's bits. Kernels
    # stay in torch's cache on disk, so that to forget costs a second or two.
    torch.compiler.reset()
    return cast(nn.Module, torch.compile(network, dynamic=False))


def loss_scaler(strategy: Strategy, device: torch.device) -> torch.amp.GradScaler:
    """Keeps gradients of float16 from vanishing; does nothing for other types."""
    return torch.amp.GradScaler(device.type, enabled=strategy.amp == "float16")
