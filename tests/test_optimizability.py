"""Optimizability: worked areas, quantities and weights."""

from __future__ import annotations

import math
from typing import Any

import pytest
from scipy import stats
from scoring import make_grid, make_run

import pretrain_eval as pe


def curved(values: tuple[float, ...], **fields: Any) -> pe.Run:
    """A run with a validation curve of five steps an epoch."""
    steps = tuple(range(0, 5 * len(values), 5))
    return make_run(curve={"step": steps, "accuracy": values}, **fields)


def test_the_area_by_hand() -> None:
    """Trapezoids of the normalised curve on logarithmic and on linear time."""
    run = curved((0.25, 0.625, 1.0))  # z: 0, ½, 1
    x = math.log(6) / math.log(11)
    expected = x * 0.25 + (1 - x) * 0.75
    report = pe.OptimizabilityEvaluator().score([run])
    assert report.score == pytest.approx(expected, abs=1e-12)
    linear = pe.OptimizabilityEvaluator(time="linear").score([run])
    assert linear.score == pytest.approx(0.5, abs=1e-12)


def test_below_chance_is_below_zero() -> None:
    """It takes from the others, and alone it is negative and says what that means."""
    good, bad = curved((0.55, 0.55)), curved((0.1, 0.1), dataset="e")
    report = pe.OptimizabilityEvaluator().score([good, bad])
    assert report.score == pytest.approx((0.4 - 0.2) / 2, abs=1e-12)
    alone = pe.OptimizabilityEvaluator().score([bad])
    assert alone.score == pytest.approx(-0.2, abs=1e-12)
    assert "The score is below 0: worse than chance." in alone.notes


def test_the_last_value_is_held_and_divergence_is_zero() -> None:
    """Half of the planned epochs: held when stopped, 0 when diverged."""
    plan = {"trainable": "all", "epochs": 4}
    stopped = curved((0.25, 0.625, 1.0), settings=plan)
    diverged = curved((0.25, 0.625, 1.0), settings=plan, status="diverged", scores={})
    evaluator = pe.OptimizabilityEvaluator(time="linear")
    assert evaluator.score([stopped]).score == pytest.approx(0.75, abs=1e-12)
    assert evaluator.score([diverged]).score == pytest.approx(0.25, abs=1e-12)


def test_a_curve_without_steps_is_evenly_spaced() -> None:
    """Rows are taken as equally far apart."""
    bare = make_run(curve={"accuracy": (0.25, 0.625, 1.0)})
    report = pe.OptimizabilityEvaluator(time="linear").score([bare])
    assert report.score == pytest.approx(0.5, abs=1e-12)


def test_the_sources_quantities_are_parts() -> None:
    """Gradient norm and update ratio are means over steps, validation the last value."""
    run = curved(
        (0.25, 0.625, 1.0),
        history={
            "step": (1, 2, 3),
            "grad_norm": (3.0, 2.0, 1.0),
            "grad_norm/head": (2.0, 1.0, 0.0),
            "update_ratio": (0.3, math.nan, 0.1),
        },
    )
    report = pe.OptimizabilityEvaluator().score([run])
    assert report.parts["grad_norm"] == pytest.approx(2.0, abs=1e-12)
    assert report.parts["update_ratio"] == pytest.approx(0.2, abs=1e-12)
    assert report.parts["validation"] == pytest.approx(1.0, abs=1e-12)
    assert report.details["grad_norm at the start"] == 3.0
    assert report.details["grad_norm/head"] == pytest.approx(1.0, abs=1e-12)


def test_progress_by_hand() -> None:
    """Start, headroom closed, and the share of time to 90 % of the rise."""
    report = pe.OptimizabilityEvaluator().score([curved((0.25, 0.925, 1.0, 1.0))])
    assert report.details["start"] == 0
    assert report.details["headroom closed"] == pytest.approx(1.0, abs=1e-12)
    assert report.details["t90"] == pytest.approx(5 / 15, abs=1e-12)


def test_strategies_near_the_best() -> None:
    """Two of three strategies come within 0.05 of the best."""
    heights = {"full": 0.80, "probe": 0.79, "slow": 0.5}
    runs = [curved((h, h), strategy=name) for name, h in heights.items()]
    report = pe.OptimizabilityEvaluator().score(runs)
    near = report.details["strategies near the best"]
    assert near == pytest.approx(2 / 3, abs=1e-12)


def test_the_sources_reading_is_an_explicit_choice() -> None:
    """Σ w·q with g / (g + g_ref) against the twin on the same cell."""
    history = {"grad_norm": (3.0,), "update_ratio": (0.1,)}
    own = curved((0.25, 0.7), history=history)
    twin = curved(
        (0.25, 0.4),
        model="random",
        history={"grad_norm": (1.0,), "update_ratio": (0.3,)},
    )
    evaluator = pe.OptimizabilityEvaluator(
        scratch="random",
        weights={"grad_norm": 1, "update_ratio": 1, "validation": 2},
    )
    report = evaluator.score([own, twin])
    expected = (3 / 4 + 0.1 / 0.4 + 2 * 0.6) / 4
    assert report.score == pytest.approx(expected, abs=1e-12)
    assert report.parts["grad_norm against scratch"] == 0.75
    assert evaluator.combine(report.parts) == report.score


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": {"loss": 1.0}}, r"weights must name some of"),
        ({"weights": {}}, r"weights must name some of"),
        ({"weights": {"validation": -1.0}}, "weights must be positive"),
        ({"weights": {"grad_norm": 1.0}}, "need scratch="),
        ({"time": "cubic"}, "time must be 'log' or 'linear'"),
        ({"weights": {"validation": 1.0}}, None),
    ],
)
def test_bad_weights_are_refused(
    arguments: dict[str, Any], message: str | None
) -> None:
    """Weights name known quantities and have a twin where one is needed."""
    if message is None:
        report = pe.OptimizabilityEvaluator(**arguments).score([curved((0.25, 0.7))])
        assert report.score == pytest.approx(0.6, abs=1e-12)
        return
    with pytest.raises(ValueError, match=message):
        pe.OptimizabilityEvaluator(**arguments)


