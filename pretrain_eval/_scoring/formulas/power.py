"""How many more of what is drawn would tell two scores apart, and p-values of many."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from pretrain_eval._scoring.formulas.intervals import t_quantile
from pretrain_eval._scoring.formulas.statistics import Array

# Where more would be needed, nobody asks how many.
_MOST = 10_000_000


def more_needed(
    gap: float,
    error: float,
    size: int,
    *,
    rest: float = 0.0,
    freedom: float = math.inf,
    rest_freedom: float = math.inf,
    confidence: float = 0.95,
    power: float = 0.8,
) -> int | None:
    """Smallest m ≥ 1 with (t + z) · √(error² · n / (n + m) + rest²) ≤ |gap|.

    t is the two-sided quantile at the confidence, of degrees of freedom that grow with
    n + m, and z the normal quantile of the power.

    Args:
        gap: The difference to be shown.
        error: The part of its standard error that shrinks with n.
        size: n, of what there is now.
        rest: The part that does not shrink.
        freedom: Degrees of freedom of `error` at n.
        rest_freedom: Those of `rest`.
        confidence: Of the interval that shall exclude 0.
        power: The probability with which it shall.

    Returns:
        m; None where no number is enough.

    >>> more_needed(0.02, 0.02, 10)  # (1.96 + 0.84)² = 7.85 times as many
    69
    >>> more_needed(0.02, 0.01, 10, rest=0.01) is None
    True
    """
    share = t_quantile(power, math.inf)

    def enough(more: int) -> bool:
        shrunk = error * math.sqrt(size / (size + more))
        variance = shrunk**2 + rest**2
        # One degree of freedom is lost to each mean, at any size.
        known = freedom * (size + more - 1) / max(size - 1, 1)
        # Welch and Satterthwaite.
        doubt = shrunk**4 / known + rest**4 / rest_freedom
        effective = variance**2 / doubt if doubt else math.inf
        needed = t_quantile((1 + confidence) / 2, effective) + share
        return needed * math.sqrt(variance) <= abs(gap)

    if not gap:
        return None
    return _smallest(enough)


def _smallest(enough: Callable[[int], bool]) -> int | None:
    # The condition holds from some number on.
    high = 1
    while not enough(high):
        high *= 2
        if high > _MOST:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p-values: the largest so far of (m − i) · p_(i), at most 1.

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    steps = np.arange(values.size, 0, -1) * values[order]
    adjusted = np.empty(values.size)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    found: list[float] = adjusted.tolist()
    return found


def shares(gaps: Array, rope: float) -> tuple[Array, Array, Array, Array]:
    """Share of the draws above rope, within ± rope and below it, and two-sided p.

    With a rope of 0 ties are shared between above and below. p is twice the smaller
    share on one side of 0, at least 1 / num_draws, at most 1.

    Args:
        gaps: Draws of differences, (num_pairs, num_draws).
        rope: Differences up to this do not matter.

    >>> above, equal, below, p = shares(np.array([[0.25, 0.5, -0.25, 0.0]]), 0.0)
    >>> above.tolist(), equal.tolist(), below.tolist(), p.tolist()
    ([0.625], [0.0], [0.375], [0.75])
    """
    ties = (gaps == 0).mean(axis=-1) / 2
    above, below = (gaps > 0).mean(axis=-1) + ties, (gaps < 0).mean(axis=-1) + ties
    p = np.clip(2 * np.minimum(above, below), 1 / gaps.shape[-1], 1.0)
    if rope:
        above, below = (gaps > rope).mean(axis=-1), (gaps < -rope).mean(axis=-1)
    within = (np.abs(gaps) <= rope).mean(axis=-1) if rope else np.zeros_like(ties)
    return above, within, below, p
