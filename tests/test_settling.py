"""The verdict, what would settle it, and which runs to do next."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.random import Generator
from scipy import stats
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring.noise import NUM_DRAWS

SEEDS = pe.PersistenceEvaluator(over=("seeds",))


def drawn(
    levels: dict[str, float],
    *,
    spread: float = 0.02,
    seeds: int = 3,
    tasks: int = 4,
    seed: int = 0,
    **fields: Any,
) -> list[pe.Run]:
    """Runs of each model about its level, on some tasks."""
    rng: Generator = np.random.default_rng(seed)
    return [
        make_run(
            f"t{task}",
            seed=each,
            model=model,
            accuracy=level + float(rng.normal(0, spread)),
            **fields,
        )
        for model, level in levels.items()
        for task in range(tasks)
        for each in range(seeds)
    ]


@pytest.mark.parametrize(
    ("levels", "rope", "verdict", "code"),
    [
        ({"a": 0.8, "b": 0.5}, 0.0, "use", 0),
        ({"a": 0.8}, 0.0, "use", 0),
        ({"a": 0.7, "b": 0.701}, 0.0, "inconclusive", 2),
        ({"a": 0.7, "b": 0.701}, 0.2, "equal", 1),
        ({"a": 0.7, "b": 0.701}, 0.001, "inconclusive", 2),
        ({"a": 0.7, "b": 0.701, "c": 0.3}, 0.2, "equal", 1),
        # Told apart, and yet within the rope: the better one is to be used.
        ({"a": 0.8, "b": 0.74}, 0.3, "use", 0),
    ],
)
def test_there_are_three_verdicts(
    levels: dict[str, float], rope: float, verdict: str, code: int
) -> None:
    """Separable is use, within the rope is equal, and what is neither is open."""
    evaluator = pe.PersistenceEvaluator(over=("seeds",), rope=rope)
    comparison = evaluator.compare(drawn(levels))
    assert comparison.verdict == verdict
    assert comparison.exit_code == code
    again = pe.Comparison.from_json(comparison.to_json())
    assert (again, again.settle) == (comparison, comparison.settle)
    assert hash(again) == hash(comparison)


def test_one_seed_a_cell_is_inconclusive() -> None:
    """Where nothing is known of chance there is no verdict, and a second seed helps."""
    comparison = SEEDS.compare(drawn({"a": 0.8, "b": 0.5}, seeds=1, tasks=2))
    assert comparison.verdict == "inconclusive"
    assert "a second seed of each cell" in comparison.settle
    assert set(comparison.next_runs()) == {
        (model, f"t{task}", "d", "full", 1) for model in "ab" for task in range(2)
    }


def test_a_protocol_without_a_score_is_inconclusive() -> None:
    """Without a budget usability recommends nothing."""
    comparison = pe.UsabilityEvaluator().compare(drawn({"a": 0.8, "b": 0.5}))
    assert comparison.verdict == "inconclusive"
    assert comparison.exit_code == 2
    assert "makes no score" in comparison.settle


def test_better_and_practically_equal_is_an_answer() -> None:
    """A model may be told from the best and yet lie within the rope of it."""
    runs = drawn({"a": 0.8, "b": 0.74})
    text = str(pe.PersistenceEvaluator(over=("seeds",), rope=0.3).compare(runs))
    assert "b is statistically worse, practically equal." in text.replace("\n", " ")
    assert "-0.0" in text
    assert "≈" in text


def test_the_cheapest_of_equals_is_named() -> None:
    """Not the first, where both are practically equal and one is smaller."""
    runs = drawn({"a": 0.7})
    runs += [
        dataclasses.replace(run, model="b", cost=pe.Cost(num_parameters=10, macs=10))
        for run in drawn({"a": 0.701}, seed=1)
    ]
    comparison = pe.PersistenceEvaluator(over=("seeds",), rope=0.2).compare(runs)
    assert comparison.cheapest == "b"
    assert comparison.decision.startswith("Use b, the cheapest, practically equal to a")
    assert "take the cheapest, b" in comparison.settle


def test_the_three_probabilities_are_those_of_baycomp() -> None:
    """P(better), P(equal), P(worse) by the rope are shares of posterior draws."""
    rng = np.random.default_rng(0)
    first = 0.70 + rng.normal(0, 0.02, 8)
    second = 0.69 + rng.normal(0, 0.02, 8)
    runs = [
        make_run(
            model=model, seed=seed, accuracy=float(value), chance={"accuracy": 0.0}
        )
        for model, values in {"a": first, "b": second}.items()
        for seed, value in enumerate(values)
    ]
    rope = 0.01
    (pair,) = (
        pe.PersistenceEvaluator(over=("seeds",), rope=rope).compare(runs).differences
    )
    # baycomp's two models on one data set: Student's t of the paired differences.
    gaps = (first - second) if pair.first == "a" else (second - first)
    t = stats.t(gaps.size - 1, gaps.mean(), gaps.std(ddof=1) / gaps.size**0.5)
    assert pair.p_better == pytest.approx(t.sf(rope), abs=0.03)
    assert pair.p_worse == pytest.approx(t.cdf(-rope), abs=0.03)
    assert pair.p_equal == pytest.approx(t.cdf(rope) - t.cdf(-rope), abs=0.03)
    total = pair.p_better + pair.p_equal + pair.p_worse  # type: ignore[operator]
    assert total == pytest.approx(1, abs=1e-12)
    p = stats.ttest_rel(first, second).pvalue
    assert pair.p_value == pytest.approx(p, abs=0.03)


def test_without_a_rope_nothing_is_equal() -> None:
    """Ties are shared, so that better and worse sum to 1."""
    runs = drawn({"a": 0.7}, spread=0.0) + drawn({"b": 0.7}, spread=0.0)
    (pair,) = SEEDS.compare(runs).differences
    assert (pair.p_better, pair.p_equal, pair.p_worse) == (0.5, 0.0, 0.5)
    assert pair.p_value == 1
    (clear,) = SEEDS.compare(drawn({"a": 0.9, "b": 0.3})).differences
    assert clear.p_value == 1 / NUM_DRAWS


@pytest.mark.parametrize("rope", [-0.1, float("nan"), float("inf")])
def test_a_rope_is_a_distance(rope: float) -> None:
    """What is no distance is refused; 0 is one."""
    with pytest.raises(ValueError, match="rope must be a difference of scores"):
        pe.PersistenceEvaluator(rope=rope)
    assert pe.PersistenceEvaluator(rope=0.0).rope == 0


def test_seeds_that_agree_settle_nothing() -> None:
    """Where examples stand between two models no number of seeds will, and it says so."""
    runs = drawn({"a": 0.7, "b": 0.699}, spread=0.0, num_examples=100)
    comparison = pe.PersistenceEvaluator().compare(runs)
    needed = comparison.needed("b")
    assert needed["seeds"] is None
    assert needed["examples"] is not None
    assert comparison.settle.startswith(
        "No number of seeds alone will (the seeds agree): about"
    )
    assert "more examples" in comparison.settle
    assert comparison.next_runs() == []


def test_the_needed_examples_are_those_of_the_error() -> None:
    """(z + z)² times the variance over the squared gap, less what there is."""
    comparison = pe.PersistenceEvaluator().compare(
        drawn({"a": 0.7, "b": 0.69}, spread=0.0, num_examples=100)
    )
    (pair,) = comparison.differences
    quantiles = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    factor = (quantiles * pair.errors["examples"] / pair.difference) ** 2
    expected = 400 * (factor - 1)
    assert comparison.needed("b")["examples"] == pytest.approx(expected, rel=0.01)
    assert pair.sizes == {"seeds": 3, "examples": 400, "tasks": 4}


def test_what_neither_does_alone_both_do_together() -> None:
    """Seeds and examples that stand between two models in equal shares grow at once."""
    runs = drawn({"a": 0.7, "b": 0.685}, num_examples=2000)
    comparison = pe.PersistenceEvaluator().compare(runs)
    pair = comparison.difference("a", "b")
    assert pair is not None
    errors = pair.errors["seeds"], pair.errors["examples"]
    gap = 1.5 * max(errors)
    even = dataclasses.replace(pair, difference=gap)
    alone = even.needed(comparison.over)
    assert alone["seeds"] is None
    assert alone["examples"] is None
    growth = even.growth(comparison.over)
    assert growth is not None
    quantiles = stats.norm.ppf(0.975) + stats.norm.ppf(0.8)
    normal = (quantiles * np.hypot(*errors) / gap) ** 2
    assert normal <= growth <= 1.3 * normal
    both = dataclasses.replace(comparison, differences=(even,))
    assert {run[-1] for run in both.next_runs()} == {3}
    words = both.settle
    assert f"about {growth:.2g} × as many seeds and examples at once" in words


def test_missing_runs_come_first() -> None:
    """Then new seeds of the two in question, where they vary most, in pairs."""
    runs = drawn({"a": 0.7, "b": 0.698, "c": 0.2})
    for i, run in enumerate(runs):
        if run.task == "t2" and run.model == "b":
            lifted = run.scores["accuracy"] + (-0.2, 0.0, 0.2)[run.seed]
            runs[i] = dataclasses.replace(run, scores={"accuracy": lifted})
    lost = runs.index(next(r for r in runs if (r.model, r.task) == ("c", "t1")))
    comparison = SEEDS.compare(runs)
    new = comparison.next_runs()
    assert {run[:2] for run in new[:2]} == {("a", "t2"), ("b", "t2")}
    assert {run[-1] for run in new} == {3}
    assert "c" not in {run[0] for run in new}
    partial = SEEDS.compare([run for i, run in enumerate(runs) if i != lost])
    assert partial.next_runs()[0] == ("c", "t1", "d", "full", 0)
    assert partial.next_runs()[1:] == new


def test_what_is_missing_comes_before_a_verdict_of_equal() -> None:
    """Nobody knows how near a model lies on what it lacks."""
    runs = drawn({"a": 0.7, "b": 0.701})
    evaluator = pe.PersistenceEvaluator(over=("seeds",), rope=0.3)
    assert evaluator.compare(runs).verdict == "equal"
    comparison = evaluator.compare(runs[:-3])
    assert comparison.verdict == "inconclusive"
    assert comparison.settle == (
        "Complete what is missing first, as next_runs() lists it: 3 of b."
    )
    assert comparison.next_runs()[:3] == [
        ("b", "t3", "d", "full", seed) for seed in range(3)
    ]


def test_a_model_without_results_is_missing() -> None:
    """It is not ranked, and its runs are the first to do."""
    lost = [
        dataclasses.replace(run, status="oom", scores={}, model="c")
        for run in drawn({"a": 0.9}, tasks=1)
    ]
    runs = [*drawn({"a": 0.9, "b": 0.3}, tasks=1), *lost]
    assert SEEDS.compare(runs).next_runs() == [
        ("c", "t0", "d", "full", seed) for seed in range(3)
    ]


def test_a_decided_comparison_needs_no_runs() -> None:
    """Nothing is missing and nothing is open."""
    comparison = SEEDS.compare(drawn({"a": 0.9, "b": 0.3}))
    assert comparison.next_runs() == []
    assert comparison.settle == "Nothing is open: use a."
    assert comparison.needed("c") == {}


def test_old_records_are_read() -> None:
    """JSON without what is newer has the defaults."""
    comparison = SEEDS.compare(drawn({"a": 0.7, "b": 0.699}))
    old = comparison.to_dict()
    for name in ("rope", "tasks", "cells", "seeds", "spreads"):
        del old[name]
    for pair in old["differences"]:
        for name in ("p_equal", "p_worse", "p_value", "errors", "sizes"):
            del pair[name]
    again = pe.Comparison.from_dict(old)
    assert again.verdict == "inconclusive"
    assert again.next_runs() == []
    assert "It is open" in again.settle
    assert "Use " in str(again)


def test_what_settles_has_a_price() -> None:
    """The time of the seeds that are needed, from that of the runs there are."""
    cost = pe.Cost(seconds=60.0, total_seconds=60.0)
    comparison = SEEDS.compare(drawn({"a": 0.7, "b": 0.69}, cost=cost))
    seeds = comparison.needed(comparison.not_separable[0])["seeds"]
    assert seeds is not None
    minutes = seeds * 2 * 4
    words = f"{minutes / 60:.3g} hours" if minutes >= 120 else f"{minutes} minutes"
    assert f"({words} of runs)" in comparison.settle
