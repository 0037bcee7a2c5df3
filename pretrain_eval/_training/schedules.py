"""The schedule that a strategy makes, stepped once an optimizer step whoever wrote it."""

from __future__ import annotations

import inspect
from typing import Any, Protocol, final

from torch.optim import Optimizer

from pretrain_eval._training.strategy import Strategy


class Schedule(Protocol):
    """What moves an optimizer's settings on after each of its steps."""

    def step(self) -> Any:
        """Move them on by one step."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it."""
        ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any:
        """Go on from a checkpoint."""


@final
class _Counted:
    """A schedule of timm's, which must be told how many steps were made."""

    def __init__(self, schedule: Any) -> None:
        self._schedule, self._steps = schedule, 0

    def step(self) -> None:
        self._steps += 1
        self._schedule.step_update(self._steps)

    def state_dict(self) -> dict[str, Any]:
        return {"steps": self._steps, "schedule": self._schedule.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any], /) -> None:
        self._steps = state_dict["steps"]
        self._schedule.load_state_dict(state_dict["schedule"])


def make_schedule(
    strategy: Strategy, optimizer: Optimizer, total_steps: int
) -> Schedule | None:
    """The schedule of a training, or None where the strategy has none.

    Raises:
        TypeError: What is made has no `step()` that can be called after each step.
        ValueError: It counts epochs, or the optimizer's groups have scales of their
            learning rates that nothing applies.
    """
    what = f"strategy {strategy.name!r}"
    made: Any = None
    if strategy.schedule is not None:
        made = strategy.schedule(optimizer, total_steps)
        if callable(getattr(made, "step_update", None)):
            return _counted(made, what)
        _check_step(made, what)
    _check_scales(optimizer, what)
    checked: Schedule | None = made
    return checked


def _counted(made: Any, what: str) -> _Counted:
    """By the number of steps; one that counts epochs would never move."""
    if getattr(made, "t_in_epochs", False):
        raise ValueError(
            f"{what}: schedule must count optimizer steps, but {type(made).__name__}"
            " counts epochs; make it with"
            " create_scheduler_v2(..., step_on_epochs=False, updates_per_epoch=...),"
            " or t_in_epochs=False"
        )
    return _Counted(made)


def _check_step(made: Any, what: str) -> None:
    """Whether it can be stepped with nothing said."""
    name = type(made).__name__
    step = getattr(made, "step", None)
    if not callable(step):
        raise TypeError(
            f"{what}: schedule must return a scheduler with step(), got {name}"
        )
    needed = [
        parameter.name
        for parameter in inspect.signature(step).parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind
        in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    ]
    if needed:
        raise TypeError(
            f"{what}: schedule is stepped after each optimizer step with no argument,"
            f" but {name}.step() needs {', '.join(needed)}; use a schedule of the"
            " number of steps, such as CosineAnnealingLR"
        )


def _check_scales(optimizer: Optimizer, what: str) -> None:
    """Timm's layer decay is a note in the groups, which timm's schedules alone read."""
    groups = optimizer.param_groups
    scaled = any(group.get("lr_scale", 1.0) != 1.0 for group in groups)
    if scaled and len({float(group["lr"]) for group in groups}) == 1:
        raise ValueError(
            f"{what}: the optimizer's groups have an lr_scale (layer decay), but one"
            " learning rate, and nothing would apply the scale; give schedule= one of"
            " timm's, such as create_scheduler_v2(optimizer, 'cosine', ...,"
            " step_on_epochs=False, updates_per_epoch=...)[0], or multiply each group's"
            " lr by its lr_scale in the optimizer function"
        )
