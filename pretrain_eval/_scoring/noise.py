"""How a score would vary with other seeds, examples or tasks, as joint draws.

A draw multiplies the deviation of each seed, example or task by a standard normal number
that belongs to it, whichever model is asked, so that models that share it vary together.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from pretrain_eval._runs import Outcomes, Run
from pretrain_eval._scoring.formulas.intervals import chi_quantile, standard_error
from pretrain_eval._scoring.formulas.statistics import Array, Index, mean_by_cell
from pretrain_eval._scoring.grid import Grid
from pretrain_eval._scoring.new_examples import spread_over_examples

NUM_DRAWS = 2000

# Examples are drawn in so many groups where there are more; groups at random have the
# variance of the mean that the examples have.
_MOST_GROUPS = 512


class Error(NamedTuple):
    """The standard error of a mean.

    Attributes:
        scale: In units of the mean.
        freedom: Degrees of freedom.
        ratio: How much larger the variance of seed means is than that of independent
            cells; None where seeds are not crossed with cells.
    """

    scale: float
    freedom: float
    ratio: float | None = None


def error_over_seeds(grid: Grid, values: Array, *, common: bool) -> Error | None:
    """How far the macro mean of one value a run may lie from that of new seeds.

    Where every cell has the same seeds, a seed may act on all cells alike. The variance
    is then that of the seeds' means if it is larger than that of independent cells.

    Args:
        grid: The rows.
        values: One a row.
        common: Whether a seed is known to act on all cells alike.

    Returns:
        The error; None with one seed a cell.
    """
    independent = standard_error(values, grid.index, grid.cells.weights)
    if independent is None:
        return None
    scale, freedom = independent
    means = seed_means(grid, values)
    if means is None or len(grid.cells.names) < 2:
        return Error(scale, freedom)
    clustered = float(means.std(ddof=1)) / math.sqrt(means.size)
    ratio = (clustered / scale) ** 2 if scale else None
    if common:
        return Error(clustered, means.size - 1, ratio)
    return Error(max(scale, clustered), freedom, ratio)


def seed_means(grid: Grid, values: Array) -> Array | None:
    """The macro mean of each seed; None where cells have different seeds."""
    seeds, cells = grid.seeds, len(grid.cells.names)
    names = np.unique(seeds)
    if names.size < 2 or seeds.size != names.size * cells:
        return None
    table = seeds.reshape(cells, names.size)
    if not (table == names).all():
        return None
    return np.asarray(grid.cells.weights @ values.reshape(cells, names.size))


def over_seeds(
    grid: Grid, values: Array, error: Error, seed: int, *, common: bool
) -> Array:
    """Draws of the deviation of a macro mean from that of new seeds.

    Args:
        grid: The rows.
        values: One a row.
        error: That of the mean.
        seed: Of the draws.
        common: As in `error_over_seeds`.
    """
    means = seed_means(grid, values) if common else None
    if means is not None:
        names = [f"seed {name}" for name in np.unique(grid.seeds).tolist()]
        deviations = means - means.mean()
        deviations /= math.sqrt(means.size * (means.size - 1))
    else:
        names = row_names(grid)
        deviations = row_deviations(grid, values) * grid.cells.weights[grid.index]
    drawn = _drawn(deviations, names, seed)
    size = math.sqrt(float(deviations @ deviations))
    if size == 0:
        return drawn
    return drawn * (error.scale / size) * mixing(error.freedom, seed)


def cells_over_seeds(grid: Grid, seed: int) -> dict[str, Array]:
    """Draws of each column's cell means for new seeds, (num_draws, num_cells).

    A column that no seed changes has its means, (num_cells,).
    """
    draws, names = dict(grid.cells.means), row_names(grid)
    starts = np.searchsorted(grid.index, np.arange(grid.present.size))
    multipliers = np.stack([_multipliers(seed, name) for name in names], axis=1)
    for column, values in grid.columns.items():
        deviations = row_deviations(grid, values)
        if deviations.any():
            moves = np.add.reduceat(multipliers * deviations, starts, axis=1)
            draws[column] = grid.cells[column] + moves
    return draws


def row_names(grid: Grid) -> list[str]:
    """What tells the seeds of each cell apart; models share them."""
    return [f"{run.task}/{run.dataset}/{run.strategy}/{run.seed}" for run in grid.runs]


def row_deviations(grid: Grid, values: Array) -> Array:
    """Deviations of rows from the mean of their cell, times √(1 / (K (K − 1))).

    Their squares add up to the variance of the cell's mean. A cell of one row stays,
    and so does a row that is NaN.
    """
    size = grid.present.size
    means = mean_by_cell(values, grid.index, size)
    counts = np.bincount(grid.index, minlength=size)[grid.index]
    deviations = np.nan_to_num(values - means[grid.index])
    scales = np.sqrt(1 / np.maximum(counts * (counts - 1), 1))
    deviations[np.abs(deviations) < 1e-15] = 0.0
    return np.asarray(deviations * scales)


def over_tasks(tasks: Mapping[str, float], seed: int) -> Array | None:
    """Draws of the deviation of a mean over tasks from that over new tasks."""
    values = np.array(list(tasks.values()))
    count = values.size
    if count < 3:
        return None
    deviations = (values - values.mean()) / math.sqrt(count * (count - 1))
    names = [f"task {name}" for name in tasks]
    return _drawn(deviations, names, seed) * mixing(count - 1, seed)


def over_examples(grid: Grid, keys: Iterable[str], seed: int) -> Array | None:
    """Draws of the deviation of each cell's metric from that on new examples.

    Outcomes of single examples are paired between models, strategies and data sets that
    share them. Where only counts are known, seeds and strategies of a data set err
    together and models apart.

    Args:
        grid: The rows.
        keys: The metric of each row.
        seed: Of the draws.

    Returns:
        Shape (num_draws, num_cells), in units of the metric; None where the examples
        of a cell are unknown.
    """
    rows: list[list[tuple[Run, str]]] = [[] for _ in grid.cells.names]
    counts = np.zeros(len(rows))
    for run, key, cell in zip(grid.runs, keys, grid.index.tolist(), strict=True):
        counts[cell] += 1
        if run.status == "completed":
            rows[cell].append((run, key))
    moves = np.zeros((NUM_DRAWS, len(rows)))
    for cell, members in enumerate(rows):
        if not members:
            continue  # every run diverged: chance is what it is
        drawn = _cell_over_examples(members, seed)
        if drawn is None:
            return None
        # Diverged runs count as chance, which no example changes.
        moves[:, cell] = drawn * len(members) / counts[cell]
    return moves


def _cell_over_examples(members: list[tuple[Run, str]], seed: int) -> Array | None:
    run, key = members[0]
    outcomes = [other.outcomes for other, _ in members if other.outcomes is not None]
    same = {(each.key, each.examples, each.num_examples) for each in outcomes}
    if len(outcomes) == len(members) and len(same) == 1:
        if outcomes[0].key == key:
            return _paired(run, outcomes, seed)
        if (outcomes[0].key, key) == ("mse", "r2"):
            # 1 − mse / variance, and the targets vary as they do.
            ratios = [(1 - other.scores["r2"]) / _mean(other) for other, _ in members]
            return -float(np.mean(ratios)) * _paired(run, outcomes, seed)
    spread = spread_over_examples([other for other, _ in members], key)
    if spread is None:
        return None
    name = f"{run.model} on {run.task}/{run.dataset}"
    return spread * _multipliers(seed, name)


def _paired(run: Run, outcomes: list[Outcomes], seed: int) -> Array:
    values = np.mean([numbers_of(each) for each in outcomes], axis=0)
    count = values.size
    deviations = values - values.mean()
    # As if four more examples had come out by chance, two of them well (Agresti and
    # Coull), each model's by itself: agreement on few examples is no certainty.
    spread = 1.0 if outcomes[0].kind == "bits" else 2 * float(values.std())
    groups = min(count, _MOST_GROUPS)
    name = f"{outcomes[0].examples}, {count} examples"
    if groups < count:
        group = _grouping(seed, name, count)
        deviations = np.bincount(group, deviations, groups)
    multipliers = _many_multipliers(seed, name, groups)
    shared = multipliers @ deviations
    own = spread * _multipliers(seed, f"{run.model} on {name}")
    return np.asarray((shared + own) / (count + 4))


def _mean(run: Run) -> float:
    assert run.outcomes is not None  # only runs that have them are asked
    return max(float(numbers_of(run.outcomes).mean()), 1e-300)


def numbers_of(outcomes: Outcomes) -> Array:
    """One number an example: 0 or 1, or what was measured on it."""
    content = np.frombuffer(outcomes.unpacked(), dtype=np.uint8)
    if outcomes.kind == "numbers":
        return content.view("<f4").astype(np.float64)
    return np.unpackbits(content)[: outcomes.num_examples].astype(np.float64)


def _drawn(deviations: Array, names: list[str], seed: int) -> Array:
    total = np.zeros(NUM_DRAWS)
    for name, deviation in zip(names, deviations.tolist(), strict=True):
        if deviation:
            total += deviation * _multipliers(seed, name)
    return total


@functools.lru_cache(maxsize=256)  # what several models and their pairs share
def mixing(freedom: float, seed: int) -> Array | float:
    """What turns normal draws into Student's t: √(ν / χ²), one χ² for all models."""
    if math.isinf(freedom):
        return 1.0
    uniform = np.random.default_rng([seed, 1]).uniform(size=NUM_DRAWS)
    return np.asarray(np.sqrt(freedom / chi_quantile(uniform, freedom)))


@functools.lru_cache(maxsize=4096)  # what several models and protocols share
def _multipliers(seed: int, name: str) -> Array:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return rng.standard_normal(NUM_DRAWS)


@functools.lru_cache(maxsize=16)  # 8 MB each
def _many_multipliers(seed: int, name: str, count: int) -> Array:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
    return rng.standard_normal((NUM_DRAWS, count))


@functools.lru_cache(maxsize=16)
def _grouping(seed: int, name: str, count: int) -> Index:
    rng = np.random.default_rng([seed, zlib.crc32(name.encode()), 1])
    return rng.permutation(count) % _MOST_GROUPS
