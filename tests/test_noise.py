"""Joint draws of what other seeds, examples and tasks would change."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring import noise
from pretrain_eval._scoring.formulas.statistics import Array

EVALUATOR = pe.PersistenceEvaluator()


def table_of(scores: Array, model: str = "a", **fields: object) -> list[pe.Run]:
    """Runs of a table (num_seeds, num_tasks)."""
    return [
        make_run(f"t{task}", seed=seed, accuracy=float(x), model=model, **fields)
        for (seed, task), x in np.ndenumerate(scores)
    ]


def on_examples(
    bits: Array, model: str = "a", examples: str = "e", **fields: object
) -> pe.Run:
    """A run that was right where `bits` say so."""
    return make_run(
        model=model,
        accuracy=float(bits.mean()),
        num_examples=bits.size,
        outcomes=pe.Outcomes.of("accuracy", examples, bits.astype(bool).tolist()),
        **fields,
    )


@pytest.mark.parametrize(("seeds", "tasks"), [(2, 4), (3, 5), (9, 2)])
def test_draws_over_seeds_have_the_standard_error(seeds: int, tasks: int) -> None:
    """Their spread is Welch and Satterthwaite's, their ends those of Student's t."""
    scores = np.random.default_rng(seeds).uniform(0.5, 0.6, (seeds, tasks))
    grid = EVALUATOR.grids(table_of(scores))["a"]
    values = grid.columns["P"]
    error = noise.error_over_seeds(grid, values, common=False)
    assert error is not None
    drawn = noise.over_seeds(grid, values, error, 0, common=False)
    ends = np.quantile(drawn, [0.025, 0.975])
    half = stats.t.ppf(0.975, error.freedom) * error.scale
    assert ends == pytest.approx([-half, half], rel=0.15)
    independent = math.sqrt(scores.var(axis=0, ddof=1).sum() / seeds) / tasks
    clustered = scores.mean(axis=1).std(ddof=1) / math.sqrt(seeds)
    assert error.scale == pytest.approx(max(independent, clustered), rel=1e-9)


def test_seeds_that_are_common_are_clustered() -> None:
    """Declared, the error is that of the seeds' means, with one less freedom."""
    scores = np.random.default_rng(0).uniform(0.5, 0.6, (4, 6))
    evaluator = pe.PersistenceEvaluator(seeds="common")
    interval = evaluator.score(table_of(scores)).interval
    expected = stats.t.interval(0.95, 3, scores.mean(), stats.sem(scores.mean(axis=1)))
    assert interval is not None
    assert (interval.low, interval.high) == pytest.approx(expected, abs=1e-9)
    with pytest.raises(ValueError, match="seeds must be 'common' or None"):
        pe.PersistenceEvaluator(seeds="shared")  # type: ignore[arg-type]


def test_shared_seeds_are_paired() -> None:
    """Noise that two models share does not stand between them."""
    rng = np.random.default_rng(1)
    luck = rng.normal(0, 0.05, (3, 4))
    runs = table_of(0.6 + luck) + table_of(0.59 + luck, "b")
    (pair,) = EVALUATOR.compare(runs).differences
    assert pair.seeds is not None
    assert pair.seeds.high - pair.seeds.low < 1e-9
    apart = table_of(0.6 + luck) + table_of(0.59 + rng.permuted(luck), "b")
    (pair,) = EVALUATOR.compare(apart).differences
    assert pair.seeds is not None
    assert pair.seeds.high - pair.seeds.low > 0.02


def test_examples_have_the_error_of_a_share() -> None:
    """One run's interval for new examples is Agresti and Coull's."""
    bits = np.arange(200) < 150
    comparison = EVALUATOR.compare([on_examples(bits), on_examples(~bits, "b")])
    assert comparison.over == ("examples",)
    share = 152 / 204
    error = math.sqrt(share * (1 - share) / 204)
    drawn = EVALUATOR.grids([on_examples(bits)])["a"]
    moves = noise.over_examples(drawn, ["accuracy"], 0)
    assert moves is not None
    assert moves.std() == pytest.approx(error, rel=0.05)


def test_examples_are_paired_between_models() -> None:
    """What both models get wrong does not stand between them (McNemar)."""
    rng = np.random.default_rng(2)
    first = rng.uniform(size=400) < 0.7
    second = first.copy()
    second[np.flatnonzero(first)[:12]] = False
    (pair,) = EVALUATOR.compare(
        [on_examples(first), on_examples(second, "b")]
    ).differences
    assert pair.examples is not None
    error = (pair.examples.high - pair.examples.low) / (2 * 1.96)
    # 12 discordant examples of one kind and, by chance, one of each.
    paired = math.sqrt(14 - (12 / 402) * 12) / 404
    assert error == pytest.approx(paired, rel=0.08)
    unpaired = math.sqrt(2 * 0.7 * 0.3 / 400)
    assert error < 0.4 * unpaired


def test_models_that_agree_on_few_examples_are_not_certain() -> None:
    """No interval of zero width, however well seeds and models agree."""
    right = np.ones(50)
    runs = [on_examples(right, model, seed=seed) for model in "ab" for seed in range(3)]
    comparison = EVALUATOR.compare(runs)
    assert comparison.over == ("seeds", "examples")
    for report in comparison.reports:
        assert report.interval is not None
        assert report.interval.high - report.interval.low > 0.01
    (pair,) = comparison.differences
    assert pair.interval is not None
    assert pair.interval.high - pair.interval.low > 0.05
    assert comparison.p_best["a"] == pytest.approx(0.5, abs=0.05)


