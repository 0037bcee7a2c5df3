"""Whether one run makes most of what is not known of a score."""

from __future__ import annotations

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.grid import Grid

# The share of the variance that one run must make to be named, and of how many runs:
# of fewer one often does, by honest noise.
SHARE, LEAST = 0.6, 9


def dominant_run(grid: Grid) -> tuple[Run, float] | None:
    """The run that makes most of the variance over seeds, with its share.

    Its part is (w (x − x̄))² / (n (n − 1)) of a cell of n seeds and weight w, whose sum is
    the variance of a mean over cells. Cells of two seeds tell of no one of them.

    Returns:
        None where no run does, or there are fewer than nine.
    """
    if len(grid.runs) < LEAST:
        return None
    values = next(iter(grid.columns.values()))
    counts = np.bincount(grid.index)
    means = np.bincount(grid.index, values) / counts
    sizes = counts[grid.index]
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = grid.cells.weights[grid.index] * (values - means[grid.index])
        parts = np.where(sizes > 1, parts**2 / (sizes * (sizes - 1.0)), 0.0)
    total = float(parts.sum())
    place = int(parts.argmax())
    if not total > 0 or parts[place] <= SHARE * total or sizes[place] < 3:
        return None
    return grid.runs[place], float(parts[place]) / total
