"""Variability: the share of the headroom that fine-tuning closes, worked."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from scoring import make_grid, make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.statistics import mean_by_cell
from pretrain_eval._scoring.scored import row_values


def changed(before: float, after: float, **fields: Any) -> pe.Run:
    """A run that went from one accuracy to another; chance is 0.25."""
    return make_run(accuracy=after, before=before, **fields)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (0.5, 0.75, 0.5),  # half of the headroom
        (0.5, 0.5, 0.0),
        (0.5, 1.0, 1.0),
        (0.8, 0.7, -0.5),  # fine-tuning harms
    ],
)
def test_the_headroom_by_hand(before: float, after: float, expected: float) -> None:
    """H = (a − b) / (1 − b), which chance cancels out of."""
    report = pe.VariabilityEvaluator().score([changed(before, after)])
    assert report.score == pytest.approx(expected, abs=1e-12)


def test_losses_and_gains_are_averaged_signed() -> None:
    """H is held in [−1, 1], and the score is what it is, also below 0."""
    runs = [
        changed(0.5, 0.75),
        changed(0.75, 0.65, dataset="e"),
        changed(0.9, 0.3, dataset="f"),
    ]
    report = pe.VariabilityEvaluator().score(runs)
    h = [0.5, -0.4, -1.0]  # the last is −6 before it is held
    assert report.score == pytest.approx(np.mean(h), abs=1e-12)
    assert "The score is below 0: worse than before fine-tuning." in report.notes
    assert report.parts["spread across datasets"] == pytest.approx(np.std(h), abs=1e-12)
    assert report.details["negative transfer"] == pytest.approx(2 / 3, abs=1e-12)


def test_the_sources_change_stands_beside() -> None:
    """Accuracy, recall and F1 before, after and their difference."""
    run = make_run(
        baseline={"accuracy": 0.5, "recall": 0.4, "f1": 0.3},
        scores={"accuracy": 0.7, "recall": 0.7, "f1": 0.65},
    )
    report = pe.VariabilityEvaluator().score([run])
    assert dict(report.parts) == pytest.approx(
        {"accuracy": 0.4, "recall": 0.5, "f1": 0.5}, abs=1e-12
    )
    assert report.score == pytest.approx(1.4 / 3, abs=1e-12)
    assert report.details["change of recall"] == pytest.approx(0.3, abs=1e-12)
    assert report.details["f1 before"] == 0.3


def test_saturated_runs_are_left_out_and_counted() -> None:
    """A start within 0.02 of the ceiling leaves nothing to measure."""
    runs = [changed(0.5, 0.75), changed(0.99, 0.995, dataset="e")]
    report = pe.VariabilityEvaluator().score(runs)
    assert report.score == pytest.approx(0.5, abs=1e-12)
    assert report.details["saturated"] == 3  # in each of the three metrics
    assert "3 measurements had less than 0.02 of headroom" in str(report)
    with pytest.raises(ValueError, match="nothing to measure"):
        pe.VariabilityEvaluator().score(runs[1:])


def test_consistency_by_hand() -> None:
    """1 − Var / (μ (1 − μ)) of the normalised accuracy after fine-tuning."""
    runs = [changed(0.3, 0.55), changed(0.3, 0.85, dataset="e")]  # z: 0.4, 0.8
    report = pe.VariabilityEvaluator().score(runs)
    consistency = report.details["consistency of after"]
    assert consistency == pytest.approx(1 - 0.04 / 0.24, abs=1e-12)


def test_forgetting_where_it_was_measured() -> None:
    """The drop on the source task, under keys that begin with source/."""
    run = make_run(
        baseline={"accuracy": 0.5, "source/accuracy": 0.9},
        scores={"accuracy": 0.7, "source/accuracy": 0.6},
    )
    report = pe.VariabilityEvaluator().score([run])
    assert report.details["forgetting"] == pytest.approx(0.3, abs=1e-12)
    assert "forgetting" not in pe.VariabilityEvaluator().score([make_run()]).details


def test_a_diverged_run_ends_at_chance() -> None:
    """After divergence a is 0: h = −b / (1 − b)."""
    run = changed(0.4, 0.4, status="diverged")
    report = pe.VariabilityEvaluator().score([run, changed(0.5, 0.875, dataset="e")])
    b = 0.15 / 0.75
    expected = (-b / (1 - b) + 0.75) / 2
    assert report.score == pytest.approx(expected, abs=1e-12)


def test_metrics_that_no_run_holds_are_named() -> None:
    """Accuracy alone is enough, and the report says what was not there."""
    run = make_run(scores={"accuracy": 0.75}, baseline={"accuracy": 0.5})
    report = pe.VariabilityEvaluator().score([run])
    assert report.score == pytest.approx(0.5, abs=1e-12)
    assert "No run holds recall and f1 before and after." in report.notes
    with pytest.raises(ValueError, match=r"both baseline and scores.*baseline \[\]"):
        pe.VariabilityEvaluator().score([make_run(baseline={})])


def test_the_interval_is_of_the_score_where_cells_are_saturated() -> None:
    """The values that the interval is made of average to the score, whatever is NaN."""
    runs = make_grid(models=("a",), spread=0.05)
    part = make_run(
        "s",
        "d",
        "full",
        0,
        scores={"accuracy": 0.8, "f1": 0.7},
        baseline={"accuracy": 0.99, "f1": 0.2},
    )
    evaluator = pe.VariabilityEvaluator()
    runs = [part, *runs[1:]]
    grid = evaluator.grids(runs)["a"]
    values = row_values(evaluator, grid)
    mean = grid.cells.macro(mean_by_cell(values, grid.index, grid.present.size))
    assert float(mean) == pytest.approx(evaluator.score(runs).score, abs=1e-12)


def test_runs_without_headroom_are_compared_in_silence() -> None:
    """A perfect score before fine-tuning divides nothing by zero."""
    outcomes = pe.Outcomes.of("accuracy", "x", [True] * 9 + [False])
    runs = [
        make_run(task, seed=seed, before=before, accuracy=0.9, model=model)
        for model in ("a", "b")
        for task, before in (("s", 1.0), ("t", 0.5))
        for seed in range(3)
    ]
    runs = [dataclasses.replace(run, outcomes=outcomes) for run in runs]
    comparison = pe.VariabilityEvaluator(metric="accuracy").compare(runs)
    assert [report.score for report in comparison.reports] == pytest.approx([0.8, 0.8])
