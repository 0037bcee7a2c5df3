"""Predictors from frozen features: what a model is worth before any training."""

from __future__ import annotations

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
    members = F.one_hot(targets, num_classes).to(features.dtype)
    counts = members.sum(0)
    means = members.T @ features / counts.clamp(min=1)[:, None]
    distances = torch.cdist(queries, means)
    return distances.masked_fill(counts == 0, torch.inf).argmin(1)


def ridge(features: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """Ridge regression on standardised features, penalty 1; `(num_queries, ...)`."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    model.fit(features.cpu().numpy(), targets.cpu().numpy())
    return torch.as_tensor(model.predict(queries.cpu().numpy()), device=queries.device)
