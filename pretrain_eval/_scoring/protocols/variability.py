"""Variability: what does fine-tuning change?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.formulas.statistics import Array, stability
from pretrain_eval._scoring.grid import Cells, Grid
from pretrain_eval._scoring.model_runs import column, column_of
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import counted

SATURATED = 0.02


@final
@dataclass(frozen=True, kw_only=True)
class VariabilityEvaluator(Evaluator):
    """V = mean of h, h = (a − b) / (1 − b): the share of the headroom that was closed.

    b and a are the normalised metric before and after fine-tuning, h is held in
    [−1, 1], the mean is over cells and then over the metrics. V is negative where
    fine-tuning harms. A run with 1 − b < 0.02 had no headroom: it is left out and
    counted. Beside it stand the source's own measure, the plain change of each metric,
    and how far that change spreads across datasets and across tasks.

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
    below_zero: ClassVar[str] = "worse than before fine-tuning"
    reads: ClassVar[str] = "{keys} in both baseline and scores"
    usual: ClassVar[tuple[str, ...]] = ("accuracy", "recall", "f1")

    @override
    def read(self, runs: Sequence[Run]) -> dict[str, Array]:
        columns: dict[str, Array] = {}
        for key in self.keys:
            keys = [key] * len(runs)
            if isinstance(self.metric, Mapping):  # to each task its own
                keys = [key if own == key else "" for own in self.keys_of(runs)]
            columns |= self._read_metric(runs, key, keys)
        return columns | _forgetting(runs)

    def _read_metric(
        self, runs: Sequence[Run], key: str, keys: Sequence[str]
    ) -> dict[str, Array]:
        before = column_of([run.baseline for run in runs], keys)
        values = np.stack([before, self.measured(runs, keys)])
        z = self.scales.normalised(runs, keys, values)
        values[np.isnan(z)] = np.nan
        return {
            f"before {key}": values[0],
            f"after {key}": values[1],
            f"z before {key}": z[0],
            f"z after {key}": z[1],
            key: _headroom_closed(z[0], z[1]),
        }

    @override
    def parts(self, cells: Cells) -> dict[str, Array]:
        """The share of the headroom closed in each metric, whose mean is the score.

        Beside them its standard deviation across tasks and across datasets.
        """
        parts = {
            key: cells.macro(key)
            for key in self.keys
            if key in cells and not np.isnan(cells[key]).all()
        }
        if not parts:
            raise ValueError(
                "variability has nothing to measure: before fine-tuning every run had"
                f" less than {SATURATED} of headroom"
            )
        return parts | _spreads(cells, list(parts))

    @property
    @override
    def limits(self) -> dict[str, tuple[float, float]]:
        # A run without headroom is not missing: what it reached is known.
        reached = dict.fromkeys([f"z after {key}" for key in self.keys], (0.0, 1.0))
        return dict.fromkeys(self.keys, (-1.0, 1.0)) | reached

    @property
    @override
    def mean_of(self) -> dict[str, float]:
        return dict.fromkeys(self.keys, 1.0)

    @override
    def moves(self, runs: Sequence[Run]) -> dict[str, tuple[list[str], Array]]:
        moved = {}
        for key in self.keys:
            keys = [key if key in run.scores else "" for run in runs]
            _, top = self.scales.ends(runs, keys)
            before = column_of([run.baseline for run in runs], keys)
            # A run without headroom is not in the score, and moves nothing.
            room = np.asarray(top - before, float)
            moves = np.divide(1, room, out=np.zeros_like(room), where=room != 0)
            moved[key] = (keys, moves)
        return moved

    def _found(self, grid: Grid) -> list[str]:
        return [key for key in self.keys if f"z after {key}" in grid.columns]

    @override
    def details(self, grid: Grid, report: Report) -> dict[str, float]:
        details: dict[str, float] = {}
        for key in self._found(grid):
            before, after = grid.macro(f"before {key}"), grid.macro(f"after {key}")
            if before is not None and after is not None:
                details[f"{key} before"] = before
                details[f"{key} after"] = after
                details[f"change of {key}"] = after - before
        b, a = self._before_and_after(grid)
        details["negative transfer"] = float((a < b).mean())
        main = f"z after {self._found(grid)[0]}"
        reached = grid.cells.only(np.flatnonzero(~np.isnan(grid.cells[main])).tolist())
        z = np.clip(reached[main], 0, 1)
        details["consistency of after"] = stability(z, reached.weights)
        details["saturated"] = float((1 - b < SATURATED).sum())
        return details | grid.shown({"forgetting": "forgetting"})

    @override
    def notes(self, grid: Grid) -> list[str]:
        notes = []
        found = self._found(grid)
        absent = [key for key in self.keys if key not in found]
        if absent:
            notes.append(f"No run holds {' and '.join(absent)} before and after.")
        count = int((1 - self._before_and_after(grid)[0] < SATURATED).sum())
        if count:
            notes.append(
                f"{counted(count, 'measurement')} had less than {SATURATED} of headroom,"
                " and counts in no mean."
            )
        return notes

    def _before_and_after(self, grid: Grid) -> tuple[Array, Array]:
        # z before and after, of every run and metric.
        pairs = [
            (grid.columns[f"z before {key}"], grid.columns[f"z after {key}"])
            for key in self._found(grid)
        ]
        before, after = np.concatenate(pairs, axis=1)
        known = ~np.isnan(before)
        return before[known], after[known]


def _spreads(cells: Cells, keys: Sequence[str]) -> dict[str, Array]:
    # How unlike the change is in different tasks and datasets, the metrics averaged.
    spreads = {}
    for name, groups in (
        ("tasks", cells.tasks.values()),
        ("datasets", cells.datasets.values()),
    ):
        means = []
        for group in map(cells.only, groups):
            by_key = [group.macro(key) for key in keys]
            measured = [mean for mean in by_key if not np.isnan(mean).any()]
            if measured:
                means.append(np.mean(measured, axis=0))
        if len(means) > 1:
            spreads[f"spread across {name}"] = np.std(means, axis=0)
    return spreads


def _headroom_closed(before: Array, after: Array) -> Array:
    # h = (a − b) / (1 − b), held in [−1, 1]; NaN where there was no headroom.
    with np.errstate(divide="ignore", invalid="ignore"):
        closed = np.clip((after - before) / (1 - before), -1.0, 1.0)
    return np.where(1 - before < SATURATED, math.nan, closed)


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
