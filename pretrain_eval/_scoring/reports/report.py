"""The score of one model with its intervals, parts and cost."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING

from pretrain_eval._habits import refusal
from pretrain_eval._runs import Cost, Record, is_name
from pretrain_eval._scoring.reports.checked import (
    by_name,
    check,
    each_is,
    freeze,
    is_count,
    is_number,
    is_share,
    is_text,
    or_none,
    restore,
)
from pretrain_eval._scoring.reports.table import (
    Row,
    Table,
    Tabular,
    duration,
    number,
    quantity,
)


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

    def __post_init__(self) -> None:
        check(self, "a name", is_name, "over", "method")
        check(self, "a number", is_number, "low", "high")
        check(self, "a number between 0 and 1", is_share, "confidence")
        what = f"a number of at least low, {self.low!r}"
        check(self, what, lambda high: not high < self.low, "high")

    def __str__(self) -> str:
        return f"[{number(self.low)}, {number(self.high)}]"


@dataclass(frozen=True)
class Report(Tabular, Record):
    """The score of one model under one protocol.

    Attributes:
        protocol: Name of the protocol.
        model: Name of the model.
        score: At most 1, larger is better, signed: below 0 lies what is worse than
            chance, or than before fine-tuning. None where the parts make no score.
        parts: The quantities that the score is made of.
        details: Quantities shown beside the score.
        interval: For new seeds on the same tasks; None with one seed a cell.
        new_tasks: For new tasks of the same kind; None with fewer than two tasks.
        examples: For new examples, with these trained models; None where unknown.
        bounds: The score if every missing run were at its worst and at its best; None
            where nothing is missing or nothing is known of the worst and the best.
        num_runs: Runs that were given.
        num_scored: Those that the score is made of, diverged ones at chance included.
        num_diverged: Those that diverged.
        num_missing: Those without a result, and the holes of the grid.
        cost: The sums over all runs, failed ones included, and the model's sizes.
        notes: What a reader has to know, in sentences.

    >>> report = Report(protocol="worst case", model="a", score=0.75, num_scored=4)
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
        check(self, "a name", is_name, "protocol", "model")
        check(self, "a number or None", or_none(is_number), "score")
        check(self, "numbers by name", by_name(is_number, is_text), "parts", "details")
        check(self, "two numbers or None", or_none(each_is(is_number, 2)), "bounds")
        check(self, "a tuple of sentences", each_is(is_text), "notes")
        counts = ("num_runs", "num_scored", "num_diverged", "num_missing")
        check(self, "a whole number of at least 0", is_count, *counts)
        freeze(self, "parts", "details")
        restore(self, Interval, "interval", "new_tasks", "examples", optional=True)
        restore(self, Cost, "cost")

    if not TYPE_CHECKING:
        __getattr__ = refusal("report")

    @property
    def coverage(self) -> float:
        """Share of the expected runs that were scored.

        >>> Report(
        ...     protocol="p", model="a", score=0.5, num_scored=3, num_missing=1
        ... ).coverage
        0.75
        """
        expected = self.num_scored + self.num_missing
        return self.num_scored / expected if expected else 0.0

    @property
    def floor(self) -> float:
        """The score with what is missing at its worst, by which the model is ranked."""
        if self.score is None:
            return 0.0
        return self.score if self.bounds is None else self.bounds[0]

    @property
    def ceiling(self) -> float:
        """The score with what is missing at its best."""
        if self.score is None:
            return 0.0
        return self.score if self.bounds is None else self.bounds[1]

    def table(self) -> Table:
        """The score, its intervals, parts and details, one a row."""
        rows = [("score", number(self.score))]
        for interval in (self.interval, self.new_tasks, self.examples):
            if interval is not None:
                percent = f"{100 * interval.confidence:g} %"
                rows.append((f"{percent} for new {interval.over}", in_table(interval)))
        if self.bounds is not None:
            low, high = self.bounds
            rows.append(
                ("bounds with what is missing", f"[{number(low)}, {number(high)}]")
            )
        for heading, named in (("made of", self.parts), ("beside it", self.details)):
            if named:
                rows.append((heading, ""))
            rows += [(f"  {name}", quantity(value)) for name, value in named.items()]
        rows.append(("runs", self._run_counts()))
        rows.append(("their cost", duration(self.cost.total_seconds)))
        title = f"{self.protocol} of {self.model}"
        return Table(title, ("", ""), tuple(rows), self.notes)

    def rows(self) -> list[Row]:
        """The report as one row of plain values."""
        return [report_row(self)]

    def _run_counts(self) -> str:
        words = [str(self.num_runs)]
        if self.num_diverged:
            words.append(f"{self.num_diverged} diverged")
        if self.num_missing:
            words.append(f"{self.num_missing} missing")
        return ", ".join(words)


def report_row(report: Report) -> Row:
    """One report as a flat row of plain values."""
    interval, bounds = report.interval, report.bounds or (None, None)
    return {
        "protocol": report.protocol,
        "model": report.model,
        "score": report.score,
        "low": None if interval is None else interval.low,
        "high": None if interval is None else interval.high,
        "confidence": None if interval is None else interval.confidence,
        "lower_bound": bounds[0],
        "upper_bound": bounds[1],
        "num_runs": report.num_runs,
        "num_scored": report.num_scored,
        "num_diverged": report.num_diverged,
        "num_missing": report.num_missing,
        "seconds": report.cost.seconds,
        "total_seconds": report.cost.total_seconds,
        "num_parameters": report.cost.num_parameters,
        **{f"part: {name}": value for name, value in report.parts.items()},
        **{f"detail: {name}": value for name, value in report.details.items()},
    }


def in_table(interval: Interval | None) -> str:
    """An interval to read; one of no width, which is no certainty, with its reason."""
    if interval is None:
        return "–"
    agree = interval.high - interval.low <= 1e-12
    return f"{interval} ({interval.over} agree)" if agree else str(interval)
