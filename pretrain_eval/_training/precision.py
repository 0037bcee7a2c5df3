"""How a strategy has the outputs of a network computed: precision, layout, compiler."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import logits
from pretrain_eval._training.strategy import Strategy

_HALF = (torch.float16, torch.bfloat16)


def computed(
    network: Callable[[Tensor], object], inputs: Tensor, strategy: Strategy
) -> Tensor:
    """The outputs of a network that was `arranged`, where loss and metrics read them.

    Autocast's outputs of 16 bits are widened: losses and scores are of 32 bits.
    """
    if strategy.channels_last and inputs.ndim == 4:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    if strategy.amp is None:
        return logits(network(inputs))
    with torch.autocast(inputs.device.type, getattr(torch, strategy.amp)):
        outputs = logits(network(inputs))
    return outputs.float() if outputs.dtype in _HALF else outputs


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
