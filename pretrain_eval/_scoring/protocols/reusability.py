"""Reusability: does the model serve many tasks and domains cheaply?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._scoring.budget import Budget, measured_costs
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.formulas.statistics import Array, geometric
from pretrain_eval._scoring.grid import Cells, Grid
from pretrain_eval._scoring.model_runs import column
from pretrain_eval._scoring.reports.report import Report

WEIGHTS = {"multi-task": 0.4, "cross-domain": 0.4, "complexity": 0.2}
COMPLEXITY = ("parameters", "macs")


@final
@dataclass(frozen=True, kw_only=True)
class ReusabilityEvaluator(Evaluator):
    """R = M^0.4 · D^0.4 · C^0.2: many tasks, many domains, little complexity.

    M is the macro mean of the normalised metric over tasks. D is the mean over the
    domains (every dataset of every task) averaged with the worst of them. C is the
    geometric mean of the desirabilities of parameters and MACs within the budget;
    without a stated limit it is left out, R = (M · D)^½, and the report says so.

    Attributes:
        budget: Targets and limits; `parameters` and `macs` are read.

    >>> def run(dataset, accuracy):
    ...     return Run(
    ...         model="a",
    ...         task="t",
    ...         dataset=dataset,
    ...         strategy="full",
    ...         seed=0,
    ...         scores={"accuracy": accuracy},
    ...         chance={"accuracy": 0.0},
    ...     )
    >>> report = ReusabilityEvaluator().score([run("photo", 1.0), run("sketch", 0.5)])
    >>> dict(report.parts)
    {'multi-task': 0.75, 'cross-domain': 0.625}
    """

    protocol: ClassVar[str] = "reusability"
    budget: Budget | None = None

    @override
    def read(self, runs: Sequence[Run]) -> dict[str, Array]:
        costs = [run.cost for run in runs]
        whole = column(cost.num_parameters for cost in costs)
        trained = column(cost.num_trainable_parameters for cost in costs)
        whole[whole == 0] = np.nan
        return {
            "z": self.normalised(runs),
            **measured_costs(costs, self._limited),
            "trainable share": trained / whole,
        }

    @override
    def parts(self, cells: Cells) -> dict[str, Array]:
        """Over tasks, over domains, and how little complexity."""
        domains = np.stack(list(cells.by_dataset("z").values()), axis=-1)
        parts = {
            "multi-task": cells.macro("z"),
            "cross-domain": (domains.mean(axis=-1) + domains.min(axis=-1)) / 2,
        }
        if self.budget is None:
            return parts
        amounts = {name: cells.macro(name) for name in self._limited if name in cells}
        return parts | self.budget.geometric_mean("complexity", amounts)

    @override
    def combine(self, parts: Mapping[str, Array]) -> Array:
        """The weighted geometric mean of the parts that there are."""
        return geometric(parts, WEIGHTS)

    @property
    def _limited(self) -> list[str]:
        stated = self.budget.stated if self.budget is not None else ()
        return [name for name in COMPLEXITY if name in stated]

    @override
    def details(self, grid: Grid, report: Report) -> dict[str, float]:
        details = {}
        for mode, name in {"head": "head only", "all": "fully tuned"}.items():
            cells = grid.cells.of_mode(mode)
            if cells.names:
                details[name] = float(cells.macro("z"))
        if len(details) == 2 and details["fully tuned"] > 0:
            details["reuse ratio"] = details["head only"] / details["fully tuned"]
        return details | grid.shown({"trainable share": "trainable share"})

    @override
    def notes(self, grid: Grid) -> list[str]:
        if not self._limited:
            return ["No limit on parameters or MACs is stated: complexity is left out."]
        unknown = [name for name in self._limited if name not in grid.columns]
        if unknown:
            return [f"No run measured {' or '.join(unknown)}: left out of complexity."]
        return []
