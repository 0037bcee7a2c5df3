"""What a step metric has measured: statistics of a window, and a bounded history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple, final, get_args

import numpy as np
import torch
from torch import Tensor

Statistic = Literal["mean", "last", "max"]

# Rows that a history keeps at most; then every other row goes.
CAPACITY = 10_000

# Rows of a window that are kept apart before they are folded into its sums.
_FOLD = 256

Columns = dict[str, tuple[float, ...]]


class Row(NamedTuple):
    """One step's values by name; the name of the total is empty."""

    step: int
    names: tuple[str, ...]
    values: Tensor
    skipped: Tensor | None


@dataclass(frozen=True)
class _Fold:
    """Count, sum, maximum and last value of several rows, shape (4, len(names))."""

    names: tuple[str, ...]
    values: Tensor


@final
class StepLog:
    """Rows of one step metric, on the device until they are asked for.

    Args:
        counts_skipped: Steps that the optimizer skipped count in the statistics.
    """

    def __init__(self, *, counts_skipped: bool) -> None:
        self.last_step = 0
        self.attached = False
        self._counts_skipped = counts_skipped
        self._rows: list[Row] = []
        self._stride = 1
        self._num_seen = 0
        self._window: list[Row] = []
        self._folds: list[_Fold] = []

    def __getstate__(self) -> dict[str, Any]:
        # A copy watches nothing.
        return vars(self) | {"attached": False}

    def add(self, row: Row) -> None:
        """Keep one step's row."""
        self.last_step = row.step
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
        start = 0
        for end in range(1, len(self._window) + 1):
            rows = self._window[start:end]
            if end == len(self._window) or self._window[end].names != rows[0].names:
                self._folds.append(_folded(rows, counts_skipped=self._counts_skipped))
                start = end
        self._window = []

    def statistics(
        self, statistic: Statistic, folds: Sequence[np.ndarray]
    ) -> dict[str, float]:
        """The window's value of each name, from what `folds` gave."""
        values: dict[str, list[np.ndarray]] = {}
        for fold, array in zip(self._folds, folds, strict=True):
            for name, column in zip(fold.names, array.T, strict=True):
                if column[0]:  # else every step of it was skipped
                    values.setdefault(name, []).append(column)
                else:
                    values.setdefault(name, [])
        return {name: _statistic(statistic, each) for name, each in values.items()}

    def columns(self) -> Columns:
        """The history: a column a name, NaN where a step had none, and `step` last."""
        names = list(dict.fromkeys(name for row in self._rows for name in row.names))
        places = {name: place for place, name in enumerate(names)}
        table = np.full((len(self._rows), len(names)), np.nan)
        for at, (row, values) in enumerate(
            zip(self._rows, self._fetched(), strict=True)
        ):
            table[at, [places[name] for name in row.names]] = values
        columns = {
            name: tuple(table[:, place].tolist()) for name, place in places.items()
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
        return {
            "last_step": self.last_step,
            "num_seen": self._num_seen,
            "stride": self._stride,
            "rows": [
                (row.step, list(row.names), values.tolist())
                for row, values in zip(self._rows, self._fetched(), strict=True)
            ],
            "window": [(list(fold.names), fold.values.cpu()) for fold in self._folds],
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
        self._folds = [_Fold(tuple(names), values) for names, values in state["window"]]


def _folded(rows: Sequence[Row], *, counts_skipped: bool) -> _Fold:
    values = torch.stack([row.values for row in rows])
    count = torch.full_like(values[0], len(rows))
    last, total, largest = values[-1], values.sum(0), values.amax(0)
    if not counts_skipped and any(row.skipped is not None for row in rows):
        zero = values.new_zeros(())
        flags = [zero if row.skipped is None else row.skipped.to(zero) for row in rows]
        kept = torch.stack(flags) == 0
        count = kept.sum().to(values).expand_as(count)
        total = values.where(kept[:, None], 0).sum(0)
        largest = values.where(kept[:, None], -torch.inf).amax(0)
        order = torch.arange(1, len(rows) + 1, device=values.device)
        last = values.index_select(0, (order * kept).argmax()[None])[0]
    return _Fold(rows[0].names, torch.stack([count, total, largest, last]))


def _statistic(statistic: Statistic, folds: Sequence[np.ndarray]) -> float:
    if not folds:
        return float("nan")
    if statistic == "last":
        return float(folds[-1][3])
    if statistic == "max":
        return float(np.max([fold[2] for fold in folds]))
    return float(np.sum([fold[1] for fold in folds]) / sum(fold[0] for fold in folds))


def checked_statistic(statistic: str) -> Statistic:
    """The name of a statistic, or an error that lists them."""
    for known in get_args(Statistic):
        if statistic == known:
            return known  # type: ignore[no-any-return] # get_args forgets the type
    raise ValueError(
        f"statistic must be one of {list(get_args(Statistic))}, got {statistic!r}"
    )


def joined(histories: Iterable[Columns]) -> Columns:
    """Several histories as one table over all their steps, `step` last.

    NaN where a history lacks a step.
    """
    known = [history for history in histories if history["step"]]
    steps = sorted({step for history in known for step in history["step"]})
    places = {step: place for place, step in enumerate(steps)}
    table: Columns = {}
    for history in known:
        rows = [places[step] for step in history["step"]]
        for name, values in history.items():
            if name != "step":
                column = np.full(len(steps), np.nan)
                column[rows] = values
                table[name] = tuple(column.tolist())
    return table | {"step": tuple(steps)} if table else {}


def keyed(
    key: str, columns: Mapping[str, tuple[float, ...]]
) -> dict[str, tuple[float, ...]]:
    """A metric's columns by their names in a table of several metrics."""
    return {
        name if name == "step" else part_key(key, name): values
        for name, values in columns.items()
    }


def part_key(key: str, name: str) -> str:
    """`key` of the total, which has no name, and `key/name` of a part."""
    return f"{key}/{name}" if name else key
