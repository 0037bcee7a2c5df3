"""What keeps the runs of a sweep: a store, or memory by the same words."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from pretrain_eval._runs import Run, Status


class Keeper(Protocol):
    """What a sweep needs of a `RunStore`."""

    @property
    def path(self) -> Path | None:
        """The file, in which a run has the key of its content; None: memory."""

    def statuses(self) -> dict[str, Status]:
        """The status of every run by key."""

    def attempts(self, key: str) -> int:
        """How many results were added under the key."""

    def get(self, key: str) -> Run | None:
        """The run, if there is one."""

    def add(self, key: str, run: Run) -> object:
        """Keep the run, and give up a claim on it."""

    def claim(self, key: str, *, attempts: int) -> bool:
        """Reserve a run, unless another does, or a result has come in since."""

    def heartbeat(self) -> None:
        """Say that the claims' holder is alive."""

    def release(self) -> None:
        """Give up all claims."""

    def in_use(self) -> bool:
        """Whether another process is at work too."""


class Memory:
    """Keeps the runs of one sweep, of which nobody else knows."""

    path = None

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def __repr__(self) -> str:
        return "no store"

    def statuses(self) -> dict[str, Status]:
        """Of all runs."""
        return {key: run.status for key, run in self._runs.items()}

    def attempts(self, key: str) -> int:
        """Whether there is a run."""
        return int(key in self._runs)

    def get(self, key: str) -> Run | None:
        """The run, if there is one."""
        return self._runs.get(key)

    def add(self, key: str, run: Run) -> None:
        """Keep the run."""
        self._runs[key] = run

    def claim(self, key: str, *, attempts: int) -> bool:
        """Nobody else is there."""
        return True

    def heartbeat(self) -> None:
        """Nobody listens."""

    def release(self) -> None:
        """Nobody waits."""

    def in_use(self) -> bool:
        """Nobody else is there."""
        return False
