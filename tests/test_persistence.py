"""Persistence: worked values of P(M) and of what stands beside it."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy import stats
from scoring import make_grid, make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.intervals import wilson

VALUES = (0.5, 0.75, 0.625, 0.875, 0.25, 0.375, 0.9375, 0.8125)


def two_by_two_by_two() -> list[pe.Run]:
    """One run in each cell of tasks × datasets × strategies."""
    places = itertools.product(("s", "t"), ("d", "e"), ("full", "probe"))
    return [
        make_run(*place, accuracy=value)
        for place, value in zip(places, VALUES, strict=True)
    ]


def test_the_score_is_the_sources_formula() -> None:
    """P(M) on a 2 × 2 × 2 grid is the plain mean of its eight cells, to the bit."""
    report = pe.PersistenceEvaluator().score(two_by_two_by_two())
    assert report.score == sum(VALUES) / (2 * 2 * 2)
    assert dict(report.parts) == {"s": sum(VALUES[:4]) / 4, "t": sum(VALUES[4:]) / 4}


def test_seeds_are_averaged_first() -> None:
    """P_ijk is a mean over seeds: a cell of many runs weighs no more than another."""
    runs = [make_run(dataset="d", seed=seed, accuracy=0.5) for seed in range(5)]
    runs.append(make_run(dataset="e", accuracy=1.0))
    assert pe.PersistenceEvaluator().score(runs).score == 0.75


def test_nested_grids_count_tasks_alike() -> None:
    """A task of three datasets weighs as much as a task of one."""
    runs = [make_run("many", name, accuracy=0.5) for name in "abc"]
    runs.append(make_run("one", "z", accuracy=1.0))
    assert pe.PersistenceEvaluator().score(runs).score == 0.75


def test_details_by_hand() -> None:
    """Worst cell, CVaR25, IQM, stability, sensitivity and tunability, worked."""
    details = pe.PersistenceEvaluator().score(two_by_two_by_two()).details
    cells = np.array(VALUES)
    pairs = cells.reshape(4, 2)
    mean, variance = cells.mean(), cells.var()
    expected = {
        "normalised mean": (mean - 0.25) / 0.75,
        "IQM": stats.trim_mean(cells, 0.25),
        "CVaR25 over cells": (0.25 + 0.375) / 2,
        "worst cell": 0.25,
        "stability": 1 - variance / (mean * (1 - mean)),
        "strategy sensitivity": np.mean([abs(a - b) / 2 for a, b in pairs]),
        "tunability": np.mean([max(pair) - sum(pair) / 2 for pair in pairs]),
    }
    for name, value in expected.items():
        assert details[name] == pytest.approx(value, abs=1e-12), name


def test_variances_add_up() -> None:
    """The four components are those of nested means and sum to the whole variance."""
    runs = make_grid(models=("a",), spread=0.1)
    details = pe.PersistenceEvaluator().score(runs).details
    values = np.array([run.scores["accuracy"] for run in runs]).reshape(2, 2, 2, 3)
    expected = {
        "variance over tasks": values.mean(axis=(1, 2, 3)).var(),
        "variance over datasets": values.mean(axis=(2, 3)).var(axis=1).mean(),
        "variance over strategies": values.mean(axis=3).var(axis=2).mean(),
        "variance over seeds": values.var(axis=3).mean(),
    }
    for name, value in expected.items():
        assert details[name] == pytest.approx(value, abs=1e-12), name
    assert sum(expected.values()) == pytest.approx(values.var(), abs=1e-12)


def test_iqm_waits_for_eight_runs() -> None:
    """With seven runs no interquartile mean is shown."""
    runs = [make_run(seed=seed, accuracy=seed / 10) for seed in range(8)]
    assert "IQM" in pe.PersistenceEvaluator().score(runs).details
    assert "IQM" not in pe.PersistenceEvaluator().score(runs[:7]).details


def test_the_interval_over_seeds_is_welch_and_satterthwaites() -> None:
    """Two cells of three seeds: mean ± t · √(s₁² / 3 + s₂² / 3) / 2."""
    first, second = (0.70, 0.74, 0.75), (0.50, 0.40, 0.45)
    runs = [make_run(dataset="d", seed=i, accuracy=x) for i, x in enumerate(first)]
    runs += [make_run(dataset="e", seed=i, accuracy=x) for i, x in enumerate(second)]
    terms = np.array([np.var(each, ddof=1) / 3 for each in (first, second)])
    freedom = terms.sum() ** 2 / (terms**2 / 2).sum()
    half = stats.t.ppf(0.975, freedom) * np.sqrt(terms.sum()) / 2
    center = np.mean([*first, *second])
    interval = pe.PersistenceEvaluator().score(runs).interval
    assert interval is not None
    found = interval.low, interval.high
    assert found == pytest.approx((center - half, center + half), abs=1e-9)


def test_the_interval_over_tasks_is_students() -> None:
    """For new tasks: t over the means of the tasks."""
    means = {"s": 0.5, "t": 0.6, "u": 0.8}
    runs = [make_run(task, accuracy=mean) for task, mean in means.items()]
    interval = pe.PersistenceEvaluator().score(runs).new_tasks
    assert interval is not None
    values = list(means.values())
    expected = stats.t.interval(0.95, 2, np.mean(values), stats.sem(values))
    assert (interval.low, interval.high) == pytest.approx(
        (expected[0], min(expected[1], 1)), abs=1e-9
    )
    assert pe.PersistenceEvaluator().score(runs[:1]).new_tasks is None


def test_the_interval_over_examples_is_wilsons() -> None:
    """One data set: Wilson; seeds and strategies on the same examples add nothing."""
    runs = [
        make_run(strategy=strategy, seed=seed, accuracy=0.8, num_examples=100)
        for strategy in ("full", "probe")
        for seed in range(2)
    ]
    interval = pe.PersistenceEvaluator().score(runs).examples
    assert interval is not None
    expected = wilson(0.8, 100, 0.95)
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-12)
    two = [make_run(dataset=name, accuracy=0.8, num_examples=100) for name in "de"]
    wider = pe.PersistenceEvaluator().score(two).examples
    assert wider is not None
    assert (wider.low, wider.high) == pytest.approx(wilson(0.8, 200, 0.95), abs=1e-12)
    f1 = pe.PersistenceEvaluator(metric="f1").score(two)
    assert f1.examples is None  # F1 is no share of examples
    assert pe.PersistenceEvaluator().score([make_run()]).examples is None


def test_bounds_of_what_is_missing() -> None:
    """[Σ / n, (Σ + missing) / n] for one lost cell of four."""
    runs = [make_run(dataset=name, accuracy=0.5) for name in "def"]
    runs.append(make_run(dataset="g", status="timeout", scores={}))
    report = pe.PersistenceEvaluator().score(runs)
    assert report.bounds == pytest.approx((1.5 / 4, 2.5 / 4), abs=1e-12)
    assert report.score == 0.5


def test_a_hole_in_the_grid_is_missing() -> None:
    """A strategy that was run on one dataset only lacks the other."""
    runs = [make_run(dataset="d"), make_run(dataset="e"), make_run(strategy="probe")]
    report = pe.PersistenceEvaluator().score(runs)
    assert (report.num_missing, report.num_runs, report.num_scored) == (1, 3, 3)


def test_a_diverged_run_counts_its_chance_level() -> None:
    """P_ijk of a diverged run is the chance accuracy."""
    runs = [
        make_run(dataset="d", accuracy=0.75),
        make_run(dataset="e", status="diverged", scores={}),
    ]
    assert pe.PersistenceEvaluator().score(runs).score == 0.5
