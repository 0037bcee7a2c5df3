"""How much worse than the best a pick may be on a task that nobody has seen."""

from __future__ import annotations

import math

import numpy as np

from pretrain_eval._scoring.formulas.intervals import t_quantile
from pretrain_eval._scoring.formulas.statistics import Array


def limit_on_a_new_task(pick: Array, others: Array, confidence: float) -> float | None:
    """The distance from the best on one more task that is not exceeded.

    For each rival the one-sided prediction limit of a new difference, d̄ + t s √(1 + 1/T),
    with t of T − 1 degrees of freedom; the largest of them, and at least 0. s is the
    rival's own standard deviation or, where that is larger, that of differences in the
    whole table, √(2 σ²), σ² being what model and task leave of the scores: of few tasks
    an own one is small by luck, and the pick is the best of these tasks by selection.

    Args:
        pick: Scores of the pick, `(num_tasks,)`.
        others: Scores of the other models, `(num_models, num_tasks)`.
        confidence: For example 0.95.

    Returns:
        None with fewer than three tasks, or without another model.
    """
    num_models, num_tasks = others.shape
    if num_tasks < 3 or not num_models:
        return None
    gaps = others - pick
    table = np.vstack([pick[None], others])
    rest = table - table.mean(0) - table.mean(1, keepdims=True) + table.mean()
    pooled = float((rest**2).sum()) / (num_models * (num_tasks - 1))
    spread = np.maximum(gaps.std(axis=1, ddof=1), math.sqrt(2 * pooled))
    reach = t_quantile(confidence, num_tasks - 1) * math.sqrt(1 + 1 / num_tasks)
    return max(0.0, float((gaps.mean(axis=1) + reach * spread).max()))
