"""When an optimizer steps, and what it has at hand before and after."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from types import TracebackType
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self

from pretrain_eval import functional


class StepEvents(Protocol):
    """What is told of every step."""

    def before_step(self, step: Step) -> None:
        """Gradients at θ_t are ready, the parameters have not moved."""

    def after_step(self, step: Step) -> None:
        """The parameters are at θ_{t+1}."""


@final
class Step:
    """One optimizer step; what several metrics ask for is computed once.

    Attributes:
        number: Counts the steps since `attach`, from 1.
    """

    def __init__(self, optimizer: Optimizer, number: int) -> None:
        self.number = number
        self._optimizer = optimizer
        self._snapshot: list[Tensor] | None = None

    @cached_property
    def parameters(self) -> list[Tensor]:
        """What the optimizer holds, each once, also where groups repeat one."""
        groups = self._optimizer.param_groups
        return list({id(p): p for group in groups for p in group["params"]}.values())

    @cached_property
    def gradient_norm(self) -> Tensor:
        """‖g‖₂ as the optimizer consumes it; ask for it in `before_step`."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        total = functional.norm(gradients)
        # A fused optimizer under GradScaler holds scaled gradients until its step.
        scale = getattr(self._optimizer, "grad_scale", None)
        return total if scale is None else total / scale.to(total)

    def keep_parameters(self) -> None:
        """Keep θ_t until the step is over; ask for it in `before_step`."""
        if self._snapshot is None:
            self._snapshot = [p.detach().clone() for p in self.parameters]

    @cached_property
    def update_ratio(self) -> Tensor:
        """‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂; ask for it in `after_step`."""
        if self._snapshot is None:
            raise RuntimeError("call step.keep_parameters() in before_step first")
        return functional.update_ratio(self._snapshot, self.parameters)


@final
class Attachment:
    """Watches an optimizer until it is closed; a context manager."""

    def __init__(self, optimizer: Optimizer, watchers: Sequence[StepEvents]) -> None:
        self._optimizer = optimizer
        self._watchers = watchers
        self._number = 0
        self._depth = 0
        self._step: Step | None = None
        self._handles = (
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        )

    def close(self) -> None:
        """Stop watching; closing twice is harmless."""
        for handle in self._handles:
            handle.remove()
        self._step = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @torch.compiler.disable  # type: ignore[untyped-decorator] # torch ships no type
    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        # A subclass whose step calls super().step() fires the hooks twice.
        self._depth += 1
        if self._depth > 1:
            return None
        self._number += 1
        self._step = Step(optimizer, self._number)
        # The hook's first argument is the optimizer itself.
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._tell_before()
            return None
        # With a closure, forward and backward run inside the step: gradients are
        # ready after its first evaluation, and not before.
        wrapped = self._then_tell_before(closure)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": wrapped}
        return (args[0], wrapped, *args[2:]), kwargs

    def _then_tell_before(self, closure: Callable[[], Any]) -> Callable[[], Any]:
        told = False

        def evaluate() -> Any:
            nonlocal told
            loss = closure()
            if not told:
                told = True
                self._tell_before()
            return loss

        return evaluate

    @torch.no_grad()
    def _tell_before(self) -> None:
        for watcher in self._watchers:
            watcher.before_step(self._current())

    @torch.compiler.disable  # type: ignore[untyped-decorator] # torch ships no type
    @torch.no_grad()
    def _after(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        self._depth -= 1
        if self._depth > 0:
            return
        for watcher in self._watchers:
            watcher.after_step(self._current())
        self._step = None

    def _current(self) -> Step:
        if self._step is None:
            raise RuntimeError("the step was left by an exception before it ended")
        return self._step


def watch(
    optimizer: Optimizer,
    watchers: Sequence[StepEvents],
    model: nn.Module | None = None,
) -> Attachment:
    """Tell `watchers` of every step that `optimizer` takes."""
    if not watchers:
        raise ValueError("attach expects at least one step metric, got none")
    if not any(group["params"] for group in optimizer.param_groups):
        raise ValueError("attach expects an optimizer with parameters, got none")
    return Attachment(optimizer, watchers)
