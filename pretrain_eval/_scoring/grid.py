"""Runs laid out in cells: task × dataset × strategy, seeds inside."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.formulas.statistics import (
    Array,
    Cell,
    Index,
    exact_dot,
    macro_weights,
    mean_by_cell,
    members_of,
)

G = TypeVar("G")


def cell_of(run: Run) -> Cell:
    """The cell that a run lies in."""
    return run.task, run.dataset, run.strategy


def ordered(runs: Iterable[Run]) -> tuple[Run, ...]:
    """The runs sorted by model, cell and seed, so that no order of arrival matters.

    Raises:
        TypeError: Something is not a Run.
        ValueError: There is no run, or one stands twice.
    """
    runs = tuple(runs)
    for run in runs:
        if not isinstance(run, Run):
            raise TypeError(f"scores are made of Run records, got {run!r}")
    if not runs:
        raise ValueError("scores need at least one run, got none")
    keys = [(run.model, run.task, run.dataset, run.strategy, run.seed) for run in runs]
    order = sorted(range(len(runs)), key=keys.__getitem__)
    for first, second in itertools.pairwise(order):
        if keys[first] == keys[second]:
            raise ValueError(
                f"{runs[second].name} stands twice; give each model, task, dataset,"
                " strategy and seed once"
            )
    return tuple(runs[index] for index in order)


def with_chance(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs; one that knows no chance level takes those of its dataset.

    Chance belongs to the reported split, so that what one run knows holds for all.
    """
    if all(run.chance for run in runs):
        return tuple(runs)
    levels: dict[tuple[str, str], Mapping[str, float]] = {}
    for run in runs:
        if run.chance:
            levels.setdefault((run.task, run.dataset), run.chance)
    return tuple(
        dataclasses.replace(run, chance=levels[run.task, run.dataset])
        if not run.chance and (run.task, run.dataset) in levels
        else run
        for run in runs
    )


@dataclass(frozen=True)
class Cells:
    """The cells of one model and what was measured in them: what parts are made of.

    A measurement has the shape (..., num_cells): one number a cell, or many draws of
    it. Where a method takes one, it takes the name of a column of `means` as well.

    Attributes:
        names: (task, dataset, strategy) of each cell, sorted.
        modes: "head" where a strategy trains the head alone, else "all", by strategy.
        means: The mean over the seeds of each cell, by column.

    >>> names = (("s", "photo", "full"), ("t", "photo", "full"), ("t", "ink", "full"))
    >>> cells = Cells(names, means={"z": np.array([0.8, 0.6, 0.2])})
    >>> round(float(cells.macro("z")), 12)
    0.6
    >>> {task: round(float(mean), 12) for task, mean in cells.by_task("z").items()}
    {'s': 0.8, 't': 0.4}
    """

    names: tuple[Cell, ...]
    modes: Mapping[str, str] = field(default_factory=dict)
    means: Mapping[str, Array] = field(default_factory=dict)

    def __contains__(self, column: str) -> bool:
        return column in self.means

    def __getitem__(self, column: str) -> Array:
        return self.means[column]

    @cached_property
    def weights(self) -> Array:
        """The macro weight of each cell; they sum to 1."""
        return macro_weights(self.names)

    @cached_property
    def tasks(self) -> dict[tuple[str], list[int]]:
        """Indices of the cells of each task."""
        return members_of([name[:1] for name in self.names])

    @cached_property
    def datasets(self) -> dict[tuple[str, str], list[int]]:
        """Indices of the cells of each dataset of a task."""
        return members_of([name[:2] for name in self.names])

    def macro(self, measured: str | Array) -> Array:
        """Macro mean: every task counts the same, in it every dataset, then strategy.

        A cell that is NaN is left out; NaN where all are.
        """
        values = self._values(measured)
        mean = _weighed(self.weights, values)
        if not np.isnan(mean).any():
            return mean
        missing = np.isnan(values.reshape(-1, values.shape[-1]).sum(axis=0))
        rest = Cells(self._names_of(np.flatnonzero(~missing).tolist()))
        if not rest.names:
            return np.full(values.shape[:-1], np.nan)
        return _weighed(rest.weights, values[..., ~missing])

    def by_task(self, measured: str | Array) -> dict[str, Array]:
        """Macro mean of each task."""
        return {task: mean for (task,), mean in self._by(self.tasks, measured).items()}

    def by_dataset(self, measured: str | Array) -> dict[tuple[str, str], Array]:
        """Mean over the strategies of each dataset of a task."""
        return self._by(self.datasets, measured)

    def over_datasets(self, values: Array) -> float:
        """Macro mean of one number for each of `datasets`."""
        names = tuple((*dataset, "") for dataset in self.datasets)
        return float(Cells(names).macro(values))

    def only(self, index: Sequence[int]) -> Cells:
        """Some of the cells, with what was measured in them."""
        means = {column: values[..., index] for column, values in self.means.items()}
        return Cells(self._names_of(index), self.modes, means)

    def of_mode(self, mode: str) -> Cells:
        """The cells whose strategy is of a mode."""
        modes = [self.modes.get(strategy) for _, _, strategy in self.names]
        return self.only([i for i, each in enumerate(modes) if each == mode])

    def _by(
        self, groups: Mapping[G, Sequence[int]], measured: str | Array
    ) -> dict[G, Array]:
        values = self._values(measured)
        return {
            group: Cells(self._names_of(index)).macro(values[..., index])
            for group, index in groups.items()
        }

    def _values(self, measured: str | Array) -> Array:
        return self.means[measured] if isinstance(measured, str) else measured

    def _names_of(self, index: Sequence[int]) -> tuple[Cell, ...]:
        return tuple(self.names[i] for i in index)


