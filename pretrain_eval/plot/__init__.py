"""Pictures of runs, scores and metrics; matplotlib is an extra."""

from pretrain_eval.plot._metrics import (
    confusion_matrix,
    history,
    per_class,
    reliability,
)
from pretrain_eval.plot._scores import (
    before_after,
    cost,
    curves,
    grid,
    profiles,
    ranks,
    scorecard,
    scores,
)

__all__ = [
    "before_after",
    "confusion_matrix",
    "cost",
    "curves",
    "grid",
    "history",
    "per_class",
    "profiles",
    "ranks",
    "reliability",
    "scorecard",
    "scores",
]
