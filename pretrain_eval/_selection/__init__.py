"""Which model to use, at a fraction of the grid's cost: races over runs."""

from pretrain_eval._selection.choice import Choice
from pretrain_eval._selection.choose import choose
from pretrain_eval._selection.race import Round
from pretrain_eval._selection.replay import replay

__all__ = ["Choice", "Round", "choose", "replay"]
