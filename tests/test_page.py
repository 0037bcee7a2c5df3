"""The page that can be sent: whole, escaped, without a network, and as a browser has it."""

from __future__ import annotations

import html.parser
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from scoring import BUDGET, make_grid, make_run

import pretrain_eval as pe
from pretrain_eval.plot._axes import luminance

RUNS = make_grid()
CARD = pe.scorecard(RUNS, budget=BUDGET)


class Outline(html.parser.HTMLParser):
    """Headings, pictures, tables and whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.alts: list[str] = []
        self.fetched: list[str] = []
        self.scopes: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag not in ("img", "meta", "link", "br"):
            self.open.append(tag)
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag == "img":
            self.alts.append(found.get("alt") or "")
        if tag == "th":
            self.scopes.append(found.get("scope") or "")
        for name in ("src", "href", "srcset", "data"):
            address = found.get(name) or ""
            if address and not address.startswith("data:"):
                self.fetched.append(address)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def outline(text: str) -> Outline:
    parser = Outline()
    parser.feed(text)
    assert parser.open == []
    return parser


@pytest.mark.parametrize("record", [CARD, CARD["persistence"]], ids=["card", "one"])
def test_the_page_is_whole_and_fetches_nothing(record, tmp_path: Path) -> None:
    """Headings go down by one, pictures are told in words, columns have a scope."""
    file = tmp_path / "report.html"
    record.save(file)
    text = file.read_text(encoding="utf-8")
    found = outline(text)
    assert found.fetched == []
    assert "@import" not in text
    assert "url(" not in text
    assert "<script" not in text
    assert found.headings[0] == 1
    assert set(found.headings[1:]) == {2}
    assert len(found.alts) == 3
    assert all(len(alt) > 10 for alt in found.alts)
    assert set(found.scopes) == {"col"}
    words = re.sub("<[^>]*>", " ", text)
    for model in ("a", "b"):
        assert f"What makes the score of {model}".lower() in words.lower()
    assert record.decision in html.unescape(words)


def test_names_are_text_on_the_page(tmp_path: Path) -> None:
    """A model whose name is a tag is no tag."""
    runs = [
        make_run(model=model, seed=seed, accuracy=0.6 + seed / 50)
        for model in ("<script>alert(1)</script>", 'b" onload="x')
        for seed in range(3)
    ]
    pe.compare(runs).save(tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script>alert" not in text
    outline(text)


@pytest.mark.parametrize("end", [".md", ".tex", ".csv", ".txt", ".json"])
def test_a_file_has_the_form_of_its_name(end: str, tmp_path: Path) -> None:
    """What the methods give, under any name."""
    comparison = CARD["persistence"]
    made = {
        ".md": comparison.to_markdown,
        ".tex": comparison.to_latex,
        ".csv": comparison.to_csv,
        ".txt": comparison.__str__,
        ".json": comparison.to_json,
    }
    comparison.save(tmp_path / f"x{end}")
    assert (tmp_path / f"x{end}").read_text(encoding="utf-8") == made[end]()
    if end == ".json":
        assert pe.Comparison.from_json((tmp_path / "x.json").read_text()) == comparison


def test_the_best_is_bold_where_it_is_told_apart() -> None:
    """In LaTeX and HTML; a caption and a label make the table float."""
    levels = {"good": 0.9, "bad": 0.6}
    runs = [
        make_run(model=model, seed=seed, accuracy=level + seed / 500)
        for model, level in levels.items()
        for seed in range(3)
    ]
    comparison = pe.compare(runs)
    text = comparison.to_latex(caption="50 % & more", label="tab:models")
    assert text.startswith("\\begin{table}")
    assert r"\caption{50 \% \& more}" in text
    assert r"\label{tab:models}" in text
    assert r"\textbf{good}" in text
    assert r"\textbf{bad}" not in text
    assert '<td style="font-weight:bold">good</td>' in comparison.to_html()
    alike = [
        make_run(model=m, seed=s, accuracy=0.6 + s / 50) for m in "ab" for s in range(3)
    ]
    assert "textbf" not in pe.compare(alike).to_latex()
    assert comparison["bad"].model == "bad"
    assert [each.model for each in comparison] == ["good", "bad"]
    with pytest.raises(KeyError, match="the models are"):
        comparison["ugly"]


def test_another_form_is_refused(tmp_path: Path) -> None:
    """The forms are listed, and no file is made."""
    with pytest.raises(ValueError, match=r"one of \['.html', '.md'"):
        CARD.save(tmp_path / "report.docx")
    assert not list(tmp_path.iterdir())


def test_without_matplotlib_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tables are there, and the line that brings pictures."""
    monkeypatch.setitem(__import__("sys").modules, "matplotlib.pyplot", None)
    text = CARD["persistence"].to_page()
    assert "pretrain-eval[plot]" in text
    assert "<img" not in text


def test_the_colours_of_the_page_stand_out() -> None:
    """Text on its background by 4.5 : 1, light and dark."""

    def contrast(*colours: str) -> float:
        shades = sorted(
            luminance([int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)]) for c in colours
        )
        return (shades[1] + 0.05) / (shades[0] + 0.05)

    text = CARD.to_page()
    for ink, paper in (
        *(("#1b1b1b", "#ffffff"), ("#4a4a4a", "#ffffff")),
        *(("#ececec", "#16181c"), ("#bdbdbd", "#16181c")),
    ):
        assert ink in text
        assert contrast(ink, paper) >= 4.5


def test_a_browser_shows_it_without_a_request(tmp_path: Path) -> None:
    """Headless Chromium on a phone's width: no request, no error, nothing cut off."""
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    if browser is None:
        pytest.skip("no Chromium here: apt-get install chromium")
    CARD.save(tmp_path / "report.html")
    log, shot = tmp_path / "net.json", tmp_path / "shot.png"
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu"),
            *("--hide-scrollbars", "--window-size=500,900", "--enable-logging=stderr"),
            *(f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}"),
            *(f"--screenshot={shot}", f"file://{tmp_path / 'report.html'}"),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert shot.stat().st_size > 10_000
    assert "CONSOLE" not in done.stderr
    events = json.loads(log.read_text())
    kinds = events["constants"]["logEventTypes"]
    begun = [
        event["params"]["url"]
        for event in events["events"]
        if event["type"] == kinds["URL_REQUEST_START_JOB"]
        and "url" in event.get("params", {})
    ]
    own = ("file://", "data:", "chrome", "devtools")
    # The browser's own errands are not the page's.
    errands = ("google", "gvt1.com")
    asked = [
        u for u in begun if not u.startswith(own) and not any(e in u for e in errands)
    ]
    assert asked == []
