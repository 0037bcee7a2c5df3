"""One table in every form that people read or paste: text, HTML, Markdown, LaTeX, CSV."""

from __future__ import annotations

import csv
import html
import io
import os
import textwrap
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pretrain_eval._optional import needs
from pretrain_eval._scoring.reports.page import Section, page

if TYPE_CHECKING:
    import pandas

Row = dict[str, str | float | int | None]

# Sentences are broken where a narrow terminal ends.
_WIDTH = 80


@dataclass(frozen=True)
class Table:
    """Rows of words with a title above and sentences below.

    Attributes:
        title: What the table shows.
        header: Names of the columns; the first column is left-aligned.
        rows: The cells, as they are to be read.
        notes: Sentences below the table.
        marked: Rows that are told apart from all others: bold in LaTeX and HTML.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    marked: tuple[int, ...] = ()

    def to_text(self) -> str:
        """Aligned columns for a terminal."""
        lines = [tuple(_printable(word) for word in row) for row in self._lines()]
        widths = [max(_width(row[i]) for row in lines) for i in range(len(lines[0]))]
        rule = "  ".join("-" * width for width in widths)
        body = [_aligned(row, widths) for row in lines]
        head = [body[0], rule] if any(self.header) else []
        notes = [
            textwrap.fill(_printable(note), _WIDTH, break_on_hyphens=False)
            for note in self.notes
        ]
        parts = [_printable(self.title), *head, *body[1:], *notes]
        return "\n".join(part.rstrip() for part in parts)

    def to_html(self) -> str:
        """A table for a notebook; every word is escaped."""
        head = "".join(
            f'<th scope="col">{html.escape(word)}</th>' for word in self.header
        )
        rows = "".join(
            f"<tr>{self._cells(number, row)}</tr>"
            for number, row in enumerate(self.rows)
        )
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.notes)
        title = html.escape(self.title)
        return (
            f"<div><table><caption>{title}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>{notes}</div>"
        )

    def to_markdown(self) -> str:
        """A pipe table of GitHub's dialect."""
        rule = ["---", *["---:"] * (len(self.header) - 1)]
        lines = [_pipes(self.header), _pipes(rule, raw=True), *map(_pipes, self.rows)]
        notes = "".join(f"\n\n{_markdown(note)}" for note in self.notes)
        return "\n".join(lines) + notes

    def _cells(self, number: int, row: Sequence[str]) -> str:
        cell = '<td style="font-weight:bold">' if number in self.marked else "<td>"
        return "".join(f"{cell}{html.escape(word)}</td>" for word in row)

    def to_latex(self, *, caption: str = "", label: str = "") -> str:
        """A table for the package booktabs, floating where it has a caption or a label."""
        columns = "l" + "r" * (len(self.header) - 1)
        rows = [[_latex(word) for word in row] for row in self._lines()]
        for number in self.marked:
            rows[number + 1] = [rf"\textbf{{{word}}}" for word in rows[number + 1]]
        lines = [" & ".join(row) + r" \\" for row in rows]
        tabular = "\n".join(
            [
                rf"\begin{{tabular}}{{{columns}}}",
                r"\toprule",
                lines[0],
                r"\midrule",
                *lines[1:],
                r"\bottomrule",
                r"\end{tabular}",
                *(f"% {_one_line(note)}" for note in self.notes),
            ]
        )
        if not caption and not label:
            return tabular
        words = [rf"\caption{{{_latex(caption)}}}"] if caption else []
        words += [rf"\label{{{label}}}"] if label else []
        head = "\n".join([r"\begin{table}", r"\centering", *words])
        return f"{head}\n{tabular}\n\\end{{table}}"

    def _lines(self) -> tuple[tuple[str, ...], ...]:
        return self.header, *self.rows


