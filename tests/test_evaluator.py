"""What holds for every protocol, and for an evaluator of one's own."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scoring import BUDGET, KEYS, evaluators, make_grid, make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.statistics import mean_by_cell
from pretrain_eval._scoring.scored import row_values

each_protocol = pytest.mark.parametrize(
    "evaluator", evaluators(), ids=lambda each: each.protocol
)


class WorstCaseEvaluator(pe.Evaluator):
    """The example of an evaluator of one's own."""

    protocol = "worst case"

    def parts(self, cells):  # type: ignore[no-untyped-def]
        """One share a dataset."""
        return {"/".join(name): z for name, z in cells.by_dataset("z").items()}

    def combine(self, parts):  # type: ignore[no-untyped-def]
        """The lowest."""
        return np.min(list(parts.values()), axis=0)


every_evaluator = pytest.mark.parametrize(
    "evaluator",
    [*evaluators(), WorstCaseEvaluator()],
    ids=lambda evaluator: evaluator.protocol,
)


@every_evaluator
def test_order_of_runs_changes_nothing(evaluator: pe.Evaluator) -> None:
    """Permuting the runs changes no bit of the comparison."""
    runs = make_grid()
    expected = evaluator.compare(runs).to_json()
    for seed in range(3):
        shuffled = random.Random(seed).sample(runs, len(runs))
        assert evaluator.compare(shuffled).to_json() == expected


@every_evaluator
def test_a_score_does_not_depend_on_the_others(evaluator: pe.Evaluator) -> None:
    """A model's report is the same alone and beside others."""
    runs = make_grid(models=("a", "b", "c"))
    alone = evaluator.score([run for run in runs if run.model == "b"])
    assert alone in evaluator.compare(runs).reports


@every_evaluator
def test_parts_and_combine_make_the_score(evaluator: pe.Evaluator) -> None:
    """The score is the documented function of the parts that are shown."""
    runs = make_grid(models=("a",))
    report = evaluator.score(runs)
    parts = evaluator.parts(evaluator.grids(runs)["a"].cells)
    assert {name: float(part) for name, part in parts.items()} == dict(report.parts)
    assert evaluator.combine(report.parts) == report.score


@every_evaluator
def test_a_formula_works_on_draws_as_on_numbers(evaluator: pe.Evaluator) -> None:
    """Many draws at once give what each gives alone."""
    cells = evaluator.grids(make_grid(models=("a",)))["a"].cells
    noise = np.random.default_rng(0).normal(0, 0.01, (5, len(cells.names)))
    many = {name: mean + noise for name, mean in cells.means.items()}
    together = evaluator.combine(
        evaluator.parts(dataclasses.replace(cells, means=many))
    )
    for row in range(5):
        one = {name: mean[row] for name, mean in many.items()}
        alone = evaluator.combine(
            evaluator.parts(dataclasses.replace(cells, means=one))
        )
        assert np.broadcast_to(together, 5)[row] == pytest.approx(alone, abs=1e-12)


@every_evaluator
def test_a_declared_mean_is_one(evaluator: pe.Evaluator) -> None:
    """What `mean_of` says and what `combine` makes of the parts are one number."""
    runs = make_grid(models=("a",), spread=0.05)
    grid = evaluator.grids(runs)["a"]
    values = row_values(evaluator, grid)
    if evaluator.mean_of:
        means = mean_by_cell(values, grid.index, len(grid.cells.names))
        score = evaluator.score(runs).score
        assert float(grid.cells.macro(means)) == pytest.approx(score, abs=1e-12)
    else:
        assert values is None


@every_evaluator
def test_the_interval_holds_the_score(evaluator: pe.Evaluator) -> None:
    """With three seeds there is an interval, and the score lies in it."""
    report = evaluator.score(make_grid(models=("a",)))
    assert report.score is not None
    assert report.interval is not None
    assert report.interval.low < report.score < report.interval.high
    assert report.new_tasks is None or report.new_tasks.over == "tasks"


@every_evaluator
def test_one_seed_gives_no_interval_and_says_so(evaluator: pe.Evaluator) -> None:
    """With one seed a cell no interval over seeds is printed, and no P(best)."""
    runs = make_grid(seeds=1)
    report = evaluator.score([run for run in runs if run.model == "a"])
    assert report.interval is None
    assert "One seed a cell: nothing can be said of new seeds." in str(report)
    comparison = evaluator.compare(runs)
    assert not comparison.p_best
    assert "cannot be said with one seed a cell" in comparison.decision


