"""LogME: how probable the targets are under a linear model of the features."""

from __future__ import annotations

import numpy as np

from pretrain_eval._transfer.arrays import (
    Array,
    Rows,
    as_array,
    as_labels,
    as_numbers,
    as_rows,
    one_hot,
)

# Values of log(t), t = α/β in units of the largest squared singular value, among which
# the best is looked for first, and steps that narrow it down below rounding.
_GRID = np.linspace(-60.0, 40.0, 201)
_STEPS = 34
# Smaller eigenvalues of FᵀF, as a share of the largest, are rounded too much.
_SMALLEST = 1e-8
_GOLDEN = (np.sqrt(5) - 1) / 2


def logme(features: Rows, targets: Rows) -> float:
    """Maximum over α, β of log p(y | F, α, β) / n, averaged over the columns of y.

    The evidence of y = F·w + noise with w ~ N(0, α⁻¹) and noise ~ N(0, β⁻¹):
    n/2·log β + D/2·log α − n/2·log 2π − β/2·‖F·m − y‖² − α/2·‖m‖² − ½·log det A, with
    A = α·I + β·FᵀF and m = β·A⁻¹·Fᵀy. Integer targets are classes, one column of zeros
    and ones a class that occurs; others are numbers. log det A holds all D eigenvalues,
    so that it is right for fewer samples than features too. The maximum is found in
    t = α/β alone, where β = n / (‖F·m − y‖² + t·‖m‖²).

    Without a unit; higher is better, any real number; the scale and the rotation of
    the features do not matter, that of numeric targets does. Infinite where fewer
    features than samples fit the targets exactly.

    Args:
        features: `(num_samples, width)`.
        targets: `(num_samples,)`, or numbers of shape `(num_samples, num_outputs)`.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, all targets are equal.

    Source: You, Liu, Wang and Long, LogME: Practical Assessment of Pre-trained Models
    for Transfer Learning, ICML 2021.

    >>> import numpy as np
    >>> near = np.array([[1.0, 0.1], [1.1, 0.0], [0.1, 1.0], [0.0, 0.9]])
    >>> labels = np.array([0, 0, 1, 1])
    >>> logme(near, labels) > logme(near[[0, 2, 1, 3]], labels)
    True
    """
    rows = as_rows("logme", features)
    if as_array(targets).dtype.kind in "iub":
        columns = one_hot(as_labels("logme", targets, len(rows)))
    else:
        columns = as_numbers("logme", targets, len(rows))
    squares, parts, rest = _spectrum(rows, columns)
    return float(np.mean(_best(len(rows), squares, parts, rest)))


def _spectrum(rows: Array, columns: Array) -> tuple[Array, Array, Array]:
    """Squared singular values, of which the largest is 1, and the parts of the targets.

    Returns:
        `(rank,)`; the squares of the targets in the left singular directions,
        `(rank, num_columns)`; the squares of what no feature explains.
    """
    num_samples, width = rows.shape
    largest = max(rows.max(), -rows.min())
    if largest == 0:
        return np.zeros(0), np.zeros((0, columns.shape[1])), (columns**2).sum(0)
    rows /= largest  # a copy of the caller's
    total = (columns**2).sum(0)
    if num_samples > width:
        values, right = _right(rows)
        kept = values > values[0] * np.finfo(float).eps * max(rows.shape)
        parts = (right[kept] @ (rows.T @ columns)) / values[kept, None]
    else:
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        kept = values > values[0] * np.finfo(float).eps * max(rows.shape)
        parts = left[:, kept].T @ columns
    parts = parts**2
    rest = np.maximum(total - parts.sum(0), 0.0)
    # Below rounding the features explain all.
    rest[rest <= 1e-14 * num_samples * total] = 0.0
    return (values[kept] / values[0]) ** 2, parts, rest


def _right(rows: Array) -> tuple[Array, Array]:
    """Singular values, falling, and the right singular vectors as rows."""
    squares, axes = np.linalg.eigh(rows.T @ rows)
    if squares[0] > _SMALLEST * squares[-1]:
        return np.sqrt(squares[::-1]), axes[:, ::-1].T
    # R has the singular values of F, without the squared condition of FᵀF.
    _, values, right = np.linalg.svd(np.linalg.qr(rows, mode="r"))
    return values, right


def _best(num_samples: int, squares: Array, parts: Array, rest: Array) -> Array:
    """The largest evidence of each column, a sample."""

    def evidence(log_t: Array) -> Array:
        """Of each column at its own t, `(num_columns,)`."""
        share = 1 / (1 + squares[:, None] * np.exp(-log_t))  # t / (t + s)
        misfit = rest + (parts * share).sum(0)
        fit = -0.5 * num_samples * (np.log(2 * np.pi * misfit / num_samples) + 1)
        found: Array = (fit + 0.5 * np.log(share).sum(0)) / num_samples
        return found

    values = _on_grid(num_samples, squares, parts, rest)
    best = values.argmax(0)
    low = _GRID[np.maximum(best - 1, 0)]
    high = _GRID[np.minimum(best + 1, len(_GRID) - 1)]
    for _ in range(_STEPS):
        left = high - _GOLDEN * (high - low)
        right = low + _GOLDEN * (high - low)
        better = evidence(left) > evidence(right)
        low, high = np.where(better, low, left), np.where(better, right, high)
    found = np.maximum(evidence((low + high) / 2), values.max(0))
    exact = (rest == 0) & (len(squares) < num_samples)
    return np.where(exact, np.inf, found)


def _on_grid(num_samples: int, squares: Array, parts: Array, rest: Array) -> Array:
    """The evidence of each column at every t of the grid, `(num_t, num_columns)`."""
    shares = 1 / (1 + squares * np.exp(-_GRID[:, None]))
    misfit = rest + shares @ parts
    fit = -0.5 * num_samples * (np.log(2 * np.pi * misfit / num_samples) + 1)
    values: Array = (fit + 0.5 * np.log(shares).sum(1, keepdims=True)) / num_samples
    return values
