"""The five protocols, one a file."""

from pretrain_eval._scoring.protocols.optimizability import OptimizabilityEvaluator
from pretrain_eval._scoring.protocols.persistence import PersistenceEvaluator
from pretrain_eval._scoring.protocols.reusability import ReusabilityEvaluator
from pretrain_eval._scoring.protocols.usability import UsabilityEvaluator, pareto_front
from pretrain_eval._scoring.protocols.variability import VariabilityEvaluator

__all__ = [
    "OptimizabilityEvaluator",
    "PersistenceEvaluator",
    "ReusabilityEvaluator",
    "UsabilityEvaluator",
    "VariabilityEvaluator",
    "pareto_front",
]