@every_evaluator
def test_the_same_seed_gives_the_same_bytes(evaluator: Any) -> None:
    """Draws are made from the evaluator's seed alone."""
    runs = make_grid()
    np.random.seed(1)
    first = evaluator.compare(runs)
    np.random.seed(2)
    assert evaluator.compare(runs) == first
    other = dataclasses.replace(evaluator, seed=1).compare(runs)
    assert other.p_best != first.p_best
    assert [each.score for each in other.reports] == [e.score for e in first.reports]


@each_protocol
@settings(max_examples=20, deadline=None)
@given(
    accuracies=st.lists(
        st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=8, max_size=8
    ),
    which=st.integers(0, 7),
    lift=st.floats(0, 1),
)
def test_scores_are_bounded_and_monotone(
    evaluator: pe.Evaluator,
    accuracies: list[tuple[float, float]],
    which: int,
    lift: float,
) -> None:
    """No score passes 1, and a better run never makes it smaller."""

    def scored(pairs: list[tuple[float, float]]) -> float:
        runs = [
            make_run(
                f"t{i // 4}",
                f"d{i // 2 % 2}",
                ("full", "probe")[i % 2],
                accuracy=after,
                before=min(before, 0.9),
            )
            for i, (before, after) in enumerate(pairs)
        ]
        score = evaluator.score(runs).score
        assert score is not None
        return score

    before, after = accuracies[which]
    better = list(accuracies)
    better[which] = before, after + lift * (1 - after)
    low, high = scored(accuracies), scored(better)
    assert low <= 1
    assert high >= low - 1e-12


@each_protocol
def test_a_run_equal_to_the_mean_changes_nothing(evaluator: pe.Evaluator) -> None:
    """A further seed whose measurements are its cell's mean leaves the score."""
    runs = make_grid(models=("a",))
    cell = [run for run in runs if run.name.startswith("a on s/d, full")]
    mean = {
        "scores": {k: float(np.mean([r.scores[k] for r in cell])) for k in KEYS},
        "curve": {
            "step": (0, 10),
            "accuracy": tuple(
                float(np.mean([r.curve["accuracy"][i] for r in cell])) for i in (0, 1)
            ),
        },
    }
    added = dataclasses.replace(cell[0], seed=99, **mean)  # type: ignore[arg-type]
    score = evaluator.score(runs).score
    assert evaluator.score([*runs, added]).score == pytest.approx(score, abs=1e-12)


@every_evaluator
def test_a_missing_run_gives_bounds(evaluator: pe.Evaluator) -> None:
    """What is missing is counted, bounded, and said; strict makes it an error."""
    runs = make_grid(models=("a",))
    runs[3] = make_run(
        runs[3].task,
        runs[3].dataset,
        runs[3].strategy,
        runs[3].seed,
        status="oom",
        scores={},
        curve={},
    )
    report = evaluator.score(runs)
    assert report.num_missing == 1
    assert report.coverage == pytest.approx(23 / 24, abs=1e-12)
    assert report.bounds is not None
    assert report.score is not None
    assert report.bounds[0] <= report.score <= report.bounds[1]
    assert report.bounds[0] < report.bounds[1]
    assert "1 of 24 expected runs are missing" in str(report)
    strict = dataclasses.replace(evaluator, strict=True)  # type: ignore[type-var]
    with pytest.raises(ValueError, match=r"missing runs in \['s/d/probe'\]"):
        strict.score(runs)
    assert strict.score(make_grid(models=("a",))).num_missing == 0


