"""Optimizability: how well and how fast does the model fine-tune?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.formulas.curves import (
    areas_under,
    points_before_failure,
    times_to,
)
from pretrain_eval._scoring.formulas.statistics import Array, Cell, rank_correlation
from pretrain_eval._scoring.grid import Cells, Grid
from pretrain_eval._scoring.model_runs import USABLE, column
from pretrain_eval._scoring.protocol import Scored
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import counted, signed

STEP_METRICS = ("grad_norm", "update_ratio")
QUANTITIES = (*STEP_METRICS, "validation")
NEAR = 0.05
# The columns that are read from a validation curve.
_CURVE = ("validation area", "z", "validation", "start", "headroom closed", "t90")


class _Shape(NamedTuple):
    """What curves have in common that are read together.

    Attributes:
        times: Optimizer steps of the points, up to the first that is not finite.
        epochs: How many were planned.
        diverged: Whether the runs did.
    """

    times: tuple[float, ...]
    epochs: int | None
    diverged: bool


@final
@dataclass(frozen=True, kw_only=True)
class OptimizabilityEvaluator(Evaluator):
    """O = mean of ∫₀¹ z dx, x = log(1 + t/τ) / log(1 + T/τ): area under validation.

    z(t) is the normalised validation metric after t of T optimizer steps and τ = T/10,
    so that early progress counts more. Trapezoids; the last value is held where a run
    stopped early; 0 after divergence. It is negative where a model stays below chance.
    Beside it stand the source's three quantities: gradient norm, update ratio and final validation.

    Attributes:
        time: "log" as above, or "linear", x = t/T.
        weights: None scores the area. A mapping from "grad_norm", "update_ratio" and
            "validation" scores the source's reading, "larger is better": Σ w·q / Σ w
            with g / (g + g_ref) for the first two, g_ref being the scratch twin's on
            the same cell. The report says how far that reading holds in these runs.

    >>> run = Run(
    ...     model="a",
    ...     task="t",
    ...     dataset="d",
    ...     strategy="full",
    ...     seed=0,
    ...     curve={"step": (0, 10), "accuracy": (0.5, 0.75)},
    ...     chance={"accuracy": 0.5},
    ... )
    >>> OptimizabilityEvaluator().score([run]).score
    0.25
    """

    protocol: ClassVar[str] = "optimizability"
    reads: ClassVar[str] = "the validation curve {keys}"
    time: Literal["log", "linear"] = "log"
    weights: Mapping[str, float] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.time not in ("log", "linear"):
            raise ValueError(f"time must be 'log' or 'linear', got {self.time!r}")
        if self.weights is None:
            return
        if not self.weights or set(self.weights) - set(QUANTITIES):
            raise ValueError(
                f"weights must name some of {list(QUANTITIES)}, got"
                f" {list(self.weights)}"
            )
        if min(self.weights.values()) < 0 or not math.fsum(self.weights.values()):
            raise ValueError(f"weights must be positive, got {dict(self.weights)}")
        if self.scratch is None and set(self.weights) & set(STEP_METRICS):
            raise ValueError(
                "weights on grad_norm or update_ratio need scratch=, the twin that they"
                " are held against"
            )

    @override
    def read(self, runs: Sequence[Run]) -> dict[str, Array]:
        keys = self.keys_of(runs)
        rows = [
            row
            for row, (run, key) in enumerate(zip(runs, keys, strict=True))
            if run.curve.get(key) or run.status == "diverged"
        ]
        drawn, theirs = [runs[row] for row in rows], [keys[row] for row in rows]
        points = list(map(_points, drawn, theirs))
        extremes = [(min(c), max(c)) if c else (math.nan,) * 2 for _, c in points]
        self.scales.check(drawn, theirs, np.array(extremes).reshape(-1, 2).T)
        chance, top = self.scales.ends(drawn, theirs)
        # Curves that were measured at the same steps are read together.
        groups: dict[_Shape, list[int]] = {}
        for member, (shape, _) in enumerate(points):
            if not math.isnan(chance[member]):
                groups.setdefault(shape, []).append(member)
        columns = {name: np.full(len(runs), np.nan) for name in _CURVE}
        for shape, members in groups.items():
            low, high = chance[members], top[members]
            curves = np.array([points[member][1] for member in members])
            heights = (curves.T - low) / (high - low)
            where = [rows[member] for member in members]
            for name, found in self._progress(shape, heights.T).items():
                columns[name][where] = found
        return columns | _step_metrics(runs)

    def _progress(self, shape: _Shape, heights: Array) -> dict[str, Array]:
        times, epochs, diverged = shape
        areas = areas_under(
            times,
            heights,
            epochs=epochs,
            diverged=diverged,
            linear=self.time == "linear",
        )
        final = np.zeros(len(heights)) if diverged or not times else heights[:, -1]
        found = {"validation area": areas, "z": areas, "validation": final}
        if not times:
            return found
        start = heights[:, 0]
        with np.errstate(divide="ignore", invalid="ignore"):
            closed = np.where(start < 1, (final - start) / (1 - start), np.nan)
        found |= {"start": start, "headroom closed": closed}
        if times[-1] > 0:
            reached = times_to(times, heights, start + 0.9 * (final - start))
            found["t90"] = np.where(final > start, reached / times[-1], np.nan)
        return found

    @override
    def outside(self, runs: Sequence[Run]) -> dict[str, str]:
        # A training of one's own may make no curve, as a probe does; where all of its
        # runs failed nobody knows.
        whole: dict[str, bool] = {}
        for run in runs:
            if run.status in USABLE:
                unwatched = "train" in run.settings and not (run.curve or run.history)
                whole[run.strategy] = whole.get(run.strategy, True) and unwatched
        return {name: "no training to watch" for name, alone in whole.items() if alone}

    @override
    def parts(self, cells: Cells) -> dict[str, Array]:
        """The area, the source's three quantities, and two held against scratch."""
        names = ["validation area", *QUANTITIES, *map(_weighed, STEP_METRICS)]
        parts = {name: cells.macro(name) for name in names if name in cells}
        return {name: part for name, part in parts.items() if not np.isnan(part).any()}

    @property
    @override
    def mean_of(self) -> dict[str, float]:
        if self.weights is None:
            return {"validation area": 1.0}
        return {_weighed(name): weight for name, weight in self.weights.items()}

    @property
    @override
    def limits(self) -> dict[str, tuple[float, float]]:
        names = ("validation area", "validation", *map(_weighed, STEP_METRICS))
        return dict.fromkeys(names, (0.0, 1.0))

    @override
    def moves(self, runs: Sequence[Run]) -> dict[str, tuple[list[str], Array]]:
        return {}  # the area is of the watched split, of which only scores are known

    @override
    def against(self, grid: Grid, twin: Grid) -> dict[str, Array]:
        # g / (g + g_ref), g_ref the twin's mean on the same cell.
        columns = {}
        for name in STEP_METRICS:
            if name not in (self.weights or {}):
                continue
            if name not in grid.columns or name not in twin.columns:
                raise ValueError(f"weights name {name!r}, which no history holds")
            reference = _means_of(twin, name, grid.cells)[grid.index]
            total = grid.columns[name] + reference
            share = np.where(total > 0, grid.columns[name] / total, 0.5)
            columns[_weighed(name)] = share
        return columns

    @override
    def details(self, grid: Grid, report: Report) -> dict[str, float]:
        names = ["start", "headroom closed", "t90"]
        names += sorted(
            name
            for name in grid.columns
            if name.startswith(STEP_METRICS)
            and name not in (*STEP_METRICS, *map(_weighed, STEP_METRICS))
        )
        found = {name: grid.macro(name) for name in names}
        details = {name: value for name, value in found.items() if value is not None}
        details |= _near_the_best(grid)
        details["diverged share"] = grid.diverged / report.num_runs
        cells = _cell_of_each(grid)
        for name in STEP_METRICS:
            rho = _agreement(cells, grid.columns, name)
            if rho is not None:
                details[f"rank correlation of {name} with validation"] = rho
        return details

    @override
    def remarks(self, scored: Sequence[Scored]) -> list[str]:
        grids = [each.grid for each in scored]
        cells = [cell for grid in grids for cell in _cell_of_each(grid)]
        columns = {}
        for name in QUANTITIES:
            absent = [np.full(grid.cell.size, np.nan) for grid in grids]
            read = zip(grids, absent, strict=True)
            columns[name] = np.concatenate(
                [grid.columns.get(name, nothing) for grid, nothing in read]
            )
        rhos = {name: _agreement(cells, columns, name) for name in STEP_METRICS}
        words = [
            f"{name} {signed(rho, 2)}" for name, rho in rhos.items() if rho is not None
        ]
        if not words:
            return []
        return [
            f"Rank correlation with final validation over {counted(len(cells), 'run')}, within"
            f" each dataset and strategy: {', '.join(words)}."
        ]


