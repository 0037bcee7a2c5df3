"""Runs sorted and grouped by model, and what every protocol asks of them, read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from os import PathLike
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain_eval._runs import Cost, Run, stored
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import (
    Cells,
    cell_of,
    crossed,
    modes_of,
    ordered,
    with_chance,
)

USABLE = ("completed", "diverged")


@dataclass(frozen=True, eq=False)
class ModelRuns:
    """The runs of one model, sorted by cell and seed.

    Attributes:
        runs: At least one.
    """

    runs: tuple[Run, ...]

    @property
    def model(self) -> str:
        """Name of the model."""
        return self.runs[0].model

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """The cells that the runs lie in, sorted."""
        return tuple(dict.fromkeys(map(cell_of, self.runs)))

    @cached_property
    def cell(self) -> Index:
        """Index in `cells` of the cell of each run."""
        codes = {cell: code for code, cell in enumerate(self.cells)}
        return np.array([codes[cell_of(run)] for run in self.runs], dtype=np.intp)

    @cached_property
    def full(self) -> Cells:
        """The crossed grid of the cells."""
        return Cells(crossed(self.cells), modes_of(self.runs))

    @cached_property
    def usable(self) -> frozenset[Cell]:
        """The cells with a run that has a result."""
        return frozenset(cell_of(run) for run in self.runs if run.status in USABLE)

    @cached_property
    def num_diverged(self) -> int:
        """How many of the runs diverged."""
        return sum(run.status == "diverged" for run in self.runs)

    @cached_property
    def cost(self) -> Cost:
        """What the runs cost together, and the sizes of the model."""
        return total_cost(self.runs)

    def without(self, strategies: Collection[str]) -> ModelRuns:
        """The runs of the other strategies."""
        return ModelRuns(
            tuple(run for run in self.runs if run.strategy not in strategies)
        )

    def within(self, cells: Collection[Cell]) -> ModelRuns:
        """The runs that lie in some of the cells."""
        return ModelRuns(tuple(run for run in self.runs if cell_of(run) in cells))


def by_model(
    runs: Iterable[Run] | Mapping[str, ModelRuns] | str | PathLike[str],
) -> Mapping[str, ModelRuns]:
    """The runs of each model, sorted; what is grouped already stays as it is.

    A run that knows no chance level has that of its dataset.

    Args:
        runs: In any order; or the path of a store of them.

    Raises:
        TypeError: As `ordered`; or the runs are a data frame, which holds only a part.
        ValueError: As `ordered`, or as `stored`.
        FileNotFoundError: There is no store at the path.
    """
    if isinstance(runs, str | PathLike):
        runs = stored(runs)
    if hasattr(runs, "iloc"):
        raise TypeError(
            "scores are made of Run records, got a data frame, which lacks their curves"
            " and histories; give the runs, the store or its path"
        )
    if isinstance(runs, Mapping):
        return runs
    groups: dict[str, list[Run]] = {}
    for run in ordered(runs):
        groups.setdefault(run.model, []).append(run)
    return {model: ModelRuns(with_chance(own)) for model, own in groups.items()}


def total_cost(runs: Sequence[Run], *, sizes: bool = True) -> Cost:
    """Times and samples added up; and the sizes of the one model, if there is one."""
    costs = [run.cost for run in runs]
    ways: dict[str, Callable[[list[float]], float]] = {
        "seconds": math.fsum,
        "num_samples": sum,
    }
    if sizes:
        names = ("num_parameters", "num_trainable_parameters", "macs", "peak_memory")
        ways |= dict.fromkeys(names, max)
    totals: dict[str, Any] = {}
    for name, way in ways.items():
        known = [x for x in map(attrgetter(name), costs) if x is not None]
        totals[name] = way(known) if known else None
    seconds = [x for x in map(_seconds_spent, costs) if x is not None]
    return Cost(**totals, total_seconds=math.fsum(seconds) if seconds else None)


def num_untimed(runs: Iterable[Run]) -> int:
    """How many runs do not know how long they took."""
    return sum(_seconds_spent(run.cost) is None for run in runs)


def _seconds_spent(cost: Cost) -> float | None:
    # A run from a loop of one's own may know its training alone.
    return cost.seconds if cost.total_seconds is None else cost.total_seconds


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
