"""The families of metrics on predictions, one a file, and a function each."""

from pretrain_eval._metrics.predictions.agreement import (
    BalancedAccuracy,
    CohenKappa,
    ConfusionMatrix,
    MatthewsCorrCoef,
)
from pretrain_eval._metrics.predictions.bleu import BLEU
from pretrain_eval._metrics.predictions.calibration import CalibrationError
from pretrain_eval._metrics.predictions.classification import Accuracy, TopKAccuracy
from pretrain_eval._metrics.predictions.correlation import (
    PearsonCorrCoef,
    SpearmanCorrCoef,
)
from pretrain_eval._metrics.predictions.detection import Boxes, MeanAveragePrecision
from pretrain_eval._metrics.predictions.entities import EntityF1
from pretrain_eval._metrics.predictions.function import FunctionMetric
from pretrain_eval._metrics.predictions.functional_classes import (
    accuracy,
    balanced_accuracy,
    cohen_kappa,
    confusion_matrix,
    dice_score,
    f1_score,
    matthews_corrcoef,
    mean_iou,
    precision,
    recall,
    top_k_accuracy,
)
from pretrain_eval._metrics.predictions.functional_numbers import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
    pearson_corrcoef,
    r2_score,
    root_mean_squared_error,
    spearman_corrcoef,
)
from pretrain_eval._metrics.predictions.functional_queries import (
    hit_rate,
    mean_reciprocal_rank,
    ndcg,
    recall_at_k,
    retrieval_map,
)
from pretrain_eval._metrics.predictions.functional_scores import (
    auroc,
    average_precision,
    bits_per_byte,
    calibration_error,
    log_loss,
    perplexity,
)
from pretrain_eval._metrics.predictions.functional_texts import (
    bleu,
    char_error_rate,
    entity_f1,
    exact_match,
    rouge_l,
    token_f1,
    word_error_rate,
)
from pretrain_eval._metrics.predictions.loss import (
    BitsPerByte,
    LogLoss,
    Loss,
    Perplexity,
)
from pretrain_eval._metrics.predictions.moments import Moments, Outputs
from pretrain_eval._metrics.predictions.pairs import (
    MedianRank,
    PairRecall,
    Way,
    pair_ranks,
)
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
    MeanAbsolutePercentageError,
    MeanSquaredError,
    R2Score,
    RootMeanSquaredError,
)
from pretrain_eval._metrics.predictions.retrieval import (
    NDCG,
    Empty,
    HitRate,
    MeanReciprocalRank,
    RecallAtK,
    RetrievalMAP,
)
from pretrain_eval._metrics.predictions.segmentation import DiceScore, MeanIoU
from pretrain_eval._metrics.predictions.shapes import Kind, Scores
from pretrain_eval._metrics.predictions.text import (
    CharErrorRate,
    ExactMatch,
    Normalize,
    RougeL,
    TokenF1,
    Tokens,
    WordErrorRate,
)

__all__ = [
    "AUROC",
    "BLEU",
    "NDCG",
    "Absent",
    "Accuracy",
    "Average",
    "AveragePrecision",
    "BalancedAccuracy",
    "BitsPerByte",
    "Boxes",
    "CalibrationError",
    "CharErrorRate",
    "CohenKappa",
    "ConfusionMatrix",
    "DiceScore",
    "Empty",
    "EntityF1",
    "ExactMatch",
    "F1Score",
    "FunctionMetric",
    "HitRate",
    "Kind",
    "LogLoss",
    "Loss",
    "MatthewsCorrCoef",
    "MeanAbsoluteError",
    "MeanAbsolutePercentageError",
    "MeanAveragePrecision",
    "MeanIoU",
    "MeanReciprocalRank",
    "MeanSquaredError",
    "MedianRank",
    "Moments",
    "Normalize",
    "Outputs",
    "PairRecall",
    "PearsonCorrCoef",
    "Perplexity",
    "Precision",
    "R2Score",
    "Recall",
    "RecallAtK",
    "RetrievalMAP",
    "RootMeanSquaredError",
    "RougeL",
    "Scores",
    "SpearmanCorrCoef",
    "TokenF1",
    "Tokens",
    "TopKAccuracy",
    "Way",
    "WordErrorRate",
    "accuracy",
    "auroc",
    "average_precision",
    "balanced_accuracy",
    "bits_per_byte",
    "bleu",
    "calibration_error",
    "char_error_rate",
    "cohen_kappa",
    "confusion_matrix",
    "dice_score",
    "entity_f1",
    "exact_match",
    "f1_score",
    "hit_rate",
    "log_loss",
    "matthews_corrcoef",
    "mean_absolute_error",
    "mean_absolute_percentage_error",
    "mean_iou",
    "mean_reciprocal_rank",
    "mean_squared_error",
    "ndcg",
    "pair_ranks",
    "pearson_corrcoef",
    "perplexity",
    "precision",
    "r2_score",
    "recall",
    "recall_at_k",
    "retrieval_map",
    "root_mean_squared_error",
    "rouge_l",
    "spearman_corrcoef",
    "token_f1",
    "top_k_accuracy",
    "word_error_rate",
]
