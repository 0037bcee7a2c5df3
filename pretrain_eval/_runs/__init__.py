"""The waist: records of runs in plain values, and the store that keeps them."""

from pretrain_eval._runs.chance import chance_levels, majority_levels
from pretrain_eval._runs.run import (
    Cost,
    FrozenDict,
    Plain,
    Record,
    Run,
    Status,
    run_name,
)
from pretrain_eval._runs.store import RunStore, check_room

__all__ = [
    "Cost",
    "FrozenDict",
    "Plain",
    "Record",
    "Run",
    "RunStore",
    "Status",
    "chance_levels",
    "check_room",
    "majority_levels",
    "run_name",
]
