"""What a step metric has measured: statistics of a window, and a bounded history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._steps.folds import COUNT, Fold, Row, Statistic, folded, statistic_of

# Rows that a history keeps at most; then every other row goes.
CAPACITY = 10_000

# Rows of a window that are kept apart before they are folded into its sums.
_FOLD = 256

Columns = dict[str, tuple[float, ...]]


@final
class StepLog:
    """Rows of one step metric, on the device until they are asked for.

    Args:
        counts_skipped: Steps that the optimizer skipped count in the statistics.
    """

    def __init__(self, *, counts_skipped: bool) -> None:
        self.last_step = 0
        self.attached = False
        self.newest: Row | None = None  # of the step that was measured last
        self.has_warned = False  # that its values are not known
        self._counts_skipped = counts_skipped
        self._rows: list[Row] = []
        self._stride = 1
        self._num_seen = 0
        self._window: list[Row] = []
        self._folds: list[Fold] = []

    def __getstate__(self) -> dict[str, Any]:
        # A copy watches nothing.
        return vars(self) | {"attached": False}

    def add(self, row: Row) -> None:
        """Keep one step's row."""
        self.last_step, self.newest = row.step, row
        self._window.append(row)
        if len(self._window) >= _FOLD:
            self._fold()
        if self._num_seen % self._stride == 0:
            self._rows.append(row)
        self._num_seen += 1
        if len(self._rows) > CAPACITY:
            self._rows = self._rows[::2]
            self._stride *= 2

    def forget_window(self) -> None:
        """Start a new window; the history stays."""
        self._window, self._folds = [], []

    def folds(self) -> list[Tensor]:
        """The window, as tensors for `statistics`."""
        self._fold()
        return [fold.values for fold in self._folds]

    def _fold(self) -> None:
        # What is named may change from step to step; rows of equal names fold.
        for _, rows in groupby(self._window, key=lambda row: row.names):
            fold = folded(list(rows), counts_skipped=self._counts_skipped)
            self._folds.append(fold)
        self._window = []

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
        names = dict.fromkeys(name for row in self._rows for name in row.names)
        places = {name: place for place, name in enumerate(names)}
        table = np.full((len(self._rows), len(names)), np.nan)
        fetched = self._fetched()
        for line, row, values in zip(table, self._rows, fetched, strict=True):
            line[[places[name] for name in row.names]] = values
        columns: Columns = {
            name: tuple(column.tolist())
            for name, column in zip(names, table.T, strict=True)
        }
        return columns | {"step": tuple(row.step for row in self._rows)}

    def _fetched(self) -> list[np.ndarray]:
        """Every row's values, brought to the host together."""
        if not self._rows:
            return []
        flat = torch.cat([row.values for row in self._rows]).cpu().double().numpy()
        ends = np.cumsum([len(row.names) for row in self._rows])
        return np.split(flat, ends[:-1])

    def state_dict(self) -> dict[str, Any]:
        """Everything, in plain values and tensors on the CPU."""
        self._fold()
        rows = [
            (row.step, list(row.names), values.tolist())
            for row, values in zip(self._rows, self._fetched(), strict=True)
        ]
        window = [(list(fold.names), fold.values.cpu()) for fold in self._folds]
        return {
            "last_step": self.last_step,
            "num_seen": self._num_seen,
            "stride": self._stride,
            "rows": rows,
            "window": window,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where `state_dict` was taken."""
        self.last_step = state["last_step"]
        self._num_seen = state["num_seen"]
        self._stride = state["stride"]
        self._rows = [
            Row(step, tuple(names), torch.tensor(values, dtype=torch.float64), None)
            for step, names, values in state["rows"]
        ]
        self._window = []
        self._folds = [Fold(tuple(names), values) for names, values in state["window"]]


def joined(histories: Iterable[Columns]) -> Columns:
    """Several histories as one table over all their steps, `step` last.

    NaN where a history lacks a step.
    """
    given = [history for history in histories if history["step"]]
    steps = sorted(set().union(*(history["step"] for history in given)))
    places = {step: place for place, step in enumerate(steps)}
    table: Columns = {}
    for history in given:
        rows = [places[step] for step in history["step"]]
        for name, values in history.items():
            if name != "step":
                column = np.full(len(steps), np.nan)
                column[rows] = values
                table[name] = tuple(column.tolist())
    return table | {"step": tuple(steps)} if table else {}


def keyed(key: str, columns: Columns) -> Columns:
    """A metric's columns by their names in a table of several metrics."""
    return {
        name if name == "step" else part_key(key, name): values
        for name, values in columns.items()
    }


def part_key(key: str, name: str) -> str:
    """`key` of the total, which has no name, and `key/name` of a part."""
    return f"{key}/{name}" if name else key
