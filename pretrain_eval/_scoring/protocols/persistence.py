"""Persistence: does the model hold across tasks, datasets and strategies?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.formulas.intervals import wilson
from pretrain_eval._scoring.formulas.statistics import (
    Array,
    cvar,
    exact_dot,
    iqm,
    stability,
)
from pretrain_eval._scoring.grid import Cells, Grid, effective_examples
from pretrain_eval._scoring.new_examples import MACRO, moves_over_examples
from pretrain_eval._scoring.reports.change import Change
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.table import listing
from pretrain_eval._scoring.two_dates import change


@final
@dataclass(frozen=True, kw_only=True)
class PersistenceEvaluator(Evaluator):
    """P(M) = 1 / (N_T N_D N_S) Σ_ijk P_ijk, the mean metric over the whole grid.

    P_ijk is the metric after fine-tuning on dataset j of task i by strategy k, averaged
    over seeds: as it is, or its negative where lower values are better; normalised where
    a ceiling is stated, or where tasks have metrics of unlike direction or range. The
    parts are the means of the tasks. Where datasets lie nested inside tasks, every task
    counts the same, and every dataset the same inside its task.

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
    def read(self, runs: Sequence[Run]) -> dict[str, Array]:
        keys = self.keys_of(runs)
        if not self.scales.is_raw(runs, keys):
            z = self.normalised(runs)
            return {"P": z, "z": z}
        columns = {"P": self.scales.signs(runs, keys) * self.measured(runs)}
        if self.scales.have_shares(runs, keys):
            columns["z"] = self.normalised(runs)
        return columns

    @override
    def parts(self, cells: Cells) -> dict[str, Array]:
        """The macro mean of each task, of which the score is the mean."""
        return cells.by_task("P")

    @property
    @override
    def limits(self) -> dict[str, tuple[float, float]]:
        ends = self.scales.range_of(self.keys)
        return {"P": ends, "z": (0.0, 1.0)}

    @property
    @override
    def mean_of(self) -> dict[str, float]:
        return {"P": 1.0}

    @override
    def moves(self, runs: Sequence[Run]) -> dict[str, tuple[list[str], Array]]:
        keys = self.keys_of(runs)
        if self.scales.is_raw(runs, keys):
            return {"P": (keys, self.scales.signs(runs, keys))}
        _, slopes = super().moves(runs)["z"]
        return {"P": (keys, slopes)}

    @override
    def details(self, grid: Grid, report: Report) -> dict[str, float]:
        cells = grid.cells
        details = grid.shown({"z": "normalised mean"})
        if grid.cell.size >= 8:
            details["IQM"] = iqm(grid.columns["P"])
        details["CVaR25 over cells"] = float(cvar(cells["P"]))
        details["worst cell"] = float(cells["P"].min())
        if 0 <= cells["P"].min() <= cells["P"].max() <= 1:
            details["stability"] = stability(cells["P"], cells.weights)
        return details | _variances(grid) | _over_strategies(cells)

    @override
    def notes(self, grid: Grid) -> list[str]:
        keys = self.keys_of(grid.runs)
        signs = self.scales.signs(grid.runs, keys)
        if not self.scales.is_raw(grid.runs, keys) or (signs > 0).all():
            return []
        names = listing(self.keys)
        return [f"Of {names} lower values are better: the score is the negative mean."]

    @property
    def _is_share(self) -> bool:
        # Of the metrics, accuracy alone is a share of the examples.
        return self.ceiling is None and self.keys == ("accuracy",)

    @override
    def examples(self, grid: Grid) -> Interval | None:
        center, keys = grid.macro("P"), self.keys
        if center is None or not 0 <= center <= 1 or self.ceiling is not None:
            return None
        if self._is_share:
            size = effective_examples(grid.runs, grid.cells)
            if size is None:
                return None
            low, high = wilson(center, size, self.confidence)
            return self.interval(low, high, "examples", "Wilson")
        if len(keys) > 1 or keys[0] not in MACRO:
            return None
        rng = np.random.default_rng(self.seed)
        moves = moves_over_examples(
            grid.runs, grid.cells, keys[0], self.confidence, rng
        )
        if moves is None:
            return None
        low, high = (min(max(center + move, 0.0), 1.0) for move in moves)
        return self.interval(low, high, "examples", "bootstrap over examples")


def _variances(grid: Grid) -> dict[str, float]:
    # Var = Var of tasks + of datasets in a task + of strategies on a dataset + of seeds.
    cells, means = grid.cells, grid.cells["P"]
    mean = exact_dot(cells.weights, means)
    of_task, of_dataset = np.empty(means.size), np.empty(means.size)
    by_task, by_dataset = cells.by_task("P"), cells.by_dataset("P")
    for (task,), index in cells.tasks.items():
        of_task[index] = by_task[task]
    for dataset, index in cells.datasets.items():
        of_dataset[index] = by_dataset[dataset]
    within = (grid.columns["P"] - means[grid.index]) ** 2
    of_seeds = np.bincount(grid.index, within, means.size) / np.bincount(grid.index)
    variances = {
        "tasks": (of_task - mean) ** 2,
        "datasets": (of_dataset - of_task) ** 2,
        "strategies": (means - of_dataset) ** 2,
        "seeds": of_seeds,
    }
    return {
        f"variance over {name}": exact_dot(cells.weights, squares)
        for name, squares in variances.items()
    }


def _over_strategies(cells: Cells) -> dict[str, float]:
    # mean_ij sd_k and mean_ij (max_k − mean_k), where there are several strategies.
    groups = [cells["P"][index] for index in cells.datasets.values()]
    if max(group.size for group in groups) < 2:
        return {}
    spread = np.array([group.std() for group in groups])
    gain = np.array([group.max() - group.mean() for group in groups])
    return {
        "strategy sensitivity": cells.over_datasets(spread),
        "tunability": cells.over_datasets(gain),
    }
