"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval import functional, plot
from pretrain_eval._budget import Budget
from pretrain_eval._comparison import Change, Comparison, Difference
from pretrain_eval._cost import count_macs
from pretrain_eval._evaluator import Evaluator
from pretrain_eval._evaluators.optimizability import OptimizabilityEvaluator
from pretrain_eval._evaluators.persistence import PersistenceEvaluator
from pretrain_eval._evaluators.reusability import ReusabilityEvaluator
from pretrain_eval._evaluators.usability import UsabilityEvaluator
from pretrain_eval._evaluators.variability import VariabilityEvaluator
from pretrain_eval._finetune import finetune
from pretrain_eval._intervals import bootstrap_interval, interval_of_mean
from pretrain_eval._levels import chance_levels
from pretrain_eval._metric import Metric, MetricCollection, StepMetric
from pretrain_eval._metrics.classification import Accuracy, F1Score, Precision, Recall
from pretrain_eval._metrics.optimization import (
    Clipped,
    GradNorm,
    GradNormBeforeClipping,
    LearningRate,
    ParameterNorm,
    Skipped,
    UpdateNorm,
    UpdateRatio,
)
from pretrain_eval._metrics.regression import MeanSquaredError, R2Score
from pretrain_eval._records import Cost, Run
from pretrain_eval._report import Interval, Report
from pretrain_eval._scorecard import Scorecard, scorecard
from pretrain_eval._statistics import (
    iqm,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from pretrain_eval._store import RunStore
from pretrain_eval._sweep import sweep
from pretrain_eval._task import Splits, Strategy, Task
from pretrain_eval._validate import validate
from pretrain_eval._version import __version__

__all__ = [
    "Accuracy",
    "Budget",
    "Change",
    "Clipped",
    "Comparison",
    "Cost",
    "Difference",
    "Evaluator",
    "F1Score",
    "GradNorm",
    "GradNormBeforeClipping",
    "Interval",
    "LearningRate",
    "MeanSquaredError",
    "Metric",
    "MetricCollection",
    "OptimizabilityEvaluator",
    "ParameterNorm",
    "PersistenceEvaluator",
    "Precision",
    "R2Score",
    "Recall",
    "Report",
    "ReusabilityEvaluator",
    "Run",
    "RunStore",
    "Scorecard",
    "Skipped",
    "Splits",
    "StepMetric",
    "Strategy",
    "Task",
    "UpdateNorm",
    "UpdateRatio",
    "UsabilityEvaluator",
    "VariabilityEvaluator",
    "__version__",
    "bootstrap_interval",
    "chance_levels",
    "count_macs",
    "finetune",
    "functional",
    "interval_of_mean",
    "iqm",
    "optimality_gap",
    "performance_profile",
    "plot",
    "probability_of_improvement",
    "scorecard",
    "sweep",
    "validate",
]
