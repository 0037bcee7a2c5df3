"""Formulas on tensors, without state: what each metric computes."""

from __future__ import annotations

from typing import cast

from torch import Tensor

from pretrain_eval._metrics import CountedMetric, Value
from pretrain_eval._metrics.predictions import (
    Accuracy,
    Average,
    F1Score,
    Precision,
    Recall,
)
from pretrain_eval._steps import norm, square_sums, update_ratio

__all__ = [
    "accuracy",
    "f1_score",
    "norm",
    "precision",
    "recall",
    "square_sums",
    "update_ratio",
]


def accuracy(outputs: Tensor, targets: Tensor, *, top_k: int = 1) -> float:
    """Share of samples whose predicted class is the target.

    Args:
        outputs: Scores `(num_samples, num_classes)`.
        targets: Classes `(num_samples,)`.
        top_k: Right where the target is among the k highest scores.

    Returns:
        The value of `Accuracy`, which also takes other tasks.

    >>> import torch
    >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    0.5
    """
    return cast("float", _of_all(Accuracy(top_k=top_k), outputs, targets))


def precision(
    outputs: Tensor,
    targets: Tensor,
    *,
    average: Average = "macro",
    num_classes: int | None = None,
) -> Value:
    """Share of a class's predictions that are right, tp / (tp + fp).

    Args:
        outputs: Scores `(num_samples, num_classes)`, or predicted classes.
        targets: Classes `(num_samples,)`.
        average: "macro", "weighted", "micro", or "none" for one value a class.
        num_classes: Needed where outputs are predicted classes.

    Returns:
        The value of `Precision`, which also takes other tasks.

    >>> import torch
    >>> predicted, targets = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    >>> precision(predicted, targets, average="none", num_classes=2)
    (1.0, 0.5)
    """
    return _of_all(
        Precision(average=average, num_classes=num_classes), outputs, targets
    )


def recall(
    outputs: Tensor,
    targets: Tensor,
    *,
    average: Average = "macro",
    num_classes: int | None = None,
) -> Value:
    """Share of a class's samples that are found, tp / (tp + fn).

    The arguments are those of `precision`.

    >>> import torch
    >>> predicted, targets = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    >>> recall(predicted, targets, average="none", num_classes=2)
    (0.5, 1.0)
    """
    return _of_all(Recall(average=average, num_classes=num_classes), outputs, targets)


def f1_score(
    outputs: Tensor,
    targets: Tensor,
    *,
    average: Average = "macro",
    num_classes: int | None = None,
) -> Value:
    """Harmonic mean of precision and recall, 2 tp / (2 tp + fp + fn).

    The arguments are those of `precision`.

    >>> import torch
    >>> predicted, targets = torch.tensor([1, 1, 0]), torch.tensor([1, 0, 0])
    >>> f1_score(predicted, targets, average="micro", num_classes=2)
    0.666...
    """
    return _of_all(F1Score(average=average, num_classes=num_classes), outputs, targets)


def _of_all(metric: CountedMetric, outputs: Tensor, targets: Tensor) -> Value:
    metric.update(outputs, targets)
    return metric.compute(sync=False)
