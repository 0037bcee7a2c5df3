"""The waist: records of runs in plain values, and the store that keeps them."""

from pretrain_eval._runs.chance import chance_levels, majority_levels
from pretrain_eval._runs.checks import Plain, is_name
from pretrain_eval._runs.creation import check_room
from pretrain_eval._runs.errors import StoreLostError
from pretrain_eval._runs.outcomes import Outcomes
from pretrain_eval._runs.reading import stored
from pretrain_eval._runs.record import FrozenDict, Record
from pretrain_eval._runs.run import (
    MAX_SEED,
    Cost,
    Run,
    Status,
    run_name,
)
from pretrain_eval._runs.runs import Compares, Runs
from pretrain_eval._runs.scale import SCALES, SHARE, Better, Scale
from pretrain_eval._runs.store import RunStore

__all__ = [
    "MAX_SEED",
    "SCALES",
    "SHARE",
    "Better",
    "Compares",
    "Cost",
    "FrozenDict",
    "Outcomes",
    "Plain",
    "Record",
    "Run",
    "RunStore",
    "Runs",
    "Scale",
    "Status",
    "StoreLostError",
    "chance_levels",
    "check_room",
    "is_name",
    "majority_levels",
    "run_name",
    "stored",
]
