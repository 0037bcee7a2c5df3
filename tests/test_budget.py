"""Budget: how desirable a cost is."""

from __future__ import annotations

from typing import Any

import pytest
from scoring import make_run

import pretrain_eval as pe

BUDGET = pe.Budget(parameters=(1e3, 1e5))


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(-1, 1), (0, 1), (500, 1), (1e3, 1), (1e4, 0.5), (1e5, 0), (1e9, 0)],
)
def test_desirability_by_hand(amount: float, expected: float) -> None:
    """(ln B − ln x) / (ln B − ln L): 1 to the target, 0 from the limit on."""
    found = BUDGET.desirability("parameters", amount)
    assert found == pytest.approx(expected, abs=1e-12)


def test_a_budget_survives_json() -> None:
    """It is a record like the others."""
    assert pe.Budget.from_json(BUDGET.to_json()) == BUDGET


def test_a_cost_that_is_not_stated_is_refused() -> None:
    """The error names what the budget states."""
    with pytest.raises(
        ValueError, match=r"states no macs; it states \('parameters',\)"
    ):
        BUDGET.desirability("macs", 1.0)


@pytest.mark.parametrize(
    ("ends", "valid"),
    [
        ((5, 5), False),
        ((10, 1), False),
        ((0, 1), False),
        ((1,), False),
        ((1, 10), True),
    ],
)
def test_a_target_lies_below_its_limit(ends: Any, valid: bool) -> None:
    """0 < target < limit."""
    if valid:
        assert pe.Budget(seconds=ends).stated == ("seconds",)
        return
    with pytest.raises(ValueError, match="Budget expects seconds as"):
        pe.Budget(seconds=ends)


def test_costs_that_vary_stand_beside_costs_that_do_not() -> None:
    """MACs that differ by data set, one number of parameters: the bootstrap takes both."""
    budget = pe.Budget(parameters=(1e3, 1e6), macs=(1e6, 1e9))
    runs = [
        make_run(dataset=dataset, seed=seed, accuracy=0.7 + seed / 50, cost=cost)
        for dataset, macs in (("short", 10_000_000), ("long", 20_000_000))
        for seed in range(3)
        for cost in [pe.Cost(num_parameters=10_000, macs=macs)]
    ]
    report = pe.UsabilityEvaluator(budget=budget).score(runs)
    assert report.interval is not None
    assert report.interval.low < report.score < report.interval.high
