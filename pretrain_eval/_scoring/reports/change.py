"""One model at two dates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

from pretrain_eval._runs import Record, is_name
from pretrain_eval._scoring.reports.checked import (
    by_name,
    check,
    each_is,
    freeze,
    is_number,
    is_text,
    restore,
)
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.table import Row, Table, Tabular, number, signed


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
        check(self, "a name", is_name, "protocol", "model")
        check(self, "a number", is_number, "difference")
        check(self, "numbers by name", by_name(is_number), "cells")
        check(self, "a tuple of sentences", each_is(is_text), "notes")
        restore(self, Report, "before", "after")
        restore(self, Interval, "interval", "examples", optional=True)
        freeze(self, "cells")

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
