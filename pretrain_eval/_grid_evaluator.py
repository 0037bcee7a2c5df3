"""What the five protocols share: one row a run, cell means, policies, intervals."""

from __future__ import annotations

import dataclasses
import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._evaluator import (
    NUM_DRAWS,
    ONE_SEED,
    Evaluator,
    Measured,
    Pieces,
    total_cost,
)
from pretrain_eval._grid import (
    Grid,
    Layout,
    cell_of,
    crossed,
    modes_of,
    ordered,
)
from pretrain_eval._intervals import (
    resampled_means,
    standard_error,
    stretch,
    t_quantile,
)
from pretrain_eval._levels import Chance, Levels, is_loss
from pretrain_eval._records import Run
from pretrain_eval._report import Interval, Report
from pretrain_eval._statistics import Array, Cell, mean_by_cell

Row = Mapping[str, float]


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
    def _read(self, run: Run) -> Row | None:
        """The columns of one run; None where it lacks what the protocol reads."""

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
        grid = self._grid(self._of_one_model(ordered(runs), "parts"))
        return _floats(self._made_of(grid.layout, grid.means))

    @final
    @override
    def _measure(self, pieces: Pieces, holes: Sequence[Cell] = ()) -> Measured:
        grid = self._grid(pieces, holes)
        parts = _floats(self._made_of(grid.layout, grid.means))
        score = self.combine(parts)
        draws, interval, new_tasks = None, None, None
        if score is not None:
            draws, interval = self._over_seeds(
                grid, score, self._rng(pieces.own[0].model)
            )
            new_tasks = self._over_tasks(grid, score)
        missing = int(grid.lost.sum())
        runs = pieces.own
        report = Report(
            protocol=self.protocol,
            model=runs[0].model,
            score=score,
            parts=parts,
            interval=interval,
            new_tasks=new_tasks,
            examples=self._examples(runs, grid),
            bounds=self._bounds(grid) if missing and score is not None else None,
            num_runs=len(runs),
            num_scored=grid.cell.size,
            num_diverged=grid.diverged,
            num_missing=missing,
            cost=total_cost(runs),
            notes=tuple(self._shared_notes(runs, grid) + self._own_notes(grid)),
        )
        details = self._details(grid, report) | self._lift(grid, pieces)
        report = dataclasses.replace(report, details=details)
        values = self._linear(grid)
        if values is None:
            return Measured(report, draws, grid=grid)
        means = mean_by_cell(values, grid.index, grid.present.size)
        tasks = {task: float(v) for task, v in grid.layout.by_task(means).items()}
        return Measured(report, draws, tasks, grid)

    def _grid(self, pieces: Pieces, holes: Sequence[Cell] = ()) -> Grid:
        runs = pieces.own
        cells = crossed([*map(cell_of, runs), *holes])
        codes = {cell: index for index, cell in enumerate(cells)}
        found: list[tuple[int, int, Row]] = []
        lost = np.zeros(len(cells), dtype=np.intp)
        given = np.zeros(len(cells), dtype=np.intp)
        for run in runs:
            code = codes[cell_of(run)]
            given[code] += 1
            row = self._admitted(run)
            if row is None:
                lost[code] += 1
            else:
                found.append((code, run.seed, row))
        if not found:
            raise ValueError(self._nothing(runs))
        # A cell that nobody ran lacks as many seeds as the others have.
        lost[given == 0] = round(float(np.median(given[given > 0])))
        if self.strict and lost.any():
            names = ["/".join(cells[i]) for i in np.flatnonzero(lost)]
            raise ValueError(
                f"{runs[0].model} has missing runs in {names}; strict=False scores"
                " what exists and shows the bounds"
            )
        where, seeds, rows = zip(*found, strict=True)
        names = list(dict.fromkeys(name for row in rows for name in row))
        return Grid(
            full=Layout(cells, modes_of(runs)),
            cell=np.array(where, dtype=np.intp),
            seeds=np.array(seeds, dtype=np.intp),
            columns={
                name: np.array([row.get(name, math.nan) for row in rows])
                for name in names
            },
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

    def _key(self, run: Run) -> str | None:
        if isinstance(self.metric, Mapping):
            return self.metric.get(run.task)
        return self.metric

    @cached_property
    def _levels(self) -> Levels:
        return Levels(self.chance, self.ceiling)

    def _normalised(self, run: Run) -> float | None:
        """The run's own metric as its share of the way from chance to the ceiling."""
        key = self._key(run)
        if key is None:
            return None
        if run.status == "diverged":
            return 0.0
        return self._levels.normalised(run, key, run.scores.get(key))

    def _lift(self, grid: Grid, pieces: Pieces) -> dict[str, float]:
        # z − z_scratch on the cells that both have.
        if not pieces.twin or "z" not in grid.columns:
            return {}
        twin = self._grid(Pieces(pieces.twin, ()))
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
        self, grid: Grid, score: float, rng: np.random.Generator
    ) -> tuple[Array | None, Interval | None]:
        values = self._linear(grid)
        if values is None:
            draws = self._drawn_scores(grid, score, rng)
            interval = None if draws is None else self._percentiles(draws)
            return draws, self._clipped(interval)
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

    def _drawn_scores(
        self, grid: Grid, score: float, rng: np.random.Generator
    ) -> Array | None:
        if grid.counts.max() < 2:
            return None
        table = np.stack(list(grid.columns.values()), axis=1)
        size = grid.present.size
        drawn = resampled_means(table, grid.index, size, NUM_DRAWS, rng)
        parts = self._made_of(grid.layout, dict(zip(grid.columns, drawn, strict=True)))
        scores = np.broadcast_to(self._combined(parts), NUM_DRAWS)
        z, weights = grid.columns["z"], grid.layout.weights
        factor = stretch(z, grid.index, weights, self.confidence)
        return score + factor * (scores - score)

    def _over_tasks(self, grid: Grid, score: float) -> Interval | None:
        values = self._linear(grid)
        if values is not None:
            means = mean_by_cell(values, grid.index, grid.present.size)
            tasks = grid.layout.by_task(means)
            return self._clipped(self._over_values(np.array(list(tasks.values()))))
        # Delete-one-task jackknife; for a mean it is the same t over task means.
        found = []
        for index in grid.layout.tasks.values():
            kept = [i for i in range(grid.present.size) if i not in set(index)]
            if kept:
                rest = {name: mean[kept] for name, mean in grid.means.items()}
                parts = self._made_of(grid.layout.only(kept), rest)
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

    def _shared_notes(self, runs: Sequence[Run], grid: Grid) -> list[str]:
        notes = []
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


def geometric(parts: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """Π d^w over the parts that have a weight, weights made to sum to 1."""
    kept = {name: part for name, part in parts.items() if name in weights}
    total = math.fsum(weights[name] for name in kept)
    terms = [
        np.clip(part, 0.0, 1.0) ** (weights[name] / total)
        for name, part in kept.items()
    ]
    score: Array = np.prod(np.broadcast_arrays(*terms), axis=0)
    return score


def _floats(parts: Mapping[str, Array]) -> dict[str, float]:
    return {name: float(value) for name, value in parts.items()}
