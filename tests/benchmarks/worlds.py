"""Whether intervals, differences, P(best) and regret limits hold where things go wrong.

Worlds of three models on some tasks: seeds that act on all tasks alike, seeds that
models share, tasks equally hard, few examples, runs that collapse, a missing cell, new
tasks. Run it with `python tests/benchmarks/worlds.py [simulations] [words of a line]`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.random import Generator

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.statistics import Array

GAPS = np.array([0.0, 0.01, 0.03])
SEED_SPREAD = 0.02


class World(NamedTuple):
    """Measured scores (num_models, num_seeds, num_tasks) and the true task means."""

    scores: Array
    means: Array


def independent(rng: Generator, seeds: int, tasks: int) -> World:
    """Every run errs by itself."""
    means = rng.uniform(0.3, 0.85, tasks) + rng.permutation(GAPS)[:, None]
    noise = rng.normal(0, SEED_SPREAD, (GAPS.size, seeds, tasks))
    return World(means[:, None] + noise, means)


def common(rng: Generator, seeds: int, tasks: int) -> World:
    """Half of a seed's variance acts on all tasks of a model alike."""
    world = independent(rng, seeds, tasks)
    own = world.scores - world.means[:, None]
    alike = rng.normal(0, SEED_SPREAD, (GAPS.size, seeds, 1))
    return World(world.means[:, None] + (own + alike) / np.sqrt(2), world.means)


def shared(rng: Generator, seeds: int, tasks: int) -> World:
    """Half of a run's variance is that of its seed in every model."""
    world = independent(rng, seeds, tasks)
    own = world.scores - world.means[:, None]
    alike = rng.normal(0, SEED_SPREAD, (1, seeds, tasks))
    return World(world.means[:, None] + (own + alike) / np.sqrt(2), world.means)


def alike(rng: Generator, seeds: int, tasks: int) -> World:
    """Every task is as hard as the others."""
    means = np.full((GAPS.size, tasks), 0.6) + rng.permutation(GAPS)[:, None]
    noise = rng.normal(0, SEED_SPREAD, (GAPS.size, seeds, tasks))
    return World(means[:, None] + noise, means)


def collapsing(rng: Generator, seeds: int, tasks: int) -> World:
    """One run in ten falls by .15."""
    world = independent(rng, seeds, tasks)
    falls = 0.15 * (rng.uniform(size=world.scores.shape) < 0.1)
    return World(world.scores - falls, world.means - 0.015)


def runs_of(scores: Array) -> list[pe.Run]:
    """The runs of all models."""
    return [
        pe.Run(
            model=f"m{model}",
            task=f"t{task}",
            dataset="d",
            strategy="full",
            seed=seed,
            scores={"accuracy": float(scores[model, seed, task])},
            chance={"accuracy": 0.0},
        )
        for model, seed, task in np.ndindex(scores.shape)
    ]


def measured_on(rng: Generator, world: World, num_examples: int) -> list[pe.Run]:
    """Runs measured on a few examples, the same for all models and seeds."""
    runs = []
    models, seeds, tasks = world.scores.shape
    for task in range(tasks):
        # How hard an example is holds for every run: its outcomes go together.
        hard = rng.uniform(size=num_examples)
        for model in range(models):
            for seed in range(seeds):
                luck = rng.uniform(size=num_examples)
                mixed = np.where(rng.uniform(size=num_examples) < 0.7, hard, luck)
                bits = mixed < world.scores[model, seed, task]
                runs.append(
                    pe.Run(
                        model=f"m{model}",
                        task=f"t{task}",
                        dataset="d",
                        strategy="full",
                        seed=seed,
                        scores={"accuracy": float(bits.mean())},
                        chance={"accuracy": 0.0},
                        num_examples=num_examples,
                        outcomes=pe.Outcomes.of("accuracy", f"t{task}", bits.tolist()),
                    )
                )
    return runs


class Tally:
    """What held, over the simulations of one line."""

    def __init__(self) -> None:
        self.held: dict[str, list[bool]] = {}
        self.width: list[float] = []

    def add(self, comparison: pe.Comparison, truth: dict[str, float]) -> None:
        """Hold one comparison against the true scores."""
        best = max(truth.values())
        for report in comparison.reports:
            low, high = report.interval.low, report.interval.high
            self._note("score", low <= truth[report.model] <= high)
            self.width.append(high - low)
        for pair in comparison.differences:
            gap = truth[pair.first] - truth[pair.second]
            self._note("difference", pair.interval.low <= gap <= pair.interval.high)
        right = truth[comparison.best] >= best - 1e-12
        if comparison.p_best.get(comparison.best, 0.0) >= 0.9:
            self._note("P(best) ≥ .9 right", right)
        regret = best - truth[comparison.best]
        self._note("regret limit", regret <= comparison.regret_limit + 1e-12)

    def _note(self, what: str, holds: bool) -> None:
        self.held.setdefault(what, []).append(bool(holds))

    def __str__(self) -> str:
        words = [f"{name} {np.mean(each):.3f}" for name, each in self.held.items()]
        return ", ".join([*words, f"width {np.mean(self.width):.4f}"])


