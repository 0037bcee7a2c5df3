"""Other ways to choose a model with less than the grid, each on the same table.

A way is a function of a grid and of a generator, and gives a pick. It sees validation
curves and what is known before any training; its cost is the optimizer steps that it
takes, as a share of the grid's. Whoever states no limit and no P(best) has none here.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from choose_grids import Array, Grid

import pretrain_eval as pe


@dataclass(frozen=True)
class Pick:
    """What a way of choosing gives.

    Attributes:
        model: The row of the grid.
        cost: Share of the grid's optimizer steps.
        limit: How much worse than the best it says it is at most; NaN: says nothing.
        said: The probability with which it says it is the best; NaN: says nothing.
        beyond: Rows of models that neither covers.
    """

    model: int
    cost: float
    limit: float = math.nan
    said: float = math.nan
    beyond: frozenset[int] = field(default=frozenset())


Way = Callable[[Grid, np.random.Generator], Pick]


def race(grid: Grid, rng: np.random.Generator, **rules: float) -> Pick:
    """`pe.replay`, which is `pe.choose` over recorded runs."""
    seeds = [run.seed for run in grid.runs[0, 0]]
    choice = pe.replay(grid.runs.ravel().tolist(), seeds=seeds, **rules)
    cut = [name for each in choice.rounds if each.short for name in each.dropped]
    return Pick(
        grid.models.index(choice.model),
        choice.cost_share,
        choice.regret_limit,
        choice.p_best[choice.model],
        frozenset(map(grid.models.index, cut)),
    )


def whole_runs(grid: Grid, rng: np.random.Generator, num_seeds: int | None) -> Pick:
    """The best mean of whole runs of the first seeds, on every block."""
    seen = slice(num_seeds)
    spent = grid.steps[:, :, seen, -1].sum() / grid.total
    return Pick(_highest(grid.curves[:, :, seen, -1].mean((1, 2)), rng), spent)


def short_runs(grid: Grid, rng: np.random.Generator, share: float = 0.25) -> Pick:
    """The best mean after a share of the epochs, of the first seed on every block."""
    end = max(1, round(share * grid.num_epochs))
    spent = grid.steps[:, :, 0, end].sum() / grid.total
    return Pick(_highest(grid.curves[:, :, 0, end].mean(1), rng), spent)


def random_cells(grid: Grid, rng: np.random.Generator, share: float = 0.2) -> Pick:
    """For each model whole runs on blocks and seeds that are drawn."""
    num_models, num_blocks, num_seeds, _ = grid.curves.shape
    count = max(1, round(share * num_blocks * num_seeds))
    means, spent = np.zeros(num_models), 0.0
    for model in range(num_models):
        drawn = rng.permutation(num_blocks * num_seeds)[:count]
        means[model] = grid.curves[model, ..., -1].ravel()[drawn].mean()
        spent += grid.steps[model, ..., -1].ravel()[drawn].sum()
    return Pick(_highest(means, rng), spent / grid.total)


def random_models(grid: Grid, rng: np.random.Generator, share: float = 0.2) -> Pick:
    """All runs of models that are drawn, as random search of a tuner has it."""
    count = max(1, round(share * len(grid.models)))
    drawn = rng.permutation(len(grid.models))[:count]
    means = np.full(len(grid.models), -np.inf)
    means[drawn] = grid.curves[drawn, ..., -1].mean((1, 2))
    return Pick(_highest(means, rng), grid.steps[drawn, ..., -1].sum() / grid.total)


def halving(grid: Grid, rng: np.random.Generator, factor: int = 3) -> Pick:
    """A third of the models goes on to three times the epochs, on the first seed.

    Source: Jamieson and Talwalkar, Non-stochastic Best Arm Identification and
    Hyperparameter Optimization, AISTATS 2016.
    """
    alive, begun, spent = np.arange(len(grid.models)), 0, 0.0
    for left in (2, 1, 0):
        end = max(1, grid.num_epochs // factor**left)
        done = grid.steps[alive, :, 0, end] - grid.steps[alive, :, 0, begun]
        spent, begun = spent + done.sum(), end
        means = grid.curves[alive, :, 0, end].mean(1)
        kept = max(1, len(alive) // factor) if left else 1
        order = np.lexsort((rng.random(len(alive)), -means))
        alive = alive[order[:kept]]
    return Pick(int(alive[0]), spent / grid.total)


def known_before(grid: Grid, rng: np.random.Generator, name: str) -> Pick:
    """The first by an estimator or a static baseline, which costs no step."""
    return Pick(_highest(-grid.first_ranks(name), rng), 0.0)


def _highest(values: Array, rng: np.random.Generator) -> int:
    """Of equal ones any."""
    return int(rng.choice(np.flatnonzero(values == values.max())))


RACES: dict[str, Way] = {
    "race": partial(race, tolerance=0.01),
    "race, budget 20 %": partial(race, tolerance=0.01, budget=0.2),
}
WAYS: dict[str, Way] = {
    "the whole grid": partial(whole_runs, num_seeds=None),
    "one seed of the grid": partial(whole_runs, num_seeds=1),
    "a quarter of the epochs of one seed": short_runs,
    "random runs, 20 %": random_cells,
    "random search: a fifth of the models": random_models,
    "successive halving, one seed": halving,
}
BEFORE: dict[str, Way] = {
    "LogME's pick": partial(known_before, name="logme"),
    "most parameters": partial(known_before, name="log_parameters"),
    "most operations": partial(known_before, name="log_macs"),
    "published accuracy": partial(known_before, name="published_accuracy"),
    "rank on the other tasks": partial(known_before, name="rank_on_other_tasks"),
}
