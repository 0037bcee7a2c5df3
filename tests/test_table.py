"""Tables in every form, also where names are hostile."""

from __future__ import annotations

import csv
import io
from html.parser import HTMLParser

import pytest

from pretrain_eval._scoring.reports.table import (
    Table,
    amount,
    duration,
    listing,
    number,
    quantity,
    to_csv,
)

HOSTILE = (
    "<script>alert(1)</script>",
    '" onload="alert(1)',
    "a | b",
    r"50% \& $x_1$ #{}~^",
    "two\nlines",
    "\x1b[31mred",
    "=1+1",
)


class Tags(HTMLParser):
    """Collects the tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[object] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[object]) -> None:
        """Note a tag."""
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


@pytest.mark.parametrize("name", HOSTILE)
def test_html_is_inert(name: str) -> None:
    """Whatever a name, title or note says, no tag and no attribute comes of it."""
    page = Tags()
    page.feed(Table(name, (name, "b"), ((name, name),), (name,)).to_html())
    table = {"div", "table", "caption", "thead", "tbody", "tr", "th", "td", "p"}
    assert page.tags == table
    assert {name for name, _ in page.attributes} <= {"scope"}
    assert {value for _, value in page.attributes} <= {"col"}
    assert page.text.count(name) == 5


def test_text_columns_are_aligned() -> None:
    """Words to the left, numbers to the right, wide letters counted as they print."""
    table = Table("t", ("model", "score"), (("漢字", "0.5"), ("abc", "12.5")))
    assert table.to_text() == (
        "t\nmodel  score\n-----  -----\n漢字     0.5\nabc     12.5"
    )


def test_text_shows_control_characters() -> None:
    """A name cannot move the cursor, colour the terminal or end the line."""
    text = Table("t", ("a", "b"), (("\x1b[31mred", "x\ny"),)).to_text()
    assert r"\x1b[31mred" in text
    assert r"x\ny" in text
    assert len(text.splitlines()) == 4


def test_long_notes_are_broken() -> None:
    """Sentences end where a narrow terminal does."""
    text = Table("t", ("a",), (("b",),), ("word " * 60,)).to_text()
    assert max(map(len, text.splitlines())) <= 80


def test_markdown_cells_stay_cells() -> None:
    """Pipes and line ends inside a name do not make new cells."""
    rows = tuple((name, "1") for name in HOSTILE)
    lines = Table("t", ("model", "n"), rows).to_markdown().splitlines()
    assert len(lines) == 2 + len(HOSTILE)
    assert lines[1] == "| --- | ---: |"
    assert r"a \| b" in lines[4]
    assert "<script>" not in "".join(lines)


def test_latex_signs_are_escaped() -> None:
    """Every sign that LaTeX reads is written so that it prints."""
    text = Table("t", ("model", "n"), ((HOSTILE[3], "−1 – 2×"),), ("a\nb",)).to_latex()
    assert (
        r"50\% \textbackslash{}\& \$x\_1\$ \#\{\}\textasciitilde{}\textasciicircum{}"
        in text
    )
    assert r"$-$1 -- 2$\times$ \\" in text
    assert text.startswith("\\begin{tabular}{lr}\n\\toprule\n")
    assert text.endswith("\\end{tabular}\n% a b")


def test_csv_comes_back() -> None:
    """Floats survive to the last bit, rows may differ in columns, formulas are text."""
    rows = [{"name": name, "x": 0.1 + 0.2} for name in HOSTILE]
    text = to_csv([*rows, {"name": "last", "y": None}])
    back = list(csv.DictReader(io.StringIO(text)))
    assert [row["name"] for row in back[:-2]] == list(HOSTILE[:-1])
    assert back[-2]["name"] == "'=1+1"
    assert float(back[0]["x"]) == 0.1 + 0.2
    assert (back[-1]["x"], back[-1]["y"]) == ("", "")


def test_numbers_read_well() -> None:
    """Three digits, unit letters, and a dash where there is nothing."""
    assert [number(x) for x in (None, 0.12345, -1.0)] == ["–", "0.123", "-1.000"]
    assert [amount(x) for x in (None, 999, 1500, 2.5e9, 3e12)] == [
        "–",
        "999",
        "1.5k",
        "2.5G",
        "3T",
    ]
    assert [quantity(x) for x in (0, 0.5, 1e-5, 12_000)] == [
        "0.000",
        "0.500",
        "1e-05",
        "12k",
    ]
    assert [duration(x) for x in (None, 0.5, 90, 2460, 8000, 1e6)] == [
        "–",
        "0.5 seconds",
        "90 seconds",
        "41 minutes",
        "2.22 hours",
        "11.6 days",
    ]
    assert listing(["a"]) == "a"
    assert listing(list("abcdefg")) == "a, b, c, d and 3 others"
