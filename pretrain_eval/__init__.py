"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval import functional
from pretrain_eval._metric import Metric, MetricCollection, StepMetric
from pretrain_eval._metrics.classification import Accuracy, F1Score, Precision, Recall
from pretrain_eval._metrics.optimization import GradNorm, UpdateRatio
from pretrain_eval._metrics.regression import MeanSquaredError, R2Score
from pretrain_eval._records import Cost, Run
from pretrain_eval._store import RunStore
from pretrain_eval._validate import validate

__all__ = [
    "Accuracy",
    "Cost",
    "F1Score",
    "GradNorm",
    "MeanSquaredError",
    "Metric",
    "MetricCollection",
    "Precision",
    "R2Score",
    "Recall",
    "Run",
    "RunStore",
    "StepMetric",
    "UpdateRatio",
    "functional",
    "validate",
]
