"""What step metrics measured, told to a tracker while the training goes on."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeAlias, final

from pretrain_eval._metrics.sync import fetch
from pretrain_eval._steps import Row, Step, StepLog, part_key, warn

# Called with the values of one optimizer step, by key, and the step's number.
Log: TypeAlias = Callable[[Mapping[str, float], int], object]

# A step is told this long after it was measured at the latest; what is measured
# together is fetched together, so that a GPU waits once.
_SECONDS = 1.0
_MOST = 100


class _Logged(Protocol):
    @property
    def log(self) -> StepLog: ...


@final
class Telling:
    """Hands each measured step to a function, a few at a time.

    A function that raises is told nothing more, and the training goes on.

    Args:
        members: The step metrics by key.
        tell: Called with the values of a step and its number.

    Raises:
        TypeError: It cannot be called.
    """

    def __init__(self, members: Mapping[str, _Logged], tell: Log) -> None:
        if not callable(tell):
            raise TypeError(
                "attach expects log as a function of values by key and the step's number,"
                f" such as integrations.trackers.csv('steps.csv'), got {tell!r}"
            )
        self._members, self._tell = members, tell
        self._waiting: list[tuple[int, list[tuple[str, Row]]]] = []
        self._last = time.monotonic()
        self._failed = False

    def after_step(self, step: Step) -> None:
        """A step was measured."""
        if self._failed:
            return
        newest = {key: member.log.newest for key, member in self._members.items()}
        rows = [(key, row) for key, row in newest.items() if row is not None]
        now = [(key, row) for key, row in rows if row.step == step.number]
        self._waiting.append((step.number, now))
        is_due = time.monotonic() - self._last >= _SECONDS
        if is_due or len(self._waiting) >= _MOST:
            self.flush()

    def flush(self) -> None:
        """Tell what was not told yet."""
        waiting, self._waiting = self._waiting, []
        self._last = time.monotonic()
        fetched = iter(fetch([row.values for _, rows in waiting for _, row in rows]))
        for number, rows in waiting:
            values: dict[str, float] = {}
            for key, row in rows:
                names = [part_key(key, name) for name in row.names]
                values |= zip(names, next(fetched).tolist(), strict=True)
            try:
                self._tell(values, number)
            except Exception as error:
                self._failed = True
                warn(
                    f"the log of step metrics ends with step {number}, the training goes"
                    f" on: {type(error).__name__}: {error}"
                )
                return
