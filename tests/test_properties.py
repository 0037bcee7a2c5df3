"""What must hold for any runs whatsoever, tried on random ones."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import evaluators, make_run

import pretrain_eval as pe

each_protocol = pytest.mark.parametrize(
    "evaluator", evaluators(), ids=lambda evaluator: evaluator.protocol
)


@st.composite
def grids(draw: st.DrawFn) -> list[pe.Run]:
    """Runs of two to four models on a whole grid, some of them below chance."""
    shape = [draw(st.integers(*ends)) for ends in ((2, 4), (1, 4), (1, 2), (1, 3))]
    known = draw(st.sampled_from([None, 30]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    center, spread = rng.uniform(0.1, 0.95), rng.choice([0.0, 0.01, 0.2])
    runs = []
    for model, task, dataset, seed in np.ndindex(*shape):
        accuracy = float(np.clip(rng.normal(center, spread), 0, 1))
        if known:
            accuracy = round(accuracy * known) / known
        runs.append(
            make_run(
                f"t{task}",
                f"d{dataset}",
                seed=seed,
                model=f"m{model}",
                accuracy=accuracy,
                before=float(rng.uniform(0.1, 0.9)),
                num_examples=known,
            )
        )
    return runs


@each_protocol
@settings(max_examples=25, deadline=None, derandomize=True)
@given(runs=grids())
def test_ranking_differences_and_intervals_are_of_one_quantity(
    evaluator: pe.Evaluator, runs: list[pe.Run]
) -> None:
    """A better rank is a difference of at least 0, which lies in its intervals."""
    comparison = evaluator.compare(runs)
    for report in comparison.reports:
        assert report.score is not None
        assert report.score <= 1 + 1e-12
        if report.interval is not None:
            low, high = report.interval.low, report.interval.high
            assert low - 1e-12 <= report.score <= high + 1e-12
    for pair in comparison.differences:
        assert pair.difference >= -1e-12
        for interval in (pair.interval, pair.seeds, pair.examples):
            if interval is not None:
                low, high = interval.low, interval.high
                assert low - 1e-12 <= pair.difference <= high + 1e-12
    if comparison.p_best:
        assert sum(comparison.p_best.values()) == pytest.approx(1, abs=1e-9)


@each_protocol
@settings(max_examples=15, deadline=None, derandomize=True)
@given(runs=grids(), level=st.floats(0, 1))
def test_another_model_changes_no_score_and_no_difference(
    evaluator: pe.Evaluator, runs: list[pe.Run], level: float
) -> None:
    """A model's report and a pair's difference are theirs alone."""
    others = [
        dataclasses.replace(run, model="other", scores=dict.fromkeys(run.scores, level))
        for run in runs
        if run.model == "m0"
    ]
    before, after = evaluator.compare(runs), evaluator.compare([*runs, *others])
    reports = {report.model: report for report in after.reports}
    for report in before.reports:
        assert reports[report.model] == report
    for pair in before.differences:
        same = after.difference(pair.first, pair.second)
        assert same is not None
        assert same.difference == pair.difference
        assert same.seeds == pair.seeds
        assert same.new_tasks == pair.new_tasks


@settings(max_examples=25, deadline=None, derandomize=True)
@given(runs=grids())
def test_the_unit_of_a_metric_changes_no_ranking(runs: list[pe.Run]) -> None:
    """Accuracy, its percent, its error and ten times that rank models alike."""
    percent = {"accuracy": pe.Scale(better="higher", low=0.0, high=100.0)}
    wrong = pe.Scale(better="lower", low=0.0, high=1.0)

    def ranked(changed: list[pe.Run], **fields: str) -> list[str]:
        comparison = pe.PersistenceEvaluator(**fields).compare(changed)  # type: ignore[arg-type]
        # Ties are broken by name, and rounding makes or breaks them.
        return [
            report.model
            for report in comparison.reports
            if abs((report.score or 0) - (comparison.reports[0].score or 0)) > 1e-9
        ]

    def scored(run: pe.Run, **fields: object) -> pe.Run:
        return dataclasses.replace(run, **fields)  # type: ignore[arg-type]

    plain = ranked(runs)
    in_percent = [
        scored(r, scores={"accuracy": 100 * r.scores["accuracy"]}, scales=percent)
        for r in runs
    ]
    errors = [
        scored(r, scores={"error": 1 - r.scores["accuracy"]}, scales={"error": wrong})
        for r in runs
    ]
    assert set(ranked(in_percent)) == set(plain)
    loss = pe.Scale(better="lower", low=0.0, high=None)
    tenfold = [
        scored(
            r, scores={"loss": 10 - 10 * r.scores["accuracy"]}, scales={"loss": loss}
        )
        for r in runs
    ]
    assert set(ranked(errors, metric="error")) == set(plain)
    assert set(ranked(tenfold, metric="loss")) == set(plain)
