"""The types that signatures of this package name, for annotations of your own code."""

from pretrain_eval._metrics import (
    CountedMetric,
    Counter,
    Forward,
    SupportsUpdate,
    Value,
)
from pretrain_eval._metrics.predictions import Absent, Average, Boxes, Kind, Scores
from pretrain_eval._runs import Better, Plain, Status
from pretrain_eval._scoring import Grid
from pretrain_eval._steps import Attachment, Per, Statistic, Step
from pretrain_eval._training import Model

__all__ = [
    "Absent",
    "Attachment",
    "Average",
    "Better",
    "Boxes",
    "CountedMetric",
    "Counter",
    "Forward",
    "Grid",
    "Kind",
    "Model",
    "Per",
    "Plain",
    "Scores",
    "Statistic",
    "Status",
    "Step",
    "SupportsUpdate",
    "Value",
]