def _weighed(name: str) -> str:
    return name if name == "validation" else f"{name} against scratch"


def _points(run: Run, key: str) -> tuple[_Shape, tuple[float, ...]]:
    curve, epochs = run.curve.get(key, ()), run.settings.get("epochs")
    steps = run.curve.get("step", range(len(curve)))
    times, values = points_before_failure(steps, curve)
    plan = epochs if isinstance(epochs, int) else None
    return _Shape(times, plan, run.status == "diverged"), values


def _step_metrics(runs: Sequence[Run]) -> dict[str, Array]:
    # Mean and first value of each, what is not finite left out.
    columns = {}
    names = dict.fromkeys(name for run in runs for name in run.history)
    for name in names:
        if name.startswith(STEP_METRICS):
            finite = [
                list(filter(math.isfinite, run.history.get(name, ()))) for run in runs
            ]
            columns[name] = column(
                math.fsum(each) / len(each) if each else None for each in finite
            )
            columns[f"{name} at the start"] = column(
                each[0] if each else None for each in finite
            )
    return columns


def _means_of(grid: Grid, name: str, cells: Cells) -> Array:
    # A column's mean in each of the cells, which the grid of the twin must have.
    means = dict(zip(grid.cells.names, grid.cells[name].tolist(), strict=True))
    lacking = [cell for cell in cells.names if cell not in means]
    if lacking:
        raise ValueError(
            f"the scratch twin has no run in {'/'.join(lacking[0])}, against which"
            f" {name} is held"
        )
    return np.array([means[cell] for cell in cells.names])


def _near_the_best(grid: Grid) -> dict[str, float]:
    # How forgiving the model is: strategies that come near the best one, by dataset.
    areas, datasets = grid.cells["validation area"], grid.cells.datasets
    groups = [areas[index] for index in datasets.values()]
    if max(group.size for group in groups) < 2:
        return {}
    shares = np.array([(group >= group.max() - NEAR).mean() for group in groups])
    return {"strategies near the best": grid.cells.over_datasets(shares)}


def _cell_of_each(grid: Grid) -> list[Cell]:
    return [grid.cells.names[i] for i in grid.index]


def _agreement(
    cells: Sequence[Cell], columns: Mapping[str, Array], name: str
) -> float | None:
    # Within each dataset and strategy, so that neither an easy dataset nor a strategy
    # of small gradients makes the correlation.
    if name not in columns:
        return None
    known = ~np.isnan(columns[name]) & ~np.isnan(columns["validation"])
    codes = {cell: code for code, cell in enumerate(dict.fromkeys(cells))}
    group = np.array([codes[each] for each in cells], dtype=np.intp)[known]
    if not group.size:
        return None
    return rank_correlation(columns[name][known], columns["validation"][known], group)
