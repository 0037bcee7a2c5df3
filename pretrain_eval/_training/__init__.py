"""One run: a model, a task and a strategy, trained and measured."""

from pretrain_eval._training.cost import count_macs
from pretrain_eval._training.feature_files import FeatureFiles
from pretrain_eval._training.features import Shared
from pretrain_eval._training.finetune import finetune, finetune_sharing
from pretrain_eval._training.fingerprint import (
    TRAINING_SEMANTICS,
    fingerprint,
    fingerprint_model,
    fingerprint_splits,
)
from pretrain_eval._training.head import find_head
from pretrain_eval._training.loop import add_point
from pretrain_eval._training.measure import (
    NOTHING,
    Measured,
    forward_for,
    measure,
    measure_reported,
)
from pretrain_eval._training.models import Model, build
from pretrain_eval._training.precision import computed
from pretrain_eval._training.prepare import choose_device, first_inputs, prepare
from pretrain_eval._training.prepared import Source
from pretrain_eval._training.record import record
from pretrain_eval._training.samples import as_loader
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Splits, Task

__all__ = [
    "NOTHING",
    "TRAINING_SEMANTICS",
    "FeatureFiles",
    "Measured",
    "Model",
    "Shared",
    "Source",
    "Splits",
    "Strategy",
    "Task",
    "add_point",
    "as_loader",
    "build",
    "choose_device",
    "computed",
    "count_macs",
    "find_head",
    "finetune",
    "finetune_sharing",
    "fingerprint",
    "fingerprint_model",
    "fingerprint_splits",
    "first_inputs",
    "forward_for",
    "measure",
    "measure_reported",
    "prepare",
    "record",
]
