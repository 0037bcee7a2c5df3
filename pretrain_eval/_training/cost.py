"""What a network costs, counted on the meta device without computing anything."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from pretrain_eval._metrics import evaluating


def count_macs(model: nn.Module, inputs: Tensor) -> int:
    """Multiply-accumulate operations of one forward pass of `inputs`.

    Half the floating-point operations that `FlopCounterMode` counts: matrix products,
    convolutions and attention; element-wise operations are not counted, as in
    torchvision's published numbers. Runs on the meta device: nothing is computed and
    no memory is taken.

    Args:
        model: Read in eval mode, left as it was.
        inputs: A batch, only whose shape and dtype matter; one sample gives the number
            that papers quote.

    >>> count_macs(nn.Linear(10, 5), torch.zeros(1, 10))
    50
    """
    forward, _ = _on_meta(model)
    with evaluating(model), FlopCounterMode(display=False) as counter:
        forward(_meta(inputs))
    return int(counter.get_total_flops()) // 2


def step_memory(
    model: nn.Module,
    inputs: Tensor,
    make_optimizer: Callable[[Iterable[nn.Parameter]], Optimizer],
) -> int:
    """Bytes of all tensors alive at the peak of one training step.

    Parameters, buffers, gradients, optimizer state, activations and the batch itself;
    counted on the meta device, so the same on every machine. The loss is the outputs'
    sum; workspace inside kernels is not seen. The modules' modes are kept: set those
    that the training will have.

    >>> linear = nn.Linear(10, 5, bias=False)
    >>> step_memory(linear, torch.zeros(1, 10), torch.optim.Adam) >= 4 * 50 * 4
    True
    """
    forward, twins = _on_meta(model)
    trainable = [
        twin
        for twin in twins.values()
        if isinstance(twin, nn.Parameter) and twin.requires_grad
    ]
    with _LiveBytes() as live:
        live.count(twins.values())
        optimizer = make_optimizer(trainable)
        torch.autograd.backward(_scalar(forward(_meta(inputs))))
        optimizer.step()
    return int(live.peak)


class _LiveBytes(TorchDispatchMode):
    """Follows the bytes of the storages alive while it is on."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # torch's
        self.now: int = 0
        self.peak: int = 0
        self._seen: set[int] = set()

    def count(self, tensors: Iterable[Tensor]) -> None:
        for tensor in tensors:
            storage = tensor.untyped_storage()
            key = storage._cdata
            if key in self._seen:
                continue
            self._seen.add(key)
            size = storage.nbytes()
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, key, size)

    def _freed(self, key: int, size: int) -> None:
        self._seen.discard(key)
        self.now -= size

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        outputs = func(*args, **(kwargs or {}))
        self.count(_tensors(outputs))
        return outputs


def _on_meta(
    model: nn.Module,
) -> tuple[Callable[[Tensor], Any], dict[str, Tensor]]:
    """The model's forward function over meta twins of its tensors, and the twins."""
    twins: dict[str, Tensor] = {
        name: nn.Parameter(_meta(p), requires_grad=p.requires_grad)
        for name, p in model.named_parameters()
    }
    twins |= {name: _meta(buffer) for name, buffer in model.named_buffers()}

    def forward(inputs: Tensor) -> Any:
        return torch.func.functional_call(model, twins, (inputs,))

    return forward, twins


def _meta(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="meta")


def _scalar(outputs: Any) -> Tensor:
    sums = [tensor.sum().float() for tensor in _tensors(outputs)]
    return torch.stack(sums).sum()


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
