"""Score against cost: who is beaten by nobody, and who is the cheapest."""

from __future__ import annotations

from typing import Any

import pytest

import pretrain_eval as pe


def report(
    model: str, score: float | None, num_runs: int = 3, **cost: Any
) -> pe.Report:
    """A report with costs."""
    return pe.Report(
        protocol="p",
        model=model,
        score=score,
        num_runs=num_runs,
        cost=pe.Cost(**cost),
    )


def fronts(*reports: pe.Report) -> dict[str, tuple[str, ...]]:
    """The fronts of a comparison."""
    return dict(pe.Comparison(protocol="p", reports=reports).pareto)


def test_a_front_holds_what_no_other_beats() -> None:
    """Each front is that of one cost, by brute force on a hand-made table."""
    found = fronts(
        report("a", 0.9, num_parameters=30, macs=5),
        report("b", 0.8, num_parameters=20, macs=6),
        report("c", 0.7, num_parameters=25, macs=1),
        report("d", 0.7, num_parameters=25, macs=1),
    )
    assert found == {"parameters": ("a", "b"), "macs": ("a", "c", "d")}


def test_equal_sizes_are_equally_fast() -> None:
    """Times of models of one size are the machine's, and put nobody on the front."""
    same = {"num_parameters": 10, "macs": 5}
    found = fronts(
        report("a", 0.9, seconds=10.0, **same), report("b", 0.8, seconds=1.0, **same)
    )
    assert found["seconds"] == ("a",)
    other = fronts(
        report("a", 0.9, seconds=10.0, **same),
        report("b", 0.8, seconds=1.0, num_parameters=5, macs=5),
    )
    assert other["seconds"] == ("a", "b")


@pytest.mark.parametrize(
    "second",
    [
        report("b", 0.8, seconds=None, macs=3),
        report("b", 0.8, num_runs=4, seconds=1.0, macs=3),
    ],
    ids=["untimed", "more runs"],
)
def test_time_that_was_not_measured_alike_has_no_front(second: pe.Report) -> None:
    """Seconds are sums: they are compared where all have them, of as many runs."""
    first = report("a", 0.9, seconds=10.0, macs=5)
    assert "seconds" not in fronts(first, second)
    assert "macs" in fronts(first, second)


def test_models_without_scores_have_no_front() -> None:
    """There is nothing to hold the cost against."""
    assert fronts(report("a", None, macs=5)) == {}
