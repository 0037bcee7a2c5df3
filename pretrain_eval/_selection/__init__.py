"""Which model to use, at a fraction of the grid's cost: estimates, and races."""

from pretrain_eval._selection.choice import Choice
from pretrain_eval._selection.choose import choose
from pretrain_eval._selection.estimate import estimate
from pretrain_eval._selection.estimates import Estimate, Estimates
from pretrain_eval._selection.race import Round
from pretrain_eval._selection.replay import replay

__all__ = ["Choice", "Estimate", "Estimates", "Round", "choose", "estimate", "replay"]
