"""Reusability: M, D, C and the ratios beside them, worked."""

from __future__ import annotations

import pytest
from scoring import make_run

import pretrain_eval as pe

# z = (accuracy − 0.25) / 0.75
RUNS = [
    make_run("s", "d", accuracy=0.85),  # z 0.8
    make_run("s", "e", accuracy=0.55),  # z 0.4
    make_run("t", "f", accuracy=0.70),  # z 0.6
]


def test_parts_by_hand() -> None:
    """M is the macro mean over tasks, D the mean domain averaged with the worst."""
    report = pe.ReusabilityEvaluator().score(RUNS)
    assert report.parts["multi-task"] == pytest.approx(0.6, abs=1e-12)
    assert report.parts["cross-domain"] == pytest.approx((0.6 + 0.4) / 2, abs=1e-12)
    assert report.score == pytest.approx((0.6 * 0.5) ** 0.5, abs=1e-12)
    assert "complexity is left out" in str(report)


def test_complexity_by_hand() -> None:
    """R = M^0.4 D^0.4 C^0.2 with C the geometric mean of two desirabilities."""
    budget = pe.Budget(parameters=(1e3, 1e6), macs=(1e6, 1e9))
    report = pe.ReusabilityEvaluator(budget=budget).score(RUNS)
    complexity = ((2 / 3) * (2 / 3)) ** 0.5  # 10⁴ of 10³…10⁶, 10⁷ of 10⁶…10⁹
    assert report.parts["complexity"] == pytest.approx(complexity, abs=1e-12)
    expected = 0.6**0.4 * 0.5**0.4 * complexity**0.2
    assert report.score == pytest.approx(expected, abs=1e-12)


def test_a_broken_limit_is_zero() -> None:
    """More parameters than the limit make R 0."""
    budget = pe.Budget(parameters=(10, 100))
    assert pe.ReusabilityEvaluator(budget=budget).score(RUNS).score == 0


def test_a_limit_that_was_not_measured_is_named() -> None:
    """A stated cost that no run measured is left out, and the report says so."""
    runs = [make_run(cost=pe.Cost())]
    budget = pe.Budget(parameters=(10, 100))
    report = pe.ReusabilityEvaluator(budget=budget).score(runs)
    assert "complexity" not in report.parts
    assert "No run measured parameters" in str(report)


def test_reuse_ratio_and_trainable_share() -> None:
    """Z of the head alone over z of full fine-tuning, and the share that is trained."""
    cost = pe.Cost(num_parameters=1000, num_trainable_parameters=1000)
    head = pe.Cost(num_parameters=1000, num_trainable_parameters=100)
    runs = [
        make_run(accuracy=0.85, cost=cost),
        make_run(strategy="probe", accuracy=0.55, cost=head),
    ]
    details = pe.ReusabilityEvaluator().score(runs).details
    assert details["reuse ratio"] == pytest.approx(0.5, abs=1e-12)
    assert details["trainable share"] == pytest.approx(0.55, abs=1e-12)
    assert "reuse ratio" not in pe.ReusabilityEvaluator().score(RUNS).details


def test_below_chance_is_below_zero() -> None:
    """A negative mean has no power: R is the weighted sum of what lies below 0."""
    report = pe.ReusabilityEvaluator().score([make_run(accuracy=0.1)])
    assert report.score == pytest.approx(-0.2, abs=1e-12)  # (0.1 − 0.25) / 0.75
    good = make_run("u", accuracy=1.0)
    mixed = pe.ReusabilityEvaluator().score([make_run(accuracy=0.1), good])
    parts = mixed.parts
    assert parts["multi-task"] > 0 > -0.2
    assert parts["cross-domain"] == pytest.approx((0.4 - 0.2) / 2, abs=1e-12)


def test_new_tasks_need_three() -> None:
    """The jackknife over tasks is shown from three tasks on."""
    two = pe.ReusabilityEvaluator().score(RUNS)
    assert two.new_tasks is None
    three = pe.ReusabilityEvaluator().score([*RUNS, make_run("u", accuracy=0.6)])
    assert three.new_tasks is not None
    assert three.new_tasks.method == "jackknife over tasks"
