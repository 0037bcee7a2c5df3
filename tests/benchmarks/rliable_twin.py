"""The aggregates against rliable: equal to 1e-12, and how much faster the intervals are.

Needs `pip install rliable`. Processor time, the shortest of several; run it with
`OMP_NUM_THREADS=1 python tests/benchmarks/rliable_twin.py`.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

import pretrain_eval as pe

REPLICATES = 20_000


def equality() -> float:
    """The largest difference over many shapes of finite scores."""
    from rliable import library, metrics  # the tests are collected without it

    rng = np.random.default_rng(0)
    worst = 0.0
    for _ in range(200):
        shape = tuple(rng.integers(1, 12, 2).tolist())
        scores, others = rng.uniform(-0.5, 1.5, (2, *shape)).round(1)
        taus = np.linspace(-0.6, 1.6, 23)
        pairs = [
            (pe.iqm(scores), metrics.aggregate_iqm(scores)),
            (pe.optimality_gap(scores), metrics.aggregate_optimality_gap(scores)),
            (scores.mean(), metrics.aggregate_mean(scores)),
            (np.median(scores.mean(axis=0)), metrics.aggregate_median(scores)),
            (
                pe.probability_of_improvement(scores, others),
                metrics.probability_of_improvement(scores, others),
            ),
        ]
        profiles = {
            "runs": np.array([library.run_score_deviation(scores, t) for t in taus]),
            "tasks": np.array([library.mean_score_deviation(scores, t) for t in taus]),
        }
        for over, theirs in profiles.items():
            ours = pe.performance_profile(scores, taus, over=over)  # type: ignore[arg-type]
            pairs += list(zip(ours.tolist(), theirs.tolist(), strict=True))
        worst = max(worst, *(abs(ours - theirs) for ours, theirs in pairs))
    return worst


def seconds(work: Callable[[], object], repeats: int) -> float:
    """The shortest of several times, of the processor."""
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return min(times)


def speed(num_runs: int, num_tasks: int) -> None:
    """One line: both times for each aggregate."""
    from rliable import library, metrics

    scores = np.random.default_rng(1).uniform(0.3, 0.9, (num_runs, num_tasks))
    theirs = {
        "mean": metrics.aggregate_mean,
        "median": metrics.aggregate_median,
        "iqm": metrics.aggregate_iqm,
        "optimality_gap": metrics.aggregate_optimality_gap,
    }
    for name, aggregate in theirs.items():
        slow = seconds(
            lambda f=aggregate: library.get_interval_estimates(  # type: ignore[misc]
                {"a": scores}, lambda x: np.array([f(x)]), reps=REPLICATES
            ),
            2,
        )
        fast = seconds(
            lambda n=name: pe.bootstrap_interval(scores, n, replicates=REPLICATES),  # type: ignore[misc]
            5,
        )
        print(
            f"{num_runs} runs × {num_tasks:2} tasks  {name:15} rliable {slow:6.2f} s"
            f"   here {fast:6.3f} s   {slow / fast:5.0f} times faster"
        )


if __name__ == "__main__":
    print(f"largest difference: {equality():.1e}")
    for shape in ((3, 10), (5, 10), (10, 50)):
        speed(*shape)
