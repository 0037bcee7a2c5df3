"""Chance levels against predictors that ignore their input, made by scikit-learn."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scoring import make_run
from sklearn import metrics

import pretrain_eval as pe
from pretrain_eval._scoring.scales import Scales

COUNTS = [(3, 1), (5, 5), (7, 2, 1), (1, 0, 9)]


@pytest.mark.parametrize("counts", COUNTS)
def test_levels_are_those_of_the_majority_predictor(counts: tuple[int, ...]) -> None:
    """Accuracy, macro recall, precision and F1 of always naming the largest class."""
    targets = np.repeat(np.arange(len(counts)), counts)
    outputs = np.full(targets.size, np.argmax(counts))
    labels = np.arange(len(counts))
    macro = {"average": "macro", "labels": labels, "zero_division": 0}
    expected = {
        "accuracy": metrics.accuracy_score(targets, outputs),
        "recall": metrics.recall_score(targets, outputs, **macro),
        "precision": metrics.precision_score(targets, outputs, **macro),
        "f1": metrics.f1_score(targets, outputs, **macro),
        "kappa": 0.0,
        "mcc": metrics.matthews_corrcoef(targets, outputs),
        "r2": 0.0,
        "auroc": 0.5,
    }
    levels = pe.chance_levels(counts)
    for key, value in expected.items():
        assert levels[key] == pytest.approx(value, abs=1e-12), key


@pytest.mark.parametrize("counts", [(3, 1), (7, 2, 1), (1, 2, 3, 4), (5, 5, 5, 5)])
def test_top_k_is_that_of_always_ranking_the_largest_classes_first(
    counts: tuple[int, ...],
) -> None:
    """The k largest classes hold the sample; of equal classes it is k / C."""
    targets = np.repeat(np.arange(len(counts)), counts)
    scores = np.tile(counts + 0.1 * np.arange(len(counts)), (targets.size, 1))
    for k in range(1, len(counts)):
        # scikit-learn has no top k of two classes, where one column says it all.
        expected = (
            metrics.top_k_accuracy_score(targets, scores, k=k)
            if len(counts) > 2
            else max(counts) / sum(counts)
        )
        levels = pe.chance_levels(counts, top_k=k)
        assert levels["accuracy"] == pytest.approx(expected, abs=1e-12)
        assert levels | {"accuracy": 0.0} == pe.chance_levels(counts) | {
            "accuracy": 0.0
        }
    assert pe.chance_levels([5] * 4, top_k=2)["accuracy"] == 0.5
    assert pe.chance_levels(counts, top_k=len(counts))["accuracy"] == 1.0


def test_average_precision_is_the_mean_prevalence() -> None:
    """Of every class, ranked without looking at the input."""
    levels = pe.chance_levels([1, 2, 3, 4])
    assert levels["average_precision"] == np.mean([0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize(
    ("counts", "top_k", "message"),
    [
        ([], 1, "two or more classes"),
        ([4], 1, "two or more classes"),
        ([4, -1], 1, "two or more classes"),
        ([0, 0], 1, "two or more classes"),
        ([1, 1], 3, r"top_k must lie in 1\.\.2, got 3"),
        ([1, 1], 0, r"top_k must lie in 1\.\.2, got 0"),
        ([1, 1], 2, None),
        ([4, 0], 1, None),
    ],
)
def test_bad_counts_are_refused(
    counts: list[int], top_k: int, message: str | None
) -> None:
    """One class has no chance level; two have."""
    if message is None:
        assert pe.chance_levels(counts, top_k=top_k)["accuracy"] >= 0.5
        return
    with pytest.raises(ValueError, match=message):
        pe.chance_levels(counts, top_k=top_k)


@pytest.mark.parametrize(
    ("key", "chance", "ceiling", "value", "expected"),
    [
        ("accuracy", 0.2, None, 0.6, 0.5),
        ("accuracy", 0.2, None, 0.1, -0.125),  # below chance: signed
        ("accuracy", 0.2, 0.9, 0.55, 0.5),
        ("accuracy", 1.0, None, 1.0, None),  # nothing lies beyond chance
        ("loss", 2.0, 0.0, 0.5, 0.75),
        ("loss", 0.0, 0.0, 0.5, None),
    ],
)
def test_normalised_by_hand(
    key: str,
    chance: float,
    ceiling: float | None,
    value: float,
    expected: float | None,
) -> None:
    """Z = (m − c) / (u − c), whichever way is better."""
    runs = [make_run(), make_run()]
    found = Scales(None, chance, ceiling).normalised(
        runs, [key] * 2, np.array([value, np.nan])
    )
    wanted = [math.nan if expected is None else expected, math.nan]
    assert found.tolist() == pytest.approx(wanted, abs=1e-12, nan_ok=True)


def test_a_loss_that_was_not_measured_needs_no_level() -> None:
    """Only a run that holds the loss has to know its chance level."""
    runs = [make_run(chance={"loss": 2.0}), make_run(chance={})]
    keys, levels = ["loss", "loss"], Scales(None, None, 0.0)
    found = levels.normalised(runs, keys, np.array([0.5, np.nan]))
    assert found.tolist() == pytest.approx([0.75, math.nan], nan_ok=True)
    with pytest.raises(ValueError, match="'loss' needs its chance level"):
        levels.normalised(runs, keys, np.array([0.5, 0.5]))


def test_unknown_levels_are_counted_once_a_run() -> None:
    """A run that holds two metrics of unknown chance counts once, others not at all."""
    runs = [
        make_run(chance={}),
        make_run(seed=1),
        make_run(seed=2, chance={"accuracy": 0.5}),
        make_run(seed=3, scores={}, curve={}, chance={}),
        make_run(seed=4, scores={}, curve={}, chance={}, status="diverged"),
    ]
    assert Scales(None, None, None).unknown(runs, ["accuracy"]) == 2
    assert Scales(None, None, None).unknown(runs, ["accuracy", "f1"]) == 3
