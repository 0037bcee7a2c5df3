"""From runs to decisions: arithmetic on records, without torch."""

from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.evaluator import Evaluator, Runs
from pretrain_eval._scoring.grid import Cells, Grid, ordered
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.new_examples import num_classes_of
from pretrain_eval._scoring.protocol import Scored, Source
from pretrain_eval._scoring.scales import Ceiling, Chance, Direction
from pretrain_eval._scoring.scorecard import scorecard

__all__ = [
    "Budget",
    "Ceiling",
    "Cells",
    "Chance",
    "Direction",
    "Evaluator",
    "Grid",
    "Runs",
    "Scored",
    "Source",
    "by_model",
    "num_classes_of",
    "ordered",
    "scorecard",
]
