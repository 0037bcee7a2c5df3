"""Aggregates of scores: pure formulas on numbers, which know no run and no model."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Index = npt.NDArray[np.intp]
Cell = tuple[str, str, str]


def iqm(scores: npt.ArrayLike) -> float:
    """Interquartile mean: the mean of what is left when ⌊n/4⌋ are cut at each end.

    Undefined (an error) where a score is NaN or infinite, or there is none.
    Source: Agarwal et al. 2021, Deep Reinforcement Learning at the Edge of the
    Statistical Precipice.

    >>> iqm([0.0, 0.5, 0.75, 1.0])
    0.625
    """
    ordered = np.sort(finite("iqm", scores), axis=None)
    cut = ordered.size // 4
    return math.fsum(ordered[cut : ordered.size - cut]) / (ordered.size - 2 * cut)


def optimality_gap(scores: npt.ArrayLike, target: float = 1.0) -> float:
    """How far the scores stay below a target, γ − mean(min(x, γ)); smaller is better.

    Source: as `iqm`.

    >>> optimality_gap([0.5, 1.25])
    0.25
    """
    values = finite("optimality_gap", scores).ravel()
    return target - math.fsum(np.minimum(values, target)) / values.size


def probability_of_improvement(first: npt.ArrayLike, second: npt.ArrayLike) -> float:
    """P(X > Y) + ½ P(X = Y) for one run each, averaged over tasks.

    Args:
        first: X, shape (num_runs, num_tasks).
        second: Y, shape (any number of runs, num_tasks).

    Source: as `iqm`; in one task it is the Mann-Whitney U over the number of pairs.

    >>> probability_of_improvement([[0.5], [1.0]], [[0.5], [0.75]])
    0.625
    """
    x = finite("probability_of_improvement", first)
    y = finite("probability_of_improvement", second)
    if x.ndim != 2 or y.ndim != 2 or x.shape[1] != y.shape[1]:
        raise ValueError(
            "probability_of_improvement expects (num_runs, num_tasks) twice with the"
            f" same tasks, got shapes {x.shape} and {y.shape}"
        )
    shares = []
    for one, other in zip(x.T, np.sort(y, axis=0).T, strict=True):
        below = np.searchsorted(other, one, side="left")
        upto = np.searchsorted(other, one, side="right")
        shares.append(int((below + upto).sum()) / (2 * one.size * other.size))
    return math.fsum(shares) / len(shares)


def performance_profile(
    scores: npt.ArrayLike,
    thresholds: npt.ArrayLike,
    *,
    over: Literal["runs", "tasks"] = "runs",
) -> Array:
    """Share of scores above each threshold τ, P(X > τ).

    Args:
        scores: Shape (num_runs, num_tasks).
        thresholds: The values of τ.
        over: "runs" counts every run of every task; "tasks" counts the means of the
            tasks.

    Returns:
        One share a threshold. A model whose profile lies above another's everywhere
        is stochastically better. Source: as `iqm`.

    >>> performance_profile([[0.5, 1.0]], [0.0, 0.5, 1.0]).tolist()
    [1.0, 0.5, 0.0]
    """
    values = finite("performance_profile", scores)
    if over == "tasks":
        values = values.mean(axis=0)
    ordered = np.sort(values, axis=None)
    upto = np.searchsorted(ordered, np.asarray(thresholds, dtype=float), side="right")
    return np.asarray((ordered.size - upto) / ordered.size)


def geometric(parts: Mapping[str, Array], weights: Mapping[str, float]) -> Array:
    """Π d^w over the parts that have a weight, weights made to sum to 1.

    Where parts lie below 0 it is their weighted sum, Σ w·d, so that it falls as they
    do; it is 0 where the smallest part is 0.

    >>> parts = {"a": np.array([1.0, -0.5]), "b": np.array([0.25, 0.25])}
    >>> geometric(parts, {"a": 1.0, "b": 1.0}).tolist()
    [0.5, -0.25]
    """
    total = math.fsum(weights[name] for name in parts if name in weights)
    product, below = np.array(1.0), np.array(0.0)
    for name, part in parts.items():
        if name in weights:
            weight = weights[name] / total
            product = product * np.clip(part, 0.0, 1.0) ** weight
            below = below + weight * np.minimum(part, 0.0)
    score: Array = product + below
    return score


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
    total: Array = ordered[..., :whole].sum(axis=-1)
    if k > whole:
        total = total + (k - whole) * ordered[..., whole]
    mean: Array = total / k
    return mean


def stability(values: Array, weights: Array) -> float:
    """1 − Var / (μ(1 − μ)): 1 where all values are equal, 0 where all are 0 or 1."""
    mean = exact_dot(weights, values)
    most = mean * (1 - mean)
    if most <= 0:
        return 1.0
    return 1 - exact_dot(weights, (values - mean) ** 2) / most


def rank_correlation(first: Array, second: Array, group: Index) -> float | None:
    """Spearman's ρ within each group, ranks of ties averaged; the mean over groups.

    Args:
        first: One value a row.
        second: The other value.
        group: Index of the row's group, from 0.

    Returns:
        The mean over the groups of three rows or more in which neither side is
        constant; None where there is none.
    """
    size = np.bincount(group)
    a, b = (_centred_ranks(values, group, size) for values in (first, second))
    spread = np.bincount(group, a * a) * np.bincount(group, b * b)
    kept = (size >= 3) & (spread > 0)
    if not kept.any():
        return None
    shared = np.bincount(group, a * b)
    return float((shared[kept] / np.sqrt(spread[kept])).mean())


def _centred_ranks(values: Array, group: Index, size: Index) -> Array:
    order = np.lexsort((values, group))
    v, g = values[order], group[order]
    starts = np.concatenate([[True], (v[1:] != v[:-1]) | (g[1:] != g[:-1])])
    tie = np.cumsum(starts) - 1
    counts = np.bincount(tie)
    ranks = np.empty(values.size)
    ranks[order] = (np.cumsum(counts) - (counts - 1) / 2)[tie]
    return np.asarray(ranks - (np.bincount(group, ranks) / np.maximum(size, 1))[group])


@functools.lru_cache(maxsize=4096)  # the same grid is weighed for every model
def macro_weights(cells: tuple[Cell, ...]) -> Array:
    """Weight of each (task, dataset, strategy), 1 / (N_T · N_D(task) · N_S(dataset)).

    They sum to 1: every task counts the same, within it every dataset, within that
    every strategy. On a crossed grid they all equal 1 / (N_T · N_D · N_S).
    """
    datasets: dict[str, set[str]] = {}
    strategies: dict[tuple[str, str], int] = {}
    for task, dataset, _ in cells:
        datasets.setdefault(task, set()).add(dataset)
        strategies[task, dataset] = strategies.get((task, dataset), 0) + 1
    weights = np.array(
        [
            1 / (len(datasets) * len(datasets[task]) * strategies[task, dataset])
            for task, dataset, _ in cells
        ]
    )
    weights.flags.writeable = False
    return weights


def exact_dot(weights: Array, values: Array) -> float:
    """Σ w·x, rounded once at the end."""
    return math.fsum((weights * values).tolist())


def mean_by_cell(values: Array, cell: Index, num_cells: int) -> Array:
    """Mean of the values that are not NaN in each cell; NaN where there is none."""
    known = ~np.isnan(values)
    total = np.bincount(cell[known], values[known], num_cells)
    with np.errstate(invalid="ignore"):
        mean: Array = total / np.bincount(cell[known], minlength=num_cells)
    return mean


def members_of(groups: Sequence[Hashable]) -> dict[Any, list[int]]:
    """Where each group stands, groups in order of arrival.

    >>> members_of("aba")
    {'a': [0, 2], 'b': [1]}
    """
    members: dict[Hashable, list[int]] = {}
    for index, group in enumerate(groups):
        members.setdefault(group, []).append(index)
    return members


def finite(what: str, scores: npt.ArrayLike) -> Array:
    """The scores as an array, refused where one is not a finite number."""
    array = np.asarray(scores, dtype=np.float64)
    wrong = np.argwhere(~np.isfinite(array))
    if array.size == 0:
        raise ValueError(f"{what} expects at least one score, got none")
    if wrong.size:
        place = tuple(wrong[0].tolist())
        raise ValueError(
            f"{what} expects finite scores, got {array[place]} at {place}; leave out"
            " what was not measured, or give a diverged run its chance level"
        )
    return array
