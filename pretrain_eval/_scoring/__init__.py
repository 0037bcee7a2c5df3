"""From runs to decisions: arithmetic on records, without torch."""

from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.compare import compare
from pretrain_eval._scoring.evaluator import AnyRuns, Evaluator
from pretrain_eval._scoring.grid import Cells, Grid, ordered
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.new_examples import num_classes_of
from pretrain_eval._scoring.protocol import Scored, Source
from pretrain_eval._scoring.scales import Ceiling, Chance, Direction
from pretrain_eval._scoring.scorecard import scorecard

__all__ = [
    "AnyRuns",
    "Budget",
    "Ceiling",
    "Cells",
    "Chance",
    "Direction",
    "Evaluator",
    "Grid",
    "Scored",
    "Source",
    "by_model",
    "compare",
    "num_classes_of",
    "ordered",
    "scorecard",
]
