"""Runs that collapsed: counted by default, found and left out where that is asked."""

import numpy as np
import pytest
from scipy import stats

import pretrain_eval as pe
from pretrain_eval._scoring.collapsed import collapsed


def runs_of(scores, model="a"):
    """Runs with the accuracies of an array (num_seeds, num_tasks)."""
    return [
        pe.Run(
            model=model,
            task=f"t{task}",
            dataset="d",
            strategy="full",
            seed=seed,
            scores={"accuracy": float(accuracy)},
            chance={"accuracy": 0.0},
        )
        for seed, row in enumerate(scores)
        for task, accuracy in enumerate(row)
    ]


def world(seed, num_seeds=5, num_tasks=4, spread=0.01):
    """Accuracies that vary normally about 0.7."""
    rng = np.random.default_rng(seed)
    return rng.normal(0.7, spread, (num_seeds, num_tasks))


def test_a_collapsed_run_is_left_out_and_named():
    """The score is that of the others, as if the run had never been."""
    scores = world(0)
    scores[2, 1] = 0.1
    rest = [run for run in runs_of(scores) if (run.seed, run.task) != (2, "t1")]
    kept = pe.PersistenceEvaluator().score(runs_of(scores))
    left = pe.PersistenceEvaluator(collapsed="drop").score(runs_of(scores))
    assert kept.score == pytest.approx(scores.mean())
    means = np.where(scores == 0.1, np.nan, scores)
    assert left.score == pytest.approx(np.nanmean(means, axis=0).mean())
    assert left.num_missing == 0
    assert left.num_scored == len(rest)
    assert "1 of 20 runs collapsed and left out: a on t1/d, full, seed 2." in left.notes
    width = {
        key: r.interval.high - r.interval.low
        for key, r in {"kept": kept, "left": left}.items()
    }
    assert width["left"] < width["kept"] / 5


def test_two_of_three_that_collapsed_are_seen():
    """By the best seed of the cell; the median would be one of them."""
    scores = world(1, num_seeds=3, num_tasks=6)
    scores[:2, 3] = 0.2
    found = pe.PersistenceEvaluator(collapsed="drop").score(runs_of(scores))
    assert found.num_scored == 16
    assert found.score == pytest.approx(0.7, abs=0.02)


def test_a_comparison_says_of_whom_how_many():
    """And by default a training that can collapse is worse."""
    steady, shaky = world(2, num_tasks=8), world(4, num_tasks=8) + 0.01
    shaky[1, 2] = 0.0
    runs = runs_of(steady, "steady") + runs_of(shaky, "shaky")
    assert pe.PersistenceEvaluator().compare(runs).best == "steady"
    found = pe.PersistenceEvaluator(collapsed="drop").compare(runs)
    assert found.best == "shaky"
    note = "Collapsed runs left out: 1 of shaky; the scores are of the others."
    assert note in found.notes


def test_normal_runs_are_left_out_rarely():
    """As often as the studentized range says, with the deviation known."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(4000, 3))
    index = np.repeat(np.arange(4000), 3)
    low = collapsed(values.ravel(), index).reshape(values.shape)
    limit = stats.studentized_range.ppf(0.99, 3, np.inf)
    assert low.any(axis=1).mean() == pytest.approx(0.01, abs=0.005)
    expected = np.ptp(values, axis=1) > limit
    assert (low.any(axis=1) == expected).mean() > 0.99


@pytest.mark.parametrize(
    "values",
    [
        [0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.7, 0.1],  # no deviation to measure by
        [0.7, 0.71, 0.1],  # too few to know it
        [0.7] * 8,
    ],
)
def test_what_cannot_be_known_is_left_in(values):
    """Nothing is left out on no evidence."""
    index = np.zeros(len(values), dtype=np.intp)
    assert not collapsed(np.array(values), index).any()


def test_what_is_not_measured_is_no_collapse():
    """NaN neither collapses nor tells of others."""
    own = [0.7, 0.71, 0.69, np.nan, 0.705, 0.702, 0.698, 0.703, 0.696, 0.2]
    found = collapsed(np.array(own), np.zeros(10, dtype=np.intp))
    assert found.tolist() == [False] * 9 + [True]


def test_other_words_are_refused():
    """There are two."""
    with pytest.raises(
        ValueError, match="collapsed must be 'keep' or 'drop', got 'no'"
    ):
        pe.PersistenceEvaluator(collapsed="no")
