"""The five protocols side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from typing_extensions import override

from pretrain_eval._habits import refusal
from pretrain_eval._runs import Record
from pretrain_eval._scoring.reports.checked import (
    by_name,
    check,
    freeze,
    is_text,
    restore_each,
)
from pretrain_eval._scoring.reports.comparison import Comparison
from pretrain_eval._scoring.reports.page import Section
from pretrain_eval._scoring.reports.report import Report, report_row
from pretrain_eval._scoring.reports.table import (
    Row,
    Table,
    Tabular,
    amount,
    listing,
    number,
)

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
        restore_each(self, Comparison, "comparisons")
        names = [comparison.protocol for comparison in self.comparisons]
        what = "comparisons of different protocols, one at least"
        check(self, what, lambda _: 0 < len(names) == len(set(names)), "comparisons")
        check(self, "sentences by protocol", by_name(is_text), "absent")
        check(self, f"one of {names}", names.__contains__, "decided_by")
        freeze(self, "absent")

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

    if not TYPE_CHECKING:
        __getattr__ = refusal("scorecard")

    def __getitem__(self, protocol: str) -> Comparison:
        """The comparison under a protocol."""
        for comparison in self.comparisons:
            if comparison.protocol == protocol:
                return comparison
        raise KeyError(
            f"no {protocol!r} here: {self.absent.get(protocol, 'no such protocol')}"
        )

    def __iter__(self) -> Iterator[Comparison]:
        """The comparisons, one a protocol that the runs allow."""
        return iter(self.comparisons)

    def __len__(self) -> int:
        return len(self.comparisons)

    def __contains__(self, protocol: object) -> bool:
        """Whether the runs allow a protocol, or a comparison stands here."""
        return any(protocol in (each.protocol, each) for each in self.comparisons)

    def report(self, protocol: str, model: str) -> Report | None:
        """One report; None where the protocol is absent."""
        if protocol in self.absent:
            return None
        return next((r for r in self[protocol].reports if r.model == model), None)

    @property
    @override
    def lead(self) -> str:
        return self.decision

    @override
    def sections(self) -> list[Section]:
        own = [Section("Five protocols", self.table().to_html())]
        for each in self.comparisons:
            heading = each.protocol.capitalize()
            if each.protocol == self.decided_by:
                own += [
                    part._replace(heading=f"{heading}: {part.heading.lower()}")
                    for part in each.sections()
                ]
            else:
                own.append(Section(heading, each.table().to_html(), True))
        return own

    def table(self) -> Table:
        """Models in rows, protocols in columns, the decision below."""
        deciding, rows = self[self.decided_by], []
        for own in deciding.reports:
            reports = [self._found(protocol, own.model) for protocol in PROTOCOLS]
            scores = ["–" if r is None else number(r.score) for r in reports]
            chance = number(deciding.p_best.get(own.model), 2)
            rows.append((own.model, *scores, chance, amount(own.cost.num_parameters)))
        notes = [self.decision, *deciding.notes]
        if len(deciding.reports) > 1 and deciding.verdict == "inconclusive":
            notes.insert(1, deciding.settle)
        notes += [f"{name}: {why}." for name, why in self.absent.items()]
        notes += self._fronts()
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

    def _fronts(self) -> list[str]:
        # One sentence a front; costs that have the same one share it.
        costs: dict[tuple[str, ...], list[str]] = {}
        for cost, front in self[self.decided_by].pareto.items():
            costs.setdefault(front, []).append(cost.replace("_", " "))
        return [
            f"Pareto front of {self.decided_by} against {listing(names)}:"
            f" {listing(front, 10)}."
            for front, names in costs.items()
            if len(self.models) > 1
        ]

    def _found(self, protocol: str, model: str) -> Report | None:
        return next((r for r in self._of(protocol) if r.model == model), None)

    def _of(self, protocol: str) -> tuple[Report, ...]:
        found = (c.reports for c in self.comparisons if c.protocol == protocol)
        return next(found, ())