@every_evaluator
def test_diverged_runs_follow_the_policy(evaluator: Any) -> None:
    """A diverged run counts as chance, is dropped, or is an error; it is counted."""
    runs = make_grid(models=("a",))
    runs[0] = make_run("s", "d", "full", 0, status="diverged", scores={}, curve={})
    whole = evaluator.score(make_grid(models=("a",)))
    chance = evaluator.score(runs)
    assert chance.num_diverged == 1
    assert chance.num_missing == 0
    assert chance.score < whole.score
    assert "1 of 24 runs diverged and count as chance." in str(chance)
    dropped = dataclasses.replace(evaluator, diverged="drop").score(runs)
    assert (dropped.num_diverged, dropped.num_missing) == (1, 1)
    assert dropped.score > chance.score
    with pytest.raises(ValueError, match="a on s/d, full, seed 0 diverged"):
        dataclasses.replace(evaluator, diverged="raise").score(runs)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "at least one run, got none"),
        (make_grid(), r"score expects the runs of one model, got \['a', 'b'\]; use"),
        ([make_run(), make_run()], "a on t/d, full, seed 0 stands twice"),
        ([make_run(status="error", scores={})], "no run of a has a result"),
        ([make_run()], None),
    ],
)
def test_bad_runs_are_refused(runs: list[pe.Run], message: str | None) -> None:
    """What cannot be scored is an error that says why."""
    for evaluator in (*evaluators(), WorstCaseEvaluator()):
        if message is None:
            assert evaluator.score(runs).score is not None
            continue
        with pytest.raises(ValueError, match=message):
            evaluator.score(runs)


def test_what_is_no_run_is_refused() -> None:
    """Something else than a Run is a TypeError that shows it."""
    with pytest.raises(TypeError, match="Run records, got"):
        pe.PersistenceEvaluator().score([{"accuracy": 1}])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "evaluator",
    [
        pe.PersistenceEvaluator(metric="auroc"),
        pe.OptimizabilityEvaluator(metric="auroc"),
        pe.VariabilityEvaluator(metric="auroc"),
        pe.ReusabilityEvaluator(metric="auroc"),
        pe.UsabilityEvaluator(metric="auroc"),
    ],
    ids=lambda each: each.protocol,
)
def test_an_unknown_metric_lists_the_known(evaluator: pe.Evaluator) -> None:
    """A metric that no run has is an error with the keys that exist."""
    with pytest.raises(ValueError, match=r"'auroc'.*scores \['accuracy', 'f1'"):
        evaluator.score([make_run()])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"diverged": "ignore"}, "diverged must be 'chance', 'drop' or 'raise'"),
        ({"better": "more"}, "better must be 'higher' or 'lower', got 'more'"),
        ({"better": {"t": "less"}}, "better must be 'higher' or 'lower', got 'less'"),
        ({"better": {"t": "lower"}}, None),
        ({"metric": "mse", "ceiling": 0.0}, None),
        ({"confidence": 0.9}, None),
    ],
)
def test_bad_arguments_are_refused(
    arguments: dict[str, Any], message: str | None
) -> None:
    """Every wrong argument has a message, and its neighbour works."""
    for kind in (pe.PersistenceEvaluator, pe.ReusabilityEvaluator):
        if message is None:
            assert kind(**arguments).protocol
            continue
        with pytest.raises(ValueError, match=message):
            kind(**arguments)


def test_each_task_may_have_its_own_metric() -> None:
    """Classification and regression stand in one score."""
    runs = [
        make_run("classes", accuracy=0.8),
        make_run(
            "values",
            scores={"r2": 0.4},
            baseline={"r2": 0.1},
            chance={"r2": 0.0},
            curve={"r2": (0.0, 0.4)},
        ),
    ]
    metric = {"classes": "accuracy", "values": "r2"}
    report = pe.PersistenceEvaluator(metric=metric).score(runs)
    assert report.score == pytest.approx(0.6, abs=1e-12)
    z = (0.8 - 0.25) / 0.75
    reusable = pe.ReusabilityEvaluator(metric=metric).score(runs)
    assert reusable.parts["multi-task"] == pytest.approx((z + 0.4) / 2, abs=1e-12)
    card = pe.scorecard(runs, metric=metric)
    assert not card.absent


def test_a_loss_is_turned_round() -> None:
    """Z = (c − m) / c for a loss whose ceiling is 0."""
    run = make_run(scores={"mse": 0.5}, chance={"mse": 2.0})
    report = pe.PersistenceEvaluator(metric="mse", ceiling=0.0).score([run])
    assert report.score == pytest.approx(0.75, abs=1e-12)
    unknown = make_run(scores={"mse": 0.5}, chance={})
    with pytest.raises(ValueError, match="'mse' needs its chance level"):
        pe.PersistenceEvaluator(metric="mse", ceiling=0.0).score([unknown])


