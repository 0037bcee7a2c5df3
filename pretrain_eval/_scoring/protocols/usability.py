"""Usability: is the model usable within my budget?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, final

import numpy as np
from typing_extensions import override

from pretrain_eval._runs import FrozenDict, Run
from pretrain_eval._scoring.budget import COSTS, Budget, measured_costs
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.formulas.statistics import Array, cvar, geometric
from pretrain_eval._scoring.grid import Cells, Grid
from pretrain_eval._scoring.protocol import Scored
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import listing

MODES = {"head": "feature extraction", "all": "fine-tuning"}
WEIGHTS = FrozenDict(
    {
        "performance": 0.4,
        "generalisation": 0.2,
        "resources": 0.2,
        "training time": 0.2,
    }
)
NUM_WEIGHTS = 4000


@final
@dataclass(frozen=True, kw_only=True)
class UsabilityEvaluator(Evaluator):
    """U = Π d_k^{w_k} over performance, generalisation, resources and training time.

    Performance is the macro mean of the normalised metric, generalisation the mean of
    the worst quarter of the tasks (CVaR25), resources the geometric mean of the
    desirabilities of parameters, MACs and peak memory, training time that of the
    seconds of one adaptation. All four are of the mode (feature extraction or
    fine-tuning) that makes the larger U; both are shown. Without a budget there is no
    U: the quantities are shown as they are, and a comparison names the Pareto front.

    Attributes:
        budget: Targets and limits; a cost without them is left out.
        weights: The w_k, made to sum to 1 over the parts that there are.

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
    weights: Mapping[str, float] = field(default_factory=lambda: WEIGHTS)

    def __post_init__(self) -> None:
        super().__post_init__()
        if set(self.weights) != set(WEIGHTS) or min(self.weights.values()) <= 0:
            raise ValueError(
                f"weights must give each of {list(WEIGHTS)} a positive number, got"
                f" {dict(self.weights)}"
            )

    @override
    def read(self, runs: Sequence[Run]) -> dict[str, Array]:
        costs = measured_costs([run.cost for run in runs], COSTS)
        return {"z": self.normalised(runs), **costs}

    @override
    def parts(self, cells: Cells) -> dict[str, Array]:
        """The four, of the mode that makes the larger U."""
        modes = [cells.of_mode(mode) for mode in MODES]
        by_mode = [self._of_mode(cells) for cells in modes if cells.names]
        names = [name for name in WEIGHTS if all(name in parts for parts in by_mode)]
        # By what U is made of, so that a better run can never make U smaller.
        worth = [
            geometric({name: parts[name] for name in names}, self.weights)
            for parts in by_mode
        ]
        best = np.argmax(np.stack(worth), axis=0)
        return {
            name: np.choose(best, [parts[name] for parts in by_mode]) for name in names
        }

    def _of_mode(self, cells: Cells) -> dict[str, Array]:
        tasks = np.stack(list(cells.by_task("z").values()), axis=-1)
        parts = {"performance": cells.macro("z"), "generalisation": cvar(tasks)}
        if self.budget is None:
            return parts
        amounts = {
            name: cells.macro(name)
            for name in self.budget.stated
            if name in cells and not np.isnan(cells[name]).all()
        }
        times = {name: x for name, x in amounts.items() if name == "seconds"}
        sizes = {name: x for name, x in amounts.items() if name != "seconds"}
        parts |= self.budget.geometric_mean("resources", sizes)
        return parts | self.budget.geometric_mean("training time", times)

    @override
    def combine(self, parts: Mapping[str, Array]) -> Array | None:
        """The weighted geometric mean; None where no cost has a desirability."""
        if not {"resources", "training time"} & set(parts):
            return None
        return geometric(parts, self.weights)

    @override
    def details(self, grid: Grid, report: Report) -> dict[str, float]:
        details = {}
        for mode, name in MODES.items():
            cells = grid.cells.of_mode(mode)
            if not cells.names:
                continue
            details[name] = float(cells.macro("z"))
            if "seconds" in cells and not np.isnan(cells["seconds"]).all():
                details[f"seconds of {name}"] = float(cells.macro("seconds"))
        details |= grid.shown({cost: cost for cost in COSTS})
        if report.score is not None:
            draws = _random_weights(self.seed, len(report.parts))
            logs = np.log(np.clip(list(report.parts.values()), 1e-300, 1.0))
            low, high = np.quantile(np.exp(draws @ logs), [0.05, 0.95]).tolist()
            details["5 % over all weights"] = low
            details["95 % over all weights"] = high
        return details

    @override
    def notes(self, grid: Grid) -> list[str]:
        stated = self.budget.stated if self.budget is not None else ()
        if not stated:
            return ["No budget is stated, so no single score is made of unlike costs."]
        unknown = [name for name in stated if name not in grid.columns]
        if unknown:
            return [f"No run measured {' or '.join(unknown)}: left out."]
        return []

    @override
    def acceptability(
        self, reports: Sequence[Report]
    ) -> Mapping[str, tuple[float, ...]]:
        # How often each model takes each rank when weights are drawn from Dirichlet(1).
        names = [n for n in WEIGHTS if all(n in each.parts for each in reports)]
        if any(each.score is None for each in reports):
            return {}
        table = np.array([[each.parts[name] for name in names] for each in reports])
        logs = np.log(np.clip(table, 1e-300, 1.0))
        worth = logs @ _random_weights(self.seed, len(names)).T
        ranks = np.argsort(np.argsort(-worth, axis=0, kind="stable"), axis=0)
        size = len(reports)
        return {
            report.model: tuple(
                (np.bincount(row, minlength=size) / NUM_WEIGHTS).tolist()
            )
            for report, row in zip(reports, ranks, strict=True)
        }

    @override
    def remarks(self, scored: Sequence[Scored]) -> list[str]:
        reports = [each.report for each in scored]
        if len(reports) < 2:
            return []
        costs = [c for c in COSTS if all(c in each.details for each in reports)]
        front = pareto_front(reports, costs)
        against = listing(["performance", *(name.replace("_", " ") for name in costs)])
        remarks = [f"Pareto front of {against}: {listing(front, 10)}."]
        shares = self.acceptability(reports)
        if shares:
            words = [f"{model} {share[0]:.0%}" for model, share in shares.items()]
            remarks.append(f"First under random weights: {listing(words, 10)}.")
        return remarks


def pareto_front(reports: Sequence[Report], costs: Sequence[str]) -> list[str]:
    """The models that no other beats on performance and on every cost.

    Args:
        reports: With "performance" among their parts and the costs among the details.
        costs: Names of details that are better when smaller.
    """
    points = {
        each.model: (-each.parts["performance"], *(each.details[c] for c in costs))
        for each in reports
    }
    return [
        model
        for model, own in points.items()
        if not any(
            other != own and all(x <= y for x, y in zip(other, own, strict=True))
            for other in points.values()
        )
    ]


def _random_weights(seed: int, size: int) -> Array:
    return np.random.default_rng(seed).dirichlet(np.ones(size), NUM_WEIGHTS)
