"""Metrics of predicted regions, pixel by pixel."""

from __future__ import annotations

from typing import final

import numpy as np
from typing_extensions import override

from pretrain_eval._metrics.predictions.classification import ClassRatio


@final
class MeanIoU(ClassRatio):
    """Mean over classes of intersection over union, tp / (tp + fp + fn); Jaccard.

    Pixels of all images are pooled. Outputs are scores `(num_samples, num_classes,
    height, width)` or class indices `(num_samples, height, width)`; the arguments are
    those of `Precision`. Say absent="drop" to average only classes that occur.

    >>> import torch
    >>> metric = MeanIoU(num_classes=2)
    >>> metric.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 1]]))
    >>> metric.compute()
    0.583...
    """

    key = "miou"
    bottom = "union"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return counts[0], counts[1] + counts[2] - counts[0]


@final
class DiceScore(ClassRatio):
    """Twice the intersection over both regions, 2 tp / (2 tp + fp + fn).

    The F1 score of pixels; shapes are those of `MeanIoU`, the arguments those of
    `Precision`.

    >>> import torch
    >>> metric = DiceScore(num_classes=2)
    >>> metric.update(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 1], [0, 1]]))
    >>> metric.compute()
    0.733...
    """

    key = "dice"
    bottom = "both"

    @override
    def ratio(self, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return 2 * counts[0], counts[1] + counts[2]
