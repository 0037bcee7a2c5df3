"""Reusability: does the model serve many tasks and domains cheaply?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._budget import Budget, cost_row
from pretrain_eval._grid import Grid, Layout
from pretrain_eval._grid_evaluator import GridEvaluator, Row, geometric, macro_mean
from pretrain_eval._records import Run
from pretrain_eval._statistics import Array

WEIGHTS = {"multi-task": 0.4, "cross-domain": 0.4, "complexity": 0.2}


@final
@dataclass(frozen=True, kw_only=True)
class ReusabilityEvaluator(GridEvaluator):
    """R = M^0.4 · D^0.4 · C^0.2: many tasks, many domains, little complexity.

    M is the macro mean of the normalised metric over tasks. D is the mean of the
    domains (the datasets of each task) averaged with the worst of them. C is the
    desirability of parameters and MACs within the budget; without a stated limit it is
    left out, R = (M · D)^½, and the report says so.

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
    def combine(self, parts: Mapping[str, float]) -> float:
        """The weighted geometric mean of the parts that there are."""
        return geometric(parts, WEIGHTS)

    @override
    def _read(self, run: Run) -> Row | None:
        z = self.normalised(run, run.scores.get(self.metric))
        if z is None:
            return None
        row = {"z": z, **cost_row(run.cost)}
        whole, trained = run.cost.num_parameters, run.cost.num_trainable_parameters
        if whole and trained is not None:
            row["trainable share"] = trained / whole
        return row

    @override
    def _parts(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        domains = np.stack(list(layout.by(means["z"], 2).values()), axis=-1)
        parts = {
            "multi-task": layout.macro(means["z"]),
            "cross-domain": (domains.mean(axis=-1) + domains.min(axis=-1)) / 2,
        }
        complexity = [
            self.budget.desirabilities(name, layout.macro(means[name]))
            for name in ("parameters", "macs")
            if self.budget and name in self.budget.stated and name in means
        ]
        if complexity:
            shape = np.stack(np.broadcast_arrays(*complexity))
            parts["complexity"] = shape.prod(axis=0) ** (1 / len(complexity))
        return parts

    @override
    def _details(
        self, runs: Sequence[Run], grid: Grid, layout: Layout
    ) -> dict[str, float]:
        details = {}
        z = grid.means()["z"]
        modes = {mode: layout.mode(mode) for mode in ("head", "all")}
        if all(modes.values()):
            head, full = (
                float(layout.only(index).macro(z[index])) for index in modes.values()
            )
            details["head only"], details["fully tuned"] = head, full
            if full > 0:
                details["reuse ratio"] = head / full
        share = macro_mean(grid, "trainable share")
        if share is not None:
            details["trainable share"] = share
        return details

    @override
    def _notes(self, runs: Sequence[Run], grid: Grid) -> list[str]:
        stated = self.budget.stated if self.budget else ()
        wanted = [name for name in ("parameters", "macs") if name in stated]
        if not wanted:
            return ["No limit on parameters or MACs is stated: complexity is left out."]
        unknown = [name for name in wanted if name not in grid.columns]
        if unknown:
            return [f"No run measured {' and '.join(unknown)}: left out."]
        return []
