"""How sums of many steps become values, and values five numbers a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, cast, final, get_args

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._steps.names import TOTAL, Partition
from pretrain_eval._steps.rows import Array

Statistic = Literal["mean", "last", "max", "std"]

# The five numbers of a name; the last one is Σ(x − mean)².
COUNT, _TOTAL, _LARGEST, _LAST, _DEVIATION = range(5)


# Of sums in total and of each part, the values; of many steps as of one.
Formula = Callable[..., Tensor]


@final
class Row:
    """One step's values by name; the name of the total is empty.

    Attributes:
        step: Its number.
        names: Of the values.
        made: The values, one a name; or what a formula makes them of, once somebody
            asks: one number a parameter, as many vectors as the formula takes.
        skipped: 1 where a gradient scaler made the optimizer skip the step.
        formula: Makes the values of the sums, in total and per part.
        split: The parts.
        is_kept: Whether the history keeps it.
    """

    __slots__ = ("formula", "is_kept", "made", "names", "skipped", "split", "step")

    def __init__(
        self,
        step: int,
        names: tuple[str, ...],
        made: Tensor | tuple[Tensor | Array, ...],
        skipped: Tensor | None,
        formula: Formula | None = None,
        split: Partition = TOTAL,
    ) -> None:
        self.step: int = step
        self.names: tuple[str, ...] = names
        self.made: Tensor | tuple[Tensor | Array, ...] = made
        self.skipped: Tensor | None = skipped
        self.formula: Formula | None = formula
        self.split: Partition = split
        self.is_kept: bool = True

    @property
    def values(self) -> Tensor:
        """One a name."""
        return values_of([self])[0]

    @property
    def kind(self) -> tuple[object, ...]:
        """Rows of one kind are made together."""
        if self.formula is None:
            return (self.names,)
        first = self.made[0]
        return self.names, self.formula, self.split, type(first), first.shape


def values_of(rows: Sequence[Row]) -> Tensor:
    """The values of rows of one kind, shape `(len(rows), len(names))`."""
    formula, split = rows[0].formula, rows[0].split
    if formula is None:
        return torch.stack([row.made for row in rows if isinstance(row.made, Tensor)])
    sums = zip(*(row.made for row in rows), strict=True)
    with torch.no_grad():
        return formula(*(split.sums(_stacked(each)) for each in sums))


def _stacked(sums: Sequence[Tensor | Array]) -> Tensor:
    if isinstance(sums[0], np.ndarray):
        return torch.from_numpy(np.stack([np.asarray(each) for each in sums]))
    return torch.stack([torch.as_tensor(each) for each in sums])


@dataclass(frozen=True)
class Fold:
    """Five numbers a name of several rows, shape `(5, len(names))`.

    Count, total, largest and last value, and the squared deviations from their mean.
    """

    names: tuple[str, ...]
    values: Tensor


def folded(rows: Sequence[Row], values: Tensor, *, counts_skipped: bool) -> Fold:
    """The fold of rows of the same names; skipped steps count, or do not."""
    if counts_skipped or all(row.skipped is None for row in rows):
        count = torch.full_like(values[0], len(rows))
        deviation = (values - values.mean(0)).square().sum(0)
        five = [count, values.sum(0), values.amax(0), values[-1], deviation]
    else:
        zero = values.new_zeros(())
        flags = [zero if row.skipped is None else row.skipped.to(zero) for row in rows]
        five = _folded_where(torch.stack(flags) == 0, values)
    return Fold(rows[0].names, torch.stack(five))


def _folded_where(counted: Tensor, values: Tensor) -> list[Tensor]:
    """The five numbers of the rows that count, without a look at them."""
    count = counted.sum().to(values).expand_as(values[0])
    total = values.where(counted[:, None], 0).sum(0)
    apart = values - total / count
    deviation = apart.where(counted[:, None], 0).square().sum(0)
    largest = values.where(counted[:, None], -torch.inf).amax(0)
    order = torch.arange(1, len(values) + 1, device=values.device)
    last = (order * counted).argmax()
    newest = values.index_select(0, last[None])[0]
    return [count, total, largest, newest, deviation]


def statistic_of(statistic: Statistic, folds: Sequence[np.ndarray]) -> float:
    """Of one name, from its five numbers in every fold; NaN where no step counts."""
    if not folds:
        return float("nan")
    if statistic == "last":
        return float(folds[-1][_LAST])
    if statistic == "max":
        return float(np.max([fold[_LARGEST] for fold in folds]))
    counts = np.array([fold[COUNT] for fold in folds])
    totals = np.array([fold[_TOTAL] for fold in folds])
    mean = totals.sum() / counts.sum()
    if statistic == "mean":
        return float(mean)
    # Deviations within the folds, and of the folds' means (Chan, Golub and LeVeque).
    within = np.sum([fold[_DEVIATION] for fold in folds])
    between = np.sum(counts * (totals / counts - mean) ** 2)
    return float(np.sqrt((within + between) / counts.sum()))


def checked_statistic(statistic: str) -> Statistic:
    """The name of a statistic, or an error that lists them."""
    names = list(get_args(Statistic))
    if statistic not in names:
        raise ValueError(f"statistic must be one of {names}, got {statistic!r}")
    return cast("Statistic", statistic)
