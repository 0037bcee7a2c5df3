"""What the formulas read: arrays of doubles and labels without gaps, checked once."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]
Rows = Array | Tensor


def as_array(values: Rows) -> Array:
    """A numpy array of what may be a tensor on any device."""
    if isinstance(values, Tensor):
        values = values.detach().cpu()
        return np.asarray(values.double() if values.is_floating_point() else values)
    return np.asarray(values)


def as_rows(what: str, features: Rows) -> Array:
    """Features as `(num_samples, width)` in double precision, finite.

    Raises:
        ValueError: They have another shape, or hold what is no number.
    """
    rows = as_array(features).astype(np.float64)  # a copy
    if rows.ndim != 2 or min(rows.shape) < 1:
        raise ValueError(
            f"{what} expects features of shape (num_samples, width), got {rows.shape};"
            " flatten all but the first dimension"
        )
    if len(rows) < 2:
        raise ValueError(f"{what} expects two samples or more, got one")
    if not np.isfinite(rows).all():
        raise ValueError(f"{what} expects finite features, got NaN or infinity")
    return rows


def as_labels(what: str, targets: Rows, num_samples: int) -> Array:
    """Class labels as 0..C−1 without gaps, `(num_samples,)`.

    Raises:
        ValueError: They are no integers, of another number, or all alike.
    """
    labels = as_array(targets)
    if labels.shape != (num_samples,) or labels.dtype.kind not in "iub":
        raise ValueError(
            f"{what} expects integer class targets of shape ({num_samples},), one a"
            f" sample, got shape {labels.shape} of {labels.dtype}"
        )
    classes, compact = np.unique(labels, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"{what} expects samples of two classes or more, got class {classes[0]}"
        )
    return np.asarray(compact)


def as_classes(what: str, features: Rows, targets: Rows) -> tuple[Array, Array]:
    """Rows and labels."""
    rows = as_rows(what, features)
    return rows, as_labels(what, targets, len(rows))


def as_numbers(what: str, targets: Rows, num_samples: int) -> Array:
    """Targets as `(num_samples, num_outputs)` in double precision.

    Raises:
        ValueError: They are not finite, of another number, or constant.
    """
    numbers = as_array(targets).astype(np.float64)
    if numbers.ndim not in (1, 2) or len(numbers) != num_samples:
        raise ValueError(
            f"{what} expects targets of shape ({num_samples},) or ({num_samples},"
            f" num_outputs), got {numbers.shape}"
        )
    numbers = numbers.reshape(num_samples, -1)
    if not np.isfinite(numbers).all():
        raise ValueError(f"{what} expects finite targets, got NaN or infinity")
    if (np.ptp(numbers, axis=0) == 0).any():
        raise ValueError(f"{what} expects targets that vary, got a constant one")
    return numbers


def solved(matrix: Array, columns: Array) -> Array:
    """matrix⁻¹ · columns, of a symmetric matrix that is positive definite.

    Where it is not, to rounding, the pseudo-inverse counts.
    """
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(matrix))
    columns = np.ascontiguousarray(columns)
    if int(failed):
        return np.asarray(np.linalg.lstsq(matrix, columns, rcond=None)[0])
    found: Array = torch.cholesky_solve(torch.from_numpy(columns), factor).numpy()
    return found


def one_hot(labels: Array) -> Array:
    """`(num_samples, num_classes)`."""
    hot = np.zeros((len(labels), int(labels.max()) + 1))
    hot[np.arange(len(labels)), labels] = 1.0
    return hot


def sums_by_class(rows: Array, labels: Array, num_classes: int) -> Array:
    """The sum of each class, `(num_classes, width)`."""
    hot = np.zeros((len(labels), num_classes))
    hot[np.arange(len(labels)), labels] = 1.0
    sums: Array = hot.T @ rows
    return sums


def class_means(rows: Array, labels: Array) -> tuple[Array, Array]:
    """How many samples each class has, and their mean."""
    counts = np.bincount(labels)
    return counts, sums_by_class(rows, labels, len(counts)) / counts[:, None]


def folds(labels: Array, num_folds: int, seed: int) -> Array:
    """The fold of each sample, drawn, with each class spread evenly over them."""
    order = np.random.default_rng(seed).permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), dtype=int)
    fold[order] = np.arange(len(labels)) % num_folds
    return fold


def check_folds(what: str, num_folds: int, num_samples: int) -> None:
    """Raise ValueError where samples cannot be parted so."""
    if not 2 <= num_folds <= num_samples:
        raise ValueError(
            f"{what} expects num_folds from 2 to the number of samples,"
            f" {num_samples}, got {num_folds}"
        )
