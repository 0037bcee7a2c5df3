"""What the five protocols share: columns of runs, cell means, policies, intervals."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.chance import Chance, Levels, is_loss
from pretrain_eval._scoring.evaluator import (
    NUM_DRAWS,
    ONE_SEED,
    Evaluator,
    Measured,
    Pieces,
)
from pretrain_eval._scoring.formulas.intervals import (
    percentiles,
    resampled_means,
    standard_error,
    stretch,
    t_quantile,
)
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index, mean_by_cell
from pretrain_eval._scoring.grid import Grid, Layout, crossed
from pretrain_eval._scoring.model_runs import (
    ModelRuns,
    by_model,
    column,
    column_of,
    named,
    which_diverged,
)
from pretrain_eval._scoring.reports.report import Interval, Report


@dataclass(frozen=True, kw_only=True)
class GridEvaluator(Evaluator):
    """An evaluator whose parts are functions of the mean over seeds in each cell.

    Attributes:
        metric: Key of the metric that is read, or a mapping that gives each task its
            own.
        chance: The level of a predictor that ignores its input: None reads it from
            the runs (0 where no run of the dataset knows it, which is noted),
            "uniform" is 1/C, a number is that level, a mapping gives each task its own.
        ceiling: The value of a perfect predictor: None is 1; a loss needs it stated.
        scratch: Name of the model from random weights, or a mapping from each model
            to its twin; lifts are measured against it.
        diverged: A diverged run counts as "chance", is left out as missing ("drop"),
            or is an error ("raise"). It is counted in any case.
        strict: Whether a missing run is an error.
        confidence: Of every interval.
        seed: Of every random draw; the same seed gives the same bytes.
    """

    metric: str | Mapping[str, str] = "accuracy"
    chance: Chance = None
    ceiling: float | None = None
    scratch: str | Mapping[str, str] | None = None
    diverged: Literal["chance", "drop", "raise"] = "chance"
    strict: bool = False
    confidence: float = 0.95
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise ValueError(
                f"confidence must lie between 0 and 1, got {self.confidence}"
            )
        if self.diverged not in ("chance", "drop", "raise"):
            raise ValueError(
                f"diverged must be 'chance', 'drop' or 'raise', got {self.diverged!r}"
            )
        losses = [key for key in self._metrics() if is_loss(key)]
        if losses and self.ceiling is None:
            raise ValueError(
                f"{losses[0]!r} is better when smaller and has no score in [0, 1]; give"
                " ceiling=, the loss of a perfect predictor, for example ceiling=0.0"
            )

    # What a protocol says.

    @abstractmethod
    def _read(self, runs: Sequence[Run]) -> dict[str, Array]:
        """One value a run in each column, NaN where it is not measured.

        Args:
            runs: Completed ones, and diverged ones where these count as chance.
        """

    def _essential(self) -> tuple[str, ...]:
        """The columns of which a run must hold one, or else it is missing."""
        return ("z",)

    @abstractmethod
    def _made_of(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        """The parts from cell means (..., num_cells), each of shape (...)."""

    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        """What a missing run could have measured, by column."""
        return {"z": (0.0, 1.0)}

    def _combined(self, parts: Mapping[str, Array]) -> Array:
        """`combine` on many draws at once, for a protocol that is no mean."""
        raise NotImplementedError

    def _linear(self, grid: Grid) -> Array | None:
        """One value a run whose macro mean is the unclipped score, if it is a mean."""
        return None

    def _details(self, grid: Grid, report: Report) -> dict[str, float]:
        """What is shown beside the score."""
        return {}

    def _own_notes(self, grid: Grid) -> list[str]:
        """What a reader has to know about this protocol's score."""
        return []

    def _metrics(self) -> tuple[str, ...]:
        """The keys that are read."""
        if isinstance(self.metric, Mapping):
            return tuple(dict.fromkeys(self.metric.values()))
        return (self.metric,)

    def _needs(self) -> str:
        """What a run must hold, for the error when none does."""
        return f"the score {' or '.join(map(repr, self._metrics()))}"

    def _examples(self, runs: Sequence[Run], grid: Grid) -> Interval | None:
        """The interval for new examples, where it is known."""
        return None

    # What is given.

    @final
    @override
    def parts(self, runs: Sequence[Run]) -> dict[str, float]:
        """The named quantities that the score is made of.

        Args:
            runs: As `score` takes them.
        """
        grid = self._grid(self._of_one_model(by_model(runs), "parts"))
        return _floats(self._made_of(grid.layout, grid.means))

    @final
    def grids(self, runs: Iterable[Run]) -> dict[str, Grid]:
        """What is read of each model's runs, laid out in cells."""
        pieces = self._pieces(by_model(runs))
        return {model: self._grid(each) for model, each in pieces.items()}

    @final
    @override
    def _measure(self, pieces: Pieces, holes: Sequence[Cell] = ()) -> Measured:
        own, grid = pieces.own, self._grid(pieces, holes)
        parts = _floats(self._made_of(grid.layout, grid.means))
        score, values, tasks = self.combine(parts), self._linear(grid), {}
        if values is not None:
            means = mean_by_cell(values, grid.index, grid.present.size)
            by_task = grid.layout.by_task(means)
            tasks = {task: float(mean) for task, mean in by_task.items()}
        draws, interval, new_tasks = None, None, None
        if score is not None:
            rng = self._rng(own.model)
            if values is None:
                draws, interval = self._bootstrapped(grid, score, rng)
                new_tasks = self._jackknifed(grid, score)
            else:
                draws, interval = self._over_seeds(grid, values, rng)
                each = np.array(list(tasks.values()))
                new_tasks = self._clipped(self._over_values(each))
        missing = int(grid.lost.sum())
        report = Report(
            protocol=self.protocol,
            model=own.model,
            score=score,
            parts=parts,
            interval=interval,
            new_tasks=new_tasks,
            examples=self._examples(own.runs, grid),
            bounds=self._bounds(grid) if missing and score is not None else None,
            num_runs=len(own.runs),
            num_scored=grid.cell.size,
            num_diverged=own.num_diverged,
            num_missing=missing,
            cost=own.cost,
            notes=tuple(self._shared_notes(own, grid) + self._own_notes(grid)),
        )
        details = self._details(grid, report) | self._lift(grid, pieces)
        report = dataclasses.replace(report, details=details)
        return Measured(report, draws, tasks, grid)

    def _grid(self, pieces: Pieces, holes: Sequence[Cell] = ()) -> Grid:
        own = pieces.own
        full = own.layout
        if holes:
            full = Layout(crossed([*own.cells, *holes]), full.modes)
        codes = {cell: code for code, cell in enumerate(full.cells)}
        cell = np.array([codes[each] for each in own.cells], dtype=np.intp)[own.cell]
        kept, columns = self._columns(own)
        given = np.bincount(cell, minlength=len(full.cells))
        lost = given - np.bincount(cell[kept], minlength=len(full.cells))
        # A cell that nobody ran lacks as many seeds as the others have.
        lost[given == 0] = round(float(np.median(given[given > 0])))
        if self.strict and lost.any():
            names = ["/".join(full.cells[i]) for i in np.flatnonzero(lost)]
            raise ValueError(
                f"{own.model} has missing runs in {names}; strict=False scores"
                " what exists and shows the bounds"
            )
        return Grid(
            full=full,
            cell=cell[kept],
            seeds=np.array([own.runs[i].seed for i in kept.tolist()], dtype=np.intp),
            columns=columns,
            lost=lost,
            diverged=own.num_diverged,
        )

    def _columns(self, own: ModelRuns) -> tuple[Index, dict[str, Array]]:
        # Which runs hold what the protocol reads, and what they hold.
        places = [i for i, run in enumerate(own.runs) if self._admits(run)]
        columns = self._read([own.runs[i] for i in places]) if places else {}
        needed = [columns[name] for name in self._essential() if name in columns]
        held = ~np.isnan(needed).all(axis=0) if needed else np.zeros(len(places), bool)
        if not held.any():
            raise ValueError(self._nothing(own.runs))
        if not held.all():
            columns = {name: column[held] for name, column in columns.items()}
        known = {
            name: column
            for name, column in columns.items()
            if not np.isnan(column).all()
        }
        return np.array(places, dtype=np.intp)[held], known

    def _admits(self, run: Run) -> bool:
        if run.status == "diverged" and self.diverged == "raise":
            raise ValueError(f"{run.name} diverged; diverged='chance' counts it so")
        return run.status == "completed" or (
            run.status == "diverged" and self.diverged == "chance"
        )

    def _nothing(self, runs: Sequence[Run]) -> str:
        finished = [run for run in runs if run.status == "completed"]
        if not finished:
            return f"no run of {runs[0].model} has a result"
        held = {
            "scores": sorted({key for run in finished for key in run.scores}),
            "baseline": sorted({key for run in finished for key in run.baseline}),
            "curve": sorted({key for run in finished for key in run.curve}),
        }
        return (
            f"{type(self).__name__} reads {self._needs()}, which no run of"
            f" {runs[0].model} has; they have"
            f" {', '.join(f'{name} {keys}' for name, keys in held.items())}"
        )

    def _keys(self, runs: Sequence[Run]) -> list[str]:
        """The metric that is read from each run; "" where its task has none."""
        if isinstance(self.metric, Mapping):
            return [self.metric.get(run.task, "") for run in runs]
        return [self.metric] * len(runs)

    @cached_property
    def _levels(self) -> Levels:
        return Levels(self.chance, self.ceiling)

    def _after(self, runs: Sequence[Run], keys: Sequence[str]) -> Array:
        """A metric of each run after fine-tuning; chance where it diverged."""
        values = column_of([run.scores for run in runs], keys)
        failed = which_diverged(runs) & named(keys)
        if failed.any():
            levels = np.nan_to_num(column(self._levels.chances(runs, keys)))
            values = np.where(failed, levels, values)
        return values

    def _normalised(self, runs: Sequence[Run]) -> Array:
        """Each run's own metric as its share of the way from chance to the ceiling."""
        keys = self._keys(runs)
        values = column_of([run.scores for run in runs], keys)
        failed = which_diverged(runs)
        values[failed] = np.nan
        shares = self._levels.normalised(runs, keys, values)
        shares[failed & named(keys)] = 0.0
        return shares

    def _lift(self, grid: Grid, pieces: Pieces) -> dict[str, float]:
        # z − z_scratch on the cells that both have.
        if pieces.twin is None or "z" not in grid.columns:
            return {}
        twin = self._grid(Pieces(pieces.twin))
        if "z" not in twin.columns:
            return {}
        own = dict(zip(grid.layout.cells, grid.means["z"].tolist(), strict=True))
        other = dict(zip(twin.layout.cells, twin.means["z"].tolist(), strict=True))
        common = [cell for cell in grid.layout.cells if cell in other]
        if not common:
            return {}
        gaps = np.array([own[cell] - other[cell] for cell in common])
        lift = float(Layout(tuple(common), {}).macro(gaps))
        return {} if math.isnan(lift) else {"lift over scratch": lift}

    def _bounds(self, grid: Grid) -> tuple[float, float]:
        ends = []
        for end in (0, 1):
            fill = {name: both[end] for name, both in self._worst_and_best().items()}
            score = self.combine(_floats(self._made_of(grid.full, grid.filled(fill))))
            ends.append(0.0 if score is None else score)
        return ends[0], ends[1]

    def _over_seeds(
        self, grid: Grid, values: Array, rng: np.random.Generator
    ) -> tuple[Array | None, Interval | None]:
        # For a score that is the macro mean of one value a run.
        error = standard_error(values, grid.index, grid.layout.weights)
        if error is None:
            return None, None
        scale, freedom = error
        means = mean_by_cell(values, grid.index, grid.present.size)
        center = float(grid.layout.macro(means))
        half = t_quantile((1 + self.confidence) / 2, freedom) * scale
        low, high = max(center - half, 0.0), min(center + half, 1.0)
        noise = (
            rng.standard_normal(NUM_DRAWS)
            if math.isinf(freedom)
            else rng.standard_t(freedom, NUM_DRAWS)
        )
        interval = self._interval(
            min(low, 1.0), max(high, 0.0), "seeds", "t of Welch and Satterthwaite"
        )
        return center + scale * noise, interval

    def _bootstrapped(
        self, grid: Grid, score: float, rng: np.random.Generator
    ) -> tuple[Array | None, Interval | None]:
        if grid.counts.max() < 2:
            return None, None
        table = np.stack(list(grid.columns.values()), axis=1)
        size = grid.present.size
        drawn = resampled_means(table, grid.index, size, NUM_DRAWS, rng)
        parts = self._made_of(grid.layout, dict(zip(grid.columns, drawn, strict=True)))
        scores = np.broadcast_to(self._combined(parts), NUM_DRAWS)
        z, weights = grid.columns["z"], grid.layout.weights
        factor = stretch(z, grid.index, weights, self.confidence)
        draws = score + factor * (scores - score)
        low, high = percentiles(draws, self.confidence)
        return draws, self._clipped(self._drawn(low, high))

    def _jackknifed(self, grid: Grid, score: float) -> Interval | None:
        # Delete one task at a time; for a mean it is the same t over task means.
        found = []
        for index in grid.layout.tasks.values():
            kept = np.delete(np.arange(grid.present.size), index)
            if kept.size:
                rest = {name: mean[kept] for name, mean in grid.means.items()}
                parts = self._made_of(grid.layout.only(kept.tolist()), rest)
                one = self.combine(_floats(parts))
                found.append(math.nan if one is None else one)
        if len(found) < 3:
            return None
        count = len(found)
        pseudo = count * score - (count - 1) * np.array(found)
        interval = self._over_values(pseudo)
        return self._clipped(interval, "jackknife over tasks")

    def _clipped(
        self, interval: Interval | None, method: str | None = None
    ) -> Interval | None:
        if interval is None:
            return None
        low, high = clip(interval.low), clip(interval.high)
        return self._interval(low, high, interval.over, method or interval.method)

    def _shared_notes(self, own: ModelRuns, grid: Grid) -> list[str]:
        runs, notes = own.runs, []
        if grid.diverged:
            how = {"chance": "count as chance", "drop": "are left out"}[self.diverged]
            notes.append(f"{grid.diverged} of {len(runs)} runs diverged and {how}.")
        missing = int(grid.lost.sum())
        if missing:
            notes.append(
                f"{missing} of {missing + grid.cell.size} expected runs are missing: the"
                " score is of those that exist, and the bounds say what it could be."
            )
        unknown = self._levels.unknown(runs, self._metrics())
        if unknown:
            notes.append(
                f"Chance is unknown for {unknown} of {len(runs)} runs and taken as 0,"
                " so that raw scores are read; state it with chance=."
            )
        if grid.counts.max() < 2:
            notes += ONE_SEED
        elif (single := int((grid.counts == 1).sum())) and self._linear(grid) is None:
            notes.append(
                f"{single} of {grid.present.size} cells have one seed and add nothing to"
                " the interval, which is too narrow."
            )
        return notes


def clip(value: float) -> float:
    """The value held in [0, 1]."""
    return min(max(value, 0.0), 1.0)


def _floats(parts: Mapping[str, Array]) -> dict[str, float]:
    return {name: float(value) for name, value in parts.items()}
