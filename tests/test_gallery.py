"""The gallery draws every public picture, and says each in words."""

import re
from pathlib import Path

import pytest

import pretrain_eval as pe

DOCS = Path(__file__).parent.parent / "docs"
CELL = re.compile(
    r"^```\{code-cell\} ipython3\n(---\n.*?^---\n)?(.*?)^```", re.M | re.S
)
CELLS = {
    page.name: CELL.findall(page.read_text(encoding="utf-8"))
    for page in DOCS.rglob("*.md")
}


@pytest.mark.parametrize("name", pe.plot.__all__)
def test_every_picture_is_in_the_gallery_once(name: str) -> None:
    """A new one needs its place there."""
    code = "".join(code for _, code in CELLS["gallery.md"])
    assert len(re.findall(rf"pe\.plot\.{name}\(", code)) == 1


@pytest.mark.parametrize("page", [page for page, cells in CELLS.items() if cells])
def test_a_picture_of_a_page_has_words(page: str) -> None:
    """A sentence for who does not see it."""
    drawn = [options for options, code in CELLS[page] if "pe.plot." in code]
    for options in drawn:
        assert re.search(r"^    alt: \S.{30,}\.$", options, re.M), options
