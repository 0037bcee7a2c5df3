"""What a network costs, counted on the meta device without computing anything."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from pretrain_eval._metrics import device_of, evaluating, moved, preserved_rng
from pretrain_eval._tasks import called

# How a network is called with a batch; it returns whatever holds its outputs.
Call = Callable[[Any, Any], Any]


def count_macs(model: nn.Module, inputs: Any, *, call: Call | None = None) -> int:
    """Multiply-accumulate operations of one forward pass of `inputs`.

    Half the floating-point operations that `FlopCounterMode` counts: matrix products,
    convolutions and attention; element-wise operations are not counted, as in
    torchvision's published numbers. Runs on the meta device: nothing is computed and
    no memory is taken. A model that reads values on its way, as detectors and packed
    sequences do, is run once where it is.

    Args:
        model: Read in eval mode, left as it was.
        inputs: A batch, only whose shape and dtype matter; one sample gives the number
            that papers quote. A mapping goes by name, a tuple as several arguments.
        call: Called with the model and `inputs` where that is not how to call it.

    >>> count_macs(nn.Linear(10, 5), torch.zeros(1, 10))
    50
    """
    # It imports triton, as long as all of this package; every worker would pay for it.
    from torch.utils.flop_counter import FlopCounterMode

    call = call or called
    with evaluating(model), preserved_rng(), torch.no_grad():
        try:
            with FlopCounterMode(display=False) as counter:
                call(_Twin(model), _meta(inputs))
        except Exception:  # reads values, which meta tensors do not have
            with FlopCounterMode(display=False) as counter:
                call(model, moved(inputs, device_of(model)))
    return int(counter.get_total_flops()) // 2


def step_memory(
    model: nn.Module,
    inputs: Any,
    make_optimizer: Callable[[nn.Module, Iterable[nn.Parameter]], Optimizer],
    *,
    call: Call = called,
) -> int:
    """Bytes of all tensors alive at the peak of one training step.

    Parameters, buffers, gradients, optimizer state, activations and the batch itself;
    counted on the meta device, so the same on every machine, or in a step of a copy
    where a model reads values. The loss is the outputs' sum; workspace inside kernels
    is not seen. The modules' modes are kept: set those that the training will have.

    >>> linear = nn.Linear(10, 5, bias=False)
    >>> sgd = lambda _, parameters: torch.optim.SGD(parameters, lr=0.1)
    >>> step_memory(linear, torch.zeros(1, 10), sgd) >= 2 * 50 * 4
    True
    """
    with preserved_rng():
        try:
            twin = _Twin(model)
            return _step_bytes(twin, lambda: _meta(inputs), make_optimizer, call)
        except Exception:  # reads values, which meta tensors do not have
            real, batch = copy.deepcopy(model), moved(inputs, device_of(model))
            return _step_bytes(real, lambda: _copied(batch), make_optimizer, call)


def _step_bytes(
    model: Any,
    make_batch: Callable[[], Any],
    make_optimizer: Callable[[nn.Module, Iterable[nn.Parameter]], Optimizer],
    call: Call,
) -> int:
    trainable = [p for p in model.parameters() if p.requires_grad]
    with _LiveBytes() as live:
        live.count([*model.parameters(), *model.buffers()])
        optimizer = make_optimizer(model, trainable)
        # The batch is alive as long as the backward pass needs it, and no longer.
        torch.autograd.backward(_scalar(call(model, make_batch())))
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


@final
class _Twin:
    """A model on the meta device, which shares the model's modules and no tensor."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._weights: dict[str, nn.Parameter] = {
            name: nn.Parameter(_meta(p), requires_grad=p.requires_grad)
            for name, p in model.named_parameters()
        }
        self._fixed: dict[str, Tensor] = {
            name: _meta(buffer) for name, buffer in model.named_buffers()
        }
        twins: dict[int, Tensor] = {
            **{id(p): self._weights[name] for name, p in model.named_parameters()},
            **{id(b): self._fixed[name] for name, b in model.named_buffers()},
        }
        # Each place once, also of a module that has several names: torch 2.6 gives back
        # what it has put there itself where a place is named twice.
        self._placed: dict[str, Tensor] = {
            f"{path}.{name}" if path else name: twins[id(tensor)]
            for path, module in model.named_modules()
            for name, tensor in [*module._parameters.items(), *module._buffers.items()]
            if tensor is not None
        }

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        with _unchanged(self._model):
            return torch.func.functional_call(
                self._model, self._placed, args, kwargs, tie_weights=False
            )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def named_parameters(self) -> Iterable[tuple[str, nn.Parameter]]:
        return self._weights.items()

    def parameters(self) -> Iterable[nn.Parameter]:
        return self._weights.values()

    def buffers(self) -> Iterable[Tensor]:
        return self._fixed.values()


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Give modules their attributes back, some of which hold tensors of a last pass."""
    kept = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in kept:
            vars(module).clear()
            vars(module).update(attributes)


def _meta(batch: Any) -> Any:
    """The tensors of a batch, or one, as empty ones on the meta device."""
    return tree_map_only(Tensor, lambda t: torch.empty_like(t, device="meta"), batch)


def _copied(batch: Any) -> Any:
    return tree_map_only(Tensor, torch.clone, batch)


def _scalar(outputs: Any) -> Tensor:
    found = [tensor for tensor in _tensors(outputs) if tensor.requires_grad]
    sums = [tensor.sum().float() for tensor in found]
    return torch.stack(sums).sum()


def _tensors(outputs: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(outputs) if isinstance(leaf, Tensor)]
