"""The families of metrics on predictions, one a file, and a function each."""

from pretrain_eval._metrics.predictions.agreement import (
    BalancedAccuracy,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrCoef,
)
from pretrain_eval._metrics.predictions.calibration import CalibrationError
from pretrain_eval._metrics.predictions.classification import Accuracy
from pretrain_eval._metrics.predictions.detection import Boxes, MeanAveragePrecision
from pretrain_eval._metrics.predictions.entities import EntityF1
from pretrain_eval._metrics.predictions.functional import (
    accuracy,
    auroc,
    average_precision,
    balanced_accuracy,
    calibration_error,
    cohen_kappa,
    confusion_matrix,
    dice_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    mean_absolute_error,
    mean_iou,
    mean_squared_error,
    perplexity,
    precision,
    r2_score,
    recall,
)
from pretrain_eval._metrics.predictions.loss import LogLoss, Loss, Perplexity
from pretrain_eval._metrics.predictions.ranking import AUROC, AveragePrecision
from pretrain_eval._metrics.predictions.ratios import (
    Absent,
    Average,
    F1Score,
    Precision,
    Recall,
)
from pretrain_eval._metrics.predictions.regression import (
    MeanAbsoluteError,
    MeanSquaredError,
    R2Score,
)
from pretrain_eval._metrics.predictions.segmentation import DiceScore, MeanIoU
from pretrain_eval._metrics.predictions.shapes import Kind, Scores

__all__ = [
    "AUROC",
    "Absent",
    "Accuracy",
    "Average",
    "AveragePrecision",
    "BalancedAccuracy",
    "Boxes",
    "CalibrationError",
    "CohenKappa",
    "ConfusionMatrix",
    "DiceScore",
    "EntityF1",
    "F1Score",
    "Kind",
    "LogLoss",
    "Loss",
    "MatthewsCorrCoef",
    "MeanAbsoluteError",
    "MeanAveragePrecision",
    "MeanIoU",
    "MeanSquaredError",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "Scores",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "calibration_error",
    "cohen_kappa",
    "confusion_matrix",
    "dice_score",
    "f1_score",
    "log_loss",
    "matthews_corrcoef",
    "mean_absolute_error",
    "mean_iou",
    "mean_squared_error",
    "perplexity",
    "precision",
    "r2_score",
    "recall",
]
