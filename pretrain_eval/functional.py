"""Formulas on tensors, without state: what each metric computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import cast

from torch import Tensor

from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.classification import (
    Accuracy,
    Average,
    F1Score,
    Precision,
    Recall,
)
from pretrain_eval._steps import norms
from pretrain_eval._steps.snapshot import Snapshot


def square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """Σ|x|² of each tensor, shape `(len(tensors),)`, float64.

    Exact to 1e-6 relative whatever the size, and mostly to 1e-8; half precision does
    not overflow, a sparse tensor's repeated entries are summed first, a complex
    number counts with its absolute value.

    >>> import torch
    >>> square_sums([torch.tensor([3.0, 4.0]), torch.full((2,), 3e4).half()])
    tensor([2.5000e+01, 1.8000e+09], dtype=torch.float64)
    """
    return norms.square_sums(tensors)


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """‖x‖₂ = √Σ|x|² over all entries of all tensors, a float64 scalar.

    >>> import torch
    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5., dtype=torch.float64)
    """
    return square_sums(list(tensors)).sum().sqrt()


def update_ratio(before: Iterable[Tensor], after: Iterable[Tensor]) -> Tensor:
    """Relative size of one update, ‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂.

    Infinite where every parameter was zero and one moved, NaN where none moved.

    >>> import torch
    >>> update_ratio([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 3.0])])
    tensor(0.2000, dtype=torch.float64)
    """
    sums = Snapshot(list(before)).compare(list(after)).sum(dim=1)
    return (sums[0] / sums[1]).sqrt()


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
