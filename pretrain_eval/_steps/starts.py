"""Weights that an optimizer moves before its closure gives it a gradient."""

from __future__ import annotations

from typing import final

import torch
from torch.optim import Optimizer

from pretrain_eval._steps.plan import Moment, Plan
from pretrain_eval._steps.snapshot import Room

# Steps in which an optimizer that is not torch's own is compared with a copy. Its
# later ones are known by versions, which a write through `.data` does not raise.
_COMPARED = 3


@final
class Start:
    """The weights as they were when a step with a closure was called.

    Attributes:
        moved: Whether they were others when the closure was called.
        copies: Of them, where they were taken.
    """

    def __init__(self, plan: Plan, copies: Moment | None) -> None:
        self.moved: bool = False
        self.copies = copies
        self._plan, self._marks = plan, plan.marks()

    def look(self) -> None:
        """The closure is called."""
        if self.copies is None:
            self.moved = self._plan.marks() != self._marks
        else:
            with torch.no_grad():
                self.moved = self.copies.is_over()


@final
class Starts:
    """Which optimizers move weights before they call their closure."""

    def __init__(self) -> None:
        self._moving: set[int] = set()
        self._num_still: dict[int, int] = {}

    def of(self, optimizer: Optimizer, plan: Plan, room: Room) -> Start:
        """The optimizer's step is called; its weights are copied where they may move."""
        number = id(optimizer)
        copies = number in self._moving or not (
            steps_as_torch(optimizer) or self._num_still.get(number, 0) >= _COMPARED
        )
        return Start(plan, Moment(plan, room) if copies else None)

    def looked(self, optimizer: Optimizer, start: Start) -> None:
        """Learn what one step has shown."""
        number = id(optimizer)
        if start.moved:
            self._moving.add(number)
        else:
            self._num_still[number] = self._num_still.get(number, 0) + 1


def steps_as_torch(optimizer: Optimizer) -> bool:
    """Whether its step is one of torch's own, which call a closure first."""
    return type(optimizer).step.__module__.startswith("torch.optim.")
