"""What a score is told as: reports, comparisons, scorecards and their tables."""

from pretrain_eval._scoring.reports.change import Change
from pretrain_eval._scoring.reports.comparison import Comparison
from pretrain_eval._scoring.reports.difference import Difference
from pretrain_eval._scoring.reports.page import Picture, Section, draws
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.scorecard import Scorecard
from pretrain_eval._scoring.reports.table import (
    Row,
    Sheet,
    Table,
    amount,
    counted,
    duration,
)

__all__ = [
    "Change",
    "Comparison",
    "Difference",
    "Interval",
    "Picture",
    "Report",
    "Row",
    "Scorecard",
    "Section",
    "Sheet",
    "Table",
    "amount",
    "counted",
    "draws",
    "duration",
]
