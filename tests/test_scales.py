"""Direction, range and chance of metrics: stated, declared by a run, or asked for."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scoring import BUDGET, make_run

import pretrain_eval as pe
from pretrain_eval._runs import SCALES

METRICS = [
    value
    for name in pe.__all__
    if isinstance(value := getattr(pe, name), type) and issubclass(value, pe.Metric)
]
LOWER = pe.Scale(better="lower", low=0.0)


def two(key: str, worse: float, better: float, **fields: Any) -> list[pe.Run]:
    """Three seeds of model a, which is worse, and of model b, which is better."""
    return [
        make_run(
            seed=seed,
            model=model,
            scores={key: value * (1 + seed / 1000)},
            baseline={},
            curve={},
            chance={},
            **fields,
        )
        for model, value in {"a": worse, "b": better}.items()
        for seed in range(3)
    ]


@pytest.mark.parametrize("key", SCALES)
def test_every_metric_of_the_package_has_its_direction(key: str) -> None:
    """The better model is recommended, whichever way is better."""
    worse, better = (0.9, 0.1) if SCALES[key].better == "lower" else (0.1, 0.9)
    if key in ("perplexity", "median_rank"):  # which begin at 1
        worse, better = 9.0, 2.0
    comparison = pe.PersistenceEvaluator(metric=key).compare(two(key, worse, better))
    assert comparison.best == "b"
    assert comparison.p_best["b"] > 0.99
    assert comparison.differences[0].difference > 0


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
def test_every_key_of_the_package_is_known_or_has_no_direction(metric: Any) -> None:
    """What a metric declares is what runs without scales are read by."""
    key = "loss" if metric is pe.Loss else getattr(metric, "key", None)
    scale = SCALES.get(key or "")
    if scale is None:
        # Values of a step, tables, and metrics of one's own are neither good nor bad.
        assert metric.higher_is_better is None
        return
    assert metric.higher_is_better == (scale.better == "higher")
    low, high = metric.bounds
    assert (scale.low, scale.high) == (
        low if math.isfinite(low) else None,
        high if math.isfinite(high) else None,
    )


@pytest.mark.parametrize("key", ["eval_loss", "ter", "per", "fid", "MSE", "valid/mse"])
def test_an_unknown_direction_is_asked_for(key: str) -> None:
    """A name tells nothing; the evaluator or the run does."""
    runs = two(key, 0.9, 0.1)
    with pytest.raises(ValueError, match=f"whether a larger '{key}' is better; give"):
        pe.PersistenceEvaluator(metric=key).compare(runs)
    stated = pe.PersistenceEvaluator(metric=key, better="lower")
    assert stated.compare(runs).best == "b"
    for better in ({key: "lower"}, {"t": "lower"}):
        evaluator = pe.PersistenceEvaluator(metric=key, better=better)  # type: ignore[arg-type]
        assert evaluator.compare(runs).best == "b"
    declared = two(key, 0.9, 0.1, scales={key: LOWER})
    assert pe.PersistenceEvaluator(metric=key).compare(declared).best == "b"


def test_runs_that_disagree_are_refused() -> None:
    """One metric of one task has one scale."""
    runs = two("wer", 0.9, 0.1, scales={"wer": LOWER})
    runs[1] = dataclasses.replace(runs[1], scales={"wer": pe.Scale(better="higher")})
    with pytest.raises(ValueError, match=r"declare different scales of 'wer'"):
        pe.PersistenceEvaluator(metric="wer").compare(runs)


def test_the_negative_of_a_loss_is_the_score() -> None:
    """A metric without a range is ranked as it is, and a sentence says its sign."""
    report = pe.PersistenceEvaluator(metric="log_loss").score(
        [make_run(scores={"log_loss": 0.25})]
    )
    assert report.score == -0.25
    assert "normalised mean" not in report.details
    note = "Of log_loss lower values are better: the score is the negative mean."
    assert note in report.notes


@pytest.mark.parametrize(
    "evaluator",
    [
        pe.ReusabilityEvaluator(metric="log_loss"),
        pe.UsabilityEvaluator(metric="log_loss", budget=BUDGET),
        pe.OptimizabilityEvaluator(metric="log_loss"),
        pe.VariabilityEvaluator(metric="log_loss"),
    ],
    ids=lambda evaluator: evaluator.protocol,
)
def test_what_has_no_range_is_normalised_on_request_only(evaluator: Any) -> None:
    """A share of the way to perfection needs to know where that is."""
    run = make_run(
        scores={"log_loss": 0.5},
        baseline={"log_loss": 1.0},
        curve={"log_loss": (1.0, 0.5)},
        chance={"log_loss": 2.0},
    )
    with pytest.raises(ValueError, match=r"'log_loss' has no finite range.*ceiling="):
        evaluator.score([run])
    assert dataclasses.replace(evaluator, ceiling=0.0).score([run]).score > 0


def test_percent_are_not_shares() -> None:
    """A value outside the range of its metric names the run; another unit is stated."""
    runs = two("accuracy", 60.2, 71.9)
    message = r"a on t/d, full, seed 0: 'accuracy' is 60.2, outside its range \[0, 1\]"
    for evaluator in (pe.PersistenceEvaluator(), pe.ReusabilityEvaluator()):
        with pytest.raises(ValueError, match=message):
            evaluator.compare(runs)
    curves = [
        dataclasses.replace(run, curve={"accuracy": (10.0, 60.0)}) for run in runs
    ]
    with pytest.raises(ValueError, match="'accuracy' is"):
        pe.OptimizabilityEvaluator().compare(curves)
    assert pe.PersistenceEvaluator(ceiling=100.0).compare(runs).best == "b"
    percent = {"accuracy": pe.Scale(better="higher", low=0.0, high=100.0)}
    declared = [dataclasses.replace(run, scales=percent) for run in runs]
    assert pe.PersistenceEvaluator().compare(declared).best == "b"
    shares = two("accuracy", 0.602, 0.719)
    gap = pe.PersistenceEvaluator().compare(shares).differences[0].difference
    for comparison in (
        pe.PersistenceEvaluator(ceiling=100.0).compare(runs),
        pe.ReusabilityEvaluator().compare(declared),
    ):
        assert comparison.best == "b"
    assert gap == pytest.approx(0.117 * 1.001, abs=1e-9)


def test_unlike_metrics_stand_in_one_score_as_shares() -> None:
    """Accuracy and a squared error, each by its own direction, range and chance."""
    runs = [
        make_run("classes", accuracy=0.7, chance={"accuracy": 0.4}),
        make_run("values", scores={"mse": 0.5}, chance={"mse": 2.0}),
    ]
    evaluator = pe.PersistenceEvaluator(
        metric={"classes": "accuracy", "values": "mse"}, ceiling={"mse": 0.0}
    )
    report = evaluator.score(runs)
    assert report.score == pytest.approx((0.5 + 0.75) / 2, abs=1e-12)
    by_task = dataclasses.replace(evaluator, ceiling={"values": 0.0})
    assert by_task.score(runs).score == report.score
    for ceiling in (0.0, {"mse": 3.0}):
        wrong = dataclasses.replace(evaluator, ceiling=ceiling)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="must lie beyond its chance level"):
            wrong.score(runs)


def test_a_diverged_run_needs_a_chance_level_that_is_known() -> None:
    """A loss of 0 would be perfect: chance is asked for, not guessed."""
    runs = [
        make_run(scores={"log_loss": 0.5}, chance={}),
        make_run(seed=1, status="diverged", scores={}, chance={}),
    ]
    evaluator = pe.PersistenceEvaluator(metric="log_loss")
    with pytest.raises(ValueError, match="'log_loss' needs its chance level"):
        evaluator.score(runs)
    known = dataclasses.replace(evaluator, chance=0.7).score(runs)
    assert known.score == pytest.approx(-0.6, abs=1e-12)


@pytest.mark.parametrize("factor", [1.0, 10.0, 100.0])
def test_units_change_no_ranking(factor: float) -> None:
    """A loss times ten is the same loss, and its differences are ten times as large."""
    rng = np.random.default_rng(0)
    values = {model: rng.uniform(0.2, 0.9) for model in "abcde"}
    runs = [
        make_run(model=model, seed=seed, scores={"mae": factor * (value + seed / 99)})
        for model, value in values.items()
        for seed in range(3)
    ]
    comparison = pe.PersistenceEvaluator(metric="mae").compare(runs)
    ranked = [report.model for report in comparison.reports]
    assert ranked == sorted(values, key=values.__getitem__)


def test_without_a_name_a_task_is_read_by_its_first_score() -> None:
    """Nobody has to repeat what the runs hold; a named metric is read as named."""
    runs = two("r2", 0.2, 0.6)
    assert pe.PersistenceEvaluator().compare(runs).best == "b"
    assert pe.scorecard(runs).best == "b"
    mixed = [make_run("classes", accuracy=0.8), make_run("values", scores={"r2": 0.4})]
    report = pe.PersistenceEvaluator().score(mixed)
    assert dict(report.parts) == {"classes": 0.8, "values": 0.4}
    both = [make_run("t", scores={"f1": 0.25, "accuracy": 0.75})]
    assert pe.PersistenceEvaluator().score(both).score == 0.25
    assert pe.PersistenceEvaluator(metric="accuracy").score(both).score == 0.75
    with pytest.raises(ValueError, match="'accuracy', which no run of a has"):
        pe.PersistenceEvaluator(metric="accuracy").compare(runs)


def test_another_order_of_scores_in_one_run_does_not_hide_accuracy() -> None:
    """Accuracy that any run of a task has first is read, whatever the models' names."""
    runs = [
        make_run(model="a", scores={"f1": 0.25, "accuracy": 0.75}),
        make_run(model="b", scores={"accuracy": 0.5, "f1": 0.5}),
    ]
    assert pe.PersistenceEvaluator().compare(runs).best == "a"


