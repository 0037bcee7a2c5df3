"""Whether as many seeds, examples or tasks as a comparison asks for are enough.

Two models, from little data: the number that is predicted to separate them with 80 %,
against the number that does so in simulation. Predictions are made where the two were
not separated, as a user meets them, from the gap that was measured, and again from the
true gap. Run it with `python tests/benchmarks/power.py [simulations]`.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from worlds import World, measured_on, runs_of

import pretrain_eval as pe


class Question(NamedTuple):
    """What is drawn anew, how much there is, and how the runs of so much are made."""

    source: str
    size: int
    gap: float
    make: Callable[[Generator, int], list[pe.Run]]
    shares: int = 1


def world(
    rng: Generator, seeds: int, tasks: int, gap: float, *, across=0.0, within=0.02
) -> World:
    """Two models whose gap varies across tasks, and scores within them."""
    base = rng.uniform(0.4, 0.8, tasks)
    means = np.stack([base + rng.normal(gap, across, tasks), base])
    return World(means[:, None] + rng.normal(0, within, (2, seeds, tasks)), means)


def questions() -> list[Question]:
    """More seeds, more examples, more tasks."""

    def seeds(rng, size, tasks, gap):
        return runs_of(world(rng, size, tasks, gap).scores)

    def tasks(rng, size, gap, across):
        return runs_of(world(rng, 1, size, gap, across=across).scores)

    def examples(rng, size, gap):
        return measured_on(rng, world(rng, 3, 4, gap, within=0.0005), size)

    return [
        Question("seeds", 3, 0.01, lambda r, n: seeds(r, n, 4, 0.01)),
        Question("seeds", 3, 0.01, lambda r, n: seeds(r, n, 10, 0.01)),
        Question("seeds", 3, 0.006, lambda r, n: seeds(r, n, 10, 0.006)),
        Question("tasks", 5, 0.01, lambda r, n: tasks(r, n, 0.01, 0.015)),
        Question("tasks", 8, 0.01, lambda r, n: tasks(r, n, 0.01, 0.02)),
        Question("examples", 100, 0.03, lambda r, n: examples(r, n, 0.03), shares=4),
        Question("examples", 200, 0.03, lambda r, n: examples(r, n, 0.03), shares=4),
        Question("examples", 300, 0.02, lambda r, n: examples(r, n, 0.02), shares=4),
    ]


def answer(asked: Question, simulations: int) -> str:
    """One line: the simulated truth, and how near predictions come."""
    rng = np.random.default_rng(0)
    known = ("seeds", "examples") if asked.source == "examples" else (asked.source,)
    evaluator = pe.PersistenceEvaluator(over=known)
    measured, told = [], []
    while len(measured) < simulations:
        comparison = evaluator.compare(asked.make(rng, asked.size))
        if comparison.not_separable:
            (pair,) = comparison.differences
            exact = dataclasses.replace(pair, difference=asked.gap)
            for each, found in ((pair, measured), (exact, told)):
                more = each.needed(known)[asked.source]
                found.append(
                    asked.size + (np.inf if more is None else more / asked.shares)
                )
    truth = asked.size
    while separated(evaluator, asked, rng, truth, simulations) < 0.8:
        truth = int(np.ceil(truth * 1.1))
    words = [
        f"{name} {np.median(found):.0f} ({share(found, truth):.0%} within 2 ×)"
        for name, found in (("measured gap", measured), ("true gap", told))
    ]
    return f"{asked.source:9} from {asked.size}: true {truth}, {', '.join(words)}"


def separated(
    evaluator: pe.Evaluator,
    asked: Question,
    rng: Generator,
    size: int,
    simulations: int,
) -> float:
    """How often so many separate the two."""
    found = [evaluator.compare(asked.make(rng, size)) for _ in range(simulations)]
    return float(np.mean([not each.not_separable for each in found]))


def share(found: list[float], truth: int) -> float:
    """Of the predictions, those within 2 × of the truth."""
    ratios = np.array(found) / truth
    return float(np.mean((ratios >= 0.5) & (ratios <= 2)))


def main() -> None:
    """A line a question."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 150
    print(f"{simulations} simulations a number; medians of the predictions")
    for asked in questions():
        print(answer(asked, simulations), flush=True)


if __name__ == "__main__":
    main()
