"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval._budget import Budget
from pretrain_eval._evaluator import Evaluator
from pretrain_eval._evaluators.optimizability import OptimizabilityEvaluator
from pretrain_eval._evaluators.persistence import PersistenceEvaluator
from pretrain_eval._evaluators.reusability import ReusabilityEvaluator
from pretrain_eval._evaluators.usability import UsabilityEvaluator
from pretrain_eval._evaluators.variability import VariabilityEvaluator
from pretrain_eval._records import Cost, Run
from pretrain_eval._report import Comparison, Difference, Interval, Report
from pretrain_eval._scorecard import Scorecard, scorecard

__all__ = [
    "Budget",
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
    "scorecard",
]
