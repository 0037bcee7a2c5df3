"""The runs of one model laid out in cells: task × dataset × strategy, seeds inside."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from pretrain_eval._records import Run
from pretrain_eval._statistics import Array, Cell, exact_dot, macro_weights


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
    keyed = sorted(
        ((r.model, r.task, r.dataset, r.strategy, r.seed), i)
        for i, r in enumerate(runs)
    )
    for (first, _), (second, index) in itertools.pairwise(keyed):
        if first == second:
            raise ValueError(
                f"{runs[index].name} stands twice; give each model, task, dataset,"
                " strategy and seed once"
            )
    return tuple(runs[index] for _, index in keyed)


@dataclass(frozen=True)
class Layout:
    """The cells that a score is made of.

    Attributes:
        cells: (task, dataset, strategy), sorted.
        modes: "head" where a strategy trains the head alone, by strategy.
    """

    cells: tuple[Cell, ...]
    modes: Mapping[str, str]

    @cached_property
    def weights(self) -> Array:
        """The macro weight of each cell."""
        return macro_weights(self.cells)

    def macro(self, means: Array) -> Array:
        """Macro mean over the last axis; a cell that is NaN is left out."""
        table = means.reshape(-1, means.shape[-1])
        missing = np.isnan(table.sum(axis=0))
        if missing.all():
            return np.full(means.shape[:-1], np.nan)
        weights = self.weights
        if missing.any():
            weights = macro_weights(
                [c for c, gone in zip(self.cells, missing, strict=True) if not gone]
            )
        kept = means[..., ~missing]
        if means.ndim == 1:
            return np.array(exact_dot(weights, kept))
        return np.asarray(kept @ weights)

    def by(self, means: Array, depth: int) -> dict[tuple[str, ...], Array]:
        """Macro mean in each task (`depth` 1) or dataset of a task (`depth` 2)."""
        members: dict[tuple[str, ...], list[int]] = {}
        for index, cell in enumerate(self.cells):
            members.setdefault(cell[:depth], []).append(index)
        return {
            name: self.only(index).macro(means[..., index])
            for name, index in members.items()
        }

    def only(self, index: Sequence[int]) -> Layout:
        """Some of the cells."""
        return Layout(tuple(self.cells[i] for i in index), self.modes)

    def mode(self, mode: str) -> list[int]:
        """Indices of the cells whose strategy is of a mode."""
        return [i for i, c in enumerate(self.cells) if self.modes.get(c[2]) == mode]


@dataclass(frozen=True)
class Grid:
    """What an evaluator read from each run, by cell.

    Attributes:
        layout: Every cell that the runs name, and the holes of the crossed grid.
        cell: Index of the cell of each row, increasing.
        columns: One value a usable run, by name; NaN where it is not measured.
        lost: Runs without a usable result, by cell.
        diverged: Number of diverged runs.
    """

    layout: Layout
    cell: npt.NDArray[np.intp]
    columns: Mapping[str, Array]
    lost: npt.NDArray[np.intp]
    diverged: int

    @cached_property
    def counts(self) -> npt.NDArray[np.intp]:
        """Usable runs, by cell."""
        return np.bincount(self.cell, minlength=len(self.layout.cells))

    @cached_property
    def present(self) -> list[int]:
        """Indices of the cells with a usable run."""
        return np.flatnonzero(self.counts).tolist()

    def means(self, fill: Mapping[str, float] | None = None) -> dict[str, Array]:
        """Mean of each column in each present cell.

        Args:
            fill: The value that every lost run takes, by column; then all cells are
                there. A column without one keeps the mean of what was measured.
        """
        size = len(self.layout.cells)
        result = {}
        for name, values in self.columns.items():
            known = ~np.isnan(values)
            total = np.bincount(self.cell[known], values[known], size)
            count = np.bincount(self.cell[known], minlength=size).astype(float)
            if fill is not None and name in fill:
                total = total + self.lost * fill[name]
                count = count + self.lost
            with np.errstate(invalid="ignore"):
                mean = total / count
            result[name] = mean if fill is not None else mean[self.present]
        return result


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
    cells = list(cells)
    datasets = sorted({cell[:2] for cell in cells})
    strategies = sorted({cell[2] for cell in cells})
    return tuple(
        (*dataset, strategy) for dataset in datasets for strategy in strategies
    )