def simulate(
    name: str,
    make: Callable[[Generator], tuple[list[pe.Run], dict[str, float]]],
    evaluator: pe.Evaluator,
    simulations: int,
) -> None:
    """One line: how often each statement held."""
    rng = np.random.default_rng(0)
    tally = Tally()
    for _ in range(simulations):
        runs, truth = make(rng)
        tally.add(evaluator.compare(runs), truth)
    print(f"{name:34} {tally}", flush=True)


def macro(world: World) -> dict[str, float]:
    """The true mean of each model."""
    return {f"m{i}": float(mean) for i, mean in enumerate(world.means.mean(axis=1))}


def typical(world: World) -> dict[str, float]:
    """The true mean of each model's runs that do not collapse."""
    return {model: mean + 0.015 for model, mean in macro(world).items()}


def reusable(world: World) -> dict[str, float]:
    """The true R = (M · D)^½ of each model."""
    mean, worst = world.means.mean(axis=1), world.means.min(axis=1)
    scores = np.sqrt(mean * (mean + worst) / 2)
    return {f"m{i}": float(score) for i, score in enumerate(scores)}


def without_a_cell(rng: Generator, seeds: int, tasks: int) -> tuple[list[pe.Run], dict]:
    """The first model lacks its hardest task."""
    world = independent(rng, seeds, tasks)
    hardest = f"t{world.means[0].argmin()}"
    runs = [r for r in runs_of(world.scores) if (r.model, r.task) != ("m0", hardest)]
    return runs, macro(world)


def new_tasks(rng: Generator, seeds: int, tasks: int) -> tuple[list[pe.Run], dict]:
    """Tasks drawn from a population in which models differ by the task."""
    lifts = rng.permutation(GAPS)
    means = 0.5 + lifts[:, None] + rng.normal(0, 0.04, (GAPS.size, tasks))
    means += rng.uniform(-0.15, 0.15, tasks)
    noise = rng.normal(0, SEED_SPREAD, (GAPS.size, seeds, tasks))
    truth = {f"m{i}": 0.5 + float(lift) for i, lift in enumerate(lifts)}
    return runs_of(np.clip(means[:, None] + noise, 0, 1)), truth


def main() -> None:
    """Every world at three sizes, one line each."""
    simulations = int(sys.argv[1]) if len(sys.argv) > 1 else 300
    wanted = sys.argv[2] if len(sys.argv) > 2 else ""
    print(f"{simulations} simulations a line, three models, nominal 0.95")
    plain, declared = pe.PersistenceEvaluator(), pe.PersistenceEvaluator(seeds="common")
    dropped = pe.PersistenceEvaluator(collapsed="drop")
    for size in ((3, 4), (3, 10), (5, 10)):
        words = f"{size[0]} × {size[1]}"

        def of(make, truth=macro, size=size):
            def made(rng):
                world = make(rng, *size)
                return runs_of(world.scores), truth(world)

            return made

        def few(rng, size=size):
            world = independent(rng, *size)
            return measured_on(rng, world, 50), macro(world)

        for name, make, evaluator in (
            ("independent", of(independent), plain),
            ("independent, collapses left out", of(independent), dropped),
            ("common seeds, undeclared", of(common), plain),
            ("common seeds, declared", of(common), declared),
            ("seeds shared by models", of(shared), plain),
            ("50 examples", few, plain),
            ("one run in ten collapses", of(collapsing), plain),
            ("collapses left out", of(collapsing, typical), dropped),
            ("a missing cell", lambda r, s=size: without_a_cell(r, *s), plain),
            (
                "new tasks",
                lambda r, s=size: new_tasks(r, *s),
                pe.PersistenceEvaluator(over=("tasks",)),
            ),
            ("reusability", of(independent, reusable), pe.ReusabilityEvaluator()),
            (
                "reusability, tasks alike",
                of(alike, reusable),
                pe.ReusabilityEvaluator(),
            ),
        ):
            line = f"{words}: {name}"
            if wanted in line:
                simulate(line, make, evaluator, simulations)


if __name__ == "__main__":
    main()
