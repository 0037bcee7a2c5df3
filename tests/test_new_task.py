"""The limit for a task that nobody has seen: its formula, and whether it holds."""

import numpy as np
import pytest
from scipy import stats
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.new_task import limit_on_a_new_task


def world(seed: int, luck: float, num_tasks: int = 5) -> list[pe.Run]:
    """Five models whose luck on each task is of this size."""
    rng = np.random.default_rng([seed, int(1000 * luck)])
    quality, task = rng.normal(0.7, 0.02, 5), rng.normal(0, 0.05, num_tasks)
    own = rng.normal(0, luck, (5, num_tasks))
    return [
        make_run(
            model=f"m{m}",
            task=f"t{t}",
            seed=s,
            accuracy=float(np.clip(quality[m] + task[t] + own[m, t] + e, 0, 1)),
        )
        for m in range(5)
        for t in range(num_tasks)
        for s, e in enumerate(rng.normal(0, 0.005, 3))
    ]


def test_the_formula_by_hand() -> None:
    """Of two models: the prediction limit of their difference, as scipy has its t."""
    pick, other = np.array([0.9, 0.8, 0.85, 0.7]), np.array([0.85, 0.82, 0.8, 0.6])
    gaps = other - pick
    # With one rival what the table leaves is half of the difference's variance.
    expected = gaps.mean() + stats.t.ppf(0.95, 3) * gaps.std(ddof=1) * np.sqrt(1.25)
    assert limit_on_a_new_task(pick, other[None], 0.95) == pytest.approx(expected)
    assert limit_on_a_new_task(pick[:2], other[None, :2], 0.95) is None
    assert limit_on_a_new_task(pick, np.empty((0, 4)), 0.95) is None
    assert limit_on_a_new_task(pick, (pick - 1)[None], 0.95) == 0.0


@pytest.mark.parametrize("luck", [0.005, 0.03])
def test_the_limit_holds_on_the_task_left_out(luck: float) -> None:
    """Chosen on four of five, printed at 95 %, exceeded on the fifth in at most 10 %."""
    over = []
    for seed in range(24):
        runs = world(seed, luck)
        for held in range(5):
            rest = [run for run in runs if run.task != f"t{held}"]
            choice = pe.PersistenceEvaluator(over=("tasks",)).compare(rest)
            there = pe.compare([run for run in runs if run.task == f"t{held}"])
            scores = {each.model: each.score for each in there}
            assert choice.regret_limit is not None
            over.append(
                max(scores.values()) - scores[choice.best] > choice.regret_limit
            )
    assert np.mean(over) <= 0.1


def test_it_is_printed_beside_the_limit_for_new_seeds() -> None:
    """From three tasks on, in a sentence of its own; over tasks it is the limit."""
    runs = world(0, 0.03)
    comparison = pe.compare(runs)
    limit = comparison.new_task_limit
    assert limit is not None
    assert comparison.regret_limit is not None
    assert limit > comparison.regret_limit
    printed = " ".join(str(comparison).split())
    assert f"On one more task of this kind {comparison.best} is at most" in printed
    asked = pe.PersistenceEvaluator(over=("tasks",)).compare(runs)
    assert asked.regret_limit == pytest.approx(limit)
    assert "On one more task" not in str(asked)
    assert pe.compare(world(0, 0.03, num_tasks=2)).new_task_limit is None
    again = pe.Comparison.from_json(comparison.to_json())
    assert again.new_task_limit == limit
