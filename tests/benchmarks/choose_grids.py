"""Tables of real fine-tunings as grids of numbers, and the draws that are replayed.

A grid holds what every way of choosing may see, the validation curves and what is known
before any training, and what none sees: the means on the reported split, over all seeds
of the table, which say how much a pick has lost.
"""

from __future__ import annotations

import dataclasses
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from choose_table import ESTIMATES, TABLE
from real_table import BASE, TASKS, read_estimates, read_runs
from scipy.stats import rankdata

import pretrain_eval as pe

Array = np.ndarray
Block = tuple[str, str, str]
# Value by estimator or static baseline, then task, then model; higher is better.
Evidence = Mapping[str, Mapping[str, Mapping[str, float]]]


@dataclass(frozen=True)
class Grid:
    """All runs of some models on the same blocks and seeds.

    Attributes:
        name: What it is called.
        models: By name.
        blocks: Task, dataset and strategy.
        runs: `(num_models, num_blocks, num_seeds)`.
        curves: `(num_models, num_blocks, num_seeds, num_epochs + 1)`, validation
            accuracy.
        steps: The same shape, optimizer steps done by then.
        levels: `(num_models,)`, reported accuracy, a mean over blocks and over all
            seeds of the table.
        expected: `(num_models,)`, the same of the last validation accuracy.
        evidence: What is known before any training.
    """

    name: str
    models: tuple[str, ...]
    blocks: tuple[Block, ...]
    runs: Array
    curves: Array
    steps: Array
    levels: Array
    expected: Array
    evidence: Evidence

    @classmethod
    def of(cls, name: str, runs: Iterable[pe.Run], evidence: Evidence) -> Grid:
        """The grid of runs that are one."""
        by_place = {(r.model, block_of(r), r.seed): r for r in runs}
        models, blocks, seeds = (
            tuple(dict.fromkeys(place[axis] for place in by_place)) for axis in range(3)
        )
        cells = np.empty((len(models), len(blocks), len(seeds)), dtype=object)
        for at in np.ndindex(cells.shape):
            cells[at] = by_place[models[at[0]], blocks[at[1]], seeds[at[2]]]
        curves, steps = (_column(cells, key) for key in ("accuracy", "step"))
        reported = np.vectorize(lambda run: run.scores["accuracy"], otypes=[float])
        return cls(
            name=name,
            models=models,
            blocks=blocks,
            runs=cells,
            curves=curves,
            steps=steps,
            levels=reported(cells).mean(axis=(1, 2)),
            expected=curves[..., -1].mean(axis=(1, 2)),
            evidence=evidence,
        )

    @property
    def num_epochs(self) -> int:
        """Of a run."""
        return self.curves.shape[-1] - 1

    @property
    def num_seeds(self) -> int:
        """How many there are to be run."""
        return self.runs.shape[2]

    @property
    def total(self) -> float:
        """Optimizer steps of all runs."""
        return float(self.steps[..., -1].sum())

    def part(self, models: Sequence[int], seeds: Sequence[int]) -> Grid:
        """Some models and seeds, in that order; what is true stays."""
        at = np.ix_(models, range(len(self.blocks)), seeds)
        return dataclasses.replace(
            self,
            models=tuple(self.models[i] for i in models),
            runs=self.runs[at],
            curves=self.curves[at],
            steps=self.steps[at],
            levels=self.levels[models],
            expected=self.expected[models],
        )

    def drawn(self, rng: np.random.Generator, *, subsets: bool) -> Grid:
        """Models and seeds in a random order, five seeds at most.

        Args:
            rng: Where draws come from.
            subsets: Whether some models are left out: at least half stay, three at
                least.
        """
        count = len(self.models)
        if subsets:
            fewest = min(count, max(3, -(-count // 2)))
            count = int(rng.integers(fewest, count + 1))
        models = rng.permutation(len(self.models))[:count]
        seeds = rng.permutation(self.num_seeds)[:5]
        return self.part(models.tolist(), seeds.tolist())

    def only(self, names: Iterable[str], called: str) -> Grid:
        """The grid of some models."""
        at = [self.models.index(name) for name in names]
        kept = self.part(at, range(self.num_seeds))
        return dataclasses.replace(kept, name=called)

    def first_ranks(self, name: str) -> Array:
        """Mean rank of each model over the tasks by some evidence, 1 the best.

        Raises:
            KeyError: There is no such evidence for these tasks and models.
        """
        tasks = dict.fromkeys(block[0] for block in self.blocks)
        found = [
            rankdata([-self.evidence[name][task][model] for model in self.models])
            for task in tasks
        ]
        return np.mean(found, axis=0)


def block_of(run: pe.Run) -> Block:
    """What a run shares with those that it is compared with."""
    return run.task, run.dataset, run.strategy


def _column(cells: Array, key: str) -> Array:
    flat = [run.curve[key] for run in cells.ravel()]
    return np.array(flat, dtype=float).reshape(*cells.shape, -1)


def alike(grid: Grid, model: str, count: int = 8) -> Grid:
    """Models that differ by nothing but the order of their seeds."""
    rng = np.random.default_rng(0)
    (own,) = grid.runs[[grid.models.index(model)]]
    copies = []
    for number in range(count):
        order = rng.permutation(grid.num_seeds)
        for row in own:
            copies += [
                dataclasses.replace(row[at], model=f"copy {number}", seed=seed)
                for seed, at in enumerate(order)
            ]
    return Grid.of("eight copies of one model", copies, {})


def clear(grid: Grid, count: int = 8) -> Grid:
    """The best model beside the worst ones."""
    order = [grid.models[i] for i in np.argsort(-grid.levels)]
    return grid.only([order[0], *order[-count:]], f"one clear winner of {count + 1}")


# --- the tables


def whole_grids() -> dict[str, Grid]:
    """Each table over all of its tasks."""
    real = _real_runs()
    found = {"digits": Grid.of("digits", _digits(), _evidence("digits"))}
    for kind in ("images", "texts"):
        runs = [
            r for r in real if TASKS[r.task].kind == kind and r.strategy == "frozen"
        ]
        found[kind] = Grid.of(kind, _shared(runs), _evidence("real"))
    tuned = [r for r in real if (r.task, r.strategy) == ("textures", "full")]
    found["tuned"] = Grid.of("tuned", tuned, _evidence("real"))
    return found


def single_grids() -> dict[str, Grid]:
    """Each task alone: all of its numbers of labels, and the one with ten seeds."""
    found = {
        task: Grid.of(
            task, [r for r in _digits() if r.task == task], _evidence("digits")
        )
        for task in dict.fromkeys(run.task for run in _digits())
    }
    heads = [run for run in _real_runs() if run.strategy == "frozen"]
    for task in TASKS:
        own = [run for run in heads if run.task == task]
        found[task] = Grid.of(task, _shared(own), _evidence("real"))
        base = [run for run in own if run.dataset == BASE[task]]
        called = f"{task}, {BASE[task].replace('per', 'a')}"
        found[called] = Grid.of(called, base, _evidence("real"))
    return found


def _shared(runs: Sequence[pe.Run]) -> list[pe.Run]:
    """Runs of the seeds that all of their blocks have."""
    seeds: dict[Block, set[int]] = defaultdict(set)
    for run in runs:
        seeds[block_of(run)].add(run.seed)
    kept = set.intersection(*seeds.values())
    return [run for run in runs if run.seed in kept]


@cache
def _digits() -> tuple[pe.Run, ...]:
    return tuple(read_runs(TABLE))


@cache
def _real_runs() -> tuple[pe.Run, ...]:
    return tuple(read_runs())


@cache
def _evidence(table: str) -> Evidence:
    """Means over the draws of labels, and the rank on the other tasks of the table."""
    lines: Iterable[dict[str, Any]] = (
        read_estimates() if table == "real" else read_estimates(ESTIMATES)
    )
    values: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for line in lines:
        if line["value"] is not None:
            sign = 1 if line["better"] == "higher" else -1
            values[line["name"], line["task"], line["model"]].append(
                sign * line["value"]
            )
    found: dict[str, dict[str, dict[str, float]]] = {}
    for (name, task, model), each in values.items():
        found.setdefault(name, {}).setdefault(task, {})[model] = float(np.mean(each))
    runs = _real_runs() if table == "real" else _digits()
    return found | {"rank_on_other_tasks": _on_other_tasks(runs)}


def _on_other_tasks(runs: Iterable[pe.Run]) -> dict[str, dict[str, float]]:
    """By task and model, minus the mean rank on the other tasks that it was run on."""
    scores: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in runs:
        if run.strategy != "probe" and "accuracy" in run.scores:
            scores[run.task][run.model].append(run.scores["accuracy"])
    ranks: dict[str, dict[str, float]] = {}
    for task, own in scores.items():
        order = rankdata([-np.mean(values) for values in own.values()])
        ranks[task] = dict(zip(own, order.tolist(), strict=True))
    found: dict[str, dict[str, float]] = {}
    for task, own in scores.items():
        rest = [each for other, each in ranks.items() if other != task]
        for model in own:
            known = [each[model] for each in rest if model in each]
            if known:
                found.setdefault(task, {})[model] = -float(np.mean(known))
    return found


def read_results(file: Path) -> list[dict[str, Any]]:
    """Lines of plain fields."""
    return [json.loads(line) for line in file.read_text("utf-8").splitlines()]