@dataclass(frozen=True)
class Grid:
    """What an evaluator read from each run, by cell.

    Attributes:
        full: Every cell that the runs name, and the holes of the crossed grid.
        cell: Index in `full` of the cell of each row, increasing.
        runs: The run of each row.
        columns: One value a usable run, by name; NaN where it is not measured.
        lost: Runs without a usable result, by cell of `full`.
        diverged: Number of diverged runs.
        collapsed: Runs that were left out because they collapsed.
    """

    full: Cells
    cell: Index
    runs: tuple[Run, ...]
    columns: Mapping[str, Array]
    lost: Index
    diverged: int
    collapsed: tuple[Run, ...] = ()

    @cached_property
    def seeds(self) -> Index:
        """The seed of each row."""
        return np.array([run.seed for run in self.runs], dtype=np.intp)

    @cached_property
    def counts(self) -> Index:
        """Usable runs, by cell of `full`."""
        return np.bincount(self.cell, minlength=len(self.full.names))

    @cached_property
    def present(self) -> Index:
        """The cells of `full` that have a usable run."""
        return np.flatnonzero(self.counts)

    @cached_property
    def index(self) -> Index:
        """Index in `cells` of the cell of each row."""
        return np.searchsorted(self.present, self.cell)

    @cached_property
    def cells(self) -> Cells:
        """The cells that have a usable run, with the mean of each column in them."""
        size = self.present.size
        means = {
            name: mean_by_cell(values, self.index, size)
            for name, values in self.columns.items()
        }
        present = self.full.only(self.present.tolist())
        return dataclasses.replace(present, means=means)

    @cached_property
    def num_examples(self) -> int:
        """Examples in all; those that data sets share are counted once."""
        sizes: dict[object, int] = {}
        for run in self.runs:
            if run.num_examples is not None:
                shared = run.outcomes and run.outcomes.examples
                sizes[shared or (run.task, run.dataset)] = run.num_examples
        return max(sum(sizes.values()), 1)

    def filled(self, fill: Mapping[str, float]) -> Cells:
        """Every cell of `full`, if every lost run had measured so much.

        Args:
            fill: The value of a lost run, by column; a column that is not here keeps
                the mean of what was measured.
        """
        size = len(self.full.names)
        means = {}
        for name, values in self.columns.items():
            known = ~np.isnan(values)
            total = np.bincount(self.cell[known], values[known], size)
            count = np.bincount(self.cell[known], minlength=size).astype(float)
            if name in fill:
                total, count = total + self.lost * fill[name], count + self.lost
            with np.errstate(invalid="ignore"):
                means[name] = total / count
        return dataclasses.replace(self.full, means=means)

    def macro(self, column: str) -> float | None:
        """Macro mean of a column over the cells where it is measured, if any."""
        if column not in self.columns or np.isnan(self.cells[column]).all():
            return None
        return float(self.cells.macro(column))

    def shown(self, columns: Mapping[str, str]) -> dict[str, float]:
        """Macro means, where there are any, of columns under the names for a reader."""
        means = {name: self.macro(column) for column, name in columns.items()}
        return {name: mean for name, mean in means.items() if mean is not None}


def _weighed(weights: Array, means: Array) -> Array:
    if means.ndim == 1:
        return np.array(exact_dot(weights, means))
    return np.asarray(means @ weights)


def effective_examples(runs: Iterable[Run], cells: Cells) -> float | None:
    """The size of one sample whose share is as uncertain as the mean over datasets.

    1 / Σ_d (w_d² / n_d). Seeds and strategies are measured on the same examples of a
    dataset and add none. None where the size of a dataset is unknown.
    """
    sizes: dict[tuple[str, str], int] = {}
    for run in runs:
        if run.num_examples is not None:
            dataset = run.task, run.dataset
            sizes[dataset] = min(run.num_examples, sizes.get(dataset, run.num_examples))
    if not set(cells.datasets) <= set(sizes):
        return None
    shares = {
        dataset: math.fsum(cells.weights[index].tolist())
        for dataset, index in cells.datasets.items()
    }
    return 1 / math.fsum(share**2 / sizes[name] for name, share in shares.items())


def modes_of(runs: Iterable[Run]) -> dict[str, str]:
    """Whether each strategy trains the head alone, from the runs' settings.

    A strategy whose runs do not say so counts as fine-tuning ("all").
    """
    modes: dict[str, str] = {}
    for run in runs:
        trainable = run.settings.get("trainable", "all")
        modes.setdefault(run.strategy, "head" if trainable == "head" else "all")
    return modes


def crossed(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Every dataset with every strategy, sorted.

    >>> crossed([("t", "a", "full"), ("t", "b", "probe")])[1]
    ('t', 'a', 'probe')
    """
    names = set(cells)
    datasets = sorted({name[:2] for name in names})
    strategies = sorted({name[2] for name in names})
    return tuple(
        (*dataset, strategy) for dataset in datasets for strategy in strategies
    )
