"""What a protocol reads of one model's runs, laid out in cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from pretrain_eval._runs import Run
from pretrain_eval._scoring.collapsed import collapsed
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import Cells, Grid, crossed
from pretrain_eval._scoring.model_runs import ModelRuns
from pretrain_eval._scoring.protocol import Protocol


def grid_of(
    protocol: Protocol,
    own: ModelRuns,
    twin: ModelRuns | None = None,
    holes: Sequence[Cell] = (),
) -> Grid:
    """What the protocol reads of one model's runs, laid out in cells."""
    full = own.full
    if holes:
        full = Cells(crossed([*own.cells, *holes]), full.modes)
    codes = {name: code for code, name in enumerate(full.names)}
    cell = np.array([codes[name] for name in own.cells], dtype=np.intp)[own.cell]
    rows, columns = _columns(protocol, own)
    given = np.bincount(cell, minlength=len(full.names))
    lost = given - np.bincount(cell[rows], minlength=len(full.names))
    # A cell with fewer runs than most lacks the others, as if they had failed.
    usual = round(float(np.median(given[given > 0])))
    lost += np.maximum(usual - given, 0)
    if protocol.strict and lost.any():
        names = ["/".join(full.names[i]) for i in np.flatnonzero(lost)]
        raise ValueError(
            f"{own.model} has missing runs in {names}; strict=False scores"
            " what exists and shows the bounds"
        )
    low = _collapsed(protocol, columns, cell[rows])
    left_out, rows = rows[low], rows[~low]
    columns = {name: values[~low] for name, values in columns.items()}
    grid = Grid(
        full=full,
        cell=cell[rows],
        runs=tuple(own.runs[i] for i in rows.tolist()),
        columns=columns,
        lost=lost,
        diverged=own.num_diverged,
        collapsed=tuple(own.runs[i] for i in left_out.tolist()),
    )
    further = protocol.against(grid, grid if twin is None else grid_of(protocol, twin))
    return dataclasses.replace(grid, columns={**columns, **further})


def _collapsed(
    protocol: Protocol, columns: Mapping[str, Array], cell: Index
) -> NDArray[np.bool_]:
    """Which rows are left out, by the column that the score is made of first."""
    if protocol.collapsed == "keep":
        return np.zeros(cell.size, dtype=np.bool_)
    main = next(name for name in protocol.limits if name in columns)
    return collapsed(columns[main], cell)


def _columns(protocol: Protocol, own: ModelRuns) -> tuple[Index, dict[str, Array]]:
    # Which runs hold what the protocol reads, and what they hold.
    admitted = [i for i, run in enumerate(own.runs) if _admits(protocol, run)]
    columns = protocol.read([own.runs[i] for i in admitted]) if admitted else {}
    needed = [columns[name] for name in protocol.limits if name in columns]
    if needed:
        holds = ~np.isnan(needed).all(axis=0)
    else:
        holds = np.zeros(len(admitted), dtype=bool)
    if not holds.any():
        raise ValueError(_nothing(protocol, own.runs))
    kept = {name: values[holds] for name, values in columns.items()}
    measured = {name: x for name, x in kept.items() if not np.isnan(x).all()}
    return np.array(admitted, dtype=np.intp)[holds], measured


def _admits(protocol: Protocol, run: Run) -> bool:
    if run.status == "diverged" and protocol.diverged == "raise":
        raise ValueError(f"{run.name} diverged; diverged='chance' counts it so")
    return run.status == "completed" or (
        run.status == "diverged" and protocol.diverged == "chance"
    )


def _nothing(protocol: Protocol, runs: Sequence[Run]) -> str:
    finished = [run for run in runs if run.status == "completed"]
    if not finished:
        return f"no run of {runs[0].model} has a result"
    held_keys = {
        "scores": sorted({key for run in finished for key in run.scores}),
        "baseline": sorted({key for run in finished for key in run.baseline}),
        "curve": sorted({key for run in finished for key in run.curve}),
    }
    needed = protocol.reads.format(keys=" or ".join(map(repr, protocol.keys)))
    return (
        f"{type(protocol).__name__} reads {needed}, which no run of"
        f" {runs[0].model} has; they have"
        f" {', '.join(f'{name} {keys}' for name, keys in held_keys.items())}"
    )
