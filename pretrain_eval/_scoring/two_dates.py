"""Has a deployed model dropped on new data?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.compared import one_model
from pretrain_eval._scoring.formulas.intervals import (
    newcombe,
    standard_error,
    t_quantile,
)
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import Grid, effective_examples
from pretrain_eval._scoring.model_runs import ModelRuns, by_model
from pretrain_eval._scoring.protocol import Protocol
from pretrain_eval._scoring.reports.change import Change
from pretrain_eval._scoring.reports.report import Interval
from pretrain_eval._scoring.reports.table import counted
from pretrain_eval._scoring.scored import ONE_SEED, scored


def change(
    protocol: Protocol,
    before: Iterable[Run],
    after: Iterable[Run],
    *,
    is_share: bool,
) -> Change:
    """One model's mean score at two dates on the cells that both have.

    Args:
        protocol: Whose column "P" averages to the score.
        before: Runs of the first date.
        after: Runs of the second date.
        is_share: Whether the score is a share of examples.
    """
    for runs in (before, after):
        _check_one_date(runs)
    asked = [one_model(protocol, by_model(runs), "change") for runs in (before, after)]
    models = [own.model for own, _ in asked]
    if models[0] != models[1]:
        raise ValueError(
            f"{type(protocol).__name__}.change expects the runs of one model at two"
            f" dates, got {models}"
        )
    first, second = (own.usable for own, _ in asked)
    common = first & second
    if not common:
        raise ValueError(f"no cell of {models[0]} has runs at both dates")
    dates = [own.within(common) for own, _ in asked]
    twins = [twin for _, twin in asked]
    both = [scored(protocol, *date) for date in zip(dates, twins, strict=True)]
    grids = [each.grid for each in both]
    gaps = grids[1].cells["P"] - grids[0].cells["P"]
    cells = grids[0].cells
    difference = float(cells.macro(gaps))
    interval = _over_seeds(protocol, grids, difference)
    return Change(
        protocol=protocol.protocol,
        model=models[0],
        before=both[0].report,
        after=both[1].report,
        difference=difference,
        interval=interval,
        examples=_over_examples(protocol, dates, grids) if is_share else None,
        cells=dict(zip(map("/".join, cells.names), gaps.tolist(), strict=True)),
        notes=_notes(interval, common, first | second),
    )


def _check_one_date(runs: object) -> None:
    """Refuse several dates, which have a tool of their own."""
    first = next(iter(runs), None) if isinstance(runs, Sequence) else None
    if isinstance(runs, Mapping) or isinstance(first, Sequence | Mapping):
        raise TypeError(
            "change expects the runs of one date before and of one after, got several"
            " dates; monitor(reference, {date: predictions}) watches many, with one rate"
            " of false alarms over all of them"
        )


def _over_seeds(
    protocol: Protocol, grids: list[Grid], difference: float
) -> Interval | None:
    first, second = grids
    weights = first.cells.weights
    if _same_runs(first, second):
        gaps: Array = second.columns["P"] - first.columns["P"]
        error = standard_error(gaps, first.index, weights)
        method = "t over runs paired by seed"
    else:
        values = np.concatenate([first.columns["P"], second.columns["P"]])
        cell: Index = np.concatenate([first.index, second.index + weights.size])
        error = standard_error(values, cell, np.concatenate([weights, weights]))
        method = "t of Welch and Satterthwaite"
    if error is None:
        return None
    scale, freedom = error
    half = t_quantile((1 + protocol.confidence) / 2, freedom) * scale
    return protocol.interval(difference - half, difference + half, "seeds", method)


def _same_runs(first: Grid, second: Grid) -> bool:
    return np.array_equal(first.index, second.index) and np.array_equal(
        first.seeds, second.seeds
    )


def _over_examples(
    protocol: Protocol, dates: list[ModelRuns], grids: list[Grid]
) -> Interval | None:
    cells = grids[0].cells
    sizes = [effective_examples(own.runs, cells) for own in dates]
    shares = [grid.macro("P") or 0.0 for grid in grids]
    if sizes[0] is None or sizes[1] is None or not 0 <= min(shares) <= max(shares) <= 1:
        return None
    low, high = newcombe(
        shares[1], shares[0], (sizes[1], sizes[0]), protocol.confidence
    )
    return protocol.interval(low, high, "examples", "Newcombe")


def _notes(
    interval: Interval | None, common: Set[Cell], every: Set[Cell]
) -> tuple[str, ...]:
    notes = []
    alone = len(every) - len(common)
    if alone:
        verb = "stands" if alone == 1 else "stand"
        notes.append(f"{counted(alone, 'cell')} {verb} at one date only: left out.")
    return (*notes, *(ONE_SEED if interval is None else ()))
