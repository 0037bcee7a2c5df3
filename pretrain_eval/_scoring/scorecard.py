"""The five protocols side by side, and the decision that follows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field

from pretrain_eval._comparison import Comparison
from pretrain_eval._render import Row, Table, Tabular, amount, number
from pretrain_eval._report import Report, report_row, restored
from pretrain_eval._runs.run import FrozenDict, Record, Run
from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.protocols.optimizability import OptimizabilityEvaluator
from pretrain_eval._scoring.protocols.persistence import PersistenceEvaluator
from pretrain_eval._scoring.protocols.reusability import ReusabilityEvaluator
from pretrain_eval._scoring.protocols.usability import UsabilityEvaluator
from pretrain_eval._scoring.protocols.variability import VariabilityEvaluator

PROTOCOLS = (
    "optimizability",
    "usability",
    "variability",
    "reusability",
    "persistence",
)


@dataclass(frozen=True)
class Scorecard(Tabular, Record):
    """Several models under the five protocols.

    Attributes:
        comparisons: One a protocol that the runs allow.
        absent: Why a protocol is not there, by protocol.
        decided_by: The protocol that ranks the models.
    """

    _: KW_ONLY
    comparisons: tuple[Comparison, ...]
    absent: Mapping[str, str] = field(default_factory=dict)
    decided_by: str = "persistence"

    def __post_init__(self) -> None:
        each = tuple(restored(Comparison, value) for value in self.comparisons)
        object.__setattr__(self, "comparisons", each)
        object.__setattr__(self, "absent", FrozenDict(self.absent))

    @property
    def best(self) -> str | None:
        """The recommended model."""
        return self[self.decided_by].best

    @property
    def decision(self) -> str:
        """The recommendation in one sentence."""
        return self[self.decided_by].decision

    @property
    def models(self) -> tuple[str, ...]:
        """The models, best first."""
        return tuple(report.model for report in self[self.decided_by].reports)

    def __getitem__(self, protocol: str) -> Comparison:
        """The comparison under a protocol."""
        for comparison in self.comparisons:
            if comparison.protocol == protocol:
                return comparison
        raise KeyError(
            f"no {protocol!r} here: {self.absent.get(protocol, 'no such protocol')}"
        )

    def report(self, protocol: str, model: str) -> Report | None:
        """One report; None where the protocol is absent."""
        if protocol in self.absent:
            return None
        return next((r for r in self[protocol].reports if r.model == model), None)

    def table(self) -> Table:
        """Models in rows, protocols in columns, the decision below."""
        rows = []
        for model in self.models:
            reports = [self.report(protocol, model) for protocol in PROTOCOLS]
            cost = self[self.decided_by].reports[self.models.index(model)].cost
            scores = ["–" if r is None else number(r.score) for r in reports]
            chance = self[self.decided_by].p_best.get(model)
            rows.append(
                (model, *scores, number(chance, 2), amount(cost.num_parameters))
            )
        notes = [self.decision, *self[self.decided_by].notes]
        notes += [f"{name}: {why}." for name, why in self.absent.items()]
        if all(r.score is None for r in self._of("usability")):
            notes.append("usability: no budget is stated, so it makes no score.")
        header = ("model", *PROTOCOLS, "P(best)", "parameters")
        title = f"Five protocols, best first by {self.decided_by}"
        return Table(title, header, tuple(rows), tuple(notes))

    def rows(self) -> list[Row]:
        """Every report as one row of plain values."""
        return [
            {
                **report_row(report),
                "p_best": comparison.p_best.get(report.model),
                "rank": rank,
            }
            for comparison in self.comparisons
            for rank, report in enumerate(comparison.reports, 1)
        ]

    def _of(self, protocol: str) -> tuple[Report, ...]:
        return () if protocol in self.absent else self[protocol].reports


def scorecard(
    runs: Iterable[Run],
    *,
    metric: str | Mapping[str, str] = "accuracy",
    scratch: str | Mapping[str, str] | None = None,
    budget: Budget | None = None,
    decide_by: str = "persistence",
) -> Scorecard:
    """Every protocol that the runs allow, for all their models.

    Args:
        runs: The runs of one or more models.
        metric: Key of the metric that is read, or the key of each task. Variability
            reads recall and F1 beside "accuracy".
        scratch: Name of the model from random weights, or each model's twin.
        budget: What usability and reusability hold costs against.
        decide_by: The protocol that ranks the models.

    Raises:
        ValueError: As `PersistenceEvaluator.compare`, for `decide_by`; a protocol that
            lacks what it reads is left out, and the scorecard says why.

    >>> runs = [
    ...     Run(
    ...         model=model,
    ...         task="t",
    ...         dataset="d",
    ...         strategy="full",
    ...         seed=seed,
    ...         scores={"accuracy": accuracy + seed / 100},
    ...     )
    ...     for model, accuracy in {"a": 0.75, "b": 0.5}.items()
    ...     for seed in range(3)
    ... ]
    >>> scorecard(runs).best
    'a'
    """
    grouped = by_model(runs)
    if decide_by not in PROTOCOLS:
        raise ValueError(f"decide_by must be one of {PROTOCOLS}, got {decide_by!r}")
    variability = None if metric == "accuracy" else metric
    evaluators: tuple[Evaluator, ...] = (
        OptimizabilityEvaluator(metric=metric, scratch=scratch),
        UsabilityEvaluator(metric=metric, scratch=scratch, budget=budget),
        VariabilityEvaluator(metric=variability, scratch=scratch),
        ReusabilityEvaluator(metric=metric, scratch=scratch, budget=budget),
        PersistenceEvaluator(metric=metric, scratch=scratch),
    )
    found, absent = [], {}
    for evaluator in evaluators:
        try:
            found.append(evaluator._compare(grouped))
        except ValueError as error:
            if evaluator.protocol == decide_by:
                raise
            absent[evaluator.protocol] = str(error)
    return Scorecard(comparisons=tuple(found), absent=absent, decided_by=decide_by)
