"""The five protocols on runs built by hand."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

import pretrain_eval as pe

FIVE = (
    pe.OptimizabilityEvaluator(),
    pe.UsabilityEvaluator(budget=pe.Budget(parameters=(1e3, 1e6), seconds=(1, 100))),
    pe.VariabilityEvaluator(),
    pe.ReusabilityEvaluator(budget=pe.Budget(parameters=(1e3, 1e6))),
    pe.PersistenceEvaluator(),
)


def make_run(
    model="a", task="t", dataset="d", strategy="full", seed=0, accuracy=0.75, **fields
):
    """One run with everything that the protocols read."""
    before = fields.pop("before", 0.5)
    given = {
        "scores": dict.fromkeys(("accuracy", "recall", "f1"), accuracy),
        "baseline": dict.fromkeys(("accuracy", "recall", "f1"), before),
        "chance": dict.fromkeys(("accuracy", "recall", "f1"), 0.25),
        "curve": {"step": (0, 10), "accuracy": (before, accuracy)},
        "cost": pe.Cost(num_parameters=10_000, seconds=10.0),
        "settings": {"trainable": "head" if strategy == "probe" else "all"},
    }
    return pe.Run(
        model=model,
        task=task,
        dataset=dataset,
        strategy=strategy,
        seed=seed,
        **given | fields,
    )


def make_grid(models=("a", "b"), seeds=3, spread=0.02):
    """Two tasks, two datasets, two strategies, with noise over seeds."""
    rng = np.random.default_rng(0)
    axes = models, ("s", "t"), ("d", "e"), ("full", "probe"), range(seeds)
    return [
        make_run(*place, accuracy=0.7 + rng.normal(0, spread))
        for place in itertools.product(*axes)
    ]


def test_persistence_is_the_sources_formula():
    """P(M) on a 2 × 2 × 2 grid is the plain mean of its eight cells, to the bit."""
    values = [0.5, 0.75, 0.625, 0.875, 0.25, 0.375, 0.9375, 0.8125]
    places = itertools.product(("s", "t"), ("d", "e"), ("full", "probe"))
    runs = [
        make_run("a", *place, accuracy=value)
        for place, value in zip(places, values, strict=True)
    ]
    assert pe.PersistenceEvaluator().score(runs).score == sum(values) / 8


@pytest.mark.parametrize("evaluator", FIVE, ids=lambda e: e.protocol)
def test_order_of_runs_changes_nothing(evaluator):
    """Permuting the runs changes no bit of the reports."""
    runs = make_grid()
    expected = evaluator.compare(runs).to_json()
    for seed in range(3):
        shuffled = random.Random(seed).sample(runs, len(runs))
        assert evaluator.compare(shuffled).to_json() == expected


@pytest.mark.parametrize("evaluator", FIVE, ids=lambda e: e.protocol)
def test_a_score_does_not_depend_on_the_others(evaluator):
    """A model's report is the same alone and beside others."""
    runs = make_grid(models=("a", "b", "c"))
    alone = evaluator.score([run for run in runs if run.model == "b"])
    assert alone in evaluator.compare(runs).reports


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "at least one run"),
        (make_grid(), r"runs of one model, got \['a', 'b'\]; use compare"),
        ([make_run(), make_run()], "a on t/d, full, seed 0 stands twice"),
        ([make_run(status="error", scores={})], "no run of a has a result"),
    ],
)
def test_bad_runs_are_refused(runs, message):
    """What cannot be scored is an error that says why."""
    with pytest.raises(ValueError, match=message):
        pe.PersistenceEvaluator().score(runs)


def test_an_unknown_metric_lists_the_known():
    """A metric that no run has is an error with the keys that exist."""
    with pytest.raises(ValueError, match=r"'auroc'.*\['accuracy', 'f1', 'recall'\]"):
        pe.PersistenceEvaluator(metric="auroc").score([make_run()])


class WorstCaseEvaluator(pe.Evaluator):
    """The example of an evaluator of one's own."""

    protocol = "worst case"

    def parts(self, runs):
        """One accuracy a dataset."""
        return {f"{run.task}/{run.dataset}": run.scores["accuracy"] for run in runs}

    def combine(self, parts):
        """The lowest."""
        return min(parts.values())


def test_an_evaluator_of_ones_own_needs_two_functions():
    """Two functions give a score, an interval and a ranking."""
    runs = make_grid()
    report = WorstCaseEvaluator().score([run for run in runs if run.model == "a"])
    assert report.interval.low <= report.score
    assert {r.model for r in WorstCaseEvaluator().compare(runs).reports} == {"a", "b"}


def test_usability_without_a_budget_has_no_score():
    """Without a budget the quantities are shown and no number is invented."""
    report = pe.UsabilityEvaluator().score([make_run()])
    assert report.score is None
    assert "no budget is stated" in str(report)


def test_the_scorecard_survives_json():
    """The five comparisons come back from JSON equal."""
    card = pe.scorecard(make_grid(), scratch="b")
    assert pe.Scorecard.from_json(card.to_json()) == card
    assert card.best in ("a", "b")