def test_a_twin_that_lacks_the_cell_is_named() -> None:
    """A reference that does not exist is an error, not a guess."""
    history = {"grad_norm": (1.0,)}
    runs = [
        curved((0.25, 0.7), history=history),
        curved((0.25, 0.7), history=history, dataset="e", model="random"),
    ]
    evaluator = pe.OptimizabilityEvaluator(scratch="random", weights={"grad_norm": 1.0})
    with pytest.raises(ValueError, match="twin has no run in t/d/full"):
        evaluator.score(runs)
    with pytest.raises(ValueError, match="'grad_norm', which no history holds"):
        evaluator.score([curved((0.25, 0.7)), curved((0.25, 0.7), model="random")])


def test_the_sources_claim_is_tested_on_the_users_runs() -> None:
    """The rank correlation with final validation, within datasets and strategies, is printed."""
    norms, finals = (3.0, 2.0, 5.0, 1.0), (0.5, 0.7, 0.4, 0.6)
    runs = [
        curved((0.25, final), seed=seed, history={"grad_norm": (norm,)})
        for seed, (norm, final) in enumerate(zip(norms, finals, strict=True))
    ]
    # Another dataset, twice as easy with the same order: nothing changes.
    runs += [
        curved(
            (0.25, final / 2 + 0.45),
            seed=seed,
            dataset="e",
            history={"grad_norm": (norm / 100,)},
        )
        for seed, (norm, final) in enumerate(zip(norms, finals, strict=True))
    ]
    expected = stats.spearmanr(norms, finals).statistic
    report = pe.OptimizabilityEvaluator().score(runs)
    rho = report.details["rank correlation of grad_norm with validation"]
    assert rho == pytest.approx(expected, abs=1e-12)
    notes = pe.OptimizabilityEvaluator().compare(runs).notes
    assert (
        f"over 8 runs, within each dataset and strategy: grad_norm {expected:+.2f}."
        in notes[-1]
    )


def test_the_claim_is_tested_within_strategies() -> None:
    """A strategy of large norms and good scores does not turn the sign round."""
    norms, finals = (1.0, 2.0, 3.0, 4.0), (0.5, 0.4, 0.45, 0.3)
    runs = [
        curved(
            (0.25, final + lift),
            seed=seed,
            strategy=strategy,
            history={"grad_norm": (norm * factor,)},
        )
        for strategy, lift, factor in (("full", 0.5, 10.0), ("probe", 0.0, 1.0))
        for seed, (norm, final) in enumerate(zip(norms, finals, strict=True))
    ]
    report = pe.OptimizabilityEvaluator().score(runs)
    rho = report.details["rank correlation of grad_norm with validation"]
    assert rho == pytest.approx(stats.spearmanr(norms, finals).statistic, abs=1e-12)
    pooled = stats.spearmanr(
        [run.history["grad_norm"][0] for run in runs],
        [run.curve["accuracy"][-1] for run in runs],
    )
    assert rho < 0 < pooled.statistic


def test_runs_without_curves_are_refused() -> None:
    """No validation curve is an error that lists what there is."""
    with pytest.raises(ValueError, match=r"validation curve 'accuracy'.*curve \[\]"):
        pe.OptimizabilityEvaluator().score([make_run(curve={})])
    assert pe.OptimizabilityEvaluator().score(make_grid(models=("a",))).score


def unwatched(strategy: str = "knn", **fields: Any) -> pe.Run:
    """A run of a training of one's own, which makes no curve."""
    return make_run(strategy=strategy, curve={}, settings={"train": "f"}, **fields)


def test_strategies_without_a_training_are_left_out_with_a_remark() -> None:
    """A vote of neighbours has no curve to make, so that nothing of it is missing."""
    watched = [make_run(model=m, seed=s) for m in "ab" for s in range(2)]
    ready = [unwatched(model=m, seed=s) for m in "ab" for s in range(2)]
    evaluator = pe.OptimizabilityEvaluator()
    plain, found = evaluator.compare(watched), evaluator.compare([*watched, *ready])
    assert [r.score for r in found.reports] == [r.score for r in plain.reports]
    assert all(r.bounds is None and r.num_missing == 0 for r in found.reports)
    assert "4 runs of knn have no training to watch." in found.notes
    one = evaluator.score([run for run in [*watched, *ready] if run.model == "a"])
    assert one.notes[-1] == "2 runs of knn have no training to watch."
    assert evaluator.grids([*watched, *ready])["a"].lost.sum() == 0


def test_a_curve_that_is_lost_is_missing_all_the_same() -> None:
    """A sibling with a curve, no settings, or a failure: nobody said that none was due."""
    evaluator = pe.OptimizabilityEvaluator()
    drawn = make_run()
    for other in (
        [unwatched("own"), make_run(strategy="own", seed=1, settings={"train": "f"})],
        [make_run(strategy="own", curve={})],
        [unwatched("own", status="error", message="E", scores={})],
    ):
        report = evaluator.score([drawn, *other])
        assert report.num_missing > 0
        assert report.bounds is not None


def test_a_model_of_which_nothing_was_watched_is_refused() -> None:
    """With what it has instead."""
    runs = [make_run(model="a"), unwatched(model="b")]
    for asked in (runs, runs[1:]):
        with pytest.raises(ValueError, match="which no run of b has"):
            pe.OptimizabilityEvaluator().compare(asked)