def test_domains_that_share_examples_count_them_once() -> None:
    """Two domains of the same images are as uncertain as one."""
    bits = np.random.default_rng(3).uniform(size=300) < 0.8

    def width(*labels: str) -> float:
        runs = [
            on_examples(bits, model, examples, dataset=f"d{place}")
            for model in "ab"
            for place, examples in enumerate(labels)
        ]
        grid = EVALUATOR.grids(runs)["a"]
        moves = noise.over_examples(grid, ["accuracy"] * len(labels), 0)
        assert moves is not None
        return float((moves @ grid.cells.weights).std())

    assert width("e", "e") == pytest.approx(width("e"), rel=0.02)
    assert width("e", "f") == pytest.approx(width("e") / math.sqrt(2), rel=0.06)


def test_many_examples_are_drawn_in_groups() -> None:
    """The error is that of all examples."""
    bits = np.random.default_rng(4).uniform(size=5000) < 0.9
    grid = EVALUATOR.grids([on_examples(bits)])["a"]
    moves = noise.over_examples(grid, ["accuracy"], 0)
    assert moves is not None
    assert moves.std() == pytest.approx(math.sqrt(0.09 / 5000), rel=0.1)


def test_what_is_asked_is_what_the_sentence_says() -> None:
    """New seeds and examples by default, seeds or tasks alone on request."""
    rng = np.random.default_rng(5)
    runs = table_of(rng.uniform(0.6, 0.7, (3, 4)), num_examples=100)
    runs += table_of(rng.uniform(0.6, 0.7, (3, 4)), "b", num_examples=100)
    words = {
        ("seeds", "examples"): "for new seeds and examples;",
        ("seeds",): "for new seeds;",
        ("tasks",): "for new tasks;",
    }
    for over, sentence in words.items():
        comparison = pe.PersistenceEvaluator(over=over).compare(runs)  # type: ignore[arg-type]
        assert sentence in comparison.decision
        assert comparison.over == over
    with pytest.raises(ValueError, match="over must name some of"):
        pe.PersistenceEvaluator(over=("weather",))  # type: ignore[arg-type]


def test_a_table_of_one_seed_is_compared_over_tasks() -> None:
    """The paired t over tasks, which every published table allows."""
    rng = np.random.default_rng(6)
    first, second = rng.uniform(0.6, 0.9, (2, 11))
    runs = table_of(first[None]) + table_of(second[None], "b")
    comparison = EVALUATOR.compare(runs)
    assert comparison.over == ("tasks",)
    assert comparison.best in comparison.p_best
    (pair,) = comparison.differences
    sign = 1 if pair.first == "a" else -1
    expected = stats.ttest_rel(sign * first, sign * second).confidence_interval(0.95)
    assert pair.new_tasks is not None
    found = pair.new_tasks.low, pair.new_tasks.high
    assert found == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert pair.interval is not None
    drawn = pair.interval.low, pair.interval.high
    assert drawn == pytest.approx((expected.low, expected.high), abs=0.02)


def test_a_missing_cell_makes_p_best_a_range() -> None:
    """Nobody knows what is missing, and the sentence says so."""
    rng = np.random.default_rng(7)
    runs = table_of(rng.uniform(0.7, 0.8, (3, 4)))
    runs += table_of(rng.uniform(0.65, 0.8, (3, 4)), "b")
    partial = [run for run in runs if (run.model, run.task) != ("b", "t0")]
    comparison = EVALUATOR.compare(partial)
    assert not comparison.p_best
    low, high = comparison.p_best_range["b"]
    assert 0 <= low < high <= 1
    assert "P(best) lies between" in comparison.decision
    assert "by what is missing" in comparison.decision
    report = next(r for r in comparison.reports if r.model == "b")
    assert report.interval is not None
    assert report.bounds is not None
    assert report.interval.low < report.bounds[0] < report.bounds[1]


def test_a_seed_that_is_absent_is_missing() -> None:
    """Deleting the record of a failed run does not make a model look complete."""
    runs = table_of(np.random.default_rng(8).uniform(0.7, 0.8, (3, 4)))
    report = EVALUATOR.score(runs[:-1])
    assert report.num_missing == 1
    assert report.bounds is not None
    assert EVALUATOR.score(runs).num_missing == 0


def test_models_without_a_common_task_are_refused() -> None:
    """There is nothing to compare them by."""
    runs = [make_run("s"), make_run("t", model="b")]
    with pytest.raises(ValueError, match="a and b have no task in common"):
        EVALUATOR.compare(runs)
    assert EVALUATOR.compare([*runs, make_run("s", model="b")]).best


@pytest.mark.parametrize(
    ("values", "kind"), [([True, False] * 5, "bits"), ([0.5, 1.25, 3.0], "numbers")]
)
def test_outcomes_survive_packing(values: list[float], kind: str) -> None:
    """As JSON and back, to the bit."""
    outcomes = pe.Outcomes.of("accuracy", "e", values)
    assert outcomes.kind == kind
    assert outcomes.values() == [float(value) for value in values]
    assert pe.Outcomes.from_json(outcomes.to_json()) == outcomes
    run = make_run(outcomes=outcomes)
    assert pe.Run.from_json(run.to_json()) == run
    with pytest.raises(ValueError, match="num_examples says 7"):
        make_run(outcomes=outcomes, num_examples=7)
    fields = outcomes.to_dict() | {"num_examples": 99}
    with pytest.raises(ValueError, match="Outcomes of 99 examples"):
        pe.Outcomes.from_dict(fields)
