"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval import functional, plot
from pretrain_eval._metrics.collection import MetricCollection
from pretrain_eval._metrics.metric import Metric, StepMetric
from pretrain_eval._metrics.optimization import (
    Clipped,
    GradNorm,
    GradNormBeforeClipping,
    GradParameterCosine,
    LearningRate,
    ParameterNorm,
    Skipped,
    UpdateNorm,
    UpdateRatio,
    ZeroGradShare,
)
from pretrain_eval._metrics.predictions.agreement import (
    BalancedAccuracy,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrCoef,
)
from pretrain_eval._metrics.predictions.calibration import CalibrationError
from pretrain_eval._metrics.predictions.classification import (
    Accuracy,
    F1Score,
    Precision,
    Recall,
)
from pretrain_eval._metrics.predictions.detection import MeanAveragePrecision
from pretrain_eval._metrics.predictions.loss import LogLoss, Loss, Perplexity
from pretrain_eval._metrics.predictions.ranking import AUROC, AveragePrecision
from pretrain_eval._metrics.predictions.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    R2Score,
)
from pretrain_eval._metrics.predictions.segmentation import DiceScore, MeanIoU
from pretrain_eval._metrics.validate import validate
from pretrain_eval._metrics.validation import Validation
from pretrain_eval._runs.run import Cost, Run
from pretrain_eval._runs.store import RunStore
from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.chance import chance_levels
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.formulas.intervals import (
    bootstrap_interval,
    interval_of_mean,
)
from pretrain_eval._scoring.formulas.statistics import (
    iqm,
    optimality_gap,
    performance_profile,
    probability_of_improvement,
)
from pretrain_eval._scoring.protocols.optimizability import OptimizabilityEvaluator
from pretrain_eval._scoring.protocols.persistence import PersistenceEvaluator
from pretrain_eval._scoring.protocols.reusability import ReusabilityEvaluator
from pretrain_eval._scoring.protocols.usability import UsabilityEvaluator
from pretrain_eval._scoring.protocols.variability import VariabilityEvaluator
from pretrain_eval._scoring.reports.comparison import Change, Comparison, Difference
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.scorecard import Scorecard
from pretrain_eval._scoring.scorecard import scorecard
from pretrain_eval._sweep.sweep import sweep
from pretrain_eval._training.cost import count_macs
from pretrain_eval._training.finetune import finetune
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Splits, Task
from pretrain_eval._version import __version__
from pretrain_eval.integrations.adapters import as_ignite, as_torchmetrics

__all__ = [
    "AUROC",
    "Accuracy",
    "AveragePrecision",
    "BalancedAccuracy",
    "Budget",
    "CalibrationError",
    "Change",
    "Clipped",
    "CohenKappa",
    "Comparison",
    "ConfusionMatrix",
    "Cost",
    "DiceScore",
    "Difference",
    "Evaluator",
    "F1Score",
    "GradNorm",
    "GradNormBeforeClipping",
    "GradParameterCosine",
    "Interval",
    "LearningRate",
    "LogLoss",
    "Loss",
    "MatthewsCorrCoef",
    "MeanAbsoluteError",
    "MeanAveragePrecision",
    "MeanIoU",
    "MeanSquaredError",
    "Metric",
    "MetricCollection",
    "OptimizabilityEvaluator",
    "ParameterNorm",
    "Perplexity",
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
    "Validation",
    "VariabilityEvaluator",
    "ZeroGradShare",
    "__version__",
    "as_ignite",
    "as_torchmetrics",
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
