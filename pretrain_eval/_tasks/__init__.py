"""The problem's side: tasks, their kinds, and the data that pose them."""

from pretrain_eval._tasks.checks import check_count, check_name
from pretrain_eval._tasks.samples import as_loader, read_targets, reads_alike
from pretrain_eval._tasks.splits import Split, Splits
from pretrain_eval._tasks.task import Task

__all__ = [
    "Split",
    "Splits",
    "Task",
    "as_loader",
    "check_count",
    "check_name",
    "read_targets",
    "reads_alike",
]
