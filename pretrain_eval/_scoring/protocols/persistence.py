"""Persistence: does the model hold across tasks, datasets and strategies?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.formulas.intervals import wilson
from pretrain_eval._scoring.formulas.statistics import (
    Array,
    cvar,
    exact_dot,
    iqm,
    stability,
)
from pretrain_eval._scoring.grid import Grid, Layout, effective_examples
from pretrain_eval._scoring.grid_evaluator import GridEvaluator, clip
from pretrain_eval._scoring.new_examples import MACRO, moves_over_examples
from pretrain_eval._scoring.reports.comparison import Change
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.two_dates import change


@final
@dataclass(frozen=True, kw_only=True)
class PersistenceEvaluator(GridEvaluator):
    """P(M) = 1 / (N_T N_D N_S) Σ_ijk P_ijk, the mean metric over the whole grid.

    P_ijk is the metric after fine-tuning on dataset j of task i by strategy k, averaged
    over seeds; normalised where a ceiling is stated, else as it is. The parts are the
    means of the tasks. Where datasets lie nested inside tasks, every task counts the
    same, and every dataset the same inside its task.

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

    def change(self, before: Iterable[Run], after: Iterable[Run]) -> Change:
        """Whether one model's scores have dropped between two dates.

        Runs are paired by cell and seed where both dates have them, so that one trained
        model measured on old and new data is compared with itself.

        Args:
            before: The runs of one model at the first date.
            after: Its runs at the second date.

        Raises:
            ValueError: As `score`; or the models differ; or no cell is common.
        """
        return change(self, before, after, is_share=self._is_share)

    @override
    def combine(self, parts: Mapping[str, float]) -> float:
        """The mean of the task means, held in [0, 1]."""
        return clip(math.fsum(parts.values()) / len(parts))

    @override
    def _read(self, runs: Sequence[Run]) -> dict[str, Array]:
        z = self._normalised(runs)
        if self.ceiling is not None:
            return {"P": z, "z": z}
        return {"P": self._after(runs, self._keys(runs)), "z": z}

    @override
    def _essential(self) -> tuple[str, ...]:
        return ("P",)

    @override
    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        return {"P": (0.0, 1.0), "z": (0.0, 1.0)}

    @override
    def _made_of(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        return layout.by_task(means["P"])

    @override
    def _linear(self, grid: Grid) -> Array:
        return grid.columns["P"]

    @override
    def _details(self, grid: Grid, report: Report) -> dict[str, float]:
        cells = grid.means["P"]
        details = {}
        z = grid.macro("z")
        if z is not None:
            details["normalised mean"] = z
        if grid.cell.size >= 8:
            details["IQM"] = iqm(grid.columns["P"])
        details["CVaR25 over cells"] = float(cvar(cells))
        details["worst cell"] = float(cells.min())
        details["stability"] = stability(cells, grid.layout.weights)
        return details | _variances(grid) | _strategies(grid.layout, cells)

    @property
    def _is_share(self) -> bool:
        # Of the metrics, accuracy alone is a share of the examples.
        return self.ceiling is None and self._metrics() == ("accuracy",)

    @override
    def _examples(self, runs: Sequence[Run], grid: Grid) -> Interval | None:
        center, keys = grid.macro("P"), self._metrics()
        if center is None or not 0 <= center <= 1 or self.ceiling is not None:
            return None
        if self._is_share:
            size = effective_examples(runs, grid.layout)
            if size is None:
                return None
            low, high = wilson(center, size, self.confidence)
            return self._interval(low, high, "examples", "Wilson")
        if len(keys) > 1 or keys[0] not in MACRO:
            return None
        rng = self._rng(runs[0].model)
        moves = moves_over_examples(runs, grid.layout, keys[0], self.confidence, rng)
        if moves is None:
            return None
        low, high = (clip(center + move) for move in moves)
        return self._interval(low, high, "examples", "bootstrap over examples")


def _variances(grid: Grid) -> dict[str, float]:
    # Var = Var of tasks + of datasets in a task + of strategies on a dataset + of seeds.
    layout, means = grid.layout, grid.means["P"]
    weights = layout.weights
    mean = exact_dot(weights, means)
    of_task, of_dataset = np.empty(means.size), np.empty(means.size)
    by_task, by_dataset = layout.by_task(means), layout.by_dataset(means)
    for (task,), index in layout.tasks.items():
        of_task[index] = by_task[task]
    for place, index in layout.datasets.items():
        of_dataset[index] = by_dataset[place]
    within = (grid.columns["P"] - means[grid.index]) ** 2
    seeds = np.bincount(grid.index, within, means.size) / np.bincount(grid.index)
    return {
        "variance over tasks": exact_dot(weights, (of_task - mean) ** 2),
        "variance over datasets": exact_dot(weights, (of_dataset - of_task) ** 2),
        "variance over strategies": exact_dot(weights, (means - of_dataset) ** 2),
        "variance over seeds": exact_dot(weights, seeds),
    }


def _strategies(layout: Layout, cells: Array) -> dict[str, float]:
    # mean_ij sd_k and mean_ij (max_k − mean_k), where there are several strategies.
    groups = [cells[index] for index in layout.datasets.values()]
    if max(group.size for group in groups) < 2:
        return {}
    places = Layout(tuple((*place, "") for place in layout.datasets), {})
    spread = np.array([group.std() for group in groups])
    gain = np.array([group.max() - group.mean() for group in groups])
    return {
        "strategy sensitivity": float(places.macro(spread)),
        "tunability": float(places.macro(gain)),
    }
