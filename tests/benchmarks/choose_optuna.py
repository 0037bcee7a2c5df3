"""Optuna's pruners on the tables of choose.py; a trial is a model.

Pruners of epochs (median, successive halving, Hyperband) watch the mean validation score
over all blocks, epoch by epoch, of one seed or of all seeds side by side. Wilcoxon's
watches whole runs, one block and seed after the other in a random order. The pick is the
best of the trials that were not pruned. Defaults of Optuna, but for the resources of
Hyperband, which are the epochs.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
from choose_grids import Array, Grid
from choose_peers import Pick, Way

try:
    import optuna
except ImportError:
    optuna = None


def watched(
    grid: Grid,
    rng: np.random.Generator,
    pruner: Callable[[Grid], Any],
    num_seeds: int | None,
) -> Pick:
    """A pruner of epochs."""
    seen = slice(num_seeds)
    curves = grid.curves[:, :, seen].mean((1, 2))
    steps = grid.steps[:, :, seen].sum((1, 2))
    spent = 0.0

    def ran(model: int) -> Iterator[tuple[int, float]]:
        nonlocal spent
        for epoch in range(1, grid.num_epochs + 1):
            spent += steps[model, epoch] - steps[model, epoch - 1]
            yield epoch, curves[model, epoch]

    best = _study(pruner(grid), len(grid.models), ran, lambda seen: seen[-1], rng)
    return Pick(best, spent / grid.total)


def wilcoxon(grid: Grid, rng: np.random.Generator) -> Pick:
    """Whole runs on every block and seed, in an order that all models share."""
    values = grid.curves[..., -1].reshape(len(grid.models), -1)
    steps = grid.steps[..., -1].reshape(len(grid.models), -1)
    order = rng.permutation(values.shape[1])
    spent = 0.0

    def ran(model: int) -> Iterator[tuple[int, float]]:
        nonlocal spent
        for at in order:
            spent += steps[model, at]
            yield int(at), values[model, at]

    best = _study(optuna.pruners.WilcoxonPruner(), len(grid.models), ran, np.mean, rng)
    return Pick(best, spent / grid.total)


def _study(
    pruner: Any,
    num_models: int,
    ran: Callable[[int], Iterator[tuple[int, float]]],
    worth: Callable[[Array], float],
    rng: np.random.Generator,
) -> int:
    """The best of the trials that were not pruned, of models in a random order."""
    sampler = optuna.samplers.RandomSampler(seed=0)  # of which nothing is asked
    study = optuna.create_study(direction="maximize", pruner=pruner, sampler=sampler)
    order = rng.permutation(num_models).tolist()
    for model in order:
        trial, seen = study.ask(), []
        for step, value in ran(model):
            seen.append(value)
            trial.report(float(value), step)
            if trial.should_prune():
                study.tell(trial, state=optuna.trial.TrialState.PRUNED)
                break
        else:
            study.tell(trial, float(worth(np.array(seen))))
    return int(order[study.best_trial.number])


def ways() -> dict[str, Way]:
    """By name; empty where Optuna is not installed."""
    if optuna is None:
        return {}
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    pruners: dict[str, Callable[[Grid], Any]] = {
        "median pruner": lambda _: optuna.pruners.MedianPruner(),
        "successive halving": lambda _: optuna.pruners.SuccessiveHalvingPruner(),
        "Hyperband": lambda grid: optuna.pruners.HyperbandPruner(
            max_resource=grid.num_epochs
        ),
    }
    found: dict[str, Way] = {
        f"Optuna's {name}, {called}": partial(watched, pruner=pruner, num_seeds=seeds)
        for name, pruner in pruners.items()
        for called, seeds in (("one seed", 1), ("all seeds", None))
    }
    return found | {"Optuna's Wilcoxon pruner": wilcoxon}
