"""Metrics of predicted regions, pixel by pixel."""

from __future__ import annotations

from typing import ClassVar, final

from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.class_counters import Bottom
from pretrain_eval._metrics.predictions.ratios import ClassRatio


@final
class MeanIoU(ClassRatio):
    """Mean over classes of intersection over union, tp / (tp + fp + fn); Jaccard.

    In [0, 1]. Pixels of all images are pooled. Outputs are scores `(num_samples,
    num_classes, height, width)` or class indices `(num_samples, height, width)`. Say
    absent="drop" to average only classes that occur.

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = MeanIoU(num_classes=2)
    >>> metric.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 1]]))
    >>> metric.compute()
    0.583...
    """

    key = "miou"

    ratio = staticmethod(formulas.jaccard)


@final
class DiceScore(ClassRatio):
    """Twice the intersection over both regions, 2 tp / (2 tp + fp + fn), in [0, 1].

    The F1 score of pixels, averaged over classes. Pixels of all images are pooled.
    Outputs are scores `(num_samples, num_classes, height, width)` or class indices
    `(num_samples, height, width)`.

    Args:
        average: "macro", the mean over classes; "weighted", weighted by targets;
            "micro", counts summed first; "none" or None, one value a class; "samples",
            the mean over the samples of a multilabel task; "binary", class 1 alone. By
            default "binary" for a binary task, otherwise "macro".
        task: "multiclass": scores with a class dimension, or class indices. "binary":
            one score a sample. "multilabel": `(num_samples, num_labels)`.
        num_classes: Classes or labels; needed where outputs are class indices.
        labels: The classes that are averaged; the others still count as mistakes.
        absent: What a class does that is neither among targets nor predictions:
            "count", it enters the average with `zero_division`, as with scikit-learn's
            `labels=range(num_classes)`; "drop", it does not, as without.
        zero_division: The value of a class whose ratio is 0/0: 0, 1, or NaN, which
            leaves the class out of the average.
        scores: What binary and multilabel scores are, "logits" or "probabilities".
        threshold: The probability above which class 1 is predicted.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = DiceScore(num_classes=2)
    >>> metric.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 1]]))
    >>> metric.compute()
    0.733...
    """

    key = "dice"
    bottom: ClassVar[Bottom | None] = "both"

    ratio = staticmethod(formulas.dice)
