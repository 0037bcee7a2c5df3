"""How many more are needed, against the definition and against simulation."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.power import more_needed, shares

SEEDS = pe.PersistenceEvaluator(over=("seeds",))


def enough(gap: float, error: float, size: int, more: int, rest: float) -> bool:
    """The definition, with normal quantiles."""
    total = math.sqrt(error**2 * size / (size + more) + rest**2)
    quantiles = float(stats.norm.ppf(0.975) + stats.norm.ppf(0.8))
    return quantiles * total <= gap


@pytest.mark.parametrize("error", [0.005, 0.02, 0.1])
@pytest.mark.parametrize("rest", [0.0, 0.002])
def test_the_number_is_the_smallest_that_is_enough(error: float, rest: float) -> None:
    """One less is not, except where already one is."""
    more = more_needed(0.02, error, 10, rest=rest)
    assert more is not None
    assert enough(0.02, error, 10, more, rest)
    assert more == 1 or not enough(0.02, error, 10, more - 1, rest)


def test_few_degrees_of_freedom_need_more() -> None:
    """Student's t is wider than the normal."""
    few, many = (more_needed(0.02, 0.02, 3, freedom=f) for f in (2.0, math.inf))
    assert few is not None
    assert many is not None
    assert few > many


@pytest.mark.parametrize(
    ("gap", "error", "rest"), [(0.0, 0.01, 0.0), (0.01, 0.01, 0.01), (0.01, 0.0, 0.01)]
)
def test_some_gaps_are_never_shown(gap: float, error: float, rest: float) -> None:
    """Equal scores, or an error of which the rest is too large."""
    assert more_needed(gap, error, 5, rest=rest) is None


def test_shares_sum_to_one() -> None:
    """Above, within and below the rope, at its edges within."""
    gaps = np.array([[0.25, -0.25, 0.5, -0.75, 0.0]])
    above, equal, below, _ = shares(gaps, 0.25)
    assert [float(each[0]) for each in (above, equal, below)] == [0.2, 0.6, 0.2]


def world(
    rng: np.random.Generator, seeds: int, tasks: int, spread: float
) -> pe.Comparison:
    """Two models .01 apart on average, whose gap varies from task to task."""
    gaps = rng.normal(0.01, spread, tasks)
    return SEEDS.compare(
        [
            make_run(
                f"t{task}",
                model=model,
                seed=seed,
                accuracy=0.6 + lift * gaps[task] + float(rng.normal(0, 0.02)),
                chance={"accuracy": 0.0},
            )
            for model, lift in (("a", 1), ("b", 0))
            for task in range(tasks)
            for seed in range(seeds)
        ]
    )


def separated(comparison: pe.Comparison) -> bool:
    """Whether the seeds tell the two apart."""
    return not comparison.not_separable


def test_predicted_seeds_separate_as_predicted() -> None:
    """The median prediction from three seeds is within 2 × of the simulated truth."""
    rng = np.random.default_rng(0)
    predicted = []
    for _ in range(60):
        comparison = world(rng, 3, 4, 0.0)
        needed = comparison.differences[0].needed(("seeds",))["seeds"]
        predicted.append(3 + (needed or 10**6))
    rates = {
        seeds: np.mean([separated(world(rng, seeds, 4, 0.0)) for _ in range(60)])
        for seeds in (8, 12, 16, 24, 32)
    }
    truth = min(seeds for seeds, rate in rates.items() if rate >= 0.8)
    assert 0.5 <= float(np.median(predicted)) / truth <= 2


def test_luck_on_examples_is_the_spread_of_equal_seeds() -> None:
    """Where seeds differ by which examples they get right, that is all their error."""
    rng = np.random.default_rng(1)
    runs = []
    for model in "ab":
        for seed in range(40):
            bits = rng.uniform(size=200) < 0.7
            runs.append(
                make_run(
                    model=model,
                    seed=seed,
                    accuracy=float(bits.mean()),
                    num_examples=200,
                    outcomes=pe.Outcomes.of("accuracy", "t", bits.tolist()),
                )
            )
    (pair,) = pe.PersistenceEvaluator().compare(runs).differences
    # 2 models, p (1 − p) / n a seed, of 40 seeds.
    expected = math.sqrt(2 * 0.7 * 0.3 / 200 / 40)
    assert pair.errors["luck"] == pytest.approx(expected, rel=0.03)
    assert pair.errors["seeds"] == pytest.approx(expected, rel=0.2)
    without = [dataclasses.replace(run, outcomes=None) for run in runs]
    (bare,) = pe.PersistenceEvaluator().compare(without).differences
    assert "luck" not in bare.errors
