"""Runs grouped by model, and what is asked of them."""

from __future__ import annotations

import math

import pytest
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring.model_runs import (
    ModelRuns,
    by_model,
    column,
    column_of,
    named,
    num_untimed,
    total_cost,
    which_diverged,
)


def some_runs() -> list[pe.Run]:
    """Two models in disorder; one run of a failed."""
    return [
        make_run("t", seed=1, model="b"),
        make_run("t", "e", seed=0),
        make_run("t", "d", seed=1, status="diverged", scores={}, chance={}),
        make_run("s", "d", "probe", status="error", scores={}),
        make_run("t", "d", seed=0),
    ]


def test_runs_are_grouped_and_sorted() -> None:
    """Models in order of name, runs in order of cell and seed."""
    grouped = by_model(some_runs())
    assert list(grouped) == ["a", "b"]
    own = grouped["a"]
    assert own.model == "a"
    assert [(run.task, run.dataset, run.seed) for run in own.runs] == [
        ("s", "d", 0),
        ("t", "d", 0),
        ("t", "d", 1),
        ("t", "e", 0),
    ]


def test_grouped_runs_are_not_grouped_again() -> None:
    """What several evaluators ask of the same runs is sorted once."""
    grouped = by_model(some_runs())
    assert by_model(grouped) is grouped


def test_cells_are_numbered() -> None:
    """Each run's cell, those with a result, and the crossed grid."""
    own = by_model(some_runs())["a"]
    assert own.cells == (("s", "d", "probe"), ("t", "d", "full"), ("t", "e", "full"))
    assert own.cell.tolist() == [0, 1, 1, 2]
    assert own.usable == {("t", "d", "full"), ("t", "e", "full")}
    assert own.num_diverged == 1
    assert len(own.full.names) == 6
    assert own.full.modes == {"full": "all", "probe": "head"}


def test_a_run_without_chance_has_that_of_its_dataset() -> None:
    """In what is scored, not in what was given."""
    runs = some_runs()
    assert by_model(runs)["a"].runs[2].chance["accuracy"] == 0.25
    assert not runs[2].chance


def test_within_keeps_some_cells() -> None:
    """The runs of other cells are left out."""
    own = by_model(some_runs())["a"]
    kept = own.within({("t", "d", "full")})
    assert [run.seed for run in kept.runs] == [0, 1]
    assert isinstance(kept, ModelRuns)


def test_costs_add_up() -> None:
    """Times and samples are summed, sizes are the largest, unknown stays unknown."""
    runs = [
        make_run(cost=pe.Cost(seconds=1.5, num_samples=3, macs=10)),
        make_run(seed=1, cost=pe.Cost(seconds=2.0, total_seconds=5.0, macs=20)),
        make_run(seed=2, cost=pe.Cost()),
    ]
    expected = pe.Cost(seconds=3.5, total_seconds=6.5, num_samples=3, macs=20)
    assert total_cost(runs) == expected
    assert by_model(runs)["a"].cost == expected
    assert total_cost(runs, sizes=False).macs is None
    assert num_untimed(runs) == 1


@pytest.mark.parametrize(
    ("runs", "error", "message"),
    [
        ([], ValueError, "at least one run"),
        ([make_run(), make_run()], ValueError, "stands twice"),
        (["a"], TypeError, "Run records"),
        ([make_run()], None, ""),
    ],
)
def test_bad_runs_are_refused(
    runs: list[pe.Run], error: type[Exception] | None, message: str
) -> None:
    """Nothing, twins and what is no run."""
    if error is None:
        assert by_model(runs)["a"].runs == tuple(runs)
        return
    with pytest.raises(error, match=message):
        by_model(runs)


def test_columns_hold_nan_where_nothing_is() -> None:
    """None and an absent key are NaN; numbers keep every bit."""
    nan = pytest.approx([0.1, math.nan], nan_ok=True, abs=0)
    assert column([0.1, None]).tolist() == nan
    assert column_of([{"a": 0.1, "b": 2.0}, {"b": 3.0}], ["a", "a"]).tolist() == nan
    assert column_of([{"a": 0.1}, {"b": 3.0}], ["a", "b"]).tolist() == [0.1, 3.0]
    assert column([]).size == 0


def test_which_runs_diverged() -> None:
    """Those of that status alone."""
    runs = [make_run(), make_run(status="diverged"), make_run(status="error")]
    assert which_diverged(runs).tolist() == [False, True, False]


def test_which_keys_name_something() -> None:
    """The empty key stands for a task without a metric."""
    assert named(["accuracy", ""]).tolist() == [True, False]
