"""One run: a model, a task and a strategy, trained and measured.

Users call `finetune`, `Strategy`, `probe` and the like, and `count_macs`. A grid needs a
`Cell` in its `Surroundings`; what runs it, `finetune_cell`, `finetune_side_by_side` of
`stackable` strategies or `ApartError`, after `check_fits`, or a `glimpse` before any
training; what runs share, `Shared` and `FeatureFiles` in a folder that `check_folder`
passes and `remove_folder` removes; and what decides a key, `TRAINING_SEMANTICS`,
`describe`, `fingerprint` and the like.
"""

from pretrain_eval._training.cell import Cell, Drawn, OnEpoch, Surroundings, check_draws
from pretrain_eval._training.cost import Call, count_macs
from pretrain_eval._training.describe import describe
from pretrain_eval._training.feature_files import (
    FeatureFiles,
    check_folder,
    remove_folder,
)
from pretrain_eval._training.features import Shared
from pretrain_eval._training.finetune import finetune, finetune_cell
from pretrain_eval._training.fingerprint import (
    SEED_SEMANTICS,
    TRAINING_SEMANTICS,
    fingerprint,
    fingerprint_model,
    fingerprint_splits,
)
from pretrain_eval._training.fits import check_fits
from pretrain_eval._training.glimpse import Glimpse, glimpse
from pretrain_eval._training.predict import predict
from pretrain_eval._training.ready import nearest_neighbours, probe, zero_shot
from pretrain_eval._training.side_by_side import (
    ApartError,
    finetune_side_by_side,
    stackable,
)
from pretrain_eval._training.strategy import Choice, Strategy, Trainable
from pretrain_eval._training.trial import Trial
from pretrain_eval._training.weights import load

__all__ = [
    "SEED_SEMANTICS",
    "TRAINING_SEMANTICS",
    "ApartError",
    "Call",
    "Cell",
    "Choice",
    "Drawn",
    "FeatureFiles",
    "Glimpse",
    "OnEpoch",
    "Shared",
    "Strategy",
    "Surroundings",
    "Trainable",
    "Trial",
    "check_draws",
    "check_fits",
    "check_folder",
    "count_macs",
    "describe",
    "finetune",
    "finetune_cell",
    "finetune_side_by_side",
    "fingerprint",
    "fingerprint_model",
    "fingerprint_splits",
    "glimpse",
    "load",
    "nearest_neighbours",
    "predict",
    "probe",
    "remove_folder",
    "stackable",
    "zero_shot",
]
