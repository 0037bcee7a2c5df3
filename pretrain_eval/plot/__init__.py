"""Pictures of runs, scores and metrics; matplotlib is an extra."""

from pretrain_eval.plot._metrics import (
    confusion_matrix,
    history,
    per_class,
    reliability,
)
from pretrain_eval.plot._monitor import monitor
from pretrain_eval.plot._pages import pictures as pictures  # for pages, by being here
from pretrain_eval.plot._race import race
from pretrain_eval.plot._runs import before_after, curves, grid, profiles
from pretrain_eval.plot._scores import (
    cost,
    critical_difference,
    differences,
    ranks,
    scorecard,
    scores,
    tasks,
)

__all__ = [
    "before_after",
    "confusion_matrix",
    "cost",
    "critical_difference",
    "curves",
    "differences",
    "grid",
    "history",
    "monitor",
    "per_class",
    "profiles",
    "race",
    "ranks",
    "reliability",
    "scorecard",
    "scores",
    "tasks",
]
