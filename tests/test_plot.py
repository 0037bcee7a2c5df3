"""Pictures show the numbers of the reports, and stand alone."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import matplotlib as mpl
import pytest
from matplotlib.cbook import is_math_text
from matplotlib.text import Text
from scoring import BUDGET, make_grid, make_run

import pretrain_eval as pe
from pretrain_eval import plot

mpl.use("agg")

RUNS = make_grid()
OWN = [run for run in RUNS if run.model == "a"]
CARD = pe.scorecard(RUNS, budget=BUDGET)
DRAWN: dict[str, Callable[..., Any]] = {
    "scores": lambda **ax: plot.scores(CARD["persistence"], **ax),
    "grid": lambda **ax: plot.grid(OWN, **ax),
    "curves": lambda **ax: plot.curves(RUNS, **ax),
    "before_after": lambda **ax: plot.before_after(OWN, **ax),
    "cost": lambda **ax: plot.cost(CARD["usability"], **ax),
    "profiles": lambda **ax: plot.profiles(RUNS, **ax),
    "ranks": lambda **ax: plot.ranks(CARD["usability"], **ax),
}


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    """No figure is left open."""
    import matplotlib.pyplot as plt

    yield
    plt.close("all")


@pytest.mark.parametrize("name", DRAWN)
def test_each_picture_stands_alone(name: str) -> None:
    """Title and axis are named, given axes are used, and nothing is shown."""
    import matplotlib.pyplot as plt

    made = DRAWN[name]()
    assert made.get_title()
    assert made.get_xlabel()
    figure, ax = plt.subplots()
    assert DRAWN[name](ax=ax) is ax
    figure.canvas.draw()


def test_scores_draw_the_reports() -> None:
    """Each dot is a score, each bar an interval, in the order of the ranking."""
    comparison = CARD["persistence"]
    ax = plot.scores(comparison)
    dots = [
        line
        for line in ax.lines
        if line.get_marker() in "oDs" and len(line.get_xdata())
    ]
    found = [float(line.get_xdata()[0]) for line in dots]
    assert found == [report.score for report in comparison.reports]
    names = [label.get_text() for label in ax.get_yticklabels()]
    assert names == [report.model for report in comparison.reports]
    assert "95 % interval for new seeds" in ax.get_xlabel()
    assert "48 runs of 2 models" in ax.get_title()


@pytest.mark.parametrize(
    ("evaluator", "gap", "colors"),
    [
        (pe.PersistenceEvaluator(), 0.3, ["#0072b2", "#999999"]),
        (pe.PersistenceEvaluator(), 0.0, ["#56b4e9", "#56b4e9"]),
        (pe.VariabilityEvaluator(), 0.3, ["#999999", "#999999"]),
    ],
    ids=["separable", "not separable", "no merit"],
)
def test_only_what_is_told_apart_is_the_best(
    evaluator: pe.Evaluator, gap: float, colors: list[str]
) -> None:
    """Dark blue is the best that is separable, and never a score that is no merit."""
    runs = [
        make_run(model=model, seed=seed, accuracy=level + seed / 50)
        for model, level in {"a": 0.6 + gap, "b": 0.6}.items()
        for seed in range(3)
    ]
    ax = plot.scores(evaluator.compare(runs))
    dots = [
        line
        for line in ax.lines
        if line.get_marker() in "oDs" and len(line.get_xdata())
    ]
    assert [dot.get_color() for dot in dots] == colors


def test_the_grid_writes_each_cell() -> None:
    """The number in a cell is the mean over its seeds; a hole is said."""
    runs = [run for run in OWN if (run.dataset, run.strategy) != ("e", "probe")]
    words = [text.get_text() for text in plot.grid(runs).texts]
    mean = sum(run.scores["accuracy"] for run in OWN[:3]) / 3
    assert words[0] == f"{mean:.3f}"
    assert words.count("none") == 2


def test_the_scorecard_holds_every_protocol() -> None:
    """Six panels, the decision above, and how to read it below."""
    figure = plot.scorecard(CARD)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "persistence (decides)"
    assert set(titles[1:]) == {
        "optimizability",
        "usability",
        "variability",
        "reusability",
        "cost of its runs",
    }
    assert figure.get_suptitle().replace("\n", " ") == CARD.decision
    assert "48 runs of 2 models" in figure.get_supxlabel().replace("\n", " ")


def test_hostile_names_are_drawn_as_they_are() -> None:
    """A name with signs of formulas neither fails nor becomes one."""
    runs = [dataclasses.replace(run, model=f"$x_{run.model}$ 100%") for run in RUNS]
    for figure in (plot.scorecard(pe.scorecard(runs)), plot.curves(runs).figure):
        figure.canvas.draw()
        words = [text.get_text() for text in figure.findobj(Text)]
        assert any(runs[0].model in word.replace(r"\$", "$") for word in words)
        assert not any(is_math_text(word) for word in words)


def test_missing_and_unscored_models_are_drawn() -> None:
    """Bounds and panels without scores do not fail."""
    lost = dataclasses.replace(RUNS[0], status="oom", scores={}, curve={})
    card = pe.scorecard([lost, *RUNS[1:]])
    figure = plot.scorecard(card)
    assert "wide band: bounds with missing runs" in figure.get_supxlabel().replace(
        "\n", " "
    )
    words = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert "no budget stated:\nno score" in words


@pytest.mark.parametrize(
    ("draw", "message"),
    [
        (lambda: plot.grid(RUNS), r"plot\.grid draws the runs of one model"),
        (lambda: plot.before_after(RUNS), "draws the runs of one model"),
        (lambda: plot.before_after([make_run(baseline={})]), "before and after"),
        (lambda: plot.curves([make_run(curve={})]), "no run has a validation curve"),
        (lambda: plot.cost(CARD["persistence"]), "draws a usability comparison"),
        (lambda: plot.ranks(CARD["persistence"]), "has no weights here"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    draw: Callable[[], object], message: str
) -> None:
    """Each refusal says what would be drawn."""
    with pytest.raises(ValueError, match=message):
        draw()


def test_without_matplotlib_the_error_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The line to install is in the error."""
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "pretrain-eval\[plot\]"'):
        plot.scores(CARD["persistence"])
