"""Tables for papers against scipy and two-line twins."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.power import holm
from pretrain_eval._scoring.formulas.ranking import friedman, nemenyi, task_ranks
from pretrain_eval._scoring.noise import NUM_DRAWS

RNG = np.random.default_rng(0)
TABLE = RNG.uniform(0.5, 0.9, (4, 6)).round(2)


def comparison(table: np.ndarray = TABLE) -> pe.Comparison:  # type: ignore[type-arg]
    """Of models on tasks, three seeds each."""
    runs = [
        make_run(
            f"t{task}",
            model=f"m{model}",
            seed=seed,
            accuracy=float(table[model, task]) + 0.001 * (seed - 1) * (model + 1),
            chance={"accuracy": 0.0},
        )
        for model, task in np.ndindex(table.shape)
        for seed in range(3)
    ]
    return pe.PersistenceEvaluator().compare(runs)


def test_winners_are_the_largest_of_each_task() -> None:
    """The best model by task, its value, and its lead."""
    rows = comparison().winners().rows()
    assert [row["model"] for row in rows] == [f"m{i}" for i in TABLE.argmax(axis=0)]
    assert [row["score"] for row in rows] == pytest.approx(TABLE.max(axis=0).tolist())
    ordered = np.sort(TABLE, axis=0)
    assert [row["lead"] for row in rows] == pytest.approx(
        (ordered[-1] - ordered[-2]).tolist()
    )


def test_the_winner_of_a_score_that_is_no_mean() -> None:
    """The score of a task is what it would be, were the task the only one."""
    runs = [
        make_run(f"t{task}", model=model, seed=seed, accuracy=0.6 + gap + seed / 100)
        for model, gaps in {"a": (0.2, 0.0), "b": (0.0, 0.2)}.items()
        for task, gap in enumerate(gaps)
        for seed in range(3)
    ]
    found = pe.ReusabilityEvaluator().compare(runs)
    rows = found.winners().rows()
    assert [row["model"] for row in rows] == ["a", "b"]
    alone = pe.ReusabilityEvaluator().score(
        [run for run in runs if (run.model, run.task) == ("a", "t0")]
    )
    assert rows[0]["score"] == pytest.approx(alone.score, abs=1e-12)


def test_mean_ranks_are_scipys() -> None:
    """Ranks, Friedman's χ² with ties and its p-value."""
    expected = stats.rankdata(-TABLE, axis=0).mean(axis=1)
    rows = comparison().ranks().rows()
    found = {row["model"]: row["mean_rank"] for row in rows}
    assert [found[f"m{i}"] for i in range(4)] == pytest.approx(expected.tolist())
    tied = np.round(TABLE, 1)
    oracle = stats.friedmanchisquare(*tied)
    assert friedman(task_ranks(tied)) == pytest.approx(
        (oracle.statistic, oracle.pvalue), abs=1e-12
    )
    assert friedman(task_ranks(np.ones((3, 4)))) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("models", "q"), [(2, 1.960), (3, 2.343), (5, 2.728), (10, 3.164)]
)
def test_the_critical_difference_is_the_published_one(models: int, q: float) -> None:
    """Q of Demšar 2006, table 5, at 95 %."""
    scale = (models * (models + 1) / (6 * 12)) ** 0.5
    assert nemenyi(models, 12, 0.95) == pytest.approx(q * scale, abs=2e-3)


def test_ranks_need_two_tasks() -> None:
    """One task has no mean rank, and two have."""
    with pytest.raises(
        ValueError, match="two common tasks or more, got 4 models and 1"
    ):
        comparison(TABLE[:, :1]).ranks()
    assert len(comparison(TABLE[:, :2]).ranks().rows()) == 4


def test_pairs_are_adjusted_by_holm() -> None:
    """The adjusted p is the largest of (m − i) p so far, in the order of p."""
    p = np.array([0.02, 0.5, 0.001, 0.01])
    order = np.argsort(p)
    twin = np.minimum(np.maximum.accumulate(p[order] * [4, 3, 2, 1]), 1)
    assert np.array(holm(p.tolist()))[order] == pytest.approx(twin)
    sheet = comparison().pairwise()
    rows = sheet.rows()
    assert len(rows) == 6
    raw = [row["p"] for row in rows]
    assert [row["p_holm"] for row in rows] == holm(raw)  # type: ignore[arg-type]
    assert f"1/{NUM_DRAWS} = 0.0005" in sheet.notes[0]
    assert r"\toprule" in sheet.to_latex()
    assert len(sheet.to_csv().splitlines()) == 7


def test_pairs_of_one_seed_have_no_p() -> None:
    """What is not known is empty, and the table prints."""
    runs = [make_run(model=model, accuracy=a) for model, a in (("a", 0.8), ("b", 0.5))]
    sheet = pe.PersistenceEvaluator().compare(runs).pairwise()
    assert sheet.rows()[0]["p"] is None
    assert "–" in str(sheet)
