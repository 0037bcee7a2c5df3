"""The record of a run that has ended."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping

import torch

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Cost, Run
from pretrain_eval._training.course import Course, as_number
from pretrain_eval._training.measure import scale_of, scores_for
from pretrain_eval._training.prepared import Prepared
from pretrain_eval._version import __version__


def record(prepared: Prepared, course: Course, cost: Cost) -> Run:
    """The run that has ended.

    Args:
        prepared: What was trained.
        course: What came of it.
        cost: What it has cost.
    """
    cell = prepared.cell
    scores = _finite(course.reported.scores)
    return Run(
        **cell.names,
        status=course.status,
        message=course.message,
        scores=scores,
        baseline=_finite(prepared.baseline()),
        chance=cell.task.chance[cell.dataset],
        scales={
            metric.key: scale_of(metric)
            for metric in scores_for(cell.task)
            if metric.key in scores
        },
        num_examples=course.reported.num_examples,
        confusion=course.reported.confusion,
        outcomes=course.reported.outcomes,
        curve={key: tuple(column) for key, column in course.curve.items()},
        history=course.history,
        cost=cost,
        settings={
            **cell.strategy.configuration,
            "head": prepared.path,
            "num_classes": cell.task.num_classes,
        },
        versions={
            "pretrain_eval": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    )


def _finite(scores: Mapping[str, Value]) -> dict[str, float]:
    """The scores that are defined; a record leaves out the others."""
    numbers = {key: as_number(value) for key, value in scores.items()}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
