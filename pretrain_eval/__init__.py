"""Which pretrained model should you use, what will it cost, how sure can you be?"""

from pretrain_eval import functional
from pretrain_eval._cost import count_macs
from pretrain_eval._finetune import finetune
from pretrain_eval._metric import Metric, MetricCollection, StepMetric
from pretrain_eval._metrics.classification import Accuracy, F1Score, Precision, Recall
from pretrain_eval._metrics.optimization import GradNorm, UpdateRatio
from pretrain_eval._metrics.regression import MeanSquaredError, R2Score
from pretrain_eval._records import Cost, Run
from pretrain_eval._task import Splits, Strategy, Task
from pretrain_eval._validate import validate
from pretrain_eval._version import __version__

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
    "Splits",
    "StepMetric",
    "Strategy",
    "Task",
    "UpdateRatio",
    "__version__",
    "count_macs",
    "finetune",
    "functional",
    "validate",
]