class Tabular(ABC):
    """What a record that is a table can be turned into."""

    @abstractmethod
    def table(self) -> Table:
        """The record as words in rows."""

    @abstractmethod
    def rows(self) -> list[Row]:
        """The record as rows of plain values, for CSV and pandas."""

    def __str__(self) -> str:
        return self.table().to_text()

    def _repr_html_(self) -> str:
        return self.table().to_html()

    def to_html(self) -> str:
        """The printed table in HTML, as a notebook shows it."""
        return self.table().to_html()

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write it into a file, in the form that the file's name ends with.

        Args:
            path: `.html` is a page that needs no network, with the decision, tables and,
                where matplotlib is, pictures; `.md`, `.tex`, `.csv`, `.txt` and, for a
                record, `.json` are what `to_markdown` and the like give.

        Raises:
            ValueError: The name ends with something else.
            OSError: The file cannot be written.
        """
        file = Path(path)
        made = self._forms().get(file.suffix)
        if made is None:
            raise ValueError(
                f"save expects a file that ends with one of {list(self._forms())}, got"
                f" {str(path)!r}"
            )
        file.write_text(made(), encoding="utf-8")

    def to_page(self) -> str:
        """A page in HTML that stands alone: what `save` writes."""
        return page(self.table().title, self.lead, self.sections(), self)

    @property
    def lead(self) -> str:
        """What a page says first."""
        return ""

    def sections(self) -> list[Section]:
        """The parts of a page about it."""
        table = self.table()
        return [Section(table.title, table.to_html())]

    def _forms(self) -> dict[str, Callable[[], str]]:
        forms: dict[str, Callable[[], str]] = {
            ".html": self.to_page,
            ".md": self.to_markdown,
            ".tex": self.to_latex,
            ".csv": self.to_csv,
            ".txt": self.__str__,
        }
        to_json = getattr(self, "to_json", None)
        return forms if to_json is None else {**forms, ".json": to_json}

    def to_markdown(self) -> str:
        """The printed table in Markdown."""
        return self.table().to_markdown()

    def to_latex(self, *, caption: str = "", label: str = "") -> str:
        """The printed table in LaTeX, for the package booktabs; the best in bold.

        Args:
            caption: Above the table, which then floats.
            label: For references, such as "tab:models".
        """
        return self.table().to_latex(caption=caption, label=label)

    def to_csv(self) -> str:
        """The values in CSV, floats to the last bit."""
        return to_csv(self.rows())

    def to_pandas(self) -> pandas.DataFrame:
        """The values as a data frame.

        Raises:
            ImportError: pandas is not installed.
        """
        frame: pandas.DataFrame = needs("pandas").DataFrame(self.rows())
        return frame


@dataclass(frozen=True)
class Sheet(Tabular):
    """Rows of plain values that print, and export, as a table.

    Attributes:
        title: What it shows.
        records: One mapping a row, all with the same keys.
        notes: Sentences below the table.

    >>> print(Sheet("one", ({"model": "a", "mean_rank": 1.5, "p": None},)))
    one
    model  mean rank  p
    -----  ---------  -
    a          1.500  –
    """

    title: str
    records: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def table(self) -> Table:
        """The rows, floats with three digits."""
        names = list(self.records[0]) if self.records else []
        header = tuple(name.replace("_", " ") for name in names)
        rows = tuple(
            tuple(_cell(record[name]) for name in names) for record in self.records
        )
        return Table(self.title, header or ("",), rows, self.notes)

    def rows(self) -> list[Row]:
        """The rows as they are."""
        return [dict(record) for record in self.records]


def _cell(value: str | float | int | None) -> str:
    return str(value) if isinstance(value, str | int) else number(value)


def to_csv(records: Sequence[Row]) -> str:
    """Rows of plain values in CSV; a text that a spreadsheet would run is quoted."""
    names = list(dict.fromkeys(name for record in records for name in record))
    stream = io.StringIO()
    writer = csv.DictWriter(stream, names, restval="", lineterminator="\n")
    writer.writerow({name: _inert(name) for name in names})
    writer.writerows(
        {name: _inert(value) for name, value in record.items()} for record in records
    )
    return stream.getvalue()


def number(value: float | None, digits: int = 3) -> str:
    """A number to read, "–" where there is none; 0 has no sign.

    >>> number(0.75), number(-0.0001), number(None)
    ('0.750', '0.000', '–')
    """
    if value is None:
        return "–"
    return f"{value:.{digits}f}" if round(value, digits) else f"{0:.{digits}f}"


def signed(value: float, digits: int = 3) -> str:
    """A difference to read, with its sign where it has one.

    >>> signed(0.25), signed(-0.25), signed(-0.0001)
    ('+0.250', '-0.250', '0.000')
    """
    return f"{value:+.{digits}f}" if round(value, digits) else number(0.0, digits)


def quantity(value: float) -> str:
    """A number of any size to read, with three digits or a unit letter.

    >>> quantity(0.00012), quantity(0.5), quantity(11_689_512)
    ('0.00012', '0.500', '11.7M')
    """
    if abs(value) < 1e-12:  # what rounding leaves of 0
        return number(0.0)
    if 0.001 <= abs(value) < 1000:
        return number(value)
    return f"{value:.3g}" if abs(value) < 1 else amount(value)


def counted(number: int, noun: str) -> str:
    """A number of things, the noun in the plural where it should be.

    >>> counted(1, "measurement"), counted(3, "run")
    ('1 measurement', '3 runs')
    """
    return f"{number} {noun}" + "s" * (number != 1)


def listing(names: Sequence[str], most: int = 5) -> str:
    """Names in a sentence.

    >>> listing(["a", "b", "c"])
    'a, b and c'
    """
    names = list(names)
    if len(names) > most:
        names = [*names[: most - 1], f"{len(names) - most + 1} others"]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def amount(value: float | None) -> str:
    """A count or an amount with a short unit letter.

    >>> amount(11_689_512)
    '11.7M'
    """
    if value is None:
        return "–"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def duration(seconds: float | None) -> str:
    """A time to read.

    >>> duration(2460)
    '41 minutes'
    """
    if seconds is None:
        return "–"
    for size, unit in ((86400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds:.3g} seconds"


def _inert(value: str | float | int | None) -> str | float | int | None:
    # A spreadsheet runs a text that starts like this as a formula.
    if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r"):
        return "'" + value
    return value


def _printable(text: str) -> str:
    # A name must not move the cursor or end the line.
    return "".join(
        each if unicodedata.category(each)[0] != "C" else repr(each)[1:-1]
        for each in text
    )


def _width(text: str) -> int:
    shown = [each for each in text if not unicodedata.combining(each)]
    return len(shown) + sum(
        unicodedata.east_asian_width(each) in "WF" for each in shown
    )


def _aligned(row: Sequence[str], widths: Sequence[int]) -> str:
    sizes = zip(row, widths, strict=True)
    padding = [" " * (width - _width(word)) for word, width in sizes]
    others = [pad + word for pad, word in zip(padding[1:], row[1:], strict=True)]
    return "  ".join([row[0] + padding[0], *others])


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _pipes(row: Sequence[str], raw: bool = False) -> str:
    return "| " + " | ".join(row if raw else map(_markdown, row)) + " |"


def _markdown(text: str) -> str:
    escaped = html.escape(_one_line(text), quote=False)
    return "".join("\\" * (each in "\\|`*_[]") + each for each in escaped)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "–": "--",
    "−": "$-$",
    "×": r"$\times$",
    "≈": r"$\approx$",
    "χ": r"$\chi$",
    "²": r"$^2$",
} | {sign: "\\" + sign for sign in "&%$#_{}"}


def _latex(text: str) -> str:
    return "".join(_LATEX.get(each, each) for each in _one_line(text))
