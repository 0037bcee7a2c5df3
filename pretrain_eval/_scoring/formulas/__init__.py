"""Pure functions of arrays: means, intervals, ranks and areas."""

from pretrain_eval._scoring.formulas.curves import time_share
from pretrain_eval._scoring.formulas.intervals import (
    Aggregate,
    bootstrap_interval,
    interval_of_mean,
    t_quantile,
)
from pretrain_eval._scoring.formulas.ranking import (
    drawn_together,
    nemenyi,
    share_first,
)
from pretrain_eval._scoring.formulas.statistics import (
    Array,
    iqm,
    members_of,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

__all__ = [
    "Aggregate",
    "Array",
    "bootstrap_interval",
    "drawn_together",
    "interval_of_mean",
    "iqm",
    "members_of",
    "nemenyi",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "share_first",
    "t_quantile",
    "time_share",
]
