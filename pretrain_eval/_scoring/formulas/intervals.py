"""Intervals of means and of other statistics, honest when there are few seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import reduce
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt
from numpy.random import Generator

from pretrain_eval._scoring.formulas.statistics import (
    Array,
    Index,
    finite,
    iqm,
)

Aggregate = Literal["mean", "median", "iqm", "optimality_gap"]


def interval_of_mean(
    scores: npt.ArrayLike, *, confidence: float = 0.95
) -> tuple[float, float]:
    """Mean of the tasks ± t · se, for new seeds on the same tasks.

    se = √Σ v_t / T with v_t = s_t² / K, t of (Σ v_t)² / Σ (v_t² / (K − 1)) degrees of
    freedom (Welch and Satterthwaite).

    Args:
        scores: Shape (num_runs, num_tasks), at least two runs.
        confidence: The share of such intervals that hold the truth.

    >>> low, high = interval_of_mean([[0.5, 0.7], [0.6, 0.8]])
    >>> round(low, 6), round(high, 6)
    (0.497878, 0.802122)
    """
    values = _of_several_runs("interval_of_mean", scores)
    num_runs, num_tasks = values.shape
    cell = np.tile(np.arange(num_tasks), num_runs)
    known = standard_error(values.ravel(), cell, np.full(num_tasks, 1 / num_tasks))
    error, freedom = known if known is not None else (math.nan, math.nan)
    half = t_quantile((1 + confidence) / 2, freedom) * error
    center = math.fsum(values.ravel()) / values.size
    return center - half, center + half


def bootstrap_interval(
    scores: npt.ArrayLike,
    aggregate: Aggregate = "iqm",
    *,
    confidence: float = 0.95,
    replicates: int = 20_000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentiles of an aggregate over runs drawn anew within their task.

    The residuals of a task are scaled by √(K / (K − 1)), because K runs spread less
    around their own mean than around the truth, and the ends are stretched about the
    estimate by t / z, because their spread is itself estimated (t of the degrees of
    freedom of `interval_of_mean`). A plain percentile bootstrap is too narrow at few
    seeds.

    Args:
        scores: Shape (num_runs, num_tasks), at least two runs.
        aggregate: "mean", "median" (of the tasks' means), "iqm" or "optimality_gap".
        confidence: The nominal coverage.
        replicates: Number of bootstrap replicates.
        seed: The same seed gives the same bytes.

    >>> low, high = bootstrap_interval([[0.5, 0.7], [0.6, 0.8]], "mean")
    >>> low < 0.65 < high
    True
    """
    values = _of_several_runs("bootstrap_interval", scores)
    if aggregate not in get_args(Aggregate):
        raise ValueError(
            f"aggregate must be one of {list(get_args(Aggregate))}, got {aggregate!r}"
        )
    num_runs, num_tasks = values.shape
    means = values.mean(axis=0)
    spread = means + math.sqrt(num_runs / (num_runs - 1)) * (values - means)
    rng = np.random.default_rng(seed)
    if aggregate == "iqm":
        center, found = iqm(values), _drawn_iqms(spread, replicates, rng)
    else:
        center, found = _drawn_means(values, spread, aggregate, replicates, rng)
    weights = np.full(num_tasks, 1 / num_tasks)
    cell = np.tile(np.arange(num_tasks), num_runs)
    factor = stretch(values.ravel(), cell, weights, confidence)
    low, high = percentiles(center + factor * (found - center), confidence).tolist()
    return low, high


def _of_several_runs(what: str, scores: npt.ArrayLike) -> Array:
    values = finite(what, scores)
    if values.ndim != 2 or values.shape[0] < 2:
        raise ValueError(
            f"{what} expects (num_runs, num_tasks) with at least two runs, got shape"
            f" {values.shape}; one run tells nothing about new seeds"
        )
    return values


