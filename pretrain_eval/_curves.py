"""Learning curves: their area, and when they have risen."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Sequence


def area_under(
    times: Sequence[float],
    heights: Sequence[float],
    *,
    epochs: int | None = None,
    diverged: bool = False,
    linear: bool = False,
) -> float:
    """∫₀¹ z dx with x = log(1 + t/τ) / log(1 + T/τ), τ = T/10, by trapezoids.

    Args:
        times: Optimizer steps t₀ < … < t_n; normally t₀ = 0.
        heights: z at each of them.
        epochs: Epochs that were planned; T is so many times the first distance of two
            points, where that is beyond the last point.
        diverged: z is 0 after the last point; without a plan that goes further, the
            whole curve counts 0, since nothing tells how long it was to go on.
        linear: x = t/T instead.

    Returns:
        The mean height. The first height holds before t₀ and the last one after t_n.

    >>> area_under([0, 5, 10], [0.0, 1.0, 1.0], linear=True)
    0.75
    """
    if not heights:
        return 0.0
    total = planned_steps(times, epochs)
    if diverged and total <= times[-1]:
        return 0.0
    if total <= 0:
        return heights[-1]
    weights = _weights(tuple(times), total, linear)
    if diverged:  # what is not held is 0
        held = 1 - time_share(times[-1], total, linear=linear)
        weights = (*weights[:-1], weights[-1] - held)
    return math.fsum(map(operator.mul, weights, heights))


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


def time_to(
    times: Sequence[float], heights: Sequence[float], level: float
) -> float | None:
    """The first time at which the curve, drawn with straight lines, reaches a level.

    >>> time_to([0, 10], [0.0, 1.0], 0.5)
    5.0
    """
    if heights[0] >= level:
        return float(times[0])
    for i in range(1, len(heights)):
        if heights[i] >= level:
            share = (level - heights[i - 1]) / (heights[i] - heights[i - 1])
            return times[i - 1] + share * (times[i] - times[i - 1])
    return None


def points_before_failure(
    times: Sequence[float], values: Sequence[float]
) -> tuple[list[float], list[float]]:
    """The points before the first value that is not finite."""
    good = next((i for i, v in enumerate(values) if not math.isfinite(v)), len(values))
    return [float(time) for time in times[:good]], list(values[:good])
