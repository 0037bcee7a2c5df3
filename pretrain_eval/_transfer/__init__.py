"""What frozen features tell of a fine-tuning to come: pure formulas on arrays."""

from pretrain_eval._transfer.arrays import Array, Rows, as_array, folds
from pretrain_eval._transfer.distances import (
    knn_accuracy,
    nearest_mean_accuracy,
    parc,
)
from pretrain_eval._transfer.evidence import logme
from pretrain_eval._transfer.probes import lda_accuracy, probe_accuracy, probe_r2
from pretrain_eval._transfer.scatter import gbc, h_score, transrate
from pretrain_eval._transfer.sources import leep, nce, nleep

__all__ = [
    "Array",
    "Rows",
    "as_array",
    "folds",
    "gbc",
    "h_score",
    "knn_accuracy",
    "lda_accuracy",
    "leep",
    "logme",
    "nce",
    "nearest_mean_accuracy",
    "nleep",
    "parc",
    "probe_accuracy",
    "probe_r2",
    "transrate",
]
