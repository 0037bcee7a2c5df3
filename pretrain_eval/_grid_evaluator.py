"""What the five protocols share: one row a run, cell means, policies, intervals."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._evaluator import NUM_DRAWS, Evaluator, Measured, total_cost
from pretrain_eval._grid import Grid, Layout, cell_of, crossed, modes_of, ordered
from pretrain_eval._records import Run
from pretrain_eval._report import Interval, Report
from pretrain_eval._statistics import (
    Array,
    Cell,
    Index,
    macro_weights,
    resampled_means,
    standard_error,
    t_quantile,
)

Row = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class GridEvaluator(Evaluator):
    """An evaluator whose parts are functions of the mean over seeds in each cell.

    Attributes:
        metric: Key of the metric that is read, larger is better.
        chance: The level of a predictor that ignores its input: None reads it from
            the runs (0 where a run does not know it, which is noted), "uniform" is
            1/C, a number is that level, a mapping gives one a task.
        scratch: Name of the model from random weights, or a mapping from each model
            to its twin.
        diverged: A diverged run counts as "chance", is left out as missing ("drop"),
            or is an error ("raise"). It is counted in any case.
        strict: Whether a missing run is an error.
        confidence: Of every interval.
        seed: Of every random draw.
    """

    metric: str = "accuracy"
    chance: Literal["uniform"] | float | Mapping[str, float] | None = None
    scratch: str | Mapping[str, str] | None = None
    diverged: Literal["chance", "drop", "raise"] = "chance"
    strict: bool = False
    confidence: float = 0.95
    seed: int = 0

    @abstractmethod
    def _read(self, run: Run) -> Row | None:
        """The columns of one run; None where it lacks what the protocol reads."""

    @abstractmethod
    def _parts(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        """The parts from cell means (..., num_cells), each of shape (...)."""

    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        """What a missing run could have measured, by column."""
        return {"z": (0.0, 1.0)}

    def _linear(self, grid: Grid, layout: Layout) -> Array | None:
        """One value a run whose macro mean is the score; None if it is no mean."""
        return None

    def _details(
        self, runs: Sequence[Run], grid: Grid, layout: Layout
    ) -> dict[str, float]:
        """What is shown beside the score."""
        return {}

    def _notes(self, runs: Sequence[Run], grid: Grid) -> list[str]:
        """What a reader has to know about this protocol's score."""
        return []

    def _needs(self) -> str:
        """What a run must hold, for the error when none does."""
        return f"the score {self.metric!r}"

    @final
    @override
    def parts(self, runs: Sequence[Run]) -> dict[str, float]:
        """The named quantities that the score is made of."""
        grid = self._grid(ordered(runs))
        return _floats(self._parts(grid.layout.only(grid.present), grid.means()))

    @final
    @override
    def _measure(
        self, runs: Sequence[Run], twin: Sequence[Run] = (), holes: Sequence[Cell] = ()
    ) -> Measured:
        grid = self._grid(runs, holes)
        layout = grid.layout.only(grid.present)
        parts = _floats(self._parts(layout, grid.means()))
        score = self.combine(parts)
        details = self._details(runs, grid, layout)
        if twin:
            details |= self._lift(grid, self._grid(twin))
        draws, interval, new_tasks = None, None, None
        if score is not None:
            draws, interval, new_tasks = self._uncertainty(runs, grid, layout, score)
        missing = int(grid.lost.sum())
        report = Report(
            protocol=self.protocol,
            model=runs[0].model,
            score=score,
            parts=parts,
            details=details,
            interval=interval,
            new_tasks=new_tasks,
            bounds=self._bounds(grid) if missing and score is not None else None,
            num_runs=len(runs),
            num_scored=grid.cell.size,
            num_diverged=grid.diverged,
            num_missing=missing,
            cost=total_cost(runs),
            notes=tuple(self._shared_notes(runs, grid) + self._notes(runs, grid)),
        )
        return Measured(report, draws)

    def _grid(self, runs: Sequence[Run], holes: Sequence[Cell] = ()) -> Grid:
        rows: list[Row] = []
        cells = crossed([*map(cell_of, runs), *holes])
        codes = {cell: index for index, cell in enumerate(cells)}
        where, lost = [], np.zeros(len(cells), dtype=np.intp)
        given = np.zeros(len(cells), dtype=np.intp)
        for run in runs:
            code = codes[cell_of(run)]
            given[code] += 1
            row = self._admitted(run)
            if row is None:
                lost[code] += 1
            else:
                where.append(code)
                rows.append(row)
        if not rows:
            raise ValueError(self._nothing(runs))
        # A cell that nobody ran lacks as many seeds as the others have.
        lost[given == 0] = round(float(np.median(given[given > 0])))
        self._check_complete(runs, cells, lost)
        names = list(dict.fromkeys(name for row in rows for name in row))
        columns = {
            name: np.array([row.get(name, math.nan) for row in rows]) for name in names
        }
        return Grid(
            layout=Layout(cells, modes_of(runs)),
            cell=np.array(where, dtype=np.intp),
            columns=columns,
            lost=lost,
            diverged=sum(run.status == "diverged" for run in runs),
        )

    def _admitted(self, run: Run) -> Row | None:
        if run.status == "completed":
            return self._read(run)
        if run.status == "diverged" and self.diverged == "chance":
            return self._read(run)
        if run.status == "diverged" and self.diverged == "raise":
            raise ValueError(f"{run.name} diverged; diverged='chance' counts it so")
        return None

    def _check_complete(
        self, runs: Sequence[Run], cells: Sequence[Cell], lost: Index
    ) -> None:
        if self.strict and lost.any():
            names = ["/".join(c) for c, n in zip(cells, lost, strict=True) if n]
            raise ValueError(
                f"{runs[0].model} has missing runs in {names}; strict=False scores"
                " what exists and shows the bounds"
            )

    def _nothing(self, runs: Sequence[Run]) -> str:
        finished = [run for run in runs if run.status == "completed"]
        if not finished:
            return f"no run of {runs[0].model} has a result"
        keys = sorted({key for run in finished for key in run.scores})
        columns = sorted({key for run in finished for key in run.curve})
        return (
            f"{type(self).__name__} reads {self._needs()}, which no run of"
            f" {runs[0].model} has; the scores are {keys}, the columns of the curves"
            f" {columns}"
        )

    def level(self, run: Run, metric: str | None = None) -> float | None:
        """The chance level of a run's metric; None where it is unknown."""
        metric = metric or self.metric
        if self.chance is None:
            return run.chance.get(metric)
        if self.chance == "uniform":
            classes = run.settings.get("num_classes")
            if not isinstance(classes, int) or classes < 1:
                raise ValueError(
                    f"{run.name}: chance='uniform' needs settings['num_classes'], got"
                    f" {classes!r}"
                )
            return 1 / classes
        if isinstance(self.chance, Mapping):
            return self.chance.get(run.task)
        return float(self.chance)

    def normalised(
        self, run: Run, value: float | None, metric: str | None = None
    ) -> float | None:
        """(m − c) / (1 − c), signed; 0 for a diverged run."""
        level = self.level(run, metric) or 0.0
        if run.status == "diverged":
            return 0.0
        if value is None or level >= 1:
            return None
        return (value - level) / (1 - level)

    def _lift(self, grid: Grid, twin: Grid) -> dict[str, float]:
        # z − z_scratch on the cells that both have.
        own, other = (
            dict(
                zip(
                    [g.layout.cells[i] for i in g.present],
                    g.means()["z"].tolist(),
                    strict=True,
                )
            )
            for g in (grid, twin)
        )
        common = sorted(set(own) & set(other))
        if not common:
            return {}
        gaps = np.array([own[cell] - other[cell] for cell in common])
        return {"lift over scratch": float(Layout(tuple(common), {}).macro(gaps))}

    def _bounds(self, grid: Grid) -> tuple[float, float]:
        ends = []
        for end in (0, 1):
            fill = {name: both[end] for name, both in self._worst_and_best().items()}
            means = grid.means(fill)
            score = self.combine(_floats(self._parts(grid.layout, means)))
            ends.append(0.0 if score is None else score)
        return ends[0], ends[1]

    def _uncertainty(
        self, runs: Sequence[Run], grid: Grid, layout: Layout, score: float
    ) -> tuple[Array | None, Interval | None, Interval | None]:
        values = self._linear(grid, layout)
        rng = self._rng(runs[0].model)
        if values is None:
            draws = self._drawn_scores(grid, layout, rng)
            return draws, None if draws is None else self._percentiles(draws), None
        new_tasks = self._over_tasks(grid, layout, values)
        index = np.searchsorted(grid.present, grid.cell)
        error = standard_error(values, index, layout.weights)
        if error is None:
            return None, None, new_tasks
        scale, freedom = error
        center = float(layout.macro(_cell_means(values, index, len(layout.cells))))
        half = t_quantile((1 + self.confidence) / 2, freedom) * scale
        interval = self._interval(center - half, center + half, "seeds")
        wide = 1e9 if math.isinf(freedom) else freedom
        return center + scale * rng.standard_t(wide, NUM_DRAWS), interval, new_tasks

    def _drawn_scores(
        self, grid: Grid, layout: Layout, rng: np.random.Generator
    ) -> Array | None:
        if grid.counts.max() < 2:
            return None
        index = np.searchsorted(grid.present, grid.cell)
        table = np.stack(list(grid.columns.values()), axis=1)
        drawn = resampled_means(table, index, len(layout.cells), NUM_DRAWS, rng)
        means = dict(zip(grid.columns, drawn, strict=True))
        parts = self._parts(layout, means)
        names = list(parts)
        rows = zip(
            *(np.broadcast_to(parts[name], NUM_DRAWS).tolist() for name in names),
            strict=True,
        )
        scores = [self.combine(dict(zip(names, row, strict=True))) for row in rows]
        return np.array([math.nan if each is None else each for each in scores])

    def _over_tasks(self, grid: Grid, layout: Layout, values: Array) -> Interval | None:
        index = np.searchsorted(grid.present, grid.cell)
        means = _cell_means(values, index, len(layout.cells))
        tasks = np.array([float(v) for v in layout.by(means, 1).values()])
        if tasks.size < 2:
            return None
        error = tasks.std(ddof=1) / math.sqrt(tasks.size)
        half = t_quantile((1 + self.confidence) / 2, tasks.size - 1) * error
        return self._interval(tasks.mean() - half, tasks.mean() + half, "tasks")

    def _interval(self, low: float, high: float, over: str) -> Interval:
        return Interval(
            low=min(max(float(low), 0.0), 1.0),
            high=min(max(float(high), 0.0), 1.0),
            confidence=self.confidence,
            over=over,
            method="Welch-Satterthwaite t" if over == "seeds" else "t over task means",
        )

    def _shared_notes(self, runs: Sequence[Run], grid: Grid) -> list[str]:
        notes = []
        if grid.diverged:
            how = {"chance": "count as chance", "drop": "were left out"}
            notes.append(
                f"{grid.diverged} of {len(runs)} runs diverged and"
                f" {how[self.diverged]}."
            )
        missing = int(grid.lost.sum())
        if missing:
            notes.append(
                f"{missing} of {missing + grid.cell.size} expected runs are"
                " missing; the score is of those that exist."
            )
        unknown = sum(self.level(run) is None for run in runs)
        if unknown:
            notes.append(
                f"Chance is unknown for {unknown} of {len(runs)} runs and"
                " taken as 0; state it by chance=."
            )
        if grid.counts.max() < 2:
            notes.append("One seed a cell: no interval for new seeds can be given.")
        return notes


def _cell_means(values: Array, cell: Index, num_cells: int) -> Array:
    counts = np.bincount(cell, minlength=num_cells)
    result: Array = np.bincount(cell, values, num_cells) / counts
    return result


def _floats(parts: Mapping[str, Array]) -> dict[str, float]:
    return {name: float(value) for name, value in parts.items()}


def clip(value: float) -> float:
    """The value held in [0, 1]."""
    return min(max(value, 0.0), 1.0)


def geometric(parts: Mapping[str, float], weights: Mapping[str, float]) -> float:
    """Π d^w over the parts that have a weight, weights made to sum to 1."""
    total = math.fsum(weights[name] for name in parts if name in weights)
    score = 1.0
    for name, value in parts.items():
        if name in weights:
            score *= clip(value) ** (weights[name] / total)
    return score


def macro_mean(grid: Grid, column: str) -> float | None:
    """Macro mean of a column over the cells where it is measured."""
    means = grid.means().get(column)
    if means is None or np.isnan(means).all():
        return None
    return float(grid.layout.only(grid.present).macro(means))


__all__ = ["GridEvaluator", "Row", "clip", "geometric", "macro_mean", "macro_weights"]
