"""Aggregates of scores against scipy and hand-worked values."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.statistics import (
    cvar,
    exact_dot,
    macro_weights,
    rank_correlation,
    stability,
)

SHAPES = [(1, 1), (3, 4), (2, 7), (5, 10), (4, 1)]


@pytest.mark.parametrize("shape", SHAPES)
def test_iqm_is_scipys_trimmed_mean(shape: tuple[int, int]) -> None:
    """The interquartile mean is the mean after cutting a quarter at each end."""
    scores = np.random.default_rng(1).uniform(-1, 2, shape)
    expected = stats.trim_mean(scores, 0.25, axis=None)
    assert pe.iqm(scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_optimality_gap_counts_what_is_missing_to_the_target(
    shape: tuple[int, int],
) -> None:
    """Scores above the target do not make up for those below it."""
    scores = np.random.default_rng(2).uniform(-1, 2, shape)
    gaps = [max(0.0, 1.0 - each) for each in scores.ravel().tolist()]
    expected = sum(gaps) / len(gaps)
    assert pe.optimality_gap(scores) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("shape", SHAPES)
def test_probability_of_improvement_is_mann_whitney(shape: tuple[int, int]) -> None:
    """In each task it is U over the number of pairs, ties counted half."""
    rng = np.random.default_rng(3)
    first = rng.integers(0, 5, shape) / 4
    second = rng.integers(0, 5, (6, shape[1])) / 4
    expected = [
        stats.mannwhitneyu(x, y).statistic / (x.size * y.size)
        for x, y in zip(first.T, second.T, strict=True)
    ]
    value = pe.probability_of_improvement(first, second)
    assert value == pytest.approx(np.mean(expected), abs=1e-12)


def test_probability_of_improvement_both_ways_sums_to_one() -> None:
    """Either is better, or they tie and share."""
    rng = np.random.default_rng(4)
    first, second = rng.integers(0, 3, (2, 4, 3)) / 2
    both = [
        pe.probability_of_improvement(*pair)
        for pair in ((first, second), (second, first))
    ]
    assert sum(both) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("over", ["runs", "tasks"])
def test_performance_profile_counts_scores_above(over: str) -> None:
    """Each point is the plain share of scores strictly above the threshold."""
    scores = np.random.default_rng(5).integers(0, 11, (4, 6)) / 10
    thresholds = np.linspace(-0.1, 1.1, 25)
    values = scores.mean(axis=0) if over == "tasks" else scores.ravel()
    expected = [np.mean(values > each) for each in thresholds]
    profile = pe.performance_profile(scores, thresholds, over=over)  # type: ignore[arg-type]
    assert profile == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([0.1, 0.9], 0.1),  # k = 0.5: the worst
        ([0.4, 0.2, 0.9, 0.8], 0.2),  # k = 1
        ([0.1, 0.2, 0.9, 0.8, 0.7, 0.6], (0.1 + 0.5 * 0.2) / 1.5),  # k = 1.5
        ([0.3, 0.1, 0.2, 0.9, 0.8, 0.7, 0.6, 0.5], (0.1 + 0.2) / 2),  # k = 2
    ],
)
def test_cvar_is_the_mean_of_the_worst_quarter(
    values: list[float], expected: float
) -> None:
    """A value that the quarter cuts through counts in part."""
    assert float(cvar(np.array(values))) == pytest.approx(expected, abs=1e-12)


def test_stability_goes_from_equal_to_opposite() -> None:
    """1 for equal scores, 0 for half 0 and half 1, worked by hand between."""
    half = np.full(2, 0.5)
    assert stability(np.array([0.7, 0.7]), half) == pytest.approx(1, abs=1e-12)
    assert stability(np.array([0.0, 1.0]), half) == pytest.approx(0, abs=1e-12)
    # Mean 0.6, variance 0.04, most 0.24.
    expected = 1 - 0.04 / 0.24
    assert stability(np.array([0.4, 0.8]), half) == pytest.approx(expected, abs=1e-12)
    assert stability(np.array([1.0, 1.0]), half) == 1


def test_rank_correlation_is_spearmans_in_each_group() -> None:
    """Average ranks for ties as scipy takes them; constant and small groups left out."""
    rng = np.random.default_rng(6)
    first, second = rng.integers(0, 4, (2, 45)).astype(float)
    group = rng.permutation(np.repeat([0, 1, 2, 3], [20, 14, 9, 2]))
    first[group == 2] = 1.0
    expected = [
        stats.spearmanr(first[group == each], second[group == each]).statistic
        for each in (0, 1)
    ]
    found = rank_correlation(first, second, group)
    assert found == pytest.approx(np.mean(expected), abs=1e-12)
    assert rank_correlation(np.ones(5), second[:5], np.zeros(5, dtype=int)) is None


def test_macro_weights_count_tasks_alike() -> None:
    """A task of many datasets weighs no more than a task of one."""
    cells = (("s", "d", "x"), ("t", "d", "x"), ("t", "e", "x"), ("t", "e", "y"))
    assert macro_weights(cells).tolist() == [0.5, 0.25, 0.125, 0.125]
    crossed = tuple(itertools.product("st", "de", "xyz"))
    assert macro_weights(crossed) == pytest.approx(np.full(12, 1 / 12), abs=1e-15)


def test_exact_dot_rounds_once() -> None:
    """Large terms that cancel leave the small one."""
    assert exact_dot(np.ones(3), np.array([1e16, 1.0, -1e16])) == 1.0


@pytest.mark.parametrize("formula", [pe.iqm, pe.optimality_gap])
@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ([], "at least one score"),
        ([0.5, float("nan")], r"finite scores, got nan at \(1,\)"),
        ([[0.5], [float("inf")]], r"got inf at \(1, 0\)"),
        ([0.5], None),
    ],
)
def test_aggregates_refuse_what_is_not_finite(
    formula: object, scores: list[float], message: str | None
) -> None:
    """A NaN is never trimmed as if it were a score."""
    assert callable(formula)
    if message is None:
        assert formula(scores) == 0.5
        return
    with pytest.raises(ValueError, match=message):
        formula(scores)


@pytest.mark.parametrize(("first", "second"), [([0.5], [0.5]), ([[0.5, 0.5]], [[0.5]])])
def test_probability_of_improvement_wants_the_same_tasks(
    first: list[float], second: list[float]
) -> None:
    """Shapes that do not match are an error; matching ones give a half for ties."""
    with pytest.raises(ValueError, match="same tasks"):
        pe.probability_of_improvement(first, second)
    assert pe.probability_of_improvement([[0.5]], [[0.5]]) == 0.5
