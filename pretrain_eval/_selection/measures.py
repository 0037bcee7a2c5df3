"""What a race reads of a run: where it stands, its score, which direction is better."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from pretrain_eval._runs import SCALES, Run

# Task, dataset and strategy.
Block = tuple[str, str, str]


def datasets_of(blocks: Iterable[Block]) -> dict[str, list[str]]:
    """The datasets of each task."""
    found: dict[str, list[str]] = {}
    for task, dataset, _ in blocks:
        own = found.setdefault(task, [])
        own += [] if dataset in own else [dataset]
    return found


def block_of(run: Run) -> Block:
    """What a run shares with those that it is paired with."""
    return run.task, run.dataset, run.strategy


def last_value(run: Run, key: str, row: int | None = None) -> float:
    """The last validation score, or that of a row; NaN where a run has failed.

    A run that has diverged is worth what ignoring its input is.
    """
    known = run.curve.get(key, ())[: None if row is None else row + 1]
    if run.status == "diverged" or (known and not math.isfinite(known[-1])):
        return run.chance.get(key, math.nan)
    failed = run.status not in ("completed", "pruned")
    return math.nan if failed or not known else known[-1]


def first_key(runs: Sequence[Run]) -> str:
    """The first score that all curves have; a run that has failed may have none.

    Raises:
        ValueError: Every run has failed, or their curves share no score.
    """
    curves = [run.curve for run in runs if run.curve]
    failed = [run for run in runs if run.status not in ("completed", "pruned")]
    if not curves and failed:
        raise ValueError(
            f"all {len(runs)} runs of a round have failed, so that nothing is raced; the"
            f" first, {failed[0].name}: {failed[0].message or failed[0].status}"
        )
    shared = [
        key
        for key in (curves[0] if curves else ())
        if key != "step" and all(key in curve for curve in curves)
    ]
    if not shared:
        raise ValueError(
            "a race reads validation curves, and these runs share no score in theirs;"
            " say which by metric=..."
        )
    return shared[0]


def direction(runs: Sequence[Run], key: str) -> int:
    """1 where higher is better, −1 where lower is.

    Raises:
        ValueError: Nobody says which, or runs disagree.
    """
    found = {(run.scales.get(key) or SCALES.get(key)) for run in runs}
    words = {scale.better for scale in found if scale is not None}
    if len(words) != 1:
        raise ValueError(
            f"whether higher or lower {key!r} is better is"
            f" {'not known' if not words else 'not the same everywhere'}; give the"
            " metric a higher_is_better, or the runs a Scale"
        )
    return 1 if words == {"higher"} else -1
