"""Scores from confusion counts, and how they would vary on other examples."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scoring import make_run
from sklearn import metrics

import pretrain_eval as pe
from pretrain_eval._scoring.model_runs import ModelRuns
from pretrain_eval._scoring.new_examples import MACRO, macro_scores, moves_over_examples

HALF = ((0, 0, 40), (0, 1, 10), (1, 0, 20), (1, 1, 30))


def counted(confusion: Any = HALF, **fields: Any) -> pe.Run:
    """A run with confusions and the macro scores that scikit-learn makes of them."""
    targets = [t for t, _, count in confusion for _ in range(count)]
    outputs = [p for _, p, count in confusion for _ in range(count)]
    classes = fields.setdefault("settings", {"num_classes": 2})["num_classes"]
    macro = {"average": "macro", "labels": range(classes), "zero_division": 0}
    recall = metrics.recall_score(targets, outputs, **macro)
    scores = {
        "recall": recall,
        "balanced_accuracy": recall,
        "precision": metrics.precision_score(targets, outputs, **macro),
        "f1": metrics.f1_score(targets, outputs, **macro),
    }
    given = {"scores": scores, "num_examples": len(targets), "confusion": confusion}
    return make_run(**given | fields)


def moves(runs: list[pe.Run], key: str = "recall") -> tuple[float, float] | None:
    """Those of the runs' own cells."""
    cells = ModelRuns(tuple(runs)).full
    return moves_over_examples(runs, cells, key, 0.95, np.random.default_rng(0))


@pytest.mark.parametrize("key", MACRO)
def test_macro_scores_are_scikit_learns(key: str) -> None:
    """Also with a class that is never a target, one never predicted, one neither."""
    rng = np.random.default_rng(0)
    targets, outputs = rng.integers(0, 4, 60), rng.integers(1, 5, 60)
    pairs, counts = np.unique([targets, outputs], axis=1, return_counts=True)
    name = "recall" if key == "balanced_accuracy" else key
    expected = getattr(metrics, f"{name}_score")(
        targets, outputs, average="macro", labels=range(6), zero_division=0
    )
    found = macro_scores(key, pairs, np.stack([counts, counts]).astype(float), 6)
    assert found == pytest.approx([expected] * 2, abs=1e-12)


def test_the_width_is_that_of_independent_classes() -> None:
    """Recall of two classes: ± 1.96 √(p₁q₁/n₁ + p₂q₂/n₂) / 2."""
    found = moves([counted()])
    assert found is not None
    half = 1.96 * math.sqrt(0.8 * 0.2 / 50 + 0.6 * 0.4 / 50) / 2
    assert found == pytest.approx((-half, half), rel=0.12)


def test_seeds_and_strategies_add_no_examples_and_datasets_do() -> None:
    """What is measured on the same examples errs together; other examples average."""
    alone = moves([counted()])
    together = moves([counted(), counted(seed=1), counted(strategy="probe")])
    apart = moves([counted(), counted(dataset="e")])
    assert alone is not None
    assert together is not None
    assert apart is not None
    assert together == pytest.approx(alone, rel=0.12)
    assert apart == pytest.approx([end / math.sqrt(2) for end in alone], rel=0.12)


def test_what_does_not_give_the_score_is_not_read() -> None:
    """A run without counts, or whose score is another average, has no interval."""
    known = counted()
    assert moves([known]) is not None
    assert moves([known, dataclasses.replace(known, seed=1, confusion=())]) is None
    micro = dataclasses.replace(known, seed=1, scores={"recall": 0.7001})
    assert moves([known, micro]) is None
    assert moves([dataclasses.replace(known, status="error")]) is None
    wider = dataclasses.replace(known, settings={"num_classes": 3})
    assert moves([wider]) is None  # a third class would enter the mean


def test_a_report_of_one_seed_has_the_interval_of_examples() -> None:
    """Beside a missing interval for seeds; the same bytes for the same seed."""
    for key in MACRO:
        evaluator = pe.PersistenceEvaluator(metric=key)
        report = evaluator.score([counted()])
        assert report.interval is None
        assert report.examples is not None
        assert report.examples.method == "bootstrap over examples"
        assert report.score is not None
        assert report.examples.low < report.score < report.examples.high
        assert evaluator.score([counted()]) == report
        assert "95 % for new examples" in str(report)
    assert (
        pe.PersistenceEvaluator(metric="f1", ceiling=0.9)
        .score([counted(chance={"f1": 0.3})])
        .examples
        is None
    )


def test_intervals_of_examples_hold_the_truth() -> None:
    """300 simulations of 200 examples of four classes: about 95 in 100 of macro F1."""
    rng = np.random.default_rng(1)
    shares = (0.05 * np.ones((4, 4)) + 0.8 * np.eye(4)) * [[0.4], [0.3], [0.2], [0.1]]
    shares /= shares.sum()
    pairs = np.array(np.divmod(np.arange(16), 4))
    truth = float(macro_scores("f1", pairs, shares.ravel(), 4))
    held = []
    for _ in range(300):
        counts = rng.multinomial(200, shares.ravel())
        triples = [
            (*pair, count)
            for pair, count in zip(pairs.T.tolist(), counts.tolist(), strict=True)
            if count
        ]
        run = counted(tuple(triples), settings={"num_classes": 4})
        found = moves([run], "f1")
        assert found is not None
        low, high = (run.scores["f1"] + move for move in found)
        held.append(low <= truth <= high)
    assert 0.91 <= np.mean(held) <= 0.99
