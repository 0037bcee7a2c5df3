"""One model under one protocol: score, intervals, bounds, notes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from pretrain_eval._scoring.formulas.intervals import (
    percentiles,
    stretch,
    t_quantile,
)
from pretrain_eval._scoring.formulas.statistics import Array, Cell, mean_by_cell
from pretrain_eval._scoring.grid import Cells, Grid
from pretrain_eval._scoring.model_runs import ModelRuns
from pretrain_eval._scoring.noise import (
    NUM_DRAWS,
    Error,
    cells_over_seeds,
    error_over_seeds,
    mixing,
    over_examples,
    over_seeds,
)
from pretrain_eval._scoring.noise import over_tasks as tasks_drawn
from pretrain_eval._scoring.protocol import Protocol, Scored
from pretrain_eval._scoring.reading import grid_of
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.table import counted, listing

ONE_SEED = ("One seed a cell: nothing can be said of new seeds.",)


def scored(
    protocol: Protocol,
    own: ModelRuns,
    twin: ModelRuns | None = None,
    holes: Sequence[Cell] = (),
) -> Scored:
    """The report of one model, with what a comparison needs.

    Args:
        protocol: What is asked.
        own: The model's runs.
        twin: Those of its twin from random weights.
        holes: Cells that other models were run on and this one was not.
    """
    grid = grid_of(protocol, own, twin, holes)
    parts = floats(protocol.parts(grid.cells))
    score = score_of(protocol, parts)
    tasks: dict[str, float] = {}
    noise: dict[str, Array] = {}
    unmixed = interval = bounds = None
    if score is not None:
        tasks, noise, error = _variation(protocol, grid, score)
        interval = _interval(protocol, score, noise, error)
        if error is not None:
            unmixed = noise["seeds"] / mixing(error.freedom, protocol.seed)
    missing = int(grid.lost.sum())
    if missing and score is not None:
        bounds = _bounds(protocol, grid)
        interval = _widened(interval, score, bounds)
    report = Report(
        protocol=protocol.protocol,
        model=own.model,
        score=score,
        parts=parts,
        interval=_capped(protocol, interval),
        new_tasks=_capped(protocol, _new_tasks(protocol, tasks)),
        examples=protocol.examples(grid),
        bounds=bounds,
        num_runs=len(own.runs),
        num_scored=grid.cell.size,
        num_diverged=own.num_diverged,
        num_missing=missing,
        cost=own.cost,
        notes=(*_notes(protocol, own, grid, score), *protocol.notes(grid)),
    )
    details = {**protocol.details(grid, report), **_lift(protocol, grid, twin)}
    report = dataclasses.replace(report, details=details)
    return Scored(report, grid, noise, tasks, unmixed)


def floats(parts: Mapping[str, Array]) -> dict[str, float]:
    """Parts that are one number each."""
    return {name: float(value) for name, value in parts.items()}


def score_of(protocol: Protocol, parts: Mapping[str, float]) -> float | None:
    """The score that parts make, signed."""
    score = protocol.combine({name: np.array(part) for name, part in parts.items()})
    return None if score is None else float(score)


def row_values(protocol: Protocol, grid: Grid) -> Array | None:
    """One value a run whose macro mean is the score; None where it is no mean.

    A cell that lacks a column weighs nothing there, and the others more; a run that
    lacks it has the mean of its cell.
    """
    weights = {
        name: weight
        for name, weight in protocol.mean_of.items()
        if name in grid.columns and not np.isnan(grid.columns[name]).all()
    }
    if not weights:
        return None
    total, cells = np.zeros(grid.cell.size), grid.cells
    for name, weight in weights.items():
        column, means = grid.columns[name], cells[name]
        known = ~np.isnan(means)
        if known.all() and not np.isnan(column).any():
            total += weight * column
            continue
        share = np.zeros(means.size)
        rest = Cells(tuple(cells.names[i] for i in np.flatnonzero(known)))
        share[known] = rest.weights / cells.weights[known]
        filled = np.where(np.isnan(column), means[grid.index], column)
        total += weight * share[grid.index] * np.nan_to_num(filled)
    return np.asarray(total / math.fsum(weights.values()))


def over_tasks(protocol: Protocol, values: Array) -> Interval | None:
    """Mean ± t · s / √n over tasks, as drawn from many like them."""
    if values.size < 2:
        return None
    error = float(values.std(ddof=1)) / math.sqrt(values.size)
    half = t_quantile((1 + protocol.confidence) / 2, values.size - 1) * error
    center = math.fsum(values) / values.size
    return protocol.interval(center - half, center + half, "tasks", "t over tasks")


def _new_tasks(protocol: Protocol, tasks: Mapping[str, float]) -> Interval | None:
    interval = over_tasks(protocol, np.array(list(tasks.values())))
    if interval is None or protocol.mean_of:
        return interval
    return dataclasses.replace(interval, method="jackknife over tasks")


def _variation(
    protocol: Protocol, grid: Grid, score: float
) -> tuple[dict[str, float], dict[str, Array], Error | None]:
    # What each task adds, joint draws by what is drawn anew, the error over seeds.
    values, error, noise = row_values(protocol, grid), None, {}
    common = protocol.seeds == "common"
    if values is None:
        tasks = _pseudo_values(protocol, grid, score)
        if grid.counts.max() > 1:
            noise["seeds"] = _bootstrapped(protocol, grid, score)
    else:
        means = mean_by_cell(values, grid.index, grid.present.size)
        tasks = floats(grid.cells.by_task(means))
        error = error_over_seeds(grid, values, common=common)
        if error is not None:
            noise["seeds"] = over_seeds(
                grid, values, error, protocol.seed, common=common
            )
    examples = _moved_by_examples(protocol, grid, score)
    if examples is not None:
        noise["examples"] = examples
    drawn = tasks_drawn(tasks, protocol.seed)
    if drawn is not None:
        noise["tasks"] = drawn
    return tasks, noise, error


def _bootstrapped(protocol: Protocol, grid: Grid, score: float) -> Array:
    # Reflected about the score: where a minimum over cells falls short of the true one
    # in every draw, it falls short in what was measured.
    means = cells_over_seeds(grid, protocol.seed)
    parts = protocol.parts(dataclasses.replace(grid.cells, means=means))
    scores = np.broadcast_to(np.asarray(protocol.combine(parts)), NUM_DRAWS)
    main = next(name for name in protocol.limits if name in grid.columns)
    slopes = _slopes(protocol, grid, main, score)
    factor = stretch(grid.columns[main], grid.index, slopes, protocol.confidence)
    return factor * (score - scores)


def _slopes(protocol: Protocol, grid: Grid, column: str, score: float) -> Array:
    # How far the score moves with a column's mean in each cell: where one cell decides,
    # its few seeds are all the freedom that there is.
    step, cells = 1e-6, grid.cells
    moved = cells[column] + step * np.eye(grid.present.size)
    means = {**cells.means, column: moved}
    parts = protocol.parts(dataclasses.replace(cells, means=means))
    scores = np.broadcast_to(np.asarray(protocol.combine(parts)), len(moved))
    slopes: Array = (scores - score) / step
    return slopes if slopes.any() else cells.weights


def _moved_by_examples(protocol: Protocol, grid: Grid, score: float) -> Array | None:
    # The score of every draw of the cells' metrics, as new examples would move them.
    moved = protocol.moves(grid.runs)
    made_of = protocol.mean_of or protocol.limits
    columns = [name for name in made_of if name in grid.columns]
    if not columns or not set(columns) <= set(moved):
        return None
    means = dict(grid.cells.means)
    for name in columns:
        keys, slopes = moved[name]
        drawn = over_examples(grid, keys, protocol.seed)
        if drawn is None:
            return None
        known = ~np.isnan(grid.columns[name]) & np.isfinite(slopes)
        slope = mean_by_cell(
            np.where(known, slopes, np.nan), grid.index, grid.present.size
        )
        means[name] = means[name] + np.nan_to_num(slope) * drawn
    parts = protocol.parts(dataclasses.replace(grid.cells, means=means))
    scores = np.asarray(protocol.combine(parts))
    return np.broadcast_to(scores, NUM_DRAWS) - score


def _interval(
    protocol: Protocol,
    score: float,
    noise: Mapping[str, Array],
    error: Error | None,
) -> Interval | None:
    sources = sources_of(protocol, [noise])
    if not sources or ("seeds" in protocol.over and "seeds" not in sources):
        return None
    over = " and ".join(sources)
    if error is None or "seeds" not in sources:
        draws = score + sum_of(noise, sources)
        low, high = percentiles(draws, protocol.confidence).tolist()
        low, high = min(low, score), max(high, score)
        method = "stratified bootstrap" if "seeds" in sources else "normal draws"
        return protocol.interval(low, high, over, method)
    # Degrees of freedom of a sum of which the part over examples is known well.
    others = [noise[name] for name in sources if name != "seeds"]
    variance = error.scale**2 + sum(float(each.var()) for each in others)
    freedom = error.freedom
    if others and error.scale:
        freedom *= (variance / error.scale**2) ** 2
    half = t_quantile((1 + protocol.confidence) / 2, freedom) * math.sqrt(variance)
    method = "t of Welch and Satterthwaite"
    return protocol.interval(score - half, score + half, over, method)


def sources_of(
    protocol: Protocol, noises: Sequence[Mapping[str, Array]]
) -> tuple[str, ...]:
    """What the evaluator varies, as far as it is known of every model.

    New tasks bring new seeds and examples with them. With one seed and unknown
    examples there are still the tasks.
    """
    known = [name for name in ("seeds", "examples") if all(name in n for n in noises)]
    asked = tuple(name for name in known if name in protocol.over)
    tasks = ("tasks",) if all("tasks" in noise for noise in noises) else ()
    return tasks if "tasks" in protocol.over or not asked else asked


def sum_of(noise: Mapping[str, Array], sources: Sequence[str]) -> Array:
    """The deviations of a draw from all that is varied, together."""
    return np.asarray(np.sum([noise[name] for name in sources], axis=0))


def _pseudo_values(protocol: Protocol, grid: Grid, score: float) -> dict[str, float]:
    # Delete one task at a time; for a mean these are the means of the tasks.
    cells, count = grid.cells, len(grid.cells.tasks)
    if count < 3:
        return {}
    pseudo = {}
    for (task,), index in cells.tasks.items():
        rest = np.delete(np.arange(grid.present.size), index).tolist()
        without = score_of(protocol, floats(protocol.parts(cells.only(rest))))
        if without is not None:
            pseudo[task] = count * score - (count - 1) * without
    return pseudo


def _capped(protocol: Protocol, interval: Interval | None) -> Interval | None:
    # Nothing is better than perfect.
    top = next(iter(protocol.limits.values()))[1]
    if interval is None or interval.high <= top:
        return interval
    return dataclasses.replace(interval, high=max(top, interval.low))


def _widened(
    interval: Interval | None, score: float, bounds: tuple[float, float] | None
) -> Interval | None:
    # What is missing could be anything between its bounds, and would vary as well.
    if interval is None or bounds is None:
        return None
    low, high = interval.low - score + bounds[0], interval.high - score + bounds[1]
    return dataclasses.replace(interval, low=low, high=high)


def _bounds(protocol: Protocol, grid: Grid) -> tuple[float, float] | None:
    # What a lost run measured is at its worst chance, or the worst that was measured.
    fills: tuple[dict[str, float], dict[str, float]] = ({}, {})
    for name, (worst, best) in protocol.limits.items():
        if name in grid.columns:
            fills[0][name] = min(worst, float(np.nanmin(grid.columns[name])))
            fills[1][name] = max(best, float(np.nanmax(grid.columns[name])))
    if not np.isfinite([*fills[0].values(), *fills[1].values()]).all():
        return None
    ends = []
    for fill in fills:
        score = score_of(protocol, floats(protocol.parts(grid.filled(fill))))
        ends.append(0.0 if score is None else score)
    return ends[0], ends[1]


def _lift(protocol: Protocol, grid: Grid, twin: ModelRuns | None) -> dict[str, float]:
    # z − z_scratch on the cells that both have.
    if twin is None or "z" not in grid.columns:
        return {}
    other = grid_of(protocol, twin).cells
    if "z" not in other:
        return {}
    places = {name: place for place, name in enumerate(other.names)}
    common = [i for i, name in enumerate(grid.cells.names) if name in places]
    if not common:
        return {}
    own = grid.cells.only(common)
    gaps = own["z"] - other["z"][[places[name] for name in own.names]]
    lift = float(own.macro(gaps))
    return {} if math.isnan(lift) else {"lift over scratch": lift}


def _notes(
    protocol: Protocol, own: ModelRuns, grid: Grid, score: float | None
) -> list[str]:
    num_runs, notes = len(own.runs), []
    if score is not None and score < 0:
        notes.append(f"The score is below 0: {protocol.below_zero}.")
    if grid.diverged:
        how = {"chance": "count as chance", "drop": "are left out"}[protocol.diverged]
        notes.append(
            f"{grid.diverged} of {counted(num_runs, 'run')} diverged and {how}."
        )
    if grid.collapsed:
        names = listing([run.name for run in grid.collapsed[:3]])
        more = ", for example" if len(grid.collapsed) > 3 else ""
        notes.append(
            f"{len(grid.collapsed)} of {counted(num_runs, 'run')} collapsed and left"
            f" out{more}: {names}."
        )
    missing = int(grid.lost.sum())
    if missing:
        expected = missing + grid.cell.size
        notes.append(
            f"{missing} of {counted(expected, 'expected run')} are missing: the"
            " score is of those that exist, and the bounds say what it could be."
        )
    unknown = protocol.scales.unknown(own.runs, protocol.keys)
    if unknown:
        notes.append(
            f"Chance is unknown for {unknown} of {counted(num_runs, 'run')} and taken as 0,"
            " so that raw scores are read; state it with chance=."
        )
    if grid.counts.max() < 2:
        return [*notes, *ONE_SEED]
    single = int((grid.counts == 1).sum())
    if single and not protocol.mean_of:
        notes.append(
            f"{single} of {grid.present.size} cells have one seed and add nothing to"
            " the interval, which is too narrow."
        )
    return notes
