"""Pure functions of arrays: means, intervals, ranks and areas."""

from pretrain_eval._scoring.formulas.curves import time_share
from pretrain_eval._scoring.formulas.intervals import (
    bootstrap_interval,
    interval_of_mean,
)
from pretrain_eval._scoring.formulas.statistics import (
    iqm,
    members_of,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

__all__ = [
    "bootstrap_interval",
    "interval_of_mean",
    "iqm",
    "members_of",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "time_share",
]
