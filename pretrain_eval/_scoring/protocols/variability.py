"""Variability: what does fine-tuning change?"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.evaluator import Pieces
from pretrain_eval._scoring.formulas.statistics import Array, Cell, stability
from pretrain_eval._scoring.grid import Grid, Layout
from pretrain_eval._scoring.grid_evaluator import GridEvaluator, clip
from pretrain_eval._scoring.model_runs import column, column_of
from pretrain_eval._scoring.reports.report import Report

USUAL = ("accuracy", "recall", "f1")
SATURATED = 0.02


@final
@dataclass(frozen=True, kw_only=True)
class VariabilityEvaluator(GridEvaluator):
    """V = mean of h, h = (a − b) / (1 − b): the share of the headroom that was closed.

    b and a are the normalised metric before and after fine-tuning, h is held in
    [−1, 1], the mean is over cells and then over the metrics, and V in [0, 1]. A run
    with 1 − b < 0.02 had no headroom: it is left out and counted. Beside it stands the
    source's own measure, the plain change of each metric.

    Attributes:
        metric: None reads accuracy, macro recall and macro F1, those that the runs
            hold; else the one key, or the key of each task.

    >>> run = Run(
    ...     model="a",
    ...     task="t",
    ...     dataset="d",
    ...     strategy="full",
    ...     seed=0,
    ...     baseline={"accuracy": 0.5},
    ...     scores={"accuracy": 0.75},
    ...     chance={"accuracy": 0.0},
    ... )
    >>> VariabilityEvaluator().score([run]).score
    0.5
    """

    protocol: ClassVar[str] = "variability"
    metric: str | Mapping[str, str] | None = None  # type: ignore[assignment] # the three

    @override
    def combine(self, parts: Mapping[str, float]) -> float:
        """The mean over the metrics, held in [0, 1]."""
        return clip(math.fsum(parts.values()) / len(parts))

    @override
    def _metrics(self) -> tuple[str, ...]:
        return USUAL if self.metric is None else super()._metrics()

    @override
    def _read(self, runs: Sequence[Run]) -> dict[str, Array]:
        columns: dict[str, Array] = {}
        for key in self._metrics():
            keys = [key] * len(runs)
            if isinstance(self.metric, Mapping):  # to each task its own
                keys = [key if each == key else "" for each in self._keys(runs)]
            columns |= self._read_metric(runs, key, keys)
        return columns | _forgetting(runs)

    def _read_metric(
        self, runs: Sequence[Run], key: str, keys: Sequence[str]
    ) -> dict[str, Array]:
        before = column_of([run.baseline for run in runs], keys)
        values = np.stack([before, self._after(runs, keys)])
        z = self._levels.normalised(runs, keys, values)
        values[np.isnan(z)] = np.nan
        return {
            f"before {key}": values[0],
            f"after {key}": values[1],
            f"z before {key}": z[0],
            f"z after {key}": z[1],
        }

    @override
    def _essential(self) -> tuple[str, ...]:
        return tuple(f"z after {key}" for key in self._metrics())

    @override
    def _grid(self, pieces: Pieces, holes: Sequence[Cell] = ()) -> Grid:
        grid = super()._grid(pieces, holes)
        columns = dict(grid.columns)
        for key in self._found(grid):
            b, a = columns[f"z before {key}"], columns[f"z after {key}"]
            with np.errstate(divide="ignore", invalid="ignore"):
                h = np.clip((a - b) / (1 - b), -1.0, 1.0)
            columns[key] = np.where(1 - b < SATURATED, math.nan, h)
        return dataclasses.replace(grid, columns=columns)

    def _found(self, grid: Grid) -> list[str]:
        return [key for key in self._metrics() if f"z after {key}" in grid.columns]

    @override
    def _needs(self) -> str:
        keys = " or ".join(map(repr, self._metrics()))
        return f"{keys} in both baseline and scores"

    @override
    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(self._metrics(), (-1.0, 1.0))

    @override
    def _made_of(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        parts = {
            key: layout.macro(means[key])
            for key in self._metrics()
            if key in means and not np.isnan(means[key]).all()
        }
        if not parts:
            raise ValueError(
                "variability has nothing to measure: before fine-tuning every run had"
                f" less than {SATURATED} of headroom"
            )
        return parts

    @override
    def _linear(self, grid: Grid) -> Array:
        # Cells without headroom in one metric weigh nothing there, and the others more.
        keys = list(self._made_of(grid.layout, grid.means))
        values = np.zeros(grid.cell.size)
        for key in keys:
            means, column = grid.means[key], grid.columns[key]
            known = ~np.isnan(means)
            share = np.zeros(means.size)
            layout = grid.layout.only(np.flatnonzero(known).tolist())
            share[known] = layout.weights / grid.layout.weights[known]
            filled = np.where(np.isnan(column), means[grid.index], column)
            values += share[grid.index] * np.nan_to_num(filled) / len(keys)
        return values

    @override
    def _details(self, grid: Grid, report: Report) -> dict[str, float]:
        details: dict[str, float] = {}
        for key in self._found(grid):
            before, after = grid.macro(f"before {key}"), grid.macro(f"after {key}")
            if before is not None and after is not None:
                details[f"{key} before"] = before
                details[f"{key} after"] = after
                details[f"change of {key}"] = after - before
        details["signed mean"] = math.fsum(report.parts.values()) / len(report.parts)
        b, a = self._measured(grid)
        details["negative transfer"] = float((a < b).mean())
        z = grid.means[f"z after {self._found(grid)[0]}"]
        known = np.flatnonzero(~np.isnan(z)).tolist()
        weights = grid.layout.only(known).weights
        details["consistency of after"] = stability(np.clip(z[known], 0, 1), weights)
        details["saturated"] = float((1 - b < SATURATED).sum())
        forgetting = grid.macro("forgetting")
        return details | ({} if forgetting is None else {"forgetting": forgetting})

    @override
    def _own_notes(self, grid: Grid) -> list[str]:
        notes = []
        found = self._found(grid)
        absent = [key for key in self._metrics() if key not in found]
        if absent:
            notes.append(f"No run holds {' and '.join(absent)} before and after.")
        count = int((1 - self._measured(grid)[0] < SATURATED).sum())
        if count:
            notes.append(
                f"{count} measurements had less than {SATURATED} of headroom and are"
                " left out."
            )
        return notes

    def _measured(self, grid: Grid) -> tuple[Array, Array]:
        # z before and after, of every run and metric.
        pairs = [
            (grid.columns[f"z before {key}"], grid.columns[f"z after {key}"])
            for key in self._found(grid)
        ]
        before, after = np.concatenate(pairs, axis=1)
        known = ~np.isnan(before)
        return before[known], after[known]


def _forgetting(runs: Sequence[Run]) -> dict[str, Array]:
    # Mean loss of the metrics that both sides hold of the source task.
    held = set().union(*(run.baseline for run in runs))
    if not any(key.startswith("source/") for key in held):
        return {}
    means = []
    for run in runs:
        gaps = [
            before - run.scores[key]
            for key, before in run.baseline.items()
            if key.startswith("source/") and key in run.scores
        ]
        means.append(math.fsum(gaps) / len(gaps) if gaps else None)
    return {"forgetting": column(means)}
