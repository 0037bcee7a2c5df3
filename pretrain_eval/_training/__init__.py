"""One run: a model, a task and a strategy, trained and measured.

Users call `finetune`, `Splits`, `Strategy`, `Task` and `count_macs`. A grid needs a
`Cell` in its `Surroundings`; what runs it, `finetune_cell`, `finetune_side_by_side` of
`stackable` strategies or `ApartError`, after `check_fits`; what runs share, `Shared` and
`FeatureFiles` in a folder that `check_folder` passes and `remove_folder` removes; and what decides a key, `build` of a `Model`, `TRAINING_SEMANTICS`,
`fingerprint` and the like.
"""

from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.cost import count_macs
from pretrain_eval._training.feature_files import (
    FeatureFiles,
    check_folder,
    remove_folder,
)
from pretrain_eval._training.features import Shared
from pretrain_eval._training.finetune import finetune, finetune_cell
from pretrain_eval._training.fingerprint import (
    TRAINING_SEMANTICS,
    fingerprint,
    fingerprint_model,
    fingerprint_splits,
)
from pretrain_eval._training.fits import check_fits
from pretrain_eval._training.models import Model, build
from pretrain_eval._training.side_by_side import (
    ApartError,
    finetune_side_by_side,
    stackable,
)
from pretrain_eval._training.strategy import Strategy, Trainable
from pretrain_eval._training.task import Split, Splits, Task

__all__ = [
    "TRAINING_SEMANTICS",
    "ApartError",
    "Cell",
    "FeatureFiles",
    "Model",
    "Shared",
    "Split",
    "Splits",
    "Strategy",
    "Surroundings",
    "Task",
    "Trainable",
    "build",
    "check_fits",
    "check_folder",
    "count_macs",
    "finetune",
    "finetune_cell",
    "finetune_side_by_side",
    "fingerprint",
    "fingerprint_model",
    "fingerprint_splits",
    "remove_folder",
    "stackable",
]
