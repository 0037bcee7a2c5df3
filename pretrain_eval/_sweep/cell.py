"""One run to be, and where it may happen."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import NamedTuple

from pretrain_eval._runs import Run
from pretrain_eval._training import Model, Strategy, Task


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run to be."""

    model_name: str
    model: Model
    head: str | None
    task: Task
    dataset: str
    strategy: Strategy
    seed: int

    @property
    def name(self) -> str:
        """What messages and bars call it."""
        return (
            f"{self.model_name} on {self.task.name}/{self.dataset},"
            f" {self.strategy.name}, seed {self.seed}"
        )


# What Ctrl-C or a crash may cost, and what is held in memory at a time.
MOST_HEADS = 32


class ApartError(Exception):
    """These heads cannot train side by side; each can alone."""


class Place(NamedTuple):
    """Where runs happen.

    Attributes:
        start: Starts runs, of several cells only where their groups are equal; each
            then is a future.
        window: How many starts may be under way at a time, all where None.
        group: Which cells may be started together with others; None: it alone.
    """

    start: Callable[[Sequence[Cell]], Sequence[Future[Run]]]
    window: int | None
    group: Callable[[Cell], Hashable | None]
