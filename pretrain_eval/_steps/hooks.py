"""When one optimizer begins and ends a step, whoever calls it and with what."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, final

import torch
from torch.optim import Optimizer

from pretrain_eval._steps.starts import Start, steps_as_torch

_OPTIMIZER_FILE = sys.modules[Optimizer.__module__].__file__


@final
class Hooks:
    """The hooks of one optimizer.

    Args:
        optimizer: Its step is watched.
        call: Told that a step with a closure is called.
        begin: Told that the gradients are ready, with what `call` gave.
        end: Told that the step is over.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        call: Callable[[Optimizer], Start | None],
        begin: Callable[[Optimizer, Start | None], None],
        end: Callable[[Optimizer], None],
    ) -> None:
        self._call, self._begin, self._end = call, begin, end
        # A subclass whose step calls super().step() fires the hooks twice.
        self._may_nest = not steps_as_torch(optimizer)
        self._frames: list[FrameType | None] = []
        # Applied here, since it imports a compiler, which an optimizer has done.
        disable: Callable[[Any], Any] = torch.compiler.disable
        self.before, self.after = disable(self._before), disable(self._after)

    def _before(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        if self._may_nest and self._is_inside():
            return None
        # The hook's first argument is the optimizer itself.
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._begin(optimizer, None)
            return None
        # With a closure, forward and backward run inside the step: gradients are
        # ready after its first evaluation, and not before.
        wrapped = self._then_begin(closure, optimizer)
        if "closure" in kwargs:
            return args, {**kwargs, "closure": wrapped}
        return (args[0], wrapped, *args[2:]), kwargs

    def _is_inside(self) -> bool:
        # An exception leaves a step without its end; what runs no more is forgotten.
        running = list(_running_steps())
        self._frames = [frame for frame in self._frames if frame in running]
        self._frames.append(next(iter(running), None))
        return len(self._frames) > 1

    def _then_begin(
        self, closure: Callable[[], Any], optimizer: Optimizer
    ) -> Callable[[], Any]:
        begun = False
        start = self._call(optimizer)

        def evaluate() -> Any:
            nonlocal begun, start
            if begun:
                return closure()
            if start is not None:
                start.look()
            loss = closure()
            begun = True
            self._begin(optimizer, start)
            start = None  # its copies are not needed for longer
            return loss

        return evaluate

    def _after(
        self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        if self._may_nest:
            self._frames.pop()
        if not self._frames:
            self._end(optimizer)


def _running_steps() -> Iterator[FrameType]:
    """The calls of an optimizer's step that are under way, innermost first."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename == _OPTIMIZER_FILE:
            yield frame
        frame = frame.f_back
