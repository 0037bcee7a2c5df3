"""Runs sorted and grouped by model, and what every protocol asks of them, read once."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from operator import attrgetter
from typing import Any

import numpy as np
import numpy.typing as npt

from pretrain_eval._runs import Cost, Run
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import (
    Layout,
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
    def layout(self) -> Layout:
        """The crossed grid of the cells."""
        return Layout(crossed(self.cells), modes_of(self.runs))

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

    def within(self, cells: Collection[Cell]) -> ModelRuns:
        """The runs that lie in some of the cells."""
        return ModelRuns(tuple(run for run in self.runs if cell_of(run) in cells))


@dataclass(frozen=True, eq=False)
class RunsByModel:
    """All runs of a question.

    Attributes:
        runs: As they were given, sorted.
        of: Those of each model; a run that knows no chance level has that of its
            dataset.
    """

    runs: tuple[Run, ...]
    of: Mapping[str, ModelRuns]

    @cached_property
    def cost(self) -> Cost:
        """What the decision cost: the sums over all runs, failed ones included."""
        return total_cost(self.runs, sizes=False)

    @cached_property
    def num_untimed(self) -> int:
        """How many runs do not know how long they took."""
        costs = [run.cost for run in self.runs]
        return sum(each.seconds is each.total_seconds is None for each in costs)


def by_model(runs: Iterable[Run]) -> RunsByModel:
    """The runs, sorted and grouped.

    Raises:
        TypeError: As `ordered`.
        ValueError: As `ordered`.
    """
    runs = ordered(runs)
    found: dict[str, list[Run]] = {}
    for run in runs:
        found.setdefault(run.model, []).append(run)
    return RunsByModel(
        runs, {model: ModelRuns(with_chance(own)) for model, own in found.items()}
    )


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
    found: dict[str, Any] = {}
    for name, way in ways.items():
        known = [x for x in map(attrgetter(name), costs) if x is not None]
        found[name] = way(known) if known else None
    # A run from a loop of one's own may know its training alone.
    spent = [
        each.seconds if each.total_seconds is None else each.total_seconds
        for each in costs
    ]
    known = [seconds for seconds in spent if seconds is not None]
    found["total_seconds"] = math.fsum(known) if known else None
    return Cost(**found)


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
