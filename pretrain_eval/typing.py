"""The types that signatures of this package name, for annotations of your own code."""

from pretrain_eval._metrics import (
    CountedMetric,
    Counter,
    Forward,
    Metrics,
    SupportsUpdate,
    Value,
)
from pretrain_eval._metrics.predictions import (
    Absent,
    Average,
    Boxes,
    Empty,
    Kind,
    Moments,
    Normalize,
    Outputs,
    Scores,
    Tokens,
)
from pretrain_eval._runs import Better, Plain, Status
from pretrain_eval._scoring import (
    Ceiling,
    Cells,
    Chance,
    Direction,
    Grid,
    Runs,
    Scored,
    Source,
)
from pretrain_eval._scoring.formulas import Aggregate, Array
from pretrain_eval._scoring.reports import Row, Table
from pretrain_eval._steps import (
    Attachment,
    Partition,
    Per,
    Quantity,
    Statistic,
    Step,
)
from pretrain_eval._tasks import Before, Network, Place, Read, Split, Target
from pretrain_eval._training import Call, Choice, Trainable
from pretrain_eval.zoo import Model

__all__ = [
    "Absent",
    "Aggregate",
    "Array",
    "Attachment",
    "Average",
    "Before",
    "Better",
    "Boxes",
    "Call",
    "Ceiling",
    "Cells",
    "Chance",
    "Choice",
    "CountedMetric",
    "Counter",
    "Direction",
    "Empty",
    "Forward",
    "Grid",
    "Kind",
    "Metrics",
    "Model",
    "Moments",
    "Network",
    "Normalize",
    "Outputs",
    "Partition",
    "Per",
    "Place",
    "Plain",
    "Quantity",
    "Read",
    "Row",
    "Runs",
    "Scored",
    "Scores",
    "Source",
    "Split",
    "Statistic",
    "Status",
    "Step",
    "SupportsUpdate",
    "Table",
    "Target",
    "Tokens",
    "Trainable",
    "Value",
]
