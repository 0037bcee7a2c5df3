"""Learning curves: their area, and when they have risen."""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np

from pretrain_eval._scoring.formulas.statistics import Array


def areas_under(
    times: Sequence[float],
    heights: Array,
    *,
    epochs: int | None = None,
    diverged: bool = False,
    linear: bool = False,
) -> Array:
    """∫₀¹ z dx with x = log(1 + t/τ) / log(1 + T/τ), τ = T/10, by trapezoids.

    Args:
        times: Optimizer steps t₀ < … < t_n; normally t₀ = 0.
        heights: z of several curves at each of them, (num_curves, num_times).
        epochs: Epochs that were planned; T is so many times the first distance of two
            points, where that is beyond the last point.
        diverged: z is 0 after the last point; without a plan that goes further, the
            whole curve counts 0, since nothing tells how long it was to go on.
        linear: x = t/T instead.

    Returns:
        The mean height of each curve. The first height holds before t₀ and the last one
        after t_n.

    >>> areas_under([0, 5, 10], np.array([[0.0, 1.0, 1.0]]), linear=True).tolist()
    [0.75]
    """
    if not times:
        return np.zeros(len(heights))
    total = planned_steps(times, epochs)
    if diverged and total <= times[-1]:
        return np.zeros(len(heights))
    if total <= 0:
        last: Array = heights[:, -1]
        return last
    weights = _weights(tuple(times), total, linear)
    if diverged:  # what is not held is 0
        held = 1 - time_share(times[-1], total, linear=linear)
        weights = (*weights[:-1], weights[-1] - held)
    return np.array(list(map(math.fsum, (heights * np.array(weights)).tolist())))


@functools.lru_cache(maxsize=4096)  # most runs are measured at the same steps
def _weights(times: tuple[float, ...], total: float, linear: bool) -> tuple[float, ...]:
    x = [time_share(time, total, linear=linear) for time in times]
    # The first height holds before its point and the last one after its own.
    x = [-x[0], *x, 2 - x[-1]]
    return tuple((x[i + 2] - x[i]) / 2 for i in range(len(times)))


def planned_steps(times: Sequence[float], epochs: int | None) -> float:
    """The steps that a run was to take, T."""
    if epochs is None or len(times) < 2:
        return float(times[-1])
    return max(float(times[-1]), epochs * (times[1] - times[0]))


def time_share(step: float, total: float, *, linear: bool = False) -> float:
    """Training time as x in [0, 1]; ten times as fine at the start as at the end.

    >>> round(time_share(10, 100), 6)
    0.289065
    """
    if linear:
        return step / total
    tau = total / 10
    return math.log1p(step / tau) / math.log1p(total / tau)


def times_to(times: Sequence[float], heights: Array, levels: Array) -> Array:
    """The first time at which each curve, drawn with straight lines, reaches its level.

    Args:
        times: Of the points.
        heights: Of several curves, (num_curves, num_times).
        levels: One a curve.

    Returns:
        One time a curve, NaN where the level is not reached.

    >>> times_to([0, 10], np.array([[0.0, 1.0]]), np.array([0.5])).tolist()
    [5.0]
    """
    t, curve = np.asarray(times, dtype=float), np.arange(len(heights))
    reached = heights >= levels[:, None]
    after = reached.argmax(axis=1)
    before = np.maximum(after - 1, 0)
    low, high = heights[curve, before], heights[curve, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = t[before] + (levels - low) / (high - low) * (t[after] - t[before])
    first = np.where(after == 0, t[0], crossed)
    return np.where(reached.any(axis=1), first, np.nan)


def points_before_failure(
    times: Sequence[float], values: Sequence[float]
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """The points before the first value that is not finite."""
    good = next((i for i, v in enumerate(values) if not math.isfinite(v)), len(values))
    return tuple(times[:good]), tuple(values[:good])
