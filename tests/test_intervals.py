"""Intervals against scipy, hand-worked values and simulation."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.intervals import (
    _drawn_iqms,
    newcombe,
    small_integers,
    standard_error,
    stretch,
    t_quantile,
    wilson,
)


def test_interval_of_mean_for_one_task_is_students() -> None:
    """With one task it is the textbook t interval."""
    scores = [0.61, 0.66, 0.70]
    expected = stats.t.interval(0.95, 2, loc=np.mean(scores), scale=stats.sem(scores))
    interval = pe.interval_of_mean([[each] for each in scores])
    assert interval == pytest.approx(expected, abs=1e-12)


def test_standard_error_is_welch_and_satterthwaites() -> None:
    """Two cells of unequal size and spread, as scipy's Welch test has them."""
    first, second = [0.1, 0.5, 0.3], [0.6, 0.62, 0.64, 0.7, 0.61]
    welch = stats.ttest_ind(first, second, equal_var=False)
    values = np.array([*first, *second])
    cell = np.repeat([0, 1], [3, 5])
    found = standard_error(values, cell, np.array([1.0, -1.0]))
    assert found is not None
    error = (np.mean(first) - np.mean(second)) / welch.statistic
    assert found == pytest.approx((error, welch.df), abs=1e-12)


def test_a_cell_of_one_run_borrows_the_variance_of_the_others() -> None:
    """The lone run's cell has the mean variance of the cells with several."""
    values = np.array([0.4, 0.6, 0.9])
    found = standard_error(values, np.array([0, 0, 1]), np.array([0.5, 0.5]))
    assert found is not None
    variance = np.var([0.4, 0.6], ddof=1)
    expected = math.sqrt(0.25 * variance / 2 + 0.25 * variance)
    assert found[0] == pytest.approx(expected, abs=1e-12)


def test_one_run_a_cell_says_nothing() -> None:
    """Nothing is known of seeds where each cell has one."""
    alone = standard_error(np.array([0.4, 0.6]), np.arange(2), np.full(2, 0.5))
    assert alone is None


def test_equal_runs_leave_no_error() -> None:
    """Where every seed gives the same score, the interval is a point."""
    low, high = pe.interval_of_mean([[0.1, 0.7]] * 3)
    assert (low, high) == pytest.approx((0.4, 0.4), abs=1e-12)


@pytest.mark.parametrize(("share", "size"), [(0.0, 10), (0.3, 10), (0.85, 400), (1, 7)])
def test_wilson_is_scipys(share: float, size: int) -> None:
    """Wilson's interval of a share."""
    test = stats.binomtest(round(share * size), size)
    expected = test.proportion_ci(0.95, method="wilson")
    found = wilson(round(share * size) / size, size, 0.95)
    assert found == pytest.approx(expected, abs=1e-12)


def test_newcombe_is_its_published_example() -> None:
    """56/70 against 48/80: 0.0524 to 0.3339 (Newcombe 1998, method 10)."""
    low, high = newcombe(56 / 70, 48 / 80, (70, 80), 0.95)
    assert (round(low, 4), round(high, 4)) == (0.0524, 0.3339)


@pytest.mark.parametrize("freedom", [1.0, 2.5, 30.0, math.inf])
def test_t_quantile_is_scipys(freedom: float) -> None:
    """Student's t, and the normal at infinity."""
    expected = (
        stats.norm.ppf(0.975) if math.isinf(freedom) else stats.t.ppf(0.975, freedom)
    )
    assert t_quantile(0.975, freedom) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("aggregate", ["mean", "median", "iqm", "optimality_gap"])
