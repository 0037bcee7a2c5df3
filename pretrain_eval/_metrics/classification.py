"""Metrics of predicted classes, from three counters a class."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metric import DeferredMetric, Value

Average = Literal["micro", "macro", "weighted", "none"]


class ClassCounts(DeferredMetric):
    """A metric that reads hits, predictions and targets of each class.

    `outputs` are scores `(num_samples, num_classes)` or class indices
    `(num_samples,)`; `targets` are class indices `(num_samples,)`.
    """

    def __init__(self, num_classes: int | None = None) -> None:
        self._num_classes = num_classes
        self._counts: Tensor | None = None

    @override
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        predictions = outputs.argmax(dim=1) if outputs.ndim == 2 else outputs
        if predictions.shape != targets.shape:
            raise ValueError(
                f"{self.key} expects outputs (num_samples, num_classes) or"
                f" (num_samples,) and targets (num_samples,), got"
                f" {tuple(outputs.shape)} and {tuple(targets.shape)}"
            )
        if self._counts is None:
            num_classes = self._num_classes or (
                outputs.shape[1] if outputs.ndim == 2 else None
            )
            if num_classes is None:
                raise ValueError(
                    f"{self.key} cannot tell the number of classes from class indices;"
                    f" give it: {type(self).__name__}(num_classes=...)"
                )
            self._counts = torch.zeros(
                3, num_classes, dtype=torch.int64, device=targets.device
            )
        hits = targets[predictions == targets]
        for row, classes in zip(
            self._counts, (hits, predictions, targets), strict=True
        ):
            row += torch.bincount(classes, minlength=len(row))

    @override
    def reset(self) -> None:
        self._counts = None

    @override
    def state(self) -> Sequence[Tensor]:
        if self._counts is None:
            raise RuntimeError(f"{self.key} has seen no batch since its last reset")
        return [self._counts]


class ClassRatio(ClassCounts):
    """A ratio of counts, averaged over classes.

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none", one value a class.
        num_classes: Needed where outputs are class indices.
        zero_division: The value of a class whose ratio is 0/0.
    """

    def __init__(
        self,
        *,
        average: Average = "macro",
        num_classes: int | None = None,
        zero_division: float = 0.0,
    ) -> None:
        super().__init__(num_classes)
        if average not in ("micro", "macro", "weighted", "none"):
            raise ValueError(
                f"average must be micro, macro, weighted or none, got {average!r}"
            )
        self._average = average
        self._zero_division = zero_division

    @abstractmethod
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Numerator and denominator, from rows of hits, predictions and targets."""

    @override
    def value(self, *state: np.ndarray) -> Value:
        counts = state[0]
        weights = counts[2]
        if self._average == "micro":
            counts = counts.sum(axis=1, keepdims=True)
        top, bottom = self.ratio(counts)
        ratios = np.full(top.shape, self._zero_division)
        np.divide(top, bottom, out=ratios, where=bottom > 0)
        if self._average == "none":
            return tuple(ratios.tolist())
        if self._average == "weighted":
            return float((ratios * weights).sum() / weights.sum())
        return float(ratios.mean())


@final
class Accuracy(ClassCounts):
    """Share of samples whose predicted class is the target.

    >>> metric = Accuracy()
    >>> metric.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    key = "accuracy"

    @override
    def value(self, *state: np.ndarray) -> Value:
        hits, _, targets = state[0].sum(axis=1)
        return float(hits / targets)


@final
class Precision(ClassRatio):
    """Share of a class's predictions that are right, tp / (tp + fp).

    >>> metric = Precision(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (1.0, 0.5)
    """

    key = "precision"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return counts[0], counts[1]


@final
class Recall(ClassRatio):
    """Share of a class's samples that are found, tp / (tp + fn).

    >>> metric = Recall(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (0.5, 1.0)
    """

    key = "recall"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return counts[0], counts[2]


@final
class F1Score(ClassRatio):
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn).

    >>> metric = F1Score(average="none", num_classes=2)
    >>> metric.update(torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0]))
    >>> metric.compute()
    (0.666..., 0.666...)
    """

    key = "f1"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2 * counts[0], counts[1] + counts[2]
