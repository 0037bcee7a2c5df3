"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval._budget import Budget
from pretrain_eval._comparison import Change, Comparison, Difference
from pretrain_eval._evaluator import Evaluator
from pretrain_eval._evaluators.optimizability import OptimizabilityEvaluator
from pretrain_eval._evaluators.persistence import PersistenceEvaluator
from pretrain_eval._evaluators.reusability import ReusabilityEvaluator
from pretrain_eval._evaluators.usability import UsabilityEvaluator
from pretrain_eval._evaluators.variability import VariabilityEvaluator
from pretrain_eval._intervals import bootstrap_interval, interval_of_mean
from pretrain_eval._levels import chance_levels
from pretrain_eval._records import Cost, Run
from pretrain_eval._report import Interval, Report
from pretrain_eval._scorecard import Scorecard, scorecard
from pretrain_eval._statistics import (
    iqm,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)

__all__ = [
    "Budget",
    "Change",
    "Comparison",
    "Cost",
    "Difference",
    "Evaluator",
    "Interval",
    "OptimizabilityEvaluator",
    "PersistenceEvaluator",
    "Report",
    "ReusabilityEvaluator",
    "Run",
    "Scorecard",
    "UsabilityEvaluator",
    "VariabilityEvaluator",
    "bootstrap_interval",
    "chance_levels",
    "interval_of_mean",
    "iqm",
    "optimality_gap",
    "performance_profile",
    "probability_of_improvement",
    "scorecard",
]
