"""Which runs collapsed, for who asks how good the others are."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pretrain_eval._scoring.formulas.statistics import Array, Index

# The median of |x − y| of two normal numbers is √2 Φ⁻¹(3/4) standard deviations.
_PER_DEVIATION = math.sqrt(2) * 0.6744897501960817


def collapsed(values: Array, index: Index) -> NDArray[np.bool_]:
    """Whether each run lies farther below the best seed of its cell than chance allows.

    That is more than the .99 quantile of the studentized range of as many normal
    numbers as the cell has seeds, so that a cell of which two of three runs collapsed
    is seen as well. The standard deviation is the same for all cells and robust: the
    median of all differences between two runs of a cell, over √2 Φ⁻¹(3/4), made again
    without what collapsed. It counts for half as many degrees of freedom as a plain
    one, so that of few runs only a deep fall is a collapse. Source: Rousseeuw and
    Croux, "Alternatives to the median absolute deviation", 1993.

    Args:
        values: One a run, larger is better, shape (num_runs,); NaN is no collapse.
        index: Its cell.

    Returns:
        Booleans, shape (num_runs,); all false where no cell has two runs, or most of
        them agree to the last digit.
    """
    unknown = np.isnan(values)
    cells = [np.flatnonzero((index == cell) & ~unknown) for cell in np.unique(index)]
    low = np.zeros(values.size, dtype=np.bool_)
    for _ in range(5):  # what collapsed makes the deviation look larger at first
        scale, freedom = _deviation([values[rows[~low[rows]]] for rows in cells])
        if scale == 0:
            break
        for rows in cells:
            if rows.size > 1:
                limit = _range_by_chance(rows.size, freedom) * scale
                low[rows] = values[rows].max() - values[rows] > limit
    return low


def _deviation(cells: Sequence[Array]) -> tuple[float, int]:
    """The standard deviation within cells and how many degrees of freedom it is worth.

    The median of differences is worth about half of the runs that it is made of.
    """
    differences = [
        np.abs(own[first] - own[second])
        for own in cells
        for first, second in itertools.combinations(range(own.size), 2)
    ]
    if not differences:
        return 0.0, 0
    freedom = sum(own.size - 1 for own in cells) // 2
    return float(np.median(differences)) / _PER_DEVIATION, max(freedom, 1)


@functools.lru_cache
def _range_by_chance(num_seeds: int, freedom: int) -> float:
    from scipy import stats  # not at import: it takes 0.3 s

    return float(stats.studentized_range.ppf(0.99, num_seeds, freedom))
