"""Persistence: does the model hold across tasks, datasets and strategies?"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._grid import Grid, Layout
from pretrain_eval._grid_evaluator import GridEvaluator, Row, clip, macro_mean
from pretrain_eval._records import Run
from pretrain_eval._statistics import Array, cvar, exact_dot, iqm, stability


@final
@dataclass(frozen=True, kw_only=True)
class PersistenceEvaluator(GridEvaluator):
    """P(M) = 1 / (N_T N_D N_S) Σ_ijk P_ijk, the mean metric over the whole grid.

    P_ijk is the metric after fine-tuning on dataset j of task i by strategy k, averaged
    over seeds. The parts are the means of the tasks; where datasets lie nested inside
    tasks, every task counts the same and every dataset the same inside its task.

    >>> def run(dataset, accuracy):
    ...     return Run(
    ...         model="a",
    ...         task="t",
    ...         dataset=dataset,
    ...         strategy="full",
    ...         seed=0,
    ...         scores={"accuracy": accuracy},
    ...         chance={"accuracy": 0.5},
    ...     )
    >>> report = PersistenceEvaluator().score([run("clean", 0.75), run("noisy", 0.5)])
    >>> report.score, report.details["worst cell"]
    (0.625, 0.5)
    """

    protocol: ClassVar[str] = "persistence"

    @override
    def combine(self, parts: Mapping[str, float]) -> float:
        """The mean of the task means."""
        return clip(math.fsum(parts.values()) / len(parts))

    @override
    def _read(self, run: Run) -> Row | None:
        value = run.scores.get(self.metric)
        if run.status == "diverged":
            value = self.level(run) or 0.0
        z = self.normalised(run, value)
        if value is None:
            return None
        return {"P": value, "z": math.nan if z is None else z}

    @override
    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        return {"P": (0.0, 1.0), "z": (0.0, 1.0)}

    @override
    def _parts(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        return {task: mean for (task,), mean in layout.by(means["P"], 1).items()}

    @override
    def _linear(self, grid: Grid, layout: Layout) -> Array:
        return grid.columns["P"]

    @override
    def _details(
        self, runs: Sequence[Run], grid: Grid, layout: Layout
    ) -> dict[str, float]:
        cells = grid.means()["P"]
        details = {}
        z = macro_mean(grid, "z")
        if z is not None:
            details["normalised mean"] = z
        if grid.cell.size >= 8:
            details["IQM"] = iqm(grid.columns["P"])
        details["CVaR25 over cells"] = float(cvar(cells))
        details["worst cell"] = float(cells.min())
        details["stability"] = stability(cells, layout.weights)
        details |= _variance_parts(grid, layout)
        sensitivity, tunability = _strategies(layout, cells)
        if sensitivity is not None and tunability is not None:
            details["strategy sensitivity"] = sensitivity
            details["tunability"] = tunability
        return details


def _variance_parts(grid: Grid, layout: Layout) -> dict[str, float]:
    # Var = Var of tasks + of datasets in a task + of strategies on a dataset + of seeds.
    means = grid.means()["P"]
    weights = layout.weights
    mean = exact_dot(weights, means)
    tasks = layout.by(means, 1)
    datasets = layout.by(means, 2)
    of_task = np.array([float(tasks[cell[:1]]) for cell in layout.cells])
    of_dataset = np.array([float(datasets[cell[:2]]) for cell in layout.cells])
    index = np.searchsorted(grid.present, grid.cell)
    within = (grid.columns["P"] - means[index]) ** 2
    seeds = np.bincount(index, within, len(layout.cells)) / grid.counts[grid.present]
    return {
        "variance of tasks": exact_dot(weights, (of_task - mean) ** 2),
        "variance of datasets": exact_dot(weights, (of_dataset - of_task) ** 2),
        "variance of strategies": exact_dot(weights, (means - of_dataset) ** 2),
        "variance of seeds": exact_dot(weights, seeds),
    }


def _strategies(layout: Layout, cells: Array) -> tuple[float | None, float | None]:
    # mean_ij sd_k and mean_ij (max_k − mean_k), where there are several strategies.
    members: dict[tuple[str, str], list[float]] = {}
    for cell, value in zip(layout.cells, cells.tolist(), strict=True):
        members.setdefault(cell[:2], []).append(value)
    if max(map(len, members.values())) < 2:
        return None, None
    places = Layout(tuple((*place, "") for place in members), {})
    spread = np.array([np.std(values) for values in members.values()])
    gain = np.array([max(v) - math.fsum(v) / len(v) for v in members.values()])
    return float(places.macro(spread)), float(places.macro(gain))