def test_chance_can_be_stated() -> None:
    """Read from the runs, uniform, one number, or one a task; unknown is noted."""
    run = make_run(settings={"num_classes": 5}, accuracy=0.6)
    for chance, level in (
        (None, 0.25),
        ("uniform", 0.2),
        (0.5, 0.5),
        ({"t": 0.1}, 0.1),
    ):
        report = pe.PersistenceEvaluator(chance=chance).score([run])  # type: ignore[arg-type]
        expected = (0.6 - level) / (1 - level)
        assert report.details["normalised mean"] == pytest.approx(expected, abs=1e-12)
    bare = make_run(chance={}, accuracy=0.6)
    report = pe.PersistenceEvaluator().score([bare])
    assert report.details["normalised mean"] == pytest.approx(0.6, abs=1e-12)
    assert "Chance is unknown for 1 of 1 run and taken as 0" in str(report)
    with pytest.raises(ValueError, match=r"needs settings\['num_classes'\]"):
        pe.PersistenceEvaluator(chance="uniform").score([bare])


def test_a_diverged_run_takes_chance_from_its_dataset() -> None:
    """A run that knows no chance level takes that of another run of its dataset."""
    runs = [
        make_run(accuracy=0.75),
        make_run(seed=1, status="diverged", scores={}, chance={}),
    ]
    assert pe.PersistenceEvaluator().score(runs).score == 0.5
    assert WorstCaseEvaluator().score(runs).score == pytest.approx(1 / 3, abs=1e-12)


def test_lift_over_the_twin_from_scratch() -> None:
    """Z − z_scratch on the cells that both have, in score and in compare."""
    runs = [
        make_run("s", accuracy=0.85),
        make_run("t", accuracy=0.70),
        make_run("s", accuracy=0.55, model="random"),
        make_run("u", accuracy=0.40, model="random"),
    ]
    for scratch in ("random", {"a": "random"}):
        evaluator = pe.PersistenceEvaluator(scratch=scratch)
        report = evaluator.score(runs)
        assert report.model == "a"
        lift = report.details["lift over scratch"]
        assert lift == pytest.approx(0.3 / 0.75, abs=1e-12)
        compared = {each.model: each for each in evaluator.compare(runs).reports}
        assert compared["a"].details["lift over scratch"] == lift
        assert "lift over scratch" not in compared["random"].details
    alone = pe.PersistenceEvaluator(scratch="random").score(runs[2:])
    assert alone.model == "random"
    with pytest.raises(
        ValueError, match=r"scratch names \['typo'\], of which there is"
    ):
        pe.PersistenceEvaluator(scratch="typo").score(runs[:2])


def test_a_model_without_results_is_not_ranked() -> None:
    """One model that failed everywhere does not spoil the decision between others."""
    lost = [
        dataclasses.replace(run, model="lost", status="oom", scores={}, curve={})
        for run in make_grid(models=("a",))
    ]
    for evaluator in evaluators():
        comparison = evaluator.compare([*make_grid(), *lost])
        assert {each.model for each in comparison.reports} == {"a", "b"}
        assert "No run of lost has a result: not ranked." in comparison.notes
        assert comparison.cost.seconds == 10.0 * 72
        with pytest.raises(ValueError, match="no run of lost has a result"):
            evaluator.compare(lost)


def test_costs_that_some_runs_lack_leave_the_interval() -> None:
    """A run without its seconds has the mean of its cell; nothing becomes NaN."""
    runs = make_grid(models=("a",))
    runs[0] = dataclasses.replace(runs[0], cost=pe.Cost())
    runs[3:6] = [dataclasses.replace(run, cost=pe.Cost()) for run in runs[3:6]]
    report = pe.UsabilityEvaluator(budget=BUDGET).score(runs)
    assert report.interval is not None
    assert report.score is not None
    assert report.interval.low < report.score < report.interval.high


def test_an_evaluator_of_ones_own_is_like_the_five() -> None:
    """Two functions give intervals, bounds that are known, lift and a ranking."""
    runs = make_grid()
    own = [run for run in runs if run.model == "a"]
    report = WorstCaseEvaluator().score(own)
    assert report.score is not None
    assert report.interval is not None
    assert report.interval.low <= report.score <= report.interval.high
    narrow = WorstCaseEvaluator(confidence=0.5).score(own).interval
    assert narrow is not None
    assert narrow.high - narrow.low < report.interval.high - report.interval.low
    assert set(WorstCaseEvaluator().compare(runs).p_best) == {"a", "b"}
    lifted = WorstCaseEvaluator(scratch="b").score(runs)
    assert "lift over scratch" in lifted.details
    failed = dataclasses.replace(own[0], status="error", scores={})
    partial = WorstCaseEvaluator().score([failed, *own[1:]])
    assert partial.num_missing == 1
    assert partial.bounds is not None
    low, high = partial.bounds
    assert 0 < low < report.score
    assert high < 1