def test_bootstrap_interval_holds_its_estimate(aggregate: str) -> None:
    """The interval lies around the aggregate and is the same for the same seed."""
    scores = np.random.default_rng(1).uniform(0.4, 0.8, (5, 8))
    plain = {
        "mean": scores.mean(),
        "median": np.median(scores.mean(axis=0)),
        "iqm": stats.trim_mean(scores, 0.25, axis=None),
        "optimality_gap": 1 - scores.mean(),
    }[aggregate]
    low, high = pe.bootstrap_interval(scores, aggregate, replicates=2000)  # type: ignore[arg-type]
    assert low < plain < high
    again = pe.bootstrap_interval(scores, aggregate, replicates=2000)  # type: ignore[arg-type]
    assert again == (low, high)


def test_drawn_iqms_are_those_of_the_resamples() -> None:
    """Every draw is the IQM of one of the 3³ · 3³ resamples, all as often."""
    scores = np.array([[0.1, 0.45], [0.2, 0.7], [0.6, 0.9]])
    picks = list(itertools.product(range(3), repeat=3))
    every = sorted(
        float(stats.trim_mean([*scores[list(one), 0], *scores[list(two), 1]], 0.25))
        for one, two in itertools.product(picks, picks)
    )
    found = _drawn_iqms(scores, 50_000, np.random.default_rng(0))
    distance = np.abs(found[:, None] - np.unique(np.round(every, 12))).min(axis=1)
    assert distance.max() < 1e-12
    assert found.mean() == pytest.approx(np.mean(every), abs=2e-3)
    shares = np.linspace(0.05, 0.95, 19)
    expected = np.quantile(every, shares)
    assert np.quantile(found, shares) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("shape", [(2, 1), (9, 3), (17, 2), (300, 1)])
def test_drawn_iqms_of_any_number_of_runs(shape: tuple[int, int]) -> None:
    """Against numpy's sorting of resamples drawn one by one."""
    rng = np.random.default_rng(3)
    scores = rng.uniform(size=shape)
    drawn = rng.integers(0, shape[0], (4000, *shape))
    plain = np.take_along_axis(scores[None], drawn, axis=1).reshape(4000, -1)
    expected = stats.trim_mean(plain, 0.25, axis=1)
    found = _drawn_iqms(scores, 4000, rng)
    assert found.mean() == pytest.approx(expected.mean(), abs=0.02)
    assert found.std() == pytest.approx(expected.std(), rel=0.08)


@pytest.mark.parametrize("high", [1, 2, 16, 17, 4096, 4097, 70_000])
def test_small_integers_are_uniform(high: int) -> None:
    """All values below the limit, and none else, as often."""
    found = small_integers(np.random.default_rng(0), high, (50_000,))
    assert found.max() <= high - 1
    assert found.mean() == pytest.approx((high - 1) / 2, abs=0.01 * high)
    if high <= 17:
        assert set(found.tolist()) == set(range(high))


def test_bootstrap_of_the_mean_agrees_with_t() -> None:
    """With many tasks the stretched bootstrap and the t interval are one."""
    scores = np.random.default_rng(2).normal(0.6, 0.03, (3, 40))
    expected = pe.interval_of_mean(scores)
    assert pe.bootstrap_interval(scores, "mean") == pytest.approx(expected, abs=2e-3)


def test_stretch_is_the_ratio_of_quantiles() -> None:
    """Two runs of one task: t of one degree of freedom over z."""
    factor = stretch(np.array([0.1, 0.3]), np.zeros(2, dtype=int), np.ones(1), 0.95)
    expected = stats.t.ppf(0.975, 1) / stats.norm.ppf(0.975)
    assert factor == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("formula", [pe.interval_of_mean, pe.bootstrap_interval])
@pytest.mark.parametrize("scores", [[[0.5, 0.6]], [0.5, 0.6]])
def test_one_run_has_no_interval(formula: object, scores: object) -> None:
    """One run is refused with the reason; two are enough."""
    assert callable(formula)
    with pytest.raises(ValueError, match="one run tells nothing about new seeds"):
        formula(scores)
    low, high = formula([[0.5, 0.6], [0.6, 0.7]])
    assert low < 0.6 < high
