"""The record of a run that has ended."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping

import torch

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Cost, Run, Status
from pretrain_eval._training.loop import as_number
from pretrain_eval._training.measure import Measured
from pretrain_eval._training.prepared import Source, Trained
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._version import __version__


def record(
    source: Source,
    trained: Trained,
    *,
    name: str,
    label: str,
    strategy: Strategy,
    seed: int,
    status: Status,
    measured: Measured,
    cost: Cost,
) -> Run:
    """The run that has ended.

    Args:
        source: What was trained.
        trained: What came of it.
        name: The model's.
        label: The dataset's.
        strategy: How.
        seed: The run's.
        status: How it ended.
        measured: On the reported split.
        cost: What it has cost.
    """
    return Run(
        model=name,
        task=source.task.name,
        dataset=label,
        strategy=strategy.name,
        seed=seed,
        status=status,
        message=trained.message,
        scores=_finite(measured.scores),
        baseline=_finite(source.baseline()),
        chance=source.task.chance[label],
        num_examples=measured.num_examples,
        confusion=measured.confusion,
        curve={key: tuple(column) for key, column in trained.curve.items()},
        history=trained.history,
        cost=cost,
        settings={
            **strategy.configuration,
            "head": source.path,
            "num_classes": source.task.num_classes,
        },
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {
        "pretrain_eval": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def _finite(scores: Mapping[str, Value]) -> dict[str, float]:
    """The scores that are defined; a record leaves out the others."""
    numbers = {key: as_number(value) for key, value in scores.items()}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
