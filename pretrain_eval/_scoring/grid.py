"""The runs of one model laid out in cells: task × dataset × strategy, seeds inside."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

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
    known: dict[tuple[str, str], Mapping[str, float]] = {}
    for run in runs:
        if run.chance:
            known.setdefault((run.task, run.dataset), run.chance)
    return tuple(
        dataclasses.replace(run, chance=known[run.task, run.dataset])
        if not run.chance and (run.task, run.dataset) in known
        else run
        for run in runs
    )


@dataclass(frozen=True)
class Layout:
    """The cells that a score is made of.

    Attributes:
        cells: (task, dataset, strategy), sorted.
        modes: "head" where a strategy trains the head alone, else "all", by strategy.
    """

    cells: tuple[Cell, ...]
    modes: Mapping[str, str]

    @cached_property
    def weights(self) -> Array:
        """The macro weight of each cell."""
        return macro_weights(self.cells)

    @cached_property
    def tasks(self) -> dict[tuple[str], list[int]]:
        """Indices of the cells of each task."""
        return members_of([cell[:1] for cell in self.cells])

    @cached_property
    def datasets(self) -> dict[tuple[str, str], list[int]]:
        """Indices of the cells of each dataset of a task."""
        return members_of([cell[:2] for cell in self.cells])

    def macro(self, means: Array) -> Array:
        """Macro mean over the last axis; a cell that is NaN is left out."""
        whole = _weighed(self.weights, means)
        if not np.isnan(whole).any():
            return whole
        missing = np.isnan(means.reshape(-1, means.shape[-1]).sum(axis=0))
        kept = self.only(np.flatnonzero(~missing).tolist())
        if not kept.cells:
            return np.full(means.shape[:-1], np.nan)
        return _weighed(kept.weights, means[..., ~missing])

    def by_task(self, means: Array) -> dict[str, Array]:
        """Macro mean of each task."""
        return {
            task: self.only(index).macro(means[..., index])
            for (task,), index in self.tasks.items()
        }

    def by_dataset(self, means: Array) -> dict[tuple[str, str], Array]:
        """Macro mean of each dataset of a task."""
        return {
            place: self.only(index).macro(means[..., index])
            for place, index in self.datasets.items()
        }

    def only(self, index: Sequence[int]) -> Layout:
        """Some of the cells."""
        return Layout(tuple(self.cells[i] for i in index), self.modes)

    def of_mode(self, mode: str) -> list[int]:
        """Indices of the cells whose strategy is of a mode."""
        return [i for i, c in enumerate(self.cells) if self.modes.get(c[2]) == mode]


@dataclass(frozen=True)
class Grid:
    """What an evaluator read from each run, by cell.

    Attributes:
        full: Every cell that the runs name, and the holes of the crossed grid.
        cell: Index in `full` of the cell of each row, increasing.
        seeds: The seed of each row.
        columns: One value a usable run, by name; NaN where it is not measured.
        lost: Runs without a usable result, by cell of `full`.
        diverged: Number of diverged runs.
    """

    full: Layout
    cell: Index
    seeds: Index
    columns: Mapping[str, Array]
    lost: Index
    diverged: int

    @cached_property
    def counts(self) -> Index:
        """Usable runs, by cell of `full`."""
        return np.bincount(self.cell, minlength=len(self.full.cells))

    @cached_property
    def present(self) -> Index:
        """The cells of `full` that have a usable run."""
        return np.flatnonzero(self.counts)

    @cached_property
    def layout(self) -> Layout:
        """The cells that have a usable run."""
        return self.full.only(self.present.tolist())

    @cached_property
    def index(self) -> Index:
        """Index in `layout` of the cell of each row."""
        return np.searchsorted(self.present, self.cell)

    @cached_property
    def means(self) -> dict[str, Array]:
        """Mean of each column in each cell of `layout`."""
        size = len(self.layout.cells)
        return {
            name: mean_by_cell(values, self.index, size)
            for name, values in self.columns.items()
        }

    def filled(self, fill: Mapping[str, float]) -> dict[str, Array]:
        """Mean of each column in each cell of `full`, if every lost run had a value.

        Args:
            fill: The value of a lost run, by column; a column that is not here keeps
                the mean of what was measured.
        """
        size = len(self.full.cells)
        result = {}
        for name, values in self.columns.items():
            known = ~np.isnan(values)
            total = np.bincount(self.cell[known], values[known], size)
            count = np.bincount(self.cell[known], minlength=size).astype(float)
            if name in fill:
                total, count = total + self.lost * fill[name], count + self.lost
            with np.errstate(invalid="ignore"):
                result[name] = total / count
        return result

    def macro(self, column: str) -> float | None:
        """Macro mean of a column over the cells where it is measured, if any."""
        if column not in self.columns or np.isnan(self.means[column]).all():
            return None
        return float(self.layout.macro(self.means[column]))


def _weighed(weights: Array, means: Array) -> Array:
    if means.ndim == 1:
        return np.array(exact_dot(weights, means))
    return np.asarray(means @ weights)


def effective_examples(runs: Iterable[Run], layout: Layout) -> float | None:
    """The size of one sample whose share is as uncertain as the mean over datasets.

    1 / Σ_d (w_d² / n_d). Seeds and strategies are measured on the same examples of a
    dataset and add none. None where the size of a dataset is unknown.
    """
    sizes: dict[tuple[str, str], int] = {}
    for run in runs:
        if run.num_examples is not None:
            place = run.task, run.dataset
            sizes[place] = min(run.num_examples, sizes.get(place, run.num_examples))
    if not set(layout.datasets) <= set(sizes):
        return None
    shares = {
        place: math.fsum(layout.weights[index].tolist())
        for place, index in layout.datasets.items()
    }
    return 1 / math.fsum(share**2 / sizes[place] for place, share in shares.items())


def modes_of(runs: Iterable[Run]) -> dict[str, str]:
    """Whether each strategy trains the head alone, from the runs' settings.

    A strategy whose runs do not say so counts as fine-tuning ("all").
    """
    found: dict[str, str] = {}
    for run in runs:
        trainable = run.settings.get("trainable", "all")
        found.setdefault(run.strategy, "head" if trainable == "head" else "all")
    return found


def crossed(cells: Iterable[Cell]) -> tuple[Cell, ...]:
    """Every dataset with every strategy, sorted.

    >>> crossed([("t", "a", "full"), ("t", "b", "probe")])[1]
    ('t', 'a', 'probe')
    """
    found = set(cells)
    datasets = sorted({cell[:2] for cell in found})
    strategies = sorted({cell[2] for cell in found})
    return tuple(
        (*dataset, strategy) for dataset in datasets for strategy in strategies
    )