def test_a_scale_survives_json_and_the_store(tmp_path: Any) -> None:
    """Runs carry the scales of their metrics wherever they are kept."""
    run = make_run(scores={"wer": 0.2}, scales={"wer": LOWER})
    assert pe.Run.from_json(run.to_json()) == run
    with pe.RunStore(tmp_path / "runs.db") as store:
        store.add("key", run)
        store.write_csv(tmp_path / "runs.csv")
    with pe.RunStore(tmp_path / "runs.db") as store:
        assert list(store) == [run]
    text = (tmp_path / "runs.csv").read_text()
    assert "scales.wer.better" in text
    assert "lower" in text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pe.Scale(better="up"), "better as 'higher' or 'lower'"),  # type: ignore[arg-type]
        (lambda: pe.Scale(better="lower", low=1.0, high=1.0), "low below high"),
        (lambda: pe.Scale(better="lower", low=float("nan")), "low to be finite"),
        (lambda: make_run(scales={"wer": "lower"}), "must be a Scale, for example"),
        (lambda: make_run(scales={"wer": LOWER}), None),
    ],
)
def test_bad_scales_are_refused(make: Any, message: str | None) -> None:
    """Every wrong scale has a message, and its neighbour works."""
    if message is None:
        assert make()
        return
    with pytest.raises(ValueError, match=message):
        make()
