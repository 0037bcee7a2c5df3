"""What a comparison keeps so that it can say what to run next, in plain values."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pretrain_eval._scoring.formulas.statistics import Array, Cell, members_of
from pretrain_eval._scoring.grid import Grid, crossed
from pretrain_eval._scoring.model_runs import USABLE, ModelRuns
from pretrain_eval._scoring.noise import numbers_of, row_deviations
from pretrain_eval._scoring.protocol import Protocol, Scored
from pretrain_eval._scoring.scored import floats, row_values, score_of


def undecided(
    protocol: Protocol,
    models: Mapping[str, ModelRuns],
    ranked: Mapping[str, Scored],
    rivals: Sequence[str],
) -> dict[str, Any]:
    """Fields of a comparison: scores by task, cells, seeds, and where seeds matter.

    Args:
        protocol: What is asked.
        models: The runs by model.
        ranked: The scored ones, best first.
        rivals: Those that cannot be told from the best.
    """
    every = itertools.chain.from_iterable(own.cells for own in models.values())
    cells = crossed(every)
    best = next(iter(ranked.values()))
    return {
        "tasks": {model: _by_task(protocol, each) for model, each in ranked.items()},
        "cells": cells,
        "seeds": {model: _seeds(own, cells) for model, own in models.items()},
        "spreads": {
            rival: _spreads(protocol, best.grid, ranked[rival].grid, cells)
            for rival in rivals
        },
    }


def luck_on_examples(protocol: Protocol, grid: Grid) -> float:
    """The part of the score's variance over seeds that more examples take away.

    Two seeds that are equally good on all examples differ on few, by those that each
    happens to get right: Σ_e s_e² / (n² K) in a cell of K seeds and n examples, s_e²
    the variance of example e over seeds. 0 where no outcomes are known.
    """
    moved = protocol.moves(grid.runs)
    names = [name for name in protocol.mean_of or protocol.limits if name in moved]
    if not names:
        return 0.0
    keys, slopes = moved[names[0]]
    total = 0.0
    for rows in members_of(grid.index.tolist()).values():
        known = [grid.runs[row].outcomes for row in rows]
        seen = [each for each in known if each is not None]
        same = {(each.key, each.examples, each.num_examples) for each in seen}
        if len(rows) < 2 or len(seen) < len(rows) or len(same) > 1:
            continue
        if seen[0].key != keys[rows[0]]:
            continue
        table = np.stack([numbers_of(each) for each in seen])
        variance = table.var(axis=0, ddof=1).mean() / table.size
        weight = grid.cells.weights[grid.index[rows[0]]] * slopes[rows[0]]
        total += float(weight**2 * variance)
    return total


def _by_task(protocol: Protocol, each: Scored) -> Mapping[str, float]:
    # Of a score that is no mean: the score of each task as if it were the only one.
    if protocol.mean_of or each.report.score is None:
        return each.tasks
    cells, scores = each.grid.cells, {}
    for (task,), index in cells.tasks.items():
        score = score_of(protocol, floats(protocol.parts(cells.only(index))))
        if score is not None:
            scores[task] = score
    return scores


def _seeds(own: ModelRuns, cells: Sequence[Cell]) -> tuple[tuple[int, ...], ...]:
    found: dict[Cell, list[int]] = {cell: [] for cell in cells}
    for run, place in zip(own.runs, own.cell.tolist(), strict=True):
        if run.status in USABLE:
            found[own.cells[place]].append(run.seed)
    return tuple(map(tuple, found.values()))


def _spreads(
    protocol: Protocol, first: Grid, second: Grid, cells: Sequence[Cell]
) -> tuple[float, ...]:
    # What new seeds of each cell add to the variance of the difference, paired by seed.
    places = {cell: place for place, cell in enumerate(cells)}
    gaps: dict[tuple[int, int], float] = {}
    for grid, sign in ((first, 1), (second, -1)):
        own = np.array([places[name] for name in grid.cells.names])[grid.index]
        moves = (sign * _moves(protocol, grid)).tolist()
        keys = zip(own.tolist(), grid.seeds.tolist(), strict=True)
        for key, move in zip(keys, moves, strict=True):
            gaps[key] = gaps.get(key, 0.0) + move
    where = np.array([place for place, _ in gaps], dtype=np.intp)
    squares = np.square(list(gaps.values()))
    spreads = np.bincount(where, squares, len(cells))
    return tuple(spreads.tolist())


def _moves(protocol: Protocol, grid: Grid) -> Array:
    values = row_values(protocol, grid)
    if values is None:  # of no mean: by the column that it is made of
        main = next(name for name in protocol.limits if name in grid.columns)
        values = np.nan_to_num(grid.columns[main])
    return np.asarray(row_deviations(grid, values) * grid.cells.weights[grid.index])
