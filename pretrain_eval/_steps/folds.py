"""How sums of many steps become values, and values four numbers a name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast, final, get_args

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._steps.names import Partition

Statistic = Literal["mean", "last", "max"]

# The four numbers of a name.
COUNT, _TOTAL, _LARGEST, _LAST = range(4)


# Of sums in total and of each part, the values; of many steps as of one.
Formula = Callable[..., Tensor]


class Sums(NamedTuple):
    """What a step's values are made of, once somebody asks.

    Attributes:
        formula: Makes them of the sums, in total and per part.
        split: The parts.
        of_parameters: One number a parameter, as many vectors as the formula takes.
    """

    formula: Formula
    split: Partition
    of_parameters: tuple[Tensor, ...]


@final
class Row:
    """One step's values by name; the name of the total is empty.

    Attributes:
        step: Its number.
        names: Of the values.
        made: The values, one a name, or what they are made of.
        skipped: 1 where a gradient scaler made the optimizer skip the step.
        is_kept: Whether the history keeps it.
    """

    __slots__ = ("is_kept", "made", "names", "skipped", "step")

    def __init__(
        self,
        step: int,
        names: tuple[str, ...],
        made: Tensor | Sums,
        skipped: Tensor | None,
    ) -> None:
        self.step, self.names, self.made, self.skipped = step, names, made, skipped
        self.is_kept = True

    @property
    def values(self) -> Tensor:
        """One a name."""
        return values_of([self])[0]

    @property
    def kind(self) -> tuple[object, ...]:
        """Rows of one kind are made together."""
        if isinstance(self.made, Tensor):
            return (self.names,)
        formula, split, sums = self.made
        return self.names, formula, split, len(sums[0])


def values_of(rows: Sequence[Row]) -> Tensor:
    """The values of rows of one kind, shape `(len(rows), len(names))`."""
    made = [row.made for row in rows]
    if isinstance(made[0], Tensor):
        return torch.stack([each for each in made if isinstance(each, Tensor)])
    formula, split, _ = made[0]
    sums = zip(*(each[2] for each in made if isinstance(each, Sums)), strict=True)
    with torch.no_grad():
        return formula(*(split.sums(torch.stack(each)) for each in sums))


@dataclass(frozen=True)
class Fold:
    """Count, total, largest and last value of several rows, shape (4, len(names))."""

    names: tuple[str, ...]
    values: Tensor


def folded(rows: Sequence[Row], values: Tensor, *, counts_skipped: bool) -> Fold:
    """The fold of rows of the same names; skipped steps count, or do not."""
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
