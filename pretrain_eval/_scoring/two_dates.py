"""Has a deployed model dropped on new data?"""

from __future__ import annotations

from collections.abc import Iterable, Set

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.evaluator import ONE_SEED, Pieces
from pretrain_eval._scoring.formulas.intervals import (
    newcombe,
    standard_error,
    t_quantile,
)
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import Grid, Layout, effective_examples
from pretrain_eval._scoring.grid_evaluator import GridEvaluator
from pretrain_eval._scoring.model_runs import by_model
from pretrain_eval._scoring.reports.comparison import Change
from pretrain_eval._scoring.reports.report import Interval


def change(
    evaluator: GridEvaluator,
    before: Iterable[Run],
    after: Iterable[Run],
    *,
    is_share: bool,
) -> Change:
    """One model's mean score at two dates on the cells that both have.

    Args:
        evaluator: Whose column "P" averages to the score.
        before: Runs of the first date.
        after: Runs of the second date.
        is_share: Whether the score is a share of examples.
    """
    dates = [
        evaluator._of_one_model(by_model(runs), "change") for runs in (before, after)
    ]
    models = [pieces.own.model for pieces in dates]
    if models[0] != models[1]:
        raise ValueError(
            f"{type(evaluator).__name__}.change expects the runs of one model at two"
            f" dates, got {models}"
        )
    cells = [pieces.own.usable for pieces in dates]
    common = cells[0] & cells[1]
    if not common:
        raise ValueError(f"no cell of {models[0]} has runs at both dates")
    kept = [Pieces(pieces.own.within(common)) for pieces in dates]
    reports = [evaluator._measure(pieces).report for pieces in kept]
    grids = [evaluator._grid(pieces) for pieces in kept]
    gaps = grids[1].means["P"] - grids[0].means["P"]
    layout = grids[0].layout
    difference = float(layout.macro(gaps))
    interval = _over_seeds(evaluator, grids, difference)
    return Change(
        protocol=evaluator.protocol,
        model=models[0],
        before=reports[0],
        after=reports[1],
        difference=difference,
        interval=interval,
        examples=_over_examples(evaluator, kept, grids) if is_share else None,
        cells=dict(zip(map("/".join, layout.cells), gaps.tolist(), strict=True)),
        notes=_notes(interval, common, cells[0] | cells[1]),
    )


def _over_seeds(
    evaluator: GridEvaluator, grids: list[Grid], difference: float
) -> Interval | None:
    weights = grids[0].layout.weights
    first, second = grids
    if _same_runs(first, second):
        gaps: Array = second.columns["P"] - first.columns["P"]
        known = standard_error(gaps, first.index, weights)
        method = "t over runs paired by seed"
    else:
        both = np.concatenate([first.columns["P"], second.columns["P"]])
        cell: Index = np.concatenate([first.index, second.index + weights.size])
        known = standard_error(both, cell, np.concatenate([weights, weights]))
        method = "t of Welch and Satterthwaite"
    if known is None:
        return None
    error, freedom = known
    half = t_quantile((1 + evaluator.confidence) / 2, freedom) * error
    return evaluator._interval(difference - half, difference + half, "seeds", method)


def _same_runs(first: Grid, second: Grid) -> bool:
    return np.array_equal(first.index, second.index) and np.array_equal(
        first.seeds, second.seeds
    )


def _over_examples(
    evaluator: GridEvaluator, dates: list[Pieces], grids: list[Grid]
) -> Interval | None:
    layout: Layout = grids[0].layout
    sizes = [effective_examples(pieces.own.runs, layout) for pieces in dates]
    shares = [grid.macro("P") or 0.0 for grid in grids]
    if sizes[0] is None or sizes[1] is None or not 0 <= min(shares) <= max(shares) <= 1:
        return None
    low, high = newcombe(
        shares[1], shares[0], (sizes[1], sizes[0]), evaluator.confidence
    )
    return evaluator._interval(low, high, "examples", "Newcombe")


def _notes(
    interval: Interval | None, common: Set[Cell], every: Set[Cell]
) -> tuple[str, ...]:
    notes = []
    if len(every) > len(common):
        notes.append(
            f"{len(every) - len(common)} cells stand at one date only: left out."
        )
    return (*notes, *(ONE_SEED if interval is None else ()))
