"""Reports and comparisons as people read, paste and store them."""

from __future__ import annotations

import csv
import io
import json

import pytest
from scoring import BUDGET, evaluators, make_grid, make_run

import pretrain_eval as pe

NAME = "<b>&$x_1%</b>"


def hostile() -> list[pe.Run]:
    """Runs of a model and a task whose names would break a page."""
    return [
        make_run(task, seed=seed, accuracy=a + seed / 100, model=model)
        for model, a in {NAME: 0.8, "b": 0.5}.items()
        for task in (NAME, "t")
        for seed in range(3)
    ]


def report_of(
    model: str,
    score: float | None,
    *,
    sizes: int | None = None,
    seconds: float | None = None,
) -> pe.Report:
    """A report of which only what a ranking reads is known."""
    cost = pe.Cost(num_parameters=sizes, seconds=seconds)
    return pe.Report(protocol="p", model=model, score=score, cost=cost)


@pytest.mark.parametrize("evaluator", evaluators(), ids=lambda each: each.protocol)
def test_json_brings_everything_back(evaluator: pe.Evaluator) -> None:
    """Reports and comparisons survive the round trip to the last bit."""
    runs = hostile()
    comparison = evaluator.compare(runs)
    again = pe.Comparison.from_json(comparison.to_json())
    assert again == comparison
    assert again.to_json() == comparison.to_json()
    report = evaluator.score(runs[:6])
    assert pe.Report.from_json(report.to_json()) == report
    json.loads(report.to_json(), parse_constant=pytest.fail)


@pytest.mark.parametrize("evaluator", evaluators(), ids=lambda each: each.protocol)
def test_exports_are_inert(evaluator: pe.Evaluator) -> None:
    """Hostile names are escaped in HTML, LaTeX and Markdown, and whole in CSV."""
    runs = hostile()
    for record in (evaluator.compare(runs), evaluator.score(runs[:6])):
        assert "<b>" not in record._repr_html_()
        assert "<b>" not in record.to_markdown()
        assert r"\$x\_1\%" in record.to_latex() or NAME not in str(record.table().rows)
        rows = list(csv.DictReader(io.StringIO(record.to_csv())))
        assert rows[0]["model"] == NAME


def test_csv_holds_exact_values() -> None:
    """Each row is one model with its score to the last bit."""
    comparison = pe.PersistenceEvaluator().compare(make_grid())
    rows = list(csv.DictReader(io.StringIO(comparison.to_csv())))
    assert [float(r["score"]) for r in rows] == [e.score for e in comparison.reports]
    assert [r["rank"] for r in rows] == ["1", "2"]
    assert {r["model"]: float(r["p_best"]) for r in rows} == dict(comparison.p_best)


def test_pandas_gets_the_same_rows() -> None:
    """A data frame has a row a model."""
    pandas = pytest.importorskip("pandas")
    comparison = pe.PersistenceEvaluator().compare(make_grid())
    frame = comparison.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["model"]) == [each.model for each in comparison.reports]


def test_a_report_reads_well() -> None:
    """Score, intervals, parts, what stands beside, runs and cost, in that order."""
    runs = [
        make_run(task, seed=seed, accuracy=0.7 + seed / 100, num_examples=50)
        for task in "st"
        for seed in range(3)
    ]
    text = str(pe.PersistenceEvaluator().score(runs))
    words = [
        "persistence of a",
        "score",
        "95 % for new seeds",
        "95 % for new tasks",
        "95 % for new examples",
        "made of",
        "beside it",
        "runs",
        "their cost",
    ]
    places = [text.index(word) for word in words]
    assert places == sorted(places)
    assert max(map(len, text.splitlines())) <= 80
    assert "\x1b" not in text


def test_the_decision_sentence() -> None:
    """The pick, P(best), the regret, the cost and the cheaper rival, in one sentence."""
    comparison = pe.Comparison(
        protocol="p",
        reports=(report_of("ssl", 0.8, sizes=20), report_of("sup", 0.79, sizes=10)),
        p_best={"ssl": 0.83, "sup": 0.17},
        not_separable=("sup",),
        regret=0.002,
        regret_limit=0.012,
        cost=pe.Cost(total_seconds=2460.0),
    )
    assert comparison.decision == (
        "Use ssl for now, inconclusive; P(best) = 0.83; at most 0.012 worse than the"
        " best at 95 %; the whole decision cost 41 minutes; sup has 0.5× the parameters"
        " and is not separable from it."
    )


