"""The course of a training: what is trained on what, how far it came, how it ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, final

from torch import nn

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Scale, Status
from pretrain_eval._tasks import Splits, as_loader
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.measure import (
    NOTHING,
    measure,
    measure_reported,
    metrics_of,
    scale_of,
)

# What a paused training goes on with.
_RESUMED = ("num_steps", "num_samples", "seconds", "curve")


@final
class Course:
    """A training without the way in which it takes its steps.

    Args:
        model: Trained in place, or what is called in its place; where only a head is
            trained, it may be the head alone.
        splits: What it reads: the cell's own, or features in place of their samples.
        cell: Says the rest.

    Attributes:
        measured: Whose scores are measured: the model, or an average of its weights.
        loader: The batches of an epoch.
        parameters: What is trained.
        num_epochs: How many passes over the training split were made.
        num_steps: How many steps the optimizer has taken.
        num_samples: How many samples it has learned from, repeats counted.
        seconds: What its epochs took, without validation.
        curve: Columns of the validation curve.
        history: Columns of the step metrics.
        paused: Whether it was left before its end.
        message: Why it diverged; empty where it did not.
        reported: What the trained model shows on the reported split.
        peak_memory: The bytes that it reached, where they were measured.
    """

    def __init__(self, model: nn.Module, splits: Splits, cell: Cell) -> None:
        self.model, self.measured = model, model
        self.splits, self.cell = splits, cell
        batch_size = cell.strategy.batch_size
        self.loader = as_loader(splits.train, batch_size, shuffle=True)
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        self.num_epochs, self.num_steps, self.num_samples = 0, 0, 0
        self.seconds = 0.0
        self.curve: dict[str, list[float]] = {"step": []}
        self.history: Mapping[str, tuple[float, ...]] = {}
        self.paused, self.message, self.reported = False, "", NOTHING
        self.peak_memory: int | None = None

    @property
    def status(self) -> Status:
        """How it ended, as far as it has come."""
        if self.paused:
            return "pruned"
        return "diverged" if self.message else "completed"

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters)

    @property
    def total_steps(self) -> int:
        """How many steps there will be, unless it diverges."""
        strategy = self.cell.strategy
        return (strategy.epochs or 0) * -(-len(self.loader) // strategy.accumulate)

    def clip(self) -> None:
        """Clip the gradient, where the strategy says so."""
        if self.cell.strategy.max_grad_norm is not None:
            limit = self.cell.strategy.max_grad_norm
            nn.utils.clip_grad_norm_(self.parameters, limit)

    def add_step(self, num_samples: int) -> None:
        """Count a step of so many samples."""
        self.num_steps += 1
        self.num_samples += num_samples

    def validate(self) -> None:
        """Add a point to the curve."""
        self.curve["step"].append(self.num_steps)
        for key, value in measure(self.measured, self.splits.valid, self.cell).items():
            self.curve.setdefault(key, []).append(as_number(value))

    def report(self) -> None:
        """Measure what it has come to."""
        split = self.splits.reported
        self.reported = measure_reported(self.measured, split, self.cell)

    @property
    def is_stale(self) -> bool:
        """Whether the first score has not improved for too many epochs."""
        patience = self.cell.strategy.patience
        if patience is None:
            return False
        key, scale = first_scale(self.cell)
        sign = 1 if scale.better == "higher" else -1
        points = [sign * value for value in self.curve[key]]
        best = points.index(max(points)) if all(map(math.isfinite, points)) else 0
        return len(points) - 1 - best >= patience

    def diverge(self, epoch: int) -> None:
        """End at a loss that is not finite."""
        self.message = (
            f"the loss was not finite after {self.num_steps} steps, in epoch {epoch}"
        )

    def check_weights(self, epoch: int) -> None:
        """End where a weight is no longer finite."""
        if not all(bool(p.isfinite().all()) for p in self.parameters):
            self.message = f"a weight was not finite after epoch {epoch}"

    def state_dict(self) -> dict[str, Any]:
        """What a paused training goes on with."""
        return {name: getattr(self, name) for name in _RESUMED}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on with what `state_dict` gave."""
        for name in _RESUMED:
            setattr(self, name, state[name])


def first_scale(cell: Cell) -> tuple[str, Scale]:
    """The metric that is reported first, and which of its values are better.

    Raises:
        ValueError: It does not say.
    """
    metrics = metrics_of(cell.task.kind)
    key = next(iter(metrics))
    scale = scale_of(metrics[key])
    if scale is None:
        raise ValueError(
            f"{cell.task.name}: the first metric, {key!r}, does not say whether higher"
            " is better, which patience needs; set its higher_is_better"
        )
    return key, scale


def as_number(value: Value) -> float:
    """The value of a metric that is one number.

    Raises:
        TypeError: It is several.
    """
    if not isinstance(value, float | int):
        raise TypeError(f"a run's scores are numbers, got {value!r}")
    return float(value)
