"""From runs to decisions: arithmetic on records, without torch."""

from pretrain_eval._scoring.budget import Budget
from pretrain_eval._scoring.evaluator import Evaluator
from pretrain_eval._scoring.grid import Grid, ordered
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.new_examples import num_classes_of
from pretrain_eval._scoring.scorecard import scorecard

__all__ = [
    "Budget",
    "Evaluator",
    "Grid",
    "by_model",
    "num_classes_of",
    "ordered",
    "scorecard",
]
