"""Accuracy, precision, recall and F1 against scikit-learn and hand-worked values."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

import pretrain_eval as pe

# Random cases that each run draws; 6000 take a minute: ORACLE_CASES=6000 pytest ...
CASES = int(os.environ.get("ORACLE_CASES", "900"))
RATIOS = {"precision": pe.Precision, "recall": pe.Recall, "f1": pe.F1Score}
ZERO_DIVISIONS = (0.0, 1.0, math.nan)


def differ(ours: object, theirs: object) -> bool:
    """Whether values differ by more than 1e-12 or in where they are NaN."""
    return not np.allclose(
        np.asarray(ours, float),
        np.asarray(theirs, float),
        rtol=0,
        atol=1e-12,
        equal_nan=True,
    )


def in_batches(
    rng: np.random.Generator, metric: pe.MetricCollection, *arrays: np.ndarray
) -> None:
    """Give the rows to the metric in batches of random sizes."""
    length = len(arrays[0])
    cuts = np.sort(rng.integers(0, length + 1, rng.integers(0, 4)))
    for parts in zip(*(np.split(array, cuts) for array in arrays), strict=True):
        metric.update(*(torch.from_numpy(part) for part in parts))


def oracles(
    targets: np.ndarray, predictions: np.ndarray, **options: object
) -> dict[str, object]:
    """scikit-learn's values; it warns of the 0/0 that these cases are about."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        values = sk.precision_recall_fscore_support(targets, predictions, **options)
    return dict(zip(RATIOS, values[:3], strict=True))


def draw(rng: np.random.Generator, *choices: object) -> Any:
    """One of the choices."""
    return choices[rng.integers(len(choices))]


def differing(
    rng: np.random.Generator,
    members: dict[str, pe.Metric],
    expected: dict[str, object],
    outputs: np.ndarray,
    targets: np.ndarray,
) -> list[str]:
    """The members, given the rows in random batches, that miss what is expected."""
    collection = pe.MetricCollection(**members)
    in_batches(rng, collection, outputs, targets)
    values = collection.compute()
    return [key for key in expected if differ(values[key], expected[key])]


def multiclass_mismatches(rng: np.random.Generator) -> list[str]:
    """One random multiclass case; what differs from scikit-learn."""
    num_classes = draw(rng, 2, 3, 10)
    subset = rng.choice(num_classes, rng.integers(1, num_classes + 1), replace=False)
    length = int(rng.integers(1, 40))
    targets = rng.choice(subset, length)
    scores = rng.integers(0, 4, (length, num_classes)).astype(np.float32)  # ties
    predictions = scores.argmax(1)
    average = draw(rng, "micro", "macro", "weighted", "none")
    zero, absent = draw(rng, *ZERO_DIVISIONS), draw(rng, "count", "drop")
    chosen, labels = None, list(range(num_classes))
    if rng.random() < 0.4:
        size = rng.integers(1, num_classes + 1)
        chosen = labels = rng.choice(num_classes, size, replace=False).tolist()
    k = int(rng.integers(2, num_classes)) if num_classes > 2 else 1
    members: dict[str, pe.Metric] = {
        "accuracy": pe.Accuracy(),
        "top_k": pe.Accuracy(top_k=k),
    }
    expected: dict[str, object] = {"accuracy": sk.accuracy_score(targets, predictions)}
    if k > 1:
        expected["top_k"] = sk.top_k_accuracy_score(
            targets, scores, k=k, labels=range(num_classes)
        )
    for key, ratio in RATIOS.items():
        members[key] = ratio(
            average=average, zero_division=zero, absent=absent, labels=chosen
        )
    counted = labels
    if absent == "drop":
        occur = np.union1d(targets, predictions)
        counted = [label for label in labels if label in occur]
    if not counted:
        return differing(rng, members, expected, scores, targets)
    values = oracles(
        targets,
        predictions,
        labels=counted,
        average=None if average == "none" else average,
        zero_division=zero,
    )
    for key, value in values.items():
        expected[key] = value
        if average == "none":
            full = dict(zip(counted, np.asarray(value), strict=True))
            expected[key] = [full.get(label, np.nan) for label in labels]
    return differing(rng, members, expected, scores, targets)


def binary_mismatches(rng: np.random.Generator) -> list[str]:
    """One random binary case with two thresholds; what differs from scikit-learn."""
    length = int(rng.integers(1, 40))
    targets, logits = rng.integers(0, 2, length), rng.normal(0, 3, length)
    zero = draw(rng, *ZERO_DIVISIONS)
    average = draw(rng, "binary", "micro", "macro", "weighted")
    members: dict[str, pe.Metric] = {}
    expected: dict[str, object] = {}
    for threshold in (0.5, 0.9):
        predictions = (1 / (1 + np.exp(-logits)) > threshold).astype(int)
        members[f"accuracy_{threshold}"] = pe.Accuracy(
            task="binary", scores="logits", threshold=threshold
        )
        expected[f"accuracy_{threshold}"] = sk.accuracy_score(targets, predictions)
        options = {} if average == "binary" else {"labels": [0, 1]}
        values = oracles(
            targets, predictions, average=average, zero_division=zero, **options
        )
        for key, ratio in RATIOS.items():
            members[f"{key}_{threshold}"] = ratio(
                task="binary",
                scores="logits",
                threshold=threshold,
                average=average,
                zero_division=zero,
            )
            expected[f"{key}_{threshold}"] = values[key]
    return differing(rng, members, expected, logits, targets)


def multilabel_mismatches(rng: np.random.Generator) -> list[str]:
    """One random multilabel case; what differs from scikit-learn."""
    length, num_labels = int(rng.integers(1, 30)), draw(rng, 2, 3, 10)
    targets = (rng.random((length, num_labels)) < rng.random()).astype(int)
    targets[:, rng.integers(num_labels)] = 0
    probabilities = rng.random((length, num_labels))
    predictions = (probabilities > 0.5).astype(int)
    zero = draw(rng, *ZERO_DIVISIONS)
    average = draw(rng, "micro", "macro", "weighted", "none", "samples")
    scores: dict[str, Any] = {"task": "multilabel", "scores": "probabilities"}
    members: dict[str, pe.Metric] = {
        "subset": pe.Accuracy(**scores),
        "per_label": pe.Accuracy(**scores, per_label=True),
    }
    expected: dict[str, object] = {
        "subset": sk.accuracy_score(targets, predictions),
        "per_label": (targets == predictions).mean(0),
    }
    for key, ratio in RATIOS.items():
        members[key] = ratio(**scores, average=average, zero_division=zero)
    expected |= oracles(
        targets,
        predictions,
        average=None if average == "none" else average,
        zero_division=zero,
    )
    return differing(rng, members, expected, probabilities, targets)


@pytest.mark.parametrize(
    "mismatches", [multiclass_mismatches, binary_mismatches, multilabel_mismatches]
)
def test_random_cases(mismatches: Callable[[np.random.Generator], list[str]]) -> None:
    """Every average, zero division and absent-class policy is scikit-learn's."""
    rng = np.random.default_rng(0)
    found = {case: mismatches(rng) for case in range(CASES // 3)}
    assert {case: names for case, names in found.items() if names} == {}
