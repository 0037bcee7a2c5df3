"""Predictors from frozen features: what a model is worth before any training."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def nearest_class_mean(
    features: Tensor, targets: Tensor, queries: Tensor, num_classes: int
) -> Tensor:
    """The class whose mean feature is nearest, argmin_c ‖x − μ_c‖₂.

    Args:
        features: `(num_samples, width)`, what the means are taken of.
        targets: `(num_samples,)`, their classes.
        queries: `(num_queries, width)`.
        num_classes: A class without samples is never predicted.

    Returns:
        Class indices, `(num_queries,)`.

    Source: Mensink et al., Distance-Based Image Classification, TPAMI 2013.

    >>> points = torch.tensor([[0.0], [1.0], [10.0]])
    >>> classes = torch.tensor([0, 0, 1])
    >>> nearest_class_mean(points, classes, torch.tensor([[2.0], [9.0]]), 2)
    tensor([0, 1])
    """
    return nearest(class_means(features, targets, num_classes), queries)


class Means(NamedTuple):
    """The mean features of classes, `(num_classes, width)`, and of how many each is."""

    means: Tensor
    counts: Tensor


def class_means(features: Tensor, targets: Tensor, num_classes: int) -> Means:
    """The mean of each class's features; 0 where it has none."""
    members = F.one_hot(targets, num_classes).to(features.dtype)
    counts = members.sum(0)
    return Means(members.T @ features / counts.clamp(min=1)[:, None], counts)


def nearest(means: Means, queries: Tensor) -> Tensor:
    """The class whose mean is nearest, `(num_queries,)`, of those that have samples."""
    distances = torch.cdist(queries, means.means)
    return distances.masked_fill(means.counts == 0, torch.inf).argmin(1)


def ridge(features: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """Ridge regression on standardised features, penalty 1; `(num_queries, ...)`."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    model.fit(features.cpu().numpy(), targets.cpu().numpy())
    return torch.as_tensor(model.predict(queries.cpu().numpy()), device=queries.device)
