"""Variability: what does fine-tuning change?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._grid import Grid, Layout
from pretrain_eval._grid_evaluator import GridEvaluator, Row, clip, macro_mean
from pretrain_eval._records import Run
from pretrain_eval._statistics import Array, stability

SATURATED = 0.02


@final
@dataclass(frozen=True, kw_only=True)
class VariabilityEvaluator(GridEvaluator):
    """V = mean of h, h = (a − b) / (1 − b): the share of the headroom that was closed.

    b and a are the normalised metric before and after fine-tuning, h is held in
    [−1, 1], and the mean is over cells and over the metrics. A run with 1 − b < 0.02
    had no headroom: it is left out and counted.

    Attributes:
        metrics: The keys that are read; None takes accuracy, recall and F1, those of
            them that the runs hold.

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
    metrics: tuple[str, ...] | None = None

    @property
    def _keys(self) -> tuple[str, ...]:
        return self.metrics or ("accuracy", "recall", "f1")

    @override
    def combine(self, parts: Mapping[str, float]) -> float:
        """The mean over the metrics, held in [0, 1]."""
        return clip(math.fsum(parts.values()) / len(parts))

    @override
    def _read(self, run: Run) -> Row | None:
        row: dict[str, float] = {}
        for key in self._keys:
            before = run.baseline.get(key)
            after = run.scores.get(key)
            if before is None or (after is None and run.status != "diverged"):
                continue
            level = self.level(run, key) or 0.0
            after = level if after is None or run.status == "diverged" else after
            if level >= 1:
                continue
            b = (before - level) / (1 - level)
            a = (after - level) / (1 - level)
            row.setdefault("z", a)
            row[f"before {key}"], row[f"after {key}"] = b, a
            row[f"change {key}"] = after - before
            row[f"saturated {key}"] = float(1 - b < SATURATED)
            headroom = 1 - b >= SATURATED
            row[key] = min(max((a - b) / (1 - b), -1.0), 1.0) if headroom else math.nan
        if not row:
            return None
        forgotten = [
            run.baseline[key] - run.scores[key]
            for key in run.scores
            if key.startswith("source/") and key in run.baseline
        ]
        if forgotten:
            row["forgetting"] = math.fsum(forgotten) / len(forgotten)
        return row

    @override
    def _needs(self) -> str:
        return f"one of {list(self._keys)} in both baseline and scores"

    @override
    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        return dict.fromkeys(self._keys, (-1.0, 1.0))

    @override
    def _parts(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        parts = {
            key: layout.macro(means[key])
            for key in self._keys
            if key in means and not np.isnan(means[key]).all()
        }
        if not parts:
            raise ValueError(
                "VariabilityEvaluator: every run was saturated before fine-tuning"
                f" (1 − b < {SATURATED}); there was no headroom to close"
            )
        return parts

    @override
    def _linear(self, grid: Grid, layout: Layout) -> Array:
        # Each run's share in the score, over the weight of its cell.
        index = np.searchsorted(grid.present, grid.cell)
        keys = list(self._parts(layout, grid.means()))
        columns = np.stack([grid.columns[key] for key in keys])
        filled = np.where(
            np.isnan(columns),
            np.array([[float(layout.macro(grid.means()[key]))] for key in keys]),
            columns,
        )
        del index
        result: Array = filled.mean(axis=0)
        return result

    @override
    def _details(
        self, runs: Sequence[Run], grid: Grid, layout: Layout
    ) -> dict[str, float]:
        keys = [key for key in self._keys if f"before {key}" in grid.columns]
        details: dict[str, float] = {}
        for key in keys:
            for name in ("before", "after", "change"):
                value = macro_mean(grid, f"{name} {key}")
                if value is not None:
                    details[f"{name} {key}"] = value
        changes = grid.columns[f"change {keys[0]}"]
        details["negative transfer"] = float((changes < 0).mean())
        signed = [float(v) for v in self._parts(layout, grid.means()).values()]
        details["signed mean"] = math.fsum(signed) / len(signed)
        after = grid.means()[f"after {keys[0]}"]
        details["consistency of after"] = stability(
            np.clip(after, 0, 1), layout.weights
        )
        details["saturated runs"] = float(grid.columns[f"saturated {keys[0]}"].sum())
        forgetting = macro_mean(grid, "forgetting")
        if forgetting is not None:
            details["forgetting"] = forgetting
        return details

    @override
    def _notes(self, runs: Sequence[Run], grid: Grid) -> list[str]:
        absent = [key for key in self._keys if key not in grid.columns]
        if absent:
            return [f"No run holds {' and '.join(absent)} before and after."]
        return []
