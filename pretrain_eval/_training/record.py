"""The record of a run that has ended."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping

import torch

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Cost, Plain, Run, Scale
from pretrain_eval._tasks import Task
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.course import Course, as_number
from pretrain_eval._training.measure import metrics_of, scale_of
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
    undefined = sorted(course.reported.scores.keys() - scores.keys())
    message = course.message
    if undefined and not scores and not message:
        message = (
            f"not a number on the reported split: {', '.join(undefined)}; look for NaN"
            " in its samples and in the model's outputs"
        )
    return Run(
        **cell.names,
        status=course.status,
        message=message,
        scores=scores,
        baseline=_finite(prepared.baseline()),
        chance=cell.task.chance[cell.dataset],
        scales=scales_of(cell.task, scores),
        num_examples=course.reported.num_examples,
        confusion=course.reported.confusion,
        outcomes=course.reported.outcomes,
        curve={key: tuple(column) for key, column in course.curve.items()},
        history=course.history,
        cost=cost,
        settings=settings_of(cell, course, prepared.path),
        versions=versions(),
    )


def drawn(cell: Cell) -> dict[str, Plain]:
    """What its draws come from, where that is not the seed that stands beside it."""
    return {} if cell.draws == "seed" else {"draw": cell.draw}


def settings_of(cell: Cell, course: Course, path: str) -> dict[str, Plain]:
    """What decided the result, in plain values."""
    settings = {
        **cell.strategy.configuration,
        "head": path,
        "num_classes": cell.task.num_classes,
        **drawn(cell),
    }
    if not cell.task.is_named:
        settings["kind"] = str(cell.task.kind)
    if course.status == "completed" and course.num_epochs < (cell.strategy.epochs or 0):
        settings["stopped_after"] = course.num_epochs
    return settings


def versions() -> dict[str, str]:
    """Of the packages that train."""
    return {
        "pretrain_eval": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def scales_of(task: Task, scores: Mapping[str, float]) -> dict[str, Scale]:
    """The direction and range of each score whose metric says them."""
    if not task.kind.metrics():
        return {}
    metrics = metrics_of(task.kind)
    scales = {key: scale_of(metrics[key]) for key in metrics if key in scores}
    return {key: scale for key, scale in scales.items() if scale is not None}


def _finite(scores: Mapping[str, Value]) -> dict[str, float]:
    """The scores that are defined; a record leaves out the others."""
    numbers = {key: as_number(value) for key, value in scores.items()}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
