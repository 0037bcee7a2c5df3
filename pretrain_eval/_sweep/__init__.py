"""The grid of runs: what is still to do, where it happens, in which order."""

from pretrain_eval._sweep.cells import grid_cells
from pretrain_eval._sweep.jobs import Job, Part
from pretrain_eval._sweep.keeper import Keeper
from pretrain_eval._sweep.kept import Kept
from pretrain_eval._sweep.keys import Keys
from pretrain_eval._sweep.places import lasting
from pretrain_eval._sweep.progress import Progress, check_shown
from pretrain_eval._sweep.resources import Resources
from pretrain_eval._sweep.sweep import Stage, cut_short, opened, sweep, swept

__all__ = [
    "Job",
    "Keeper",
    "Kept",
    "Keys",
    "Part",
    "Progress",
    "Resources",
    "Stage",
    "check_shown",
    "cut_short",
    "grid_cells",
    "lasting",
    "opened",
    "sweep",
    "swept",
]
