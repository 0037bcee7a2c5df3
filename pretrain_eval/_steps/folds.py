"""How the values of many steps become four numbers a name, and those a statistic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, get_args

import numpy as np
import torch
from torch import Tensor

Statistic = Literal["mean", "last", "max"]

# The four numbers of a name.
COUNT, _TOTAL, _LARGEST, _LAST = range(4)


class Row(NamedTuple):
    """One step's values by name; the name of the total is empty."""

    step: int
    names: tuple[str, ...]
    values: Tensor
    skipped: Tensor | None


@dataclass(frozen=True)
class Fold:
    """Count, total, largest and last value of several rows, shape (4, len(names))."""

    names: tuple[str, ...]
    values: Tensor


def folded(rows: Sequence[Row], *, counts_skipped: bool) -> Fold:
    """The fold of rows of the same names; skipped steps count, or do not."""
    values = torch.stack([row.values for row in rows])
    if counts_skipped or all(row.skipped is None for row in rows):
        count = torch.full_like(values[0], len(rows))
        four = [count, values.sum(0), values.amax(0), values[-1]]
    else:
        zero = values.new_zeros(())
        flags = [zero if row.skipped is None else row.skipped.to(zero) for row in rows]
        four = _folded_where(torch.stack(flags) == 0, values)
    return Fold(rows[0].names, torch.stack(four))


def _folded_where(counted: Tensor, values: Tensor) -> list[Tensor]:
    """Count, total, largest and last of the rows that count, without a look at them."""
    count = counted.sum().to(values).expand_as(values[0])
    total = values.where(counted[:, None], 0).sum(0)
    largest = values.where(counted[:, None], -torch.inf).amax(0)
    order = torch.arange(1, len(values) + 1, device=values.device)
    last = (order * counted).argmax()
    return [count, total, largest, values.index_select(0, last[None])[0]]


def statistic_of(statistic: Statistic, folds: Sequence[np.ndarray]) -> float:
    """Of one name, from its four numbers in every fold; NaN where no step counts."""
    if not folds:
        return float("nan")
    if statistic == "last":
        return float(folds[-1][_LAST])
    if statistic == "max":
        return float(np.max([fold[_LARGEST] for fold in folds]))
    total = np.sum([fold[_TOTAL] for fold in folds])
    return float(total / sum(fold[COUNT] for fold in folds))


def checked_statistic(statistic: str) -> Statistic:
    """The name of a statistic, or an error that lists them."""
    names = list(get_args(Statistic))
    if statistic not in names:
        raise ValueError(f"statistic must be one of {names}, got {statistic!r}")
    return cast("Statistic", statistic)