def _drawn_means(
    values: Array, spread: Array, aggregate: str, replicates: int, rng: Generator
) -> tuple[float, Array]:
    # Aggregates of the tasks' means: no run need be looked at by itself.
    if aggregate == "optimality_gap":
        values, spread = np.minimum(values, 1.0), np.minimum(spread, 1.0)
    middle = np.median if aggregate == "median" else np.mean
    found = np.empty(replicates)
    shares = spread.T[None] / spread.shape[0]
    for block, (tasks,) in _sums_of_picks(shares, replicates, rng):
        found[block] = middle(tasks, axis=1)
    center = float(middle(values.mean(axis=0)))
    if aggregate == "optimality_gap":
        return 1.0 - center, 1.0 - found
    return center, found


def _drawn_iqms(spread: Array, replicates: int, rng: Generator) -> Array:
    # How often each value is drawn says what sorting every replicate would: with C_i
    # draws among the i smallest values v, held between the cuts a and b, the middle
    # sums to b·v_n − a·v_1 − Σ C_i (v_{i+1} − v_i).
    num_runs, num_tasks = spread.shape
    order = np.argsort(spread, axis=None, kind="stable")
    ordered, (run, task) = spread.ravel()[order], np.divmod(order, num_tasks)
    low, high = spread.size // 4, spread.size - spread.size // 4
    gaps, most = np.diff(ordered), high * ordered[-1] - low * ordered[0]
    sizes = _few_at_once(num_runs, replicates)
    picks = [small_integers(rng, num_runs**k, (replicates, num_tasks)) for k in sizes]
    tables = [_counts_of(num_runs, size) for size in sizes]
    place = (8 * tables[0].shape[1] * task + run)[:-1]
    kind = np.uint16 if spread.size < 1 << 16 else np.uint32
    found = np.empty(replicates)
    step = max(250, 500_000 // spread.size)  # few calls, and what a CPU cache holds
    for first in range(0, replicates, step):
        block = slice(first, first + step)
        drawn = zip(tables, picks, strict=True)
        words = reduce(np.add, (table.take(p[block], axis=0) for table, p in drawn))
        counts = words.view(np.uint8).reshape(len(words), -1).T
        upto = counts.take(place, axis=0).astype(kind)
        for i in range(1, len(upto)):  # each row at once, unlike numpy's cumsum
            upto[i] += upto[i - 1]
        np.clip(upto, low, high, out=upto)
        found[block] = most - np.einsum("i,ij->j", gaps, upto)
    return found / (high - low)


def _counts_of(num_runs: int, size: int) -> npt.NDArray[np.uint64]:
    # How often each run stands in every sequence of so many picks, a byte a run: no
    # run is drawn 256 times where each is expected once.
    picks = np.indices((num_runs,) * size).reshape(size, -1)
    counts = np.zeros((num_runs**size, -(-num_runs // 8) * 8), dtype=np.uint8)
    for pick in picks:
        counts[np.arange(len(counts)), pick] += 1
    return counts.view(np.uint64)


def stretch(values: Array, cell: Index, weights: Array, confidence: float) -> float:
    """T / z at the confidence, of the degrees of freedom of `standard_error`."""
    known = standard_error(values, cell, weights)
    if known is None or known[0] == 0:
        return 1.0
    tail = (1 + confidence) / 2
    return t_quantile(tail, known[1]) / t_quantile(tail, math.inf)


def small_integers(
    rng: Generator, high: int, shape: tuple[int, ...]
) -> npt.NDArray[np.unsignedinteger[Any]]:
    """Uniform integers below `high`, from few random bytes."""
    # A byte would often have to be drawn again where it has few values to spare.
    kind = np.uint8 if high <= 16 else np.uint16 if high <= 1 << 12 else np.uint32
    return rng.integers(0, high, shape, dtype=kind)


def percentiles(draws: Array, confidence: float) -> Array:
    """The central range that holds `confidence` of the draws.

    Args:
        draws: Shape (..., num_draws).
        confidence: For example 0.95.

    Returns:
        The low ends and the high ones, shape (2, ...).
    """
    tail = (1 - confidence) / 2
    return quantiles(draws, [tail, 1 - tail])


def quantiles(draws: Array, shares: Sequence[float]) -> Array:
    """Quantiles along the last axis, linear between the draws, one share a row."""
    # numpy sorts by vector instructions, and selects without them.
    ordered = np.sort(draws, axis=-1)
    return np.asarray(np.quantile(ordered, shares, axis=-1))


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
    # Equal values differ in the last bit from their own mean.
    if total <= 1e-30 * max(1.0, float(np.abs(means).max())) ** 2:
        return 0.0, math.inf
    freedom = np.where(several, counts - 1, (counts[several] - 1).sum())
    return math.sqrt(total), total**2 / math.fsum(terms**2 / freedom)


def t_quantile(probability: float, freedom: float) -> float:
    """Quantile of Student's t."""
    from scipy import special  # not at import: it takes 0.1 s

    if math.isinf(freedom):
        return float(special.ndtri(probability))
    return float(special.stdtrit(freedom, probability))


def chi_quantile(probability: Array, freedom: float) -> Array:
    """Quantiles of χ²."""
    from scipy import special  # not at import: it takes 0.1 s

    return np.asarray(2 * special.gammaincinv(freedom / 2, probability))


def wilson(share: float, num_examples: float, confidence: float) -> tuple[float, float]:
    """Wilson's interval of a share measured on `num_examples` examples.

    (p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)
    """
    z = t_quantile((1 + confidence) / 2, math.inf)
    n = num_examples
    center = share + z * z / (2 * n)
    half = z * math.sqrt(max(share * (1 - share), 0.0) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max((center - half) / scale, 0.0), min((center + half) / scale, 1.0)


def newcombe(
    first: float, second: float, sizes: tuple[float, float], confidence: float
) -> tuple[float, float]:
    """Interval of the difference of two independent shares from their Wilson intervals.

    d − √((p₁ − l₁)² + (u₂ − p₂)²) to d + √((u₁ − p₁)² + (p₂ − l₂)²)
    """
    low_1, high_1 = wilson(first, sizes[0], confidence)
    low_2, high_2 = wilson(second, sizes[1], confidence)
    gap = first - second
    return (
        gap - math.hypot(first - low_1, high_2 - second),
        gap + math.hypot(high_1 - first, second - low_2),
    )


def _sums_of_picks(
    values: Array, replicates: int, rng: Generator
) -> Iterator[tuple[slice, Array]]:
    # For each row: the sum of as many values as it has, drawn with replacement.
    # (num_columns, num_rows, count) gives (num_columns, replicates, num_rows), some
    # replicates after the other; the columns of a row are drawn together.
    columns, rows, count = values.shape
    sizes = _few_at_once(count, replicates)
    picks = [small_integers(rng, count**size, (replicates, rows)) for size in sizes]
    sums = [[_sums_of(column, size).ravel() for column in values] for size in sizes]
    starts = [count**size * np.arange(rows) for size in sizes]
    step = max(1, 16_000 // rows)  # what a CPU cache holds
    for first in range(0, replicates, step):
        block = slice(first, min(first + step, replicates))
        totals = np.zeros((columns, block.stop - first, rows))
        for pick, start, each in zip(picks, starts, sums, strict=True):
            place = pick[block] + start
            for total, column in zip(totals, each, strict=True):
                total += column.take(place)
        yield block, totals


def _few_at_once(count: int, replicates: int) -> list[int]:
    # How many of the `count` picks one number stands for, until all are made. Every sum
    # of so many is laid out first, which pays where it is far fewer than the draws.
    limit = min(4096, max(256, replicates // 8))
    most = max(size for size in range(1, 13) if size == 1 or count**size <= limit)
    whole, rest = divmod(count, most)
    return [most] * whole + ([rest] if rest else [])


def _sums_of(values: Array, size: int) -> Array:
    # Every sum of `size` values of a row, drawn with replacement.
    sums = values
    for _ in range(size - 1):
        sums = (sums[:, :, None] + values[:, None, :]).reshape(values.shape[0], -1)
    return sums
