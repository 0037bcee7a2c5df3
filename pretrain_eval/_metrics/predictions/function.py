"""A plain function of all targets and outputs as a metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import RowCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value, plain_value
from pretrain_eval._metrics.predictions.shapes import class_dimension

# Dimensions of a sample that a row can tell of.
MOST_DIMENSIONS = 7


@final
@dataclass(frozen=True)
class SampleCounter(RowCounter):
    """Keeps every sample's outputs and target.

    A row tells its own layout, so that rows of other processes and of a loaded state
    can be read: one number for the kinds and dimensions of both, their lengths, then
    outputs and target themselves.
    """

    decide: bool
    entries = "shapes of samples"
    said = Words(outputs="samples have outputs that are NaN or infinite")

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        outputs, targets = self._samples(outputs.detach(), targets.detach(), weights)
        shapes = [*outputs.shape[1:], *targets.shape[1:]]
        if max(outputs.ndim, targets.ndim) > MOST_DIMENSIONS + 1:
            raise ValueError(
                f"expected samples of at most {MOST_DIMENSIONS} dimensions, got outputs"
                f" {tuple(outputs.shape)} and targets {tuple(targets.shape)}"
            )
        told = torch.tensor([_code(outputs, targets), *shapes], dtype=torch.float64)
        told = told.to(outputs.device).expand(len(outputs), -1)
        flat = [
            each.reshape(len(each), math.prod(each.shape[1:])).double()
            for each in (outputs, targets)
        ]
        values = flat[0].where(flat[0].isfinite(), torch.nan)
        truth = flat[1].where(flat[1].isfinite(), torch.inf)
        return torch.cat((told, values, truth), 1)

    def _samples(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        if outputs.is_complex() or targets.is_complex():
            raise TypeError("expected real numbers, got complex ones")
        if not outputs.ndim or not targets.ndim or len(outputs) != len(targets):
            raise ValueError(
                "expected outputs and targets of as many samples, got"
                f" {tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        if self.decide:
            outputs = _decided(outputs, targets)
        if weights is None:
            return outputs, targets
        if weights.dtype != torch.bool or weights.shape != targets.shape[:1]:
            raise TypeError(
                "a function of targets and outputs takes no weights; a boolean mask,"
                " one entry a sample, keeps samples"
            )
        return outputs[weights], targets[weights]

    @override
    def check(self, counts: np.ndarray) -> None:
        bad = np.isinf(counts).any(1).sum()
        if bad:
            raise ValueError(f"targets of {bad} samples are NaN or infinite")


def _code(outputs: Tensor, targets: Tensor) -> int:
    whole = [not each.is_floating_point() for each in (outputs, targets)]
    dimensions = [each.ndim - 1 for each in (outputs, targets)]
    return whole[0] + 2 * whole[1] + 4 * dimensions[0] + 32 * dimensions[1]


def _decided(outputs: Tensor, targets: Tensor) -> Tensor:
    """The class of the highest score; scores that are not finite decide nothing."""
    dim = class_dimension(outputs, targets)
    if dim is None:
        raise ValueError(
            "decide=True needs scores with a class dimension, got outputs and targets"
            f" {tuple(outputs.shape)}; leave it out where outputs are classes"
        )
    classes = outputs.argmax(dim)
    finite = outputs.isfinite().all(dim)
    # Only floats can say that nothing was decided.
    return classes if bool(finite.all()) else classes.double().where(finite, torch.nan)


def _read(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and targets as they came, from rows of one layout."""
    codes = rows[:, 0].astype(int)
    whole = [bool((codes >> bit & 1).all()) for bit in (0, 1)]
    num_dims = [int(codes[0] >> 2 & 7), int(codes[0] >> 5)]
    start = 1 + sum(num_dims)
    shape = rows[0, 1:start].astype(int).tolist()
    if (rows[:, 1:start] != rows[0, 1:start]).any() or len(set(codes >> 2)) > 1:
        raise ValueError("batches held samples of different shapes")
    shapes = [shape[: num_dims[0]], shape[num_dims[0] :]]
    parts = np.split(rows[:, start:], [math.prod(shapes[0])], axis=1)
    outputs, targets = (
        part.reshape(-1, *dims).astype(np.int64 if is_whole else np.float64)
        for part, dims, is_whole in zip(parts, shapes, whole, strict=True)
    )
    return outputs, targets


@final
class FunctionMetric(CountedMetric):
    """A function `(targets, outputs) -> float` of scikit-learn's shape as a metric.

    It gets all samples since the last reset, of all processes, as numpy arrays:
    integers as int64, floats as float64. Memory grows with the samples. Outputs that
    are NaN or infinite make the value NaN, with a warning; the function is not called.

    Args:
        function: Called with targets and outputs, `(num_samples, ...)` each, gives a
            number or several.
        better: Which of two values is better, "higher" or "lower"; None: neither.
        bounds: The lowest and the highest possible value.
        key: The name of the value; the function's own by default.
        decide: Hand over the class of the highest score instead of scores.
        arguments: Given to the function by name.

    Raises:
        ValueError: A direction is neither, or bounds are no range. At `update`: targets
            are NaN or infinite, or samples are not as many.

    >>> from sklearn.metrics import f1_score
    >>> metric = FunctionMetric(
    ...     f1_score, better="higher", bounds=(0, 1), decide=True, average="macro"
    ... )
    >>> metric.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metric.key, metric.compute()
    ('f1_score', 0.333...)
    """

    def __init__(
        self,
        function: Callable[..., Any],
        *,
        better: Literal["higher", "lower"] | None,
        bounds: tuple[float, float] = (-math.inf, math.inf),
        key: str | None = None,
        decide: bool = False,
        **arguments: Any,
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"expected a function of targets and outputs, got {function!r}"
            )
        if better not in ("higher", "lower", None):
            raise ValueError(
                f"better must be 'higher', 'lower' or None, got {better!r}"
            )
        low, high = bounds
        if not low < high:
            raise ValueError(f"bounds are (lowest, highest), got {bounds}")
        name = key or getattr(function, "__name__", None)
        if name is None or name == "<lambda>":
            raise ValueError(f"{function!r} has no name; give key=...")
        super().__init__(SampleCounter(decide))
        self._function, self._arguments = function, arguments
        self.key: str = name
        self.higher_is_better: bool | None = (
            None if better is None else better == "higher"
        )
        self.bounds: tuple[float, float] = (float(low), float(high))

    @override
    def formula(self, sums: np.ndarray) -> Value:
        self.require_samples(len(sums))
        if np.isnan(sums).any():
            return math.nan
        outputs, targets = _read(sums)
        return plain_value(self._function(targets, outputs, **self._arguments))
