"""Pages that list something list all of it."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = sorted(
    path.name
    for path in (ROOT / "tests" / "benchmarks").glob("*.py")
    if '__name__ == "__main__"' in path.read_text(encoding="utf-8")
)


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_of_figures_has_its_row(script: str) -> None:
    """docs/benchmarks.md says what each asks."""
    assert f"| `{script}` |" in text("docs/benchmarks.md")


def test_the_page_of_benchmarks_names_scripts_that_exist() -> None:
    """None that was renamed stays."""
    named = re.findall(r"^\| `(\w+\.py)` \|", text("docs/benchmarks.md"), re.M)
    assert set(named) == set(SCRIPTS)


def test_every_extra_is_explained() -> None:
    """The table of docs/install.md has each name of pyproject.toml, and no other."""
    part = text("pyproject.toml").partition("[project.optional-dependencies]")[2]
    extras = re.findall(r"^([\w-]+) = \[", part.partition("\n[")[0], re.M)
    table = re.findall(r"^\| (`.*?) \|", text("docs/install.md"), re.M)
    assert sorted(extras) == sorted(re.findall(r"`([\w-]+)`", " ".join(table)))


def test_the_first_page_ends_in_the_decision_of_the_readme() -> None:
    """Which the README's script prints."""
    page, readme = text("docs/index.md"), " ".join(text("README.md").split())
    (sentence,) = re.findall(r"^> (.*)$", page, re.M)
    assert sentence in readme


@pytest.mark.parametrize(
    "page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: page.stem
)
def test_a_formula_has_single_backslashes(page: Path) -> None:
    """Two are a line break, after which the command is plain letters."""
    prose = re.sub(r"^```.*?^```", "", page.read_text("utf-8"), flags=re.M | re.S)
    assert not re.findall(r"(?<!`)\$[^$`\n]*\\\\[a-z][^$`\n]*\$", prose)
