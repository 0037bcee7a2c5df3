"""A published table, one fine-tuning a cell, gives the right ranking or an error.

Top-1 accuracies in percent of 11 ImageNet networks fine-tuned on 11 datasets, from W.
Shao et al., "Not All Models Are Equal: Predicting Model Transferability in a
Self-challenging Fisher Space", ECCV 2022.
"""

import dataclasses

import numpy as np
import pytest
from scipy import stats

import pretrain_eval as pe

MODELS = [
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "densenet121",
    "densenet169",
    "densenet201",
    "mnasnet1_0",
    "mobilenet_v2",
    "googlenet",
    "inception_v3",
]
PERCENT = {
    "aircraft": "84.06 84.64 85.53 86.29 84.66 84.19 85.38 66.48 79.68 80.32 80.15",
    "caltech101": "91.15 91.98 92.38 93.10 91.50 92.51 93.14 89.34 88.64 90.85 92.75",
    "cars": "88.63 89.09 89.47 89.88 89.34 89.02 89.44 72.58 86.44 87.76 87.74",
    "cifar10": "96.12 96.28 97.39 97.53 96.45 96.77 97.02 92.59 94.74 95.54 96.18",
    "cifar100": "81.94 82.80 84.88 85.66 82.75 84.26 84.88 72.04 78.11 79.84 81.49",
    "dtd": "72.96 74.72 74.80 76.44 74.18 74.72 76.04 70.12 71.72 72.53 72.85",
    "flowers": "95.20 96.26 96.53 96.86 97.02 97.32 97.10 95.39 96.20 95.76 95.73",
    "food": "81.99 84.45 85.58 86.28 84.99 85.84 86.71 71.35 81.12 79.30 81.76",
    "pets": "93.50 93.88 93.92 94.42 93.07 93.62 94.03 91.08 91.28 91.38 92.14",
    "sun397": "61.02 63.54 63.76 64.82 63.26 64.10 64.57 56.56 60.29 59.89 59.98",
    "voc2007": "84.60 85.80 85.68 86.32 85.28 85.77 85.67 81.06 82.80 82.58 83.84",
}
TABLE = np.array([[float(each) for each in row.split()] for row in PERCENT.values()])
BEST_FIRST = [MODELS[i] for i in np.argsort(-TABLE.mean(axis=0))]
IN_PERCENT = {"accuracy": pe.Scale(better="higher", low=0.0, high=100.0)}


def runs_of(table, **fields):
    """One run a number."""
    return [
        pe.Run(
            model=model,
            task=task,
            dataset=task,
            strategy="full",
            seed=0,
            scores={"accuracy": float(number)},
            chance={"accuracy": 0.0},
            **fields,
        )
        for task, row in zip(PERCENT, table, strict=True)
        for model, number in zip(MODELS, row, strict=True)
    ]


def ranked(comparison):
    """The models, best first."""
    return [each.model for each in comparison]


def test_shares_and_declared_percents_rank_alike():
    """As the means over the datasets do, with one seed a cell."""
    shares = pe.PersistenceEvaluator().compare(runs_of(TABLE / 100))
    percents = pe.PersistenceEvaluator().compare(runs_of(TABLE, scales=IN_PERCENT))
    assert ranked(shares) == ranked(percents) == BEST_FIRST
    means = sorted(TABLE.mean(axis=0), reverse=True)
    assert [each.score for each in percents] == pytest.approx(means)
    assert [100 * each.score for each in shares] == pytest.approx(means)
    assert "new tasks" in str(shares).splitlines()[1]


def test_percents_that_nobody_declared_are_refused():
    """An accuracy of 84 is no share, and the error names the run and what to say."""
    with pytest.raises(
        ValueError, match=r"84\.66, outside its range \[0, 1\]; give shares rather"
    ):
        pe.PersistenceEvaluator().compare(runs_of(TABLE))


def test_the_pair_of_the_best_is_the_paired_t_over_datasets():
    """0.0033, from 0.0005 to 0.0061, as scipy says."""
    comparison = pe.PersistenceEvaluator().compare(runs_of(TABLE / 100))
    pair = comparison.difference("resnet152", "densenet201")
    first, second = (
        TABLE[:, MODELS.index(model)] / 100 for model in ("resnet152", "densenet201")
    )
    known = stats.ttest_rel(first, second).confidence_interval(0.95)
    assert pair.difference == pytest.approx(np.mean(first - second), abs=1e-12)
    assert (pair.new_tasks.low, pair.new_tasks.high) == pytest.approx(
        tuple(known), abs=1e-9
    )
    shown = [
        round(each, 4)
        for each in (pair.difference, pair.new_tasks.low, pair.new_tasks.high)
    ]
    assert shown == [0.0033, 0.0005, 0.0061]
    assert "for new tasks" in comparison.decision


def test_another_seed_of_the_same_numbers_changes_no_rank():
    """Seeds that agree to the last digit are told as such, not as certainty."""
    once = runs_of(TABLE / 100)
    again = [dataclasses.replace(run, seed=1) for run in once]
    comparison = pe.PersistenceEvaluator().compare([*once, *again])
    assert ranked(comparison) == BEST_FIRST
    assert any("No seed changes the score" in note for note in comparison.notes)
