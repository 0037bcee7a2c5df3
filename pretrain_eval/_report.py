"""What evaluators hand back: the score of one model, and the ranking of several."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, TypeVar

from pretrain_eval._records import Cost, FrozenDict, Record
from pretrain_eval._render import Table, Tabular, amount, duration, number

R = TypeVar("R", bound=Record)


@dataclass(frozen=True)
class Interval(Record):
    """A range that holds the truth with a stated confidence, and what may vary.

    Attributes:
        low: Lower end.
        high: Upper end.
        confidence: For example 0.95.
        over: What would be drawn anew: "seeds" (the same tasks), "tasks" or "examples".
        method: How it was computed.

    >>> print(Interval(low=0.7, high=0.8, confidence=0.95, over="seeds", method="t"))
    [0.700, 0.800]
    """

    _: KW_ONLY
    low: float
    high: float
    confidence: float
    over: str
    method: str

    def __str__(self) -> str:
        return f"[{number(self.low)}, {number(self.high)}]"


@dataclass(frozen=True)
class Report(Tabular, Record):
    """The score of one model under one protocol.

    Attributes:
        protocol: Name of the protocol.
        model: Name of the model.
        score: In [0, 1], larger is better; None where the parts make no score.
        parts: The quantities that the score is made of.
        details: Quantities shown beside the score.
        interval: For new seeds on the same tasks; None with one seed a cell.
        new_tasks: For new tasks of the same kind; None with fewer than two tasks.
        examples: For new examples, with these trained models; None where unknown.
        bounds: The score if every missing run were at its worst and at its best.
        num_runs: Runs that were given.
        num_scored: Those that the score is made of, diverged ones at chance included.
        num_diverged: Those that diverged.
        num_missing: Those without a result, and the holes of the grid.
        cost: The sums over all runs, failed ones included.
        notes: What a reader has to know, in sentences.

    >>> report = Report(protocol="worst case", model="a", score=0.75, num_runs=4)
    >>> Report.from_json(report.to_json()) == report
    True
    """

    _: KW_ONLY
    protocol: str
    model: str
    score: float | None
    parts: Mapping[str, float] = field(default_factory=dict)
    details: Mapping[str, float] = field(default_factory=dict)
    interval: Interval | None = None
    new_tasks: Interval | None = None
    examples: Interval | None = None
    bounds: tuple[float, float] | None = None
    num_runs: int = 0
    num_scored: int = 0
    num_diverged: int = 0
    num_missing: int = 0
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("parts", "details"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))
        for name in ("interval", "new_tasks", "examples"):
            object.__setattr__(self, name, restored(Interval, getattr(self, name)))
        object.__setattr__(self, "cost", restored(Cost, self.cost))

    @property
    def coverage(self) -> float:
        """Share of the expected runs that were scored."""
        expected = self.num_scored + self.num_missing
        return self.num_scored / expected if expected else 0.0

    def table(self) -> Table:
        """The score, its intervals, parts and details, one a row."""
        rows = [("score", number(self.score))]
        if self.interval is not None:
            rows.append((_interval_name(self.interval), str(self.interval)))
        for interval in (self.new_tasks, self.examples):
            if interval is not None:
                rows.append((_interval_name(interval), str(interval)))
        if self.num_missing and self.bounds is not None:
            low, high = self.bounds
            rows.append(("bounds with what is missing", f"[{low:.3f}, {high:.3f}]"))
        rows += [(f"  {name}", _short(value)) for name, value in self.parts.items()]
        rows += [(f"  · {name}", _short(value)) for name, value in self.details.items()]
        rows.append(("runs", _run_counts(self)))
        rows.append(("cost", duration(self.cost.seconds)))
        title = f"{self.protocol} of {self.model}"
        return Table(title, ("", ""), tuple(rows), self.notes)

    def records(self) -> list[dict[str, str | float | int | None]]:
        """The report as one row of plain values."""
        return [report_record(self)]


@dataclass(frozen=True)
class Difference(Record):
    """How much better one model is than another on the cells that both have.

    Attributes:
        first: The better-ranked model.
        second: The other.
        difference: Score of the first minus that of the second.
        interval: Of the difference, for new seeds; None where a model has one seed.
        p_better: Probability that the first is truly better; None as above.
        num_cells: Cells that both have.
    """

    _: KW_ONLY
    first: str
    second: str
    difference: float
    interval: Interval | None = None
    p_better: float | None = None
    num_cells: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "interval", restored(Interval, self.interval))

    @property
    def separable(self) -> bool:
        """Whether the interval excludes 0."""
        return self.interval is not None and not (
            self.interval.low <= 0 <= self.interval.high
        )


@dataclass(frozen=True)
class Comparison(Tabular, Record):
    """The models under one protocol, best first, and what cannot be told apart.

    Attributes:
        protocol: Name of the protocol.
        reports: One a model, best first.
        p_best: Probability that each model is the best; empty where unknown.
        differences: Every pair, the better-ranked first.
        regret: Expected distance of the pick from the truly best; None where unknown.
        regret_limit: The distance that is not exceeded with `confidence`.
        confidence: For example 0.95.
        acceptability: Share of random weights under which each model is first, where
            the protocol has weights.
        cost: The sums over all runs of the decision, failed ones included.
        notes: What a reader has to know, in sentences.
    """

    _: KW_ONLY
    protocol: str
    reports: tuple[Report, ...]
    p_best: Mapping[str, float] = field(default_factory=dict)
    differences: tuple[Difference, ...] = ()
    regret: float | None = None
    regret_limit: float | None = None
    confidence: float = 0.95
    acceptability: Mapping[str, float] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        reports = tuple(restored(Report, each) for each in self.reports)
        object.__setattr__(self, "reports", reports)
        differences = tuple(restored(Difference, each) for each in self.differences)
        object.__setattr__(self, "differences", differences)
        for name in ("p_best", "acceptability"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))
        object.__setattr__(self, "cost", restored(Cost, self.cost))

    @property
    def best(self) -> str | None:
        """The recommended model; None where the protocol makes no score."""
        first = self.reports[0]
        return None if first.score is None else first.model

    @property
    def inseparable(self) -> tuple[str, ...]:
        """The models that these runs cannot tell from the best."""
        return tuple(
            each.second
            for each in self.differences
            if each.first == self.best and not each.separable
        )

    @property
    def decision(self) -> str:
        """The recommendation in one sentence, with its uncertainty and its cost."""
        if self.best is None:
            return f"No model is recommended: {self.protocol} makes no score."
        parts = [f"Use {self.best}"]
        if self.best in self.p_best:
            parts.append(f"P(best) = {self.p_best[self.best]:.2f}")
        if self.regret_limit is not None:
            parts.append(
                f"at most {self.regret_limit:.3f} worse than the best at"
                f" {100 * self.confidence:g} %"
            )
        elif len(self.reports) > 1:
            parts.append("how sure is unknown with one seed a cell")
        if self.cost.seconds is not None:
            parts.append(f"the whole decision cost {duration(self.cost.seconds)}")
        if self.inseparable and self.p_best:
            parts.append(self._alternatives())
        return "; ".join(parts) + "."

    def _alternatives(self) -> str:
        best = self.reports[0]
        rivals = [each for each in self.reports if each.model in self.inseparable]
        for rival in rivals:
            share = _ratio(rival.cost.num_parameters, best.cost.num_parameters)
            if share is not None and share < 0.95:
                return (
                    f"{rival.model} has {share:.2g}× the parameters and is not"
                    " separable from it"
                )
        for rival in rivals:
            share = _ratio(rival.cost.seconds, best.cost.seconds)
            if share is not None and share < 0.95:
                return (
                    f"{rival.model} takes {share:.2g}× the time and is not separable"
                    " from it"
                )
        names = " and ".join(self.inseparable)
        verb = "is" if len(self.inseparable) == 1 else "are"
        return f"{names} {verb} not separable from it"

    def table(self) -> Table:
        """The ranking, one model a row, with the decision below."""
        header = ["model", "score", "interval", "P(best)", "− best", "runs", "missing"]
        first = {e.second: e for e in self.differences if e.first == self.best}
        rows = []
        for report in self.reports:
            gap = first.get(report.model)
            rows.append(
                (
                    report.model,
                    number(report.score),
                    "–" if report.interval is None else str(report.interval),
                    number(self.p_best.get(report.model), 2),
                    "" if gap is None else f"{-gap.difference:+.3f}",
                    str(report.num_runs),
                    str(report.num_missing),
                )
            )
        return Table(
            f"{self.protocol}, best first",
            tuple(header),
            tuple(rows),
            (self.decision, *self.notes),
        )

    def records(self) -> list[dict[str, str | float | int | None]]:
        """The ranking as rows of plain values."""
        return [
            {"rank": rank, **report_record(each), "p_best": self.p_best.get(each.model)}
            for rank, each in enumerate(self.reports, 1)
        ]


def report_record(report: Report) -> dict[str, str | float | int | None]:
    """One report as a flat row of plain values."""
    interval = report.interval
    return {
        "protocol": report.protocol,
        "model": report.model,
        "score": report.score,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "num_runs": report.num_runs,
        "num_diverged": report.num_diverged,
        "num_missing": report.num_missing,
        "seconds": report.cost.seconds,
        "num_parameters": report.cost.num_parameters,
        **{f"part {name}": value for name, value in report.parts.items()},
        **{f"detail {name}": value for name, value in report.details.items()},
    }


def restored(kind: type[R], value: Any) -> Any:
    """A record from the plain dict that JSON gives, or the record itself."""
    return kind.from_dict(value) if isinstance(value, Mapping) else value


def _interval_name(interval: Interval) -> str:
    return f"{100 * interval.confidence:g} % interval, new {interval.over}"


def _run_counts(report: Report) -> str:
    words = [f"{report.num_runs} given"]
    if report.num_diverged:
        words.append(f"{report.num_diverged} diverged")
    if report.num_missing:
        words.append(f"{report.num_missing} missing")
    return ", ".join(words)


def _short(value: float) -> str:
    return number(value) if abs(value) < 1000 else amount(value)


def _ratio(first: float | None, second: float | None) -> float | None:
    return None if first is None or not second else first / second
