"""The grid of runs: what is still to do, where it happens, in which order."""

from pretrain_eval._sweep.jobs import Job, Part
from pretrain_eval._sweep.sweep import sweep

__all__ = [
    "Job",
    "Part",
    "sweep",
]
