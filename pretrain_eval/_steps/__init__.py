"""What an optimizer step did: watched, measured exactly, kept in a table."""

from pretrain_eval._steps.attach import Attachment, watch, watched_step
from pretrain_eval._steps.folds import (
    Formula,
    Row,
    Statistic,
    checked_statistic,
)
from pretrain_eval._steps.log import (
    CAPACITY,
    Columns,
    StepLog,
    joined,
    keyed,
    part_key,
)
from pretrain_eval._steps.names import Partition, Per, checked_per
from pretrain_eval._steps.norms import norm, square_sums
from pretrain_eval._steps.shards import is_sharded
from pretrain_eval._steps.snapshot import update_ratio
from pretrain_eval._steps.starts import Start
from pretrain_eval._steps.step import MOMENTS, Quantity, Step
from pretrain_eval._steps.warning import warn

__all__ = [
    "CAPACITY",
    "MOMENTS",
    "Attachment",
    "Columns",
    "Formula",
    "Partition",
    "Per",
    "Quantity",
    "Row",
    "Start",
    "Statistic",
    "Step",
    "StepLog",
    "checked_per",
    "checked_statistic",
    "is_sharded",
    "joined",
    "keyed",
    "norm",
    "part_key",
    "square_sums",
    "update_ratio",
    "warn",
    "watch",
    "watched_step",
]
