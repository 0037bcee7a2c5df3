"""What a step metric has measured: statistics of a window, and a bounded history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, final

import numpy as np
from torch import Tensor

from pretrain_eval._steps.folds import (
    COUNT,
    Fold,
    Row,
    Statistic,
    folded,
    statistic_of,
    values_of,
)
from pretrain_eval._steps.tables import Tables

# Rows that a history keeps at most; then every other row goes.
CAPACITY = 10_000

# Rows that are kept apart before their values are made.
_FOLD = 256

Columns = dict[str, tuple[float, ...]]


@final
class StepCount:
    """How many optimizer steps there were, measured or not."""

    def __init__(self, number: int = 0) -> None:
        self.number = number


@final
class StepLog:
    """Rows of one step metric, on the device until they are asked for.

    Args:
        counts_skipped: Steps that the optimizer skipped count in the statistics.

    Attributes:
        count: Of steps; those who watch one training hold the same one.
        last_step: The last one that was measured.
        attached: Whether a training is watched.
        newest: The row of the step that was measured last.
        has_warned: That values are not known.
    """

    def __init__(self, *, counts_skipped: bool) -> None:
        self.count: StepCount = StepCount()
        self.last_step: int = 0
        self.attached = False
        self.newest: Row | None = None
        self.has_warned = False
        self._counts_skipped = counts_skipped
        self._tables = Tables()
        self._rows: list[Row] = []  # that are neither in tables nor in folds
        self._num_outside = 0  # of them, which the window does not count
        self._stride = 1
        self._num_seen = 0
        self._folds: list[Fold] = []

    def __getstate__(self) -> dict[str, Any]:
        # A copy watches nothing, and waits for no formula.
        self._settle()
        return vars(self) | {"attached": False, "newest": None}

    def add(self, row: Row) -> None:
        """Keep one step's row."""
        self.last_step, self.newest = row.step, row
        if row.step > self.count.number:
            self.count.number = row.step
        row.is_kept = self._num_seen % self._stride == 0
        self._num_seen += 1
        self._rows.append(row)
        if len(self._rows) >= _FOLD:
            self._settle()

    def _settle(self) -> None:
        """Make values, fold those of the window, and put the history's into tables."""
        rows, outside = self._rows, self._num_outside
        self._rows, self._num_outside = [], 0
        # What is named may change from step to step; rows of one kind go together.
        for _, group in groupby(rows, key=lambda row: row.kind):
            alike = list(group)
            values = values_of(alike)
            if inside := alike[outside:]:
                counts = self._counts_skipped
                fold = folded(inside, values[outside:], counts_skipped=counts)
                self._folds.append(fold)
            outside = max(0, outside - len(alike))
            self._tables.append(alike, values)
        if len(self._tables) > CAPACITY:
            self._tables.thin()
            self._stride *= 2

    def forget_window(self) -> None:
        """Start a new window; the history stays."""
        self._num_outside, self._folds = len(self._rows), []

    def folds(self) -> list[Tensor]:
        """The window, as tensors for `statistics`."""
        self._settle()
        return [fold.values for fold in self._folds]

    def statistics(
        self, statistic: Statistic, folds: Sequence[np.ndarray]
    ) -> dict[str, float]:
        """The window's value of each name, from what `folds` gave."""
        measured: dict[str, list[np.ndarray]] = {}
        for fold, values in zip(self._folds, folds, strict=True):
            for name, column in zip(fold.names, values.T, strict=True):
                columns = measured.setdefault(name, [])
                if column[COUNT]:  # else every step of it was skipped
                    columns.append(column)
        return {
            name: statistic_of(statistic, found) for name, found in measured.items()
        }

    def columns(self) -> Columns:
        """The history: a column a name, NaN where a step had none, and `step` last."""
        self._settle()
        found = self._tables.columns()
        columns: Columns = {name: tuple(column) for name, column in found.items()}
        return columns | {"step": tuple(self._tables.steps())}

    def state_dict(self) -> dict[str, Any]:
        """Everything, in plain values and tensors on the CPU."""
        self._settle()
        window = [(list(fold.names), fold.values.cpu()) for fold in self._folds]
        return {
            "last_step": self.last_step,
            "num_steps": self.count.number,
            "num_seen": self._num_seen,
            "stride": self._stride,
            "history": self._tables.state(),
            "window": window,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.last_step = state["last_step"]
        self.count.number = state["num_steps"]
        self._num_seen = state["num_seen"]
        self._stride = state["stride"]
        self._tables, self._rows = Tables.of(state["history"]), []
        self._num_outside = 0
        self._folds = [Fold(tuple(names), values) for names, values in state["window"]]


def joined(histories: Iterable[Columns]) -> Columns:
    """Several histories as one table over all their steps, `step` last.

    NaN where a history lacks a step.
    """
    given = [history for history in histories if history["step"]]
    steps = tuple(sorted(set().union(*(history["step"] for history in given))))
    places = {step: place for place, step in enumerate(steps)}
    table: Columns = {}
    for history in given:
        if history["step"] == steps:
            table |= {name: history[name] for name in history if name != "step"}
            continue
        rows = [places[step] for step in history["step"]]
        for name, values in history.items():
            if name != "step":
                column = np.full(len(steps), np.nan)
                column[rows] = values
                table[name] = tuple(column.tolist())
    return table | {"step": steps} if table else {}


def keyed(key: str, columns: Columns) -> Columns:
    """A metric's columns by their names in a table of several metrics."""
    return {
        name if name == "step" else part_key(key, name): values
        for name, values in columns.items()
    }


def part_key(key: str, name: str) -> str:
    """`key` of the total, which has no name, and `key/name` of a part."""
    return f"{key}/{name}" if name else key
