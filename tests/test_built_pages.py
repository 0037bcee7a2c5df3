"""What `.ci/pages.py` finds wrong in built pages, each fault beside a page without it."""

import runpy
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent.parent / ".ci" / "pages.py"
FAULTS = runpy.run_path(str(SCRIPT))["faults"]
WHOLE = """<html><head><link rel="stylesheet" href="look.css"></head><body>
<h1 id="top">A</h1><a href="#top">here</a> <a href="inner/b.html#place">there</a>
<a href="https://example.org/">elsewhere</a> <img src="a.png" alt="A curve.">
<pre><span>print</span>(1)</pre></body></html>"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "inner").mkdir()
    (tmp_path / "a.html").write_text(WHOLE)
    (tmp_path / "inner" / "b.html").write_text('<p id="place"></p><a href="../a.html">')
    (tmp_path / "look.css").write_text("a { background: url(a.png) }")
    return tmp_path


def test_whole_pages_have_no_fault(folder: Path) -> None:
    """Links to other sites are no fault: nobody knows offline whether they answer."""
    assert not list(FAULTS(folder))
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True)
    assert done.returncode == 0


@pytest.mark.parametrize(
    ("what", "instead", "said"),
    [
        ('"#top"', '"#bottom"', "#bottom names no place"),
        ("b.html#place", "b.html#gone", "names no place"),
        ("inner/b.html", "inner/c.html", "names no file"),
        ('"look.css"', '"https://cdn.example/look.css"', "from a network"),
        ("</body>", '<script src="//cdn.example/x.js"></script>', "from a network"),
        ('alt="A curve."', 'alt=""', "no alternative text"),
        ("print", "p" * 91, "94 characters in a line"),
    ],
)
def test_a_fault_is_named_with_its_page(
    folder: Path, what: str, instead: str, said: str
) -> None:
    """A lost link or anchor, a request, a mute picture, a line that is cut."""
    (folder / "a.html").write_text(WHOLE.replace(what, instead))
    (found,) = FAULTS(folder)
    assert found.startswith("a.html: ")
    assert said in found
    done = subprocess.run([sys.executable, SCRIPT, folder], capture_output=True)
    assert done.returncode == 1


def test_what_a_cell_printed_may_be_long(folder: Path) -> None:
    """It goes on in the next line; code after it does not."""
    output = f'<div class="cell_output"><div><pre>{"x" * 99}</pre></div></div>'
    (folder / "a.html").write_text(WHOLE + output)
    assert not list(FAULTS(folder))
    (folder / "a.html").write_text(WHOLE + output + f"<pre>{'y' * 95}</pre>")
    (found,) = FAULTS(folder)
    assert "95 characters" in found


def test_a_style_sheet_may_not_ask_a_network(folder: Path) -> None:
    """A font from elsewhere would."""
    (folder / "look.css").write_text("a { src: url('https://cdn.example/f.woff2') }")
    assert "look.css: loads https://cdn.example" in next(FAULTS(folder))
