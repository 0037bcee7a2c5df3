"""Formulas on scores: aggregates, intervals and draws; nothing here knows what a run is."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Cell = tuple[str, str, str]


def macro_weights(cells: Sequence[Cell]) -> Array:
    """Weight of each (task, dataset, strategy) cell, 1 / (N_T · N_D(task) · N_S(dataset)).

    They sum to 1: every task counts the same, within it every dataset, within that
    every strategy. On a crossed grid they all equal 1 / (N_T · N_D · N_S).
    """
    datasets: dict[str, set[str]] = {}
    strategies: dict[tuple[str, str], int] = {}
    for task, dataset, _ in cells:
        datasets.setdefault(task, set()).add(dataset)
        strategies[task, dataset] = strategies.get((task, dataset), 0) + 1
    return np.array(
        [
            1 / (len(datasets) * len(datasets[task]) * strategies[task, dataset])
            for task, dataset, _ in cells
        ]
    )


def exact_dot(weights: Array, values: Array) -> float:
    """Σ w·x, rounded once."""
    return math.fsum((weights * values).tolist())


def group_means(values: Array, groups: Sequence[Hashable]) -> dict[Any, Array]:
    """Mean of `values` (..., num_values) over each group, groups in order of arrival."""
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return {group: values[..., idx].mean(axis=-1) for group, idx in members.items()}


def iqm(values: npt.ArrayLike) -> float:
    """Interquartile mean: the mean of the middle half, ⌊n/4⌋ values cut at each end.

    >>> iqm([0.0, 0.5, 0.7, 1.0])
    0.6
    """
    ordered = np.sort(_finite("iqm", values))
    cut = ordered.size // 4
    return math.fsum(ordered[cut : ordered.size - cut]) / (ordered.size - 2 * cut)


def cvar(values: Array, share: float = 0.25) -> Array:
    """Mean of the worst `share` of the values along the last axis.

    (Σ_{i≤⌊k⌋} x_(i) + (k − ⌊k⌋) x_(⌊k⌋+1)) / k with k = share · n; the worst value
    where k < 1.
    """
    ordered = np.sort(values, axis=-1)
    k = share * ordered.shape[-1]
    if k <= 1:
        worst: Array = ordered[..., 0]
        return worst
    whole = math.floor(k)
    total = ordered[..., :whole].sum(axis=-1)
    if k > whole:
        total = total + (k - whole) * ordered[..., whole]
    result: Array = total / k
    return result


def stability(values: Array, weights: Array) -> float:
    """1 − Var / (μ(1 − μ)): 1 where all values are equal, 0 where all are 0 or 1."""
    mean = exact_dot(weights, values)
    most = mean * (1 - mean)
    if most <= 0:
        return 1.0
    return 1 - exact_dot(weights, (values - mean) ** 2) / most


def rank_correlation(first: Array, second: Array) -> float | None:
    """Spearman's ρ with average ranks for ties; None where one side is constant."""
    a, b = _ranks(first), _ranks(second)
    a, b = a - a.mean(), b - b.mean()
    scale = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / scale if scale > 0 else None


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    return (last - (counts - 1) / 2)[inverse]


def standard_error(
    values: Array, cell: Index, weights: Array
) -> tuple[float, float] | None:
    """Standard error and degrees of freedom of a weighted mean of cell means.

    se = √Σ w_c² v_c with v_c = s_c² / K_c, and
    df = (Σ w_c² v_c)² / Σ ((w_c² v_c)² / (K_c − 1)) (Welch and Satterthwaite).
    A cell with one value borrows the mean variance of the other cells; where every
    cell has one value nothing is known and the result is None.

    Args:
        values: One value a run.
        cell: Index of the run's cell.
        weights: One weight a cell.
    """
    counts = np.bincount(cell, minlength=weights.size).astype(float)
    several = counts > 1
    if not several.any():
        return None
    safe = np.maximum(counts, 1)
    means = np.bincount(cell, values, weights.size) / safe
    squares = np.bincount(cell, (values - means[cell]) ** 2, weights.size)
    variances = squares / np.maximum(counts - 1, 1)
    variances = np.where(several, variances, variances[several].mean())
    terms = weights**2 * variances / safe
    total = math.fsum(terms)
    if total == 0:
        return 0.0, math.inf
    freedom = np.where(several, counts - 1, math.inf)
    spread = math.fsum(terms**2 / freedom)
    return math.sqrt(total), (total**2 / spread if spread > 0 else 1.0)


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    from scipy import special  # not at import: it takes 0.1 s

    if math.isinf(freedom):
        return float(special.ndtri(probability))
    return float(special.stdtrit(freedom, probability))


def wilson(score: float, num_examples: int, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share measured on `num_examples` examples.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)
    """
    z = t_quantile((1 + confidence) / 2, math.inf)
    n = num_examples
    center = score + z * z / (2 * n)
    half = z * math.sqrt(max(score * (1 - score), 0.0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (center - half) / scale, (center + half) / scale


def resampled_means(
    values: Array,
    cell: Index,
    num_cells: int,
    replicates: int,
    rng: np.random.Generator,
) -> Array:
    """Bootstrap means of each cell, residuals scaled by √(K / (K − 1)).

    Args:
        values: (num_runs, num_columns), runs of a cell side by side.
        cell: Index of each run's cell, in increasing order.
        num_cells: Number of cells.
        replicates: Number of bootstrap replicates.
        rng: The source of randomness.

    Returns:
        (num_columns, replicates, num_cells); a cell of one run stays where it is.
    """
    counts = np.bincount(cell, minlength=num_cells)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    result = np.empty((values.shape[1], replicates, num_cells))
    for count in np.unique(counts[counts > 0]).tolist():
        members = np.flatnonzero(counts == count)
        rows = starts[members][:, None] + np.arange(count)
        block = values[rows]  # (members, count, columns)
        means = block.mean(axis=1)
        residuals = block - means[:, None]
        picks = rng.integers(0, count, (count, replicates, members.size))
        scale = math.sqrt(count / (count - 1)) / count if count > 1 else 0.0
        each = np.arange(members.size)
        for column in range(values.shape[1]):
            drawn = np.zeros((replicates, members.size))
            for pick in picks:
                drawn += residuals[each, pick, column]
            result[column][:, members] = means[:, column] + scale * drawn
    return result


def resampled_scores(
    cell: Index,
    statistic: Callable[[Index], float],
    replicates: int,
    rng: np.random.Generator,
) -> Array:
    """Any statistic on runs drawn with replacement within their cells.

    Args:
        cell: Index of each run's cell, in increasing order.
        statistic: From the indices of the drawn runs to a number.
        replicates: Number of bootstrap replicates.
        rng: The source of randomness.
    """
    counts = np.bincount(cell)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
    first, size = starts[cell], counts[cell]
    return np.array(
        [
            statistic(first + (rng.random(cell.size) * size).astype(np.intp))
            for _ in range(replicates)
        ]
    )


def _finite(what: str, values: npt.ArrayLike) -> Array:
    array = np.asarray(values, dtype=np.float64)
    if array.size == 0 or not np.isfinite(array).all():
        raise ValueError(f"{what} expects finite values, at least one, got {array}")
    return array
