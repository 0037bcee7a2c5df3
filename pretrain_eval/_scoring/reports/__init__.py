"""What a score is told as: reports, comparisons, scorecards and their tables."""

from pretrain_eval._scoring.reports.comparison import Change, Comparison, Difference
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.scorecard import Scorecard
from pretrain_eval._scoring.reports.table import Row, Table, amount, duration

__all__ = [
    "Change",
    "Comparison",
    "Difference",
    "Interval",
    "Report",
    "Row",
    "Scorecard",
    "Table",
    "amount",
    "duration",
]