@pytest.mark.parametrize(
    ("rivals", "ending"),
    [
        ([("b", 10, 9.0)], "b has 0.5× the parameters and is not separable from it."),
        ([("b", 40, 3.0)], "b took 0.3× the time and is not separable from it."),
        # Of equal size: what tells their times apart is the machine's load.
        (
            [("b", 20, 3.0)],
            "inconclusive; how sure that is cannot be said with one seed"
            " a cell; b is not separable from it.",
        ),
        ([("b", 20, 10.0)], "b is not separable from it."),
        ([("b", None, None)], "b is not separable from it."),
        ([("b", 40, 11.0), ("c", 30, 12.0)], "b and c are not separable from it."),
        (
            [("b", 40, 11.0), ("c", 5, 12.0), ("d", 10, 1.0)],
            "c has 0.25× the parameters and is not separable from it (nor are b and d).",
        ),
    ],
)
def test_the_cheapest_rival_is_named(
    rivals: list[tuple[str, int | None, float | None]], ending: str
) -> None:
    """Fewer parameters first, then less time, else the names alone."""
    comparison = pe.Comparison(
        protocol="p",
        reports=(
            report_of("a", 0.8, sizes=20, seconds=10.0),
            *(report_of(m, 0.7, sizes=n, seconds=s) for m, n, s in rivals),
        ),
        not_separable=tuple(name for name, _, _ in rivals),
    )
    assert comparison.decision.endswith(ending)


def test_a_ranking_marks_what_is_not_separable() -> None:
    """The distance to the best is printed, with = where it means nothing."""
    runs = [
        make_run(model=model, dataset=dataset, seed=seed, accuracy=a + sign * noise)
        for model, a, sign in (("a", 0.80, 1), ("b", 0.79, -1), ("c", 0.4, 1))
        for dataset in "de"
        for seed, noise in enumerate((-0.02, 0.0, 0.02))
    ]
    evaluator = pe.PersistenceEvaluator(over=["seeds"])
    lines = str(evaluator.compare(runs)).splitlines()
    assert lines[-1] == "= cannot be told from the best by these runs."
    assert lines[4].endswith("-0.010 =")
    assert lines[5].endswith("-0.400")


def test_a_comparison_without_scores_shows_the_quantities() -> None:
    """Usability without a budget prints a column a model."""
    text = str(pe.UsabilityEvaluator().compare(make_grid()))
    assert "usability, no score" in text
    assert any(line.startswith("performance ") for line in text.splitlines())


def test_coverage_counts_what_is_expected() -> None:
    """Scored runs over scored and missing ones; 0 where nothing is known."""
    report = pe.Report(protocol="p", model="a", score=0.5, num_scored=3, num_missing=1)
    assert report.coverage == 0.75
    assert report_of("a", None).coverage == 0
    assert report_of("a", None).floor == 0


def test_usability_with_a_budget_ranks() -> None:
    """With a budget there is a pick, a front and shares under random weights."""
    text = str(pe.UsabilityEvaluator(budget=BUDGET).compare(make_grid()))
    assert "Use " in text
    assert "First under random weights: " in text


def test_an_interval_of_no_width_has_its_reason() -> None:
    """Seeds that agree are no certainty, and the row says that they do."""
    runs = [
        make_run(task, seed=seed, model=model, accuracy=a)
        for model, a in {"a": 0.8, "b": 0.5}.items()
        for task in "stu"
        for seed in range(3)
    ]
    comparison = pe.PersistenceEvaluator().compare(runs)
    assert "[0.800, 0.800] (seeds agree)" in str(comparison)
    assert "(seeds agree)" in str(comparison.reports[0])
    varied = pe.PersistenceEvaluator().compare(make_grid())
    assert "agree)" not in str(varied)


def test_new_tasks_stand_beside_new_seeds() -> None:
    """Where there are three tasks or more, and not where they are the interval."""
    runs = [
        make_run(
            task, seed=seed, model=model, accuracy=a + seed / 100 + ord(task) / 999
        )
        for model, a in {"a": 0.6, "b": 0.5}.items()
        for task in "stu"
        for seed in range(3)
    ]
    table = pe.PersistenceEvaluator().compare(runs).table()
    assert table.header[3] == "new tasks"
    report = pe.PersistenceEvaluator().compare(runs).reports[0]
    assert table.rows[0][3] == str(report.new_tasks)
    two = pe.PersistenceEvaluator().compare([r for r in runs if r.task != "u"])
    assert "new tasks" not in two.table().header
    tasks = pe.PersistenceEvaluator(over=("tasks",)).compare(runs)
    assert "new tasks" not in tasks.table().header


def test_pairs_count_the_examples_of_their_own_cells() -> None:
    """Two pairs with as many common runs may lie on other cells."""
    sizes = {"t": 50, "u": 2000, "v": 400}
    runs = [
        make_run(
            task, seed=seed, model=model, accuracy=level + seed / 50, num_examples=n
        )
        for model, level, absent in (("a", 0.8, ""), ("c", 0.7, "u"), ("b", 0.6, "t"))
        for task, n in sizes.items()
        for seed in range(3)
        if task != absent
    ]
    comparison = pe.PersistenceEvaluator().compare(runs)
    large, small = comparison.difference("a", "b"), comparison.difference("a", "c")
    assert large is not None
    assert small is not None
    assert large.sizes["examples"] > small.sizes["examples"]
