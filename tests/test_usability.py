"""Usability: desirabilities, the better mode, and no number without a budget."""

from __future__ import annotations

import dataclasses

import pytest
from scoring import BUDGET, make_grid, make_run

import pretrain_eval as pe


def test_the_score_by_hand() -> None:
    """Π d^w over performance, generalisation, resources and training time."""
    runs = [make_run(task, accuracy=a) for task, a in {"s": 0.85, "t": 0.55}.items()]
    report = pe.UsabilityEvaluator(budget=BUDGET).score(runs)
    parts = {
        "performance": 0.6,
        "generalisation": 0.4,  # the worse of two tasks
        "resources": ((2 / 3) * (2 / 3)) ** 0.5,
        "training time": 0.5,  # 10 s of 1…100
    }
    assert dict(report.parts) == pytest.approx(parts, abs=1e-12)
    expected = 0.6**0.4 * 0.4**0.2 * (2 / 3) ** 0.2 * 0.5**0.2
    assert report.score == pytest.approx(expected, abs=1e-12)


def test_a_partial_budget_shares_the_weights() -> None:
    """Costs without limits are left out and the other weights grow."""
    budget = pe.Budget(seconds=(1, 100))
    report = pe.UsabilityEvaluator(budget=budget).score([make_run(accuracy=0.85)])
    assert set(report.parts) == {"performance", "generalisation", "training time"}
    expected = (0.8**0.4 * 0.8**0.2 * 0.5**0.2) ** (1 / 0.8)
    assert report.score == pytest.approx(expected, abs=1e-12)


def test_a_broken_limit_is_zero() -> None:
    """A model that is slower than the limit is not usable."""
    budget = pe.Budget(seconds=(1, 5))
    assert pe.UsabilityEvaluator(budget=budget).score([make_run()]).score == 0


def test_the_better_mode_counts_as_a_whole() -> None:
    """Performance and cost are of one mode: here the head alone, fast and as good."""
    slow = make_run(accuracy=0.86, cost=pe.Cost(seconds=90.0))
    fast = make_run(strategy="probe", accuracy=0.85, cost=pe.Cost(seconds=1.0))
    budget = pe.Budget(seconds=(1, 100))
    report = pe.UsabilityEvaluator(budget=budget).score([slow, fast])
    assert report.parts["performance"] == pytest.approx(0.8, abs=1e-12)
    assert report.parts["training time"] == 1
    assert report.details["fine-tuning"] == pytest.approx(0.61 / 0.75, abs=1e-12)
    assert report.details["feature extraction"] == pytest.approx(0.8, abs=1e-12)


def test_without_a_budget_there_is_no_score() -> None:
    """The quantities and the Pareto front are shown, and no number is invented."""
    runs = make_grid()
    report = pe.UsabilityEvaluator().score([run for run in runs if run.model == "a"])
    assert report.score is None
    assert report.interval is None
    assert "No budget is stated" in str(report)
    comparison = pe.UsabilityEvaluator().compare(runs)
    assert comparison.best is None
    assert "No model is recommended" in str(comparison)
    assert "Pareto front of performance, parameters, macs and seconds" in str(
        comparison
    )


def test_the_pareto_front() -> None:
    """A model that is worse and no cheaper than another is not on the front."""
    costs = {"good": (0.9, 900), "cheap": (0.7, 100), "bad": (0.6, 900)}
    runs = [
        make_run(model=model, accuracy=accuracy, cost=pe.Cost(num_parameters=size))
        for model, (accuracy, size) in costs.items()
    ]
    notes = pe.UsabilityEvaluator().compare(runs).notes
    assert "Pareto front of performance and parameters: cheap and good." in notes


def test_rank_acceptability_over_random_weights() -> None:
    """Good against cheap: each is first for some weights; shares sum to 1."""
    runs = [
        make_run(model="good", accuracy=0.95, cost=pe.Cost(seconds=80.0)),
        make_run(model="cheap", accuracy=0.55, cost=pe.Cost(seconds=1.0)),
        make_run(model="bad", accuracy=0.5, cost=pe.Cost(seconds=81.0)),
    ]
    evaluator = pe.UsabilityEvaluator(budget=pe.Budget(seconds=(1, 100)))
    shares = evaluator.compare(runs).acceptability
    assert shares["bad"] == (0, 0, 1)
    assert 0.1 < shares["good"][0] < 0.9
    assert all(sum(share) == pytest.approx(1, abs=1e-12) for share in shares.values())
    assert pe.UsabilityEvaluator().compare(runs).acceptability == {}


def test_weight_sensitivity_of_one_model_is_shown() -> None:
    """The range of U over random weights stands beside it and holds the parts."""
    report = pe.UsabilityEvaluator(budget=BUDGET).score([make_run()])
    low = report.details["5 % over all weights"]
    high = report.details["95 % over all weights"]
    assert min(report.parts.values()) <= low < high <= max(report.parts.values())


@pytest.mark.parametrize(
    ("weights", "valid"),
    [
        ({"performance": 1.0}, False),
        (
            dict.fromkeys(
                ("performance", "generalisation", "resources", "training time"), 0.0
            ),
            False,
        ),
        (
            dict.fromkeys(
                ("performance", "generalisation", "resources", "training time"), 2.0
            ),
            True,
        ),
    ],
)
def test_weights_name_every_part(weights: dict[str, float], valid: bool) -> None:
    """Each of the four parts has a positive weight; only their ratios matter."""
    if not valid:
        with pytest.raises(ValueError, match="weights must give each of"):
            pe.UsabilityEvaluator(weights=weights)
        return
    evaluator = pe.UsabilityEvaluator(budget=BUDGET, weights=weights)
    equal = dataclasses.replace(evaluator, weights=dict.fromkeys(weights, 1.0))
    runs = [make_run()]
    assert evaluator.score(runs).score == pytest.approx(equal.score(runs).score)