class MedianLossEvaluator(pe.Evaluator):
    """One that reads columns of its own, of a metric without a range."""

    protocol = "median loss"

    @property
    def limits(self):  # type: ignore[no-untyped-def]
        """No run can be worse than infinitely bad."""
        return {"loss": (-np.inf, 0.0)}

    def read(self, runs):  # type: ignore[no-untyped-def]
        """The loss, better when lower."""
        return {"loss": -self.measured(runs)}

    def parts(self, cells):  # type: ignore[no-untyped-def]
        """The median over cells."""
        return {"median": np.median(cells["loss"], axis=-1)}


def test_an_evaluator_may_read_columns_of_its_own() -> None:
    """A loss has no share of a way to perfection, and needs none."""
    runs = [
        make_run(
            dataset=dataset,
            seed=seed,
            model=model,
            scores={"log_loss": level + seed / 100},
        )
        for model, level in {"a": 0.9, "b": 0.4}.items()
        for dataset in "def"
        for seed in range(3)
    ]
    comparison = MedianLossEvaluator(metric="log_loss").compare(runs)
    assert comparison.best == "b"
    assert comparison.over == ("seeds",)
    assert comparison.reports[0].score == pytest.approx(-0.41, abs=1e-12)
    assert comparison.reports[0].interval is not None


def test_no_seed_is_lost() -> None:
    """Seeds and strategies of a cell are averaged before any formula sees them."""
    runs = [make_run(seed=seed, accuracy=0.7 + seed / 10) for seed in range(3)]
    report = WorstCaseEvaluator(chance=0.0).score(runs)
    assert report.score == pytest.approx(0.8, abs=1e-12)
    both = [make_run(strategy="probe", accuracy=0.4), *runs]
    report = WorstCaseEvaluator(chance=0.0).score(both)
    assert report.score == pytest.approx((0.4 + 0.8) / 2, abs=1e-12)


def test_a_partial_model_stands_by_its_lower_bound() -> None:
    """A model that lacks its hard cell is not ranked above a complete one."""
    full = [
        make_run("t", name, accuracy=score, model="full")
        for name, score in {"easy": 0.9, "hard": 0.3}.items()
    ]
    lucky = [make_run("t", "easy", accuracy=0.95, model="lucky")]
    comparison = pe.PersistenceEvaluator().compare([*full, *lucky])
    assert [each.model for each in comparison.reports] == ["full", "lucky"]
    second = comparison.reports[1]
    assert second.score == 0.95
    assert second.bounds == pytest.approx((0.475, 0.975), abs=1e-12)
    assert "Missing runs: 1 of lucky" in str(comparison)
    better = [make_run("t", "easy", accuracy=1.0, model="lucky")]
    weak = [dataclasses.replace(run, scores={"accuracy": 0.3}) for run in full]
    comparison = pe.PersistenceEvaluator().compare([*weak, *better])
    assert comparison.best == "lucky"  # its lower bound, 0.5, is above 0.3


def test_pairs_are_compared_on_their_common_cells() -> None:
    """Where grids differ the difference is that on the cells of both."""
    first = [make_run("t", "easy", seed=s, accuracy=0.9 + s / 100) for s in range(3)]
    first += [make_run("t", "hard", seed=s, accuracy=0.3 + s / 100) for s in range(3)]
    second = [
        make_run("t", "easy", seed=s, accuracy=0.8 + s / 100, model="b")
        for s in range(3)
    ]
    comparison = pe.PersistenceEvaluator().compare([*first, *second])
    pair = comparison.difference("a", "b")
    assert pair is not None
    sign = 1 if pair.first == "a" else -1
    assert sign * pair.difference == pytest.approx(0.1, abs=1e-12)
    assert pair.num_cells == 1


