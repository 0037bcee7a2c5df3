"""Which words of a page mean a public name, and so become a link."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sphinx", reason="pip install 'pretrain-eval[docs]'")
FILE = Path(__file__).parent.parent / "docs" / "_extensions" / "names.py"


def names() -> Any:
    spec = importlib.util.spec_from_file_location("names", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("text", "most_exact"),
    [
        ("sweep", "sweep"),
        ("pe.sweep", "sweep"),
        ("pretrain_eval.zoo.timm", "zoo.timm"),
        ('sweep(..., save="folder")', "sweep"),
        ("Choice.report()", "Choice.report"),
    ],
)
def test_a_name_is_read_as_it_is_written(text: str, most_exact: str) -> None:
    """With or without the package, and with arguments."""
    assert next(names().candidates(text)) == most_exact


def test_a_member_of_what_bears_the_name_of_its_class_is_found() -> None:
    """`comparison.settle` is one of a `Comparison`, and described with it."""
    assert list(names().candidates("comparison.settle")) == [
        "comparison.settle",
        "Comparison.settle",
        "comparison",
        "Comparison",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "trainable=2",
        "pip install",
        "docs/keys.md",
        "runs.db",
        "-W",
        "a + b",
        "",
        "f(x) + 1",
    ],
)
def test_what_is_no_name_has_no_candidate(text: str) -> None:
    """Arguments, commands, paths and formulas stay as they are."""
    assert not list(names().candidates(text))
