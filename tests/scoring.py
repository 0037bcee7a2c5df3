"""Runs built by hand, for the tests of scores."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

import pretrain_eval as pe

KEYS = ("accuracy", "recall", "f1")
BUDGET = pe.Budget(parameters=(1e3, 1e6), macs=(1e6, 1e9), seconds=(1, 100))


def make_run(
    task: str = "t",
    dataset: str = "d",
    strategy: str = "full",
    seed: int = 0,
    accuracy: float = 0.75,
    **fields: Any,
) -> pe.Run:
    """One run with everything that the protocols read; chance is 0.25."""
    before = fields.pop("before", 0.5)
    given: dict[str, Any] = {
        "model": "a",
        "scores": dict.fromkeys(KEYS, accuracy),
        "baseline": dict.fromkeys(KEYS, before),
        "chance": dict.fromkeys(KEYS, 0.25),
        "curve": {"step": (0, 10), "accuracy": (before, accuracy)},
        "cost": pe.Cost(num_parameters=10_000, macs=10_000_000, seconds=10.0),
        "settings": {"trainable": "head" if strategy == "probe" else "all"},
    }
    return pe.Run(
        task=task, dataset=dataset, strategy=strategy, seed=seed, **given | fields
    )


def make_grid(
    models: tuple[str, ...] = ("a", "b"), *, seeds: int = 3, spread: float = 0.02
) -> list[pe.Run]:
    """Two tasks, two datasets, two strategies and some seeds of each model."""
    rng = np.random.default_rng(0)
    places = itertools.product(("s", "t"), ("d", "e"), ("full", "probe"), range(seeds))
    return [
        make_run(*place, accuracy=0.7 + float(rng.normal(0, spread)), model=model)
        for model, place in itertools.product(models, list(places))
    ]


def evaluators() -> tuple[pe.Evaluator, ...]:
    """The five protocols, with a budget where one is read."""
    return (
        pe.OptimizabilityEvaluator(),
        pe.UsabilityEvaluator(budget=BUDGET),
        pe.VariabilityEvaluator(),
        pe.ReusabilityEvaluator(budget=BUDGET),
        pe.PersistenceEvaluator(),
    )
