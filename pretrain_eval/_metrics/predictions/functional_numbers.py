"""One function a metric of predicted numbers."""
# The functions have the bodies that `of_sums` gives them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from torch import Tensor

from pretrain_eval._metrics.metric import Value
from pretrain_eval._metrics.predictions.correlation import (
    PearsonCorrCoef,
    SpearmanCorrCoef,
)
from pretrain_eval._metrics.predictions.functional import of_sums
from pretrain_eval._metrics.predictions.regression import (
    MeanAbsoluteError,
    MeanAbsolutePercentageError,
    MeanSquaredError,
    R2Score,
    RootMeanSquaredError,
)


@of_sums(MeanSquaredError)
def mean_squared_error(outputs: Tensor, targets: Tensor) -> float:
    """Mean over all entries of (output − target)².

    In the unit of the targets, squared; at least 0, lower is better; always defined for
    at least one entry.

    Args:
        outputs: Numbers of any shape.
        targets: Numbers of the same shape.

    >>> import torch
    >>> mean_squared_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    2.0
    """


@of_sums(MeanAbsoluteError)
def mean_absolute_error(outputs: Tensor, targets: Tensor) -> float:
    """Mean over all entries of abs(output − target).

    In the unit of the targets; at least 0, lower is better; always defined for at least
    one entry.

    Args:
        outputs: Numbers of any shape.
        targets: Numbers of the same shape.

    >>> import torch
    >>> mean_absolute_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    1.0
    """


@of_sums(R2Score)
def r2_score(outputs: Tensor, targets: Tensor) -> Value:
    """1 − Σ(output − target)² / Σ(target − mean target)²; 1 is perfect, 0 is the mean.

    Higher is better. NaN, with a warning, where the targets of an output are constant.

    Args:
        outputs: Numbers of any shape; of several outputs, `(num_samples, ...)`.
        targets: Numbers of the outputs' shape.
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> r2_score(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 3.0]))
    0.5
    """


@of_sums(PearsonCorrCoef)
def pearson_corrcoef(outputs: Tensor, targets: Tensor) -> Value:
    """Σ(o − ō)(t − t̄) / √(Σ(o − ō)² Σ(t − t̄)²), in [−1, 1]; higher is better.

    0 is no linear relation. NaN, with a warning, where outputs or targets are constant.

    Args:
        outputs: Numbers `(num_samples,)`, or `(num_samples, ...)` of several outputs.
        targets: Numbers of the outputs' shape.
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> round(
    ...     pearson_corrcoef(
    ...         torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 2.0, 6.0])
    ...     ),
    ...     6,
    ... )
    0.944911
    """


@of_sums(SpearmanCorrCoef)
def spearman_corrcoef(outputs: Tensor, targets: Tensor) -> Value:
    """Pearson's correlation of ranks, in [−1, 1]; higher is better.

    Exact: every sample is kept, and equal values share the mean of their ranks. 0 is no
    monotone relation. NaN, with a warning, where outputs or targets are constant.

    Args:
        outputs: Numbers `(num_samples,)`, or `(num_samples, ...)` of several outputs.
        targets: Numbers of the outputs' shape.
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> spearman_corrcoef(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1.0, 6.0, 2.0]))
    0.5
    """


@of_sums(MeanAbsolutePercentageError)
def mean_absolute_percentage_error(outputs: Tensor, targets: Tensor) -> float:
    """Mean of abs(output − target) / abs(target) over all entries; lower is better.

    A share, not percent: 0.1 is an error of a tenth. At least 0; a target of 0 counts
    as one of 2⁻⁵², as in scikit-learn, and makes the value enormous.

    Args:
        outputs: Numbers of any shape; of several outputs, `(num_samples, ...)`.
        targets: Numbers of the outputs' shape.

    >>> import torch
    >>> mean_absolute_percentage_error(
    ...     torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0])
    ... )
    0.25
    """


@of_sums(RootMeanSquaredError)
def root_mean_squared_error(outputs: Tensor, targets: Tensor) -> Value:
    """√(mean of (output − target)²), at least 0; lower is better.

    Args:
        outputs: Numbers of any shape; of several outputs, `(num_samples, ...)`.
        targets: Numbers of the outputs' shape.
        average: Of several outputs: "uniform", the mean of their values; "pooled", the
            value of all entries as one; "none", one value an output.

    >>> import torch
    >>> root_mean_squared_error(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    1.414...
    """
