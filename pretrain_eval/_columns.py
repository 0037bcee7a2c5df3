"""What many runs measured, as columns: one value a run, NaN where there is none."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from pretrain_eval._runs.run import Run
from pretrain_eval._statistics import Array


def column(values: Iterable[float | None]) -> Array:
    """The values as an array, None as NaN."""
    return np.array(list(values), dtype=np.float64)


def column_of(tables: Iterable[Mapping[str, float]], keys: Iterable[str]) -> Array:
    """The value of one key of each table.

    >>> column_of([{"a": 0.5}, {}], ["a", "a"]).tolist()
    [0.5, nan]
    """
    return column([table.get(key) for table, key in zip(tables, keys, strict=True)])


def which_diverged(runs: Sequence[Run]) -> npt.NDArray[np.bool_]:
    """Which of the runs diverged."""
    return np.array([run.status == "diverged" for run in runs])


def named(keys: Iterable[str]) -> npt.NDArray[np.bool_]:
    """Which of the keys name something; "" does not."""
    return np.array([key != "" for key in keys])
