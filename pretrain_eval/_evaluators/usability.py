"""Usability: is the model usable within my budget?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._budget import Budget, cost_row
from pretrain_eval._grid import Grid, Layout
from pretrain_eval._grid_evaluator import GridEvaluator, Row, geometric
from pretrain_eval._records import Run
from pretrain_eval._report import Report
from pretrain_eval._statistics import Array, cvar

WEIGHTS = {
    "performance": 0.4,
    "generalisation": 0.2,
    "resources": 0.2,
    "training time": 0.2,
}
MODES = {"head": "feature extraction", "all": "fine-tuning"}


@final
@dataclass(frozen=True, kw_only=True)
class UsabilityEvaluator(GridEvaluator):
    """U = Π d_k^{w_k} over performance, generalisation, resources and training time.

    Performance is the normalised metric of the better mode (feature extraction or
    fine-tuning, both shown), generalisation the mean of that mode's worst quarter of
    tasks (CVaR25), resources the geometric mean of the desirabilities of parameters,
    MACs and peak memory, training time that of the seconds of one adaptation. Without
    a budget there is no U: the quantities are shown as they are.

    Attributes:
        budget: Targets and limits; a cost without them is left out.

    >>> run = Run(
    ...     model="a",
    ...     task="t",
    ...     dataset="d",
    ...     strategy="full",
    ...     seed=0,
    ...     scores={"accuracy": 0.75},
    ...     chance={"accuracy": 0.5},
    ... )
    >>> UsabilityEvaluator().score([run]).score is None
    True
    """

    protocol: ClassVar[str] = "usability"
    budget: Budget | None = None

    @override
    def combine(self, parts: Mapping[str, float]) -> float | None:
        """The weighted geometric mean; None where no cost has a desirability."""
        if not {"resources", "training time"} & set(parts):
            return None
        return geometric(parts, WEIGHTS)

    @override
    def _read(self, run: Run) -> Row | None:
        z = self.normalised(run, run.scores.get(self.metric))
        return None if z is None else {"z": z, **cost_row(run.cost)}

    @override
    def _parts(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        modes = [index for mode in MODES if (index := layout.mode(mode))]
        by_mode = []
        for index in modes:
            sub = layout.only(index)
            columns = {name: mean[..., index] for name, mean in means.items()}
            tasks = np.stack(list(sub.by(columns["z"], 1).values()), axis=-1)
            macros = {name: sub.macro(mean) for name, mean in columns.items()}
            by_mode.append((macros["z"], cvar(tasks), macros))
        best = np.argmax(np.stack([each[0] for each in by_mode]), axis=0)
        parts = {
            "performance": np.choose(best, [each[0] for each in by_mode]),
            "generalisation": np.choose(best, [each[1] for each in by_mode]),
        }
        costs = {
            name: np.choose(best, [each[2][name] for each in by_mode])
            for name in (self.budget.stated if self.budget else ())
            if name in means
        }
        return parts | self._desirabilities(costs)

    def _desirabilities(self, costs: Mapping[str, Array]) -> dict[str, Array]:
        if self.budget is None:
            return {}
        sizes = [
            self.budget.desirabilities(name, amounts)
            for name, amounts in costs.items()
            if name != "seconds"
        ]
        parts = {}
        if sizes:
            parts["resources"] = np.stack(sizes).prod(axis=0) ** (1 / len(sizes))
        if "seconds" in costs:
            parts["training time"] = self.budget.desirabilities(
                "seconds", costs["seconds"]
            )
        return parts

    @override
    def _details(
        self, runs: Sequence[Run], grid: Grid, layout: Layout
    ) -> dict[str, float]:
        details = {}
        means = grid.means()
        for mode, name in MODES.items():
            index = layout.mode(mode)
            if index:
                sub = layout.only(index)
                details[name] = float(sub.macro(means["z"][index]))
                if "seconds" in means:
                    seconds = float(sub.macro(means["seconds"][index]))
                    details[f"seconds of {name}"] = seconds
        for cost in ("parameters", "macs", "peak_memory"):
            if cost in means:
                details[cost] = float(layout.macro(means[cost]))
        return details

    @override
    def _notes(self, runs: Sequence[Run], grid: Grid) -> list[str]:
        stated = self.budget.stated if self.budget else ()
        if not stated:
            return ["no budget is stated, so no single score is made of unlike costs."]
        unknown = [name for name in stated if name not in grid.columns]
        if unknown:
            return [f"No run measured {' and '.join(unknown)}: left out."]
        return []

    @override
    def _acceptability(self, reports: Sequence[Report]) -> Mapping[str, float]:
        # How often each model is first when the weights are drawn from Dirichlet(1).
        names = sorted(set.intersection(*(set(each.parts) for each in reports)))
        table = np.array([[each.parts[name] for name in names] for each in reports])
        logs = np.log(np.clip(table, 1e-300, 1.0))
        weights = np.random.default_rng(self.seed).dirichlet(np.ones(len(names)), 4000)
        first = np.argmax(logs @ weights.T, axis=0)
        shares = np.bincount(first, minlength=len(reports)) / first.size
        return dict(zip([e.model for e in reports], shares.tolist(), strict=True))