def test_a_clear_difference_is_separable_and_a_small_one_not() -> None:
    """Two equal models stay together, a far one is told apart, and P(best) agrees."""
    rng = np.random.default_rng(0)
    runs = [
        make_run(
            "t",
            dataset,
            seed=seed,
            model=model,
            accuracy=level + float(rng.normal(0, 0.01)),
        )
        for model, level in {"a": 0.8, "b": 0.801, "far": 0.5}.items()
        for dataset in "de"
        for seed in range(3)
    ]
    comparison = pe.PersistenceEvaluator().compare(runs)
    assert comparison.reports[2].model == "far"
    assert set(comparison.not_separable) == {"a", "b"} - {comparison.best}
    assert comparison.p_best["far"] < 0.01
    assert sum(comparison.p_best.values()) == pytest.approx(1, abs=1e-12)
    pair = comparison.difference("a", "b")
    assert pair is not None
    assert pair.p_better is not None
    # Models that may be alike are drawn towards each other.
    pulled, plain = comparison.p_best[pair.first] - 0.5, pair.p_better - 0.5
    assert abs(pulled) <= abs(plain) + 0.01
    assert comparison.regret is not None
    assert comparison.regret_limit is not None
    assert 0 <= comparison.regret <= comparison.regret_limit


def test_scores_that_no_seed_changes_are_named() -> None:
    """Equal seeds make P(best) certain, of new seeds alone, and a sentence says so."""
    runs = [
        make_run(dataset=dataset, seed=seed, model=model, accuracy=level + noise * seed)
        for model, level, noise in (("a", 0.8, 0.0), ("b", 0.79, 0.0), ("c", 0.5, 0.01))
        for dataset in "de"
        for seed in range(3)
    ]
    comparison = pe.PersistenceEvaluator().compare(runs)
    assert comparison.p_best["a"] == 1
    assert any(
        note.startswith("No seed changes the score of a and b: P(best) takes it")
        for note in comparison.notes
    )
    varied = pe.PersistenceEvaluator().compare(make_grid())
    assert not any("No seed" in note for note in varied.notes)


def test_equal_models_share_the_first_place() -> None:
    """Of models with the same scores each is the best in its share of the draws."""
    runs = [
        make_run(dataset=dataset, seed=seed, model=model, accuracy=0.7 + seed / 100)
        for model in "abcd"
        for dataset in "de"
        for seed in range(3)
    ]
    shares = pe.PersistenceEvaluator().compare(runs).p_best
    assert list(shares.values()) == pytest.approx([0.25] * 4, abs=0.03)
    still = [dataclasses.replace(run, scores={"accuracy": 0.7}) for run in runs]
    exact = pe.PersistenceEvaluator().compare(still)
    assert list(exact.p_best.values()) == [0.25] * 4
    assert set(exact.not_separable) == {"b", "c", "d"}


@pytest.mark.parametrize(
    ("evaluator", "worse", "better"),
    [
        (pe.VariabilityEvaluator(), {"accuracy": 0.35}, {"accuracy": 0.45}),
        (pe.PersistenceEvaluator(ceiling=1.0), {"accuracy": 0.1}, {"accuracy": 0.2}),
    ],
    ids=["variability", "persistence"],
)
def test_of_two_that_are_harmful_the_less_harmful_is_chosen(
    evaluator: pe.Evaluator, worse: dict[str, float], better: dict[str, float]
) -> None:
    """Below 0 models are ranked, drawn and told apart as above it."""
    runs = [
        make_run(
            dataset=dataset,
            seed=seed,
            model=model,
            scores={"accuracy": scores["accuracy"] + seed / 1000},
        )
        for model, scores in {"a": worse, "b": better}.items()
        for dataset in "de"
        for seed in range(3)
    ]
    comparison = evaluator.compare(runs)
    assert comparison.best == "b"
    assert comparison.p_best["b"] > 0.99
    assert not comparison.not_separable
    (pair,) = comparison.differences
    assert pair.interval is not None
    assert 0 < pair.interval.low < pair.difference < pair.interval.high
    assert all(report.score < 0 for report in comparison.reports)  # type: ignore[operator]


def test_the_cost_of_a_decision_counts_failed_runs() -> None:
    """Seconds of all runs of all models, failed ones included."""
    runs = make_grid()
    runs[0] = dataclasses.replace(runs[0], status="error", scores={}, curve={})
    comparison = pe.ReusabilityEvaluator(budget=BUDGET).compare(runs)
    assert comparison.cost.seconds == 10.0 * len(runs)
    assert "the whole decision cost 8 minutes" in comparison.decision
