"""Several models ranked, and one model at two dates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from pretrain_eval._runs import Cost, FrozenDict, Record
from pretrain_eval._scoring.reports.report import Interval, Report, report_row, restored
from pretrain_eval._scoring.reports.table import (
    Row,
    Table,
    Tabular,
    duration,
    listing,
    number,
    quantity,
    signed,
)


@dataclass(frozen=True)
class Difference(Record):
    """How much better one model is than another on the cells that both have.

    Attributes:
        first: The better-ranked model.
        second: The other.
        difference: Score of the first minus that of the second.
        interval: Of the difference, for what `over` names; None where it is unknown.
        seeds: For new seeds alone; None where a model has one seed.
        examples: For new examples alone; None where they are unknown.
        new_tasks: Of the difference, for new tasks (paired t over task means); None
            with fewer than two common tasks.
        p_better: Probability that the first is truly better; None as `interval`.
        num_cells: Cells that both have.

    >>> Difference(first="a", second="b", difference=0.25).interval is None
    True
    """

    _: KW_ONLY
    first: str
    second: str
    difference: float
    interval: Interval | None = None
    seeds: Interval | None = None
    examples: Interval | None = None
    new_tasks: Interval | None = None
    p_better: float | None = None
    num_cells: int = 0

    def __post_init__(self) -> None:
        for name in ("interval", "seeds", "examples", "new_tasks"):
            object.__setattr__(self, name, restored(Interval, getattr(self, name)))


@dataclass(frozen=True)
class Comparison(Tabular, Record):
    """The models under one protocol, best first, and what cannot be told apart.

    Attributes:
        protocol: Name of the protocol.
        reports: One a model, best first; one with missing runs stands where its lower
            bound puts it.
        p_best: Probability that each model is the best; empty where unknown.
        p_best_range: Instead, where runs are missing: that probability with what is
            missing at its worst for the model, and at its best.
        not_separable: Models that these runs cannot tell from the best, best first.
            Together with it they hold the truly best with at least `confidence`.
        differences: Every pair, the better-ranked first.
        regret: Expected distance of the pick from the truly best; None where unknown.
        regret_limit: The distance that is not exceeded with `confidence`.
        confidence: For example 0.95.
        over: What the probabilities and limits would see drawn anew: "seeds",
            "examples", "tasks"; empty where nothing can be said.
        acceptability: Share of random weights under which each model takes each rank,
            first rank first, where the protocol has weights.
        cost: The sums over all runs of the decision, failed ones included.
        notes: What a reader has to know, in sentences.

    >>> reports = [
    ...     Report(protocol="p", model=m, score=s)
    ...     for m, s in {"a": 0.75, "b": 0.5}.items()
    ... ]
    >>> print(Comparison(protocol="p", reports=tuple(reports)).decision)
    Use a; how sure that is cannot be said with one seed a cell.
    """

    _: KW_ONLY
    protocol: str
    reports: tuple[Report, ...]
    p_best: Mapping[str, float] = field(default_factory=dict)
    p_best_range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    not_separable: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    regret: float | None = None
    regret_limit: float | None = None
    confidence: float = 0.95
    over: tuple[str, ...] = ()
    acceptability: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        reports = tuple(restored(Report, each) for each in self.reports)
        object.__setattr__(self, "reports", reports)
        differences = tuple(restored(Difference, each) for each in self.differences)
        object.__setattr__(self, "differences", differences)
        for name in ("p_best", "p_best_range", "acceptability"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))
        object.__setattr__(self, "cost", restored(Cost, self.cost))

    @property
    def best(self) -> str | None:
        """The recommended model; None where the protocol makes no score."""
        first = self.reports[0]
        return None if first.score is None else first.model

    @property
    def decision(self) -> str:
        """The recommendation in one sentence, with its uncertainty and its cost."""
        if self.best is None:
            return f"No model is recommended: {self.protocol} makes no score here."
        parts = [f"Use {self.best}"]
        anew = f" for new {' and '.join(self.over)}" if self.over else ""
        if self.best in self.p_best:
            parts.append(f"P(best) = {self.p_best[self.best]:.2f}{anew}")
        elif self.best in self.p_best_range:
            low, high = self.p_best_range[self.best]
            parts.append(
                f"P(best) lies between {low:.2f} and {high:.2f}{anew}, by what is missing"
            )
        if self.regret_limit is not None:
            limit = (
                "0.0005" if self.regret_limit < 0.0005 else f"{self.regret_limit:.3f}"
            )
            parts.append(
                f"at most {limit} worse than the best at {100 * self.confidence:g} %"
            )
        elif len(self.reports) > 1:
            parts.append("how sure that is cannot be said with one seed a cell")
        if self.cost.total_seconds is not None:
            spent = duration(self.cost.total_seconds)
            parts.append(f"the whole decision cost {spent}")
        if self.not_separable:
            parts.append(_alternatives(self.reports, self.not_separable))
        return "; ".join(parts) + "."

    def difference(self, first: str, second: str) -> Difference | None:
        """The pair, in the order of the ranking; None where no cell is common."""
        pairs = ((first, second), (second, first))
        return next((d for d in self.differences if (d.first, d.second) in pairs), None)

    def table(self) -> Table:
        """The ranking, one model a row, with the decision below."""
        notes = (self.decision, *self.notes)
        if self.best is None:
            return self._without_scores(notes)
        counts = {
            name: [getattr(report, f"num_{name}") for report in self.reports]
            for name in ("diverged", "missing")
        }
        shown = [name for name, column in counts.items() if any(column)]
        header = ("model", "score", self._interval_name(), "P(best)", "to the best")
        rows = [
            (*self._row(report), *(str(counts[name][i]) for name in shown))
            for i, report in enumerate(self.reports)
        ]
        if self.not_separable:
            notes = (*notes, "= cannot be told from the best by these runs.")
        title = f"{self.protocol}, best first"
        return Table(title, (*header, *shown), tuple(rows), notes)

    def _without_scores(self, notes: tuple[str, ...]) -> Table:
        known = [{**each.parts, **each.details} for each in self.reports]
        names = [name for name in known[0] if all(name in each for each in known)]
        header = ("", *(report.model for report in self.reports))
        rows = [(name, *(quantity(each[name]) for each in known)) for name in names]
        return Table(f"{self.protocol}, no score", header, tuple(rows), notes)

    def _interval_name(self) -> str:
        return f"{100 * self.confidence:g} % interval"

    def _row(self, report: Report) -> tuple[str, ...]:
        gap = self.difference(self.best or "", report.model)
        words = ""
        if gap is not None and report.model != self.best:
            words = signed(-gap.difference)
            words += " =" if report.model in self.not_separable else ""
        return (
            report.model,
            number(report.score),
            "–" if report.interval is None else str(report.interval),
            number(self.p_best.get(report.model), 2),
            words,
        )

    def rows(self) -> list[Row]:
        """The ranking as rows of plain values."""
        return [
            {
                "rank": rank,
                **report_row(each),
                "p_best": self.p_best.get(each.model),
                "separable": None
                if not self.p_best
                else each.model not in (self.best, *self.not_separable),
            }
            for rank, each in enumerate(self.reports, 1)
        ]


@dataclass(frozen=True)
class Change(Tabular, Record):
    """One model's score at two dates, and whether it has dropped.

    Attributes:
        protocol: Name of the protocol.
        model: Name of the model.
        before: The report at the first date, on the cells that both dates have.
        after: The report at the second date, on the same cells.
        difference: After minus before.
        interval: Of the difference, for new seeds; None with one seed a cell.
        examples: Of the difference, for new examples; None where their number or their
            metric is unknown.
        cells: After minus before in each cell, "task/dataset/strategy".
        notes: What a reader has to know, in sentences.
    """

    _: KW_ONLY
    protocol: str
    model: str
    before: Report
    after: Report
    difference: float
    interval: Interval | None = None
    examples: Interval | None = None
    cells: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, kind in {"before": Report, "after": Report}.items():
            object.__setattr__(self, name, restored(kind, getattr(self, name)))
        for name in ("interval", "examples"):
            object.__setattr__(self, name, restored(Interval, getattr(self, name)))
        object.__setattr__(self, "cells", FrozenDict(self.cells))

    @property
    def dropped(self) -> bool | None:
        """Whether every known interval lies below 0; None where none is known."""
        known = [each for each in (self.interval, self.examples) if each is not None]
        return all(each.high < 0 for each in known) if known else None

    @property
    def verdict(self) -> str:
        """Whether the model has dropped, in one sentence."""
        known = [each for each in (self.interval, self.examples) if each is not None]
        ranges = " and ".join(f"{each} for new {each.over}" for each in known)
        change = signed(self.difference)
        if not known:
            return (
                f"{self.model} changed by {change}; with one seed a cell and an unknown"
                " number of examples nothing can be said of chance."
            )
        percent = f"{100 * known[0].confidence:g} %"
        if self.dropped:
            return f"{self.model} has dropped by {change}, {percent}: {ranges}."
        if all(each.low > 0 for each in known):
            return f"{self.model} has risen by {change}, {percent}: {ranges}."
        return f"{self.model} changed by {change}, within chance, {percent}: {ranges}."

    def table(self) -> Table:
        """Before, after and their difference, then the cells, largest drop first."""
        rows = [
            ("before", number(self.before.score)),
            ("after", number(self.after.score)),
            ("difference", signed(self.difference)),
        ]
        cells = sorted(self.cells.items(), key=lambda item: (item[1], item[0]))
        rows += [(f"  {name}", signed(value)) for name, value in cells]
        title = f"{self.protocol} of {self.model}, two dates"
        return Table(title, ("", ""), tuple(rows), (self.verdict, *self.notes))

    def rows(self) -> list[Row]:
        """The change of each cell as rows of plain values."""
        return [
            {"model": self.model, "cell": name, "difference": value}
            for name, value in self.cells.items()
        ]


def _alternatives(reports: Sequence[Report], not_separable: tuple[str, ...]) -> str:
    # The cheapest of those that cannot be told from the best, if it is cheaper.
    best = reports[0]
    rivals = [each for each in reports if each.model in not_separable]
    for name, (words, cheaper) in _CHEAPER.items():
        own = getattr(best.cost, name)
        known = [each for each in rivals if getattr(each.cost, name) is not None]
        if not own or not known:
            continue
        rival = min(known, key=lambda each: (getattr(each.cost, name), each.model))
        share = getattr(rival.cost, name) / own
        if share < cheaper:
            others = [each.model for each in rivals if each is not rival]
            verb = "is" if len(others) == 1 else "are"
            also = f" (nor {verb} {listing(others)})" if others else ""
            what = words.format(share)
            return f"{rival.model} {what} and is not separable from it{also}"
    verb = "is" if len(rivals) == 1 else "are"
    return f"{listing([each.model for each in rivals])} {verb} not separable from it"


# What to say of a cost, and below which share. Times vary from one call to the next.
_CHEAPER = {
    "num_parameters": ("has {:.2g}× the parameters", 0.95),
    "macs": ("needs {:.2g}× the multiply-accumulates", 0.95),
    "seconds": ("took {:.2g}× the time", 0.75),
}
