"""What a validation split of few examples leaves unknown of a score."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pretrain_eval._scoring.formulas import Array

# Numbers of examples that are tried; a share of more is no matter of counting here.
_NUMBERS = np.arange(2.0, 20_001)
# How far a share may be from a multiple, where tables round it to four digits.
_SLACK = 1e-3 + 6e-5 * _NUMBERS


def counted_on(values: Array, known: Array) -> Array:
    """How many examples each block's scores are shares of, `(num_blocks,)`.

    The smallest n of which all scores are multiples of 1/n. Where so few scores would
    fit some n by chance, and where they are no shares, it is NaN; a number that is known
    is believed where the scores agree with it, and is the most that an inferred one may
    be, since tokens or pixels of one example are no examples.

    Args:
        values: `(num_values, num_blocks)`, all that were measured; NaN are left out.
        known: `(num_blocks,)` examples of the validation split; NaN where unknown.
    """
    pairs = zip(values.T, known, strict=True)
    return np.array([_counted_on(column, number) for column, number in pairs])


def _counted_on(column: Array, known: float) -> float:
    scores = np.unique(np.abs(column[np.isfinite(column)]))
    if not len(scores) or scores[-1] > 1 + 1e-6:
        return math.nan
    if math.isfinite(known) and _off(scores, known).max() <= 1e-3 + 1e-6 * known:
        return known
    inner = scores[(scores > 0) & (scores < 1)]
    found = _smallest(np.unique(inner.round(6)))
    return min(found, known) if math.isfinite(known) and math.isfinite(found) else found


def _off(scores: Array, number: float) -> Array:
    """How far each is from a multiple of 1/n, in such parts."""
    counts = scores * number
    return np.asarray(np.abs(counts - counts.round()))


def _smallest(scores: Array) -> float:
    """The smallest n of which all are multiples; NaN where none is, or by chance."""
    # Scores of any kind would fit some n up to there in one of a hundred.
    chance = np.minimum(2 * _SLACK, 1.0) ** len(scores)
    most = int((chance.cumsum() <= 0.01).sum())
    for number, slack in zip(_NUMBERS[:most], _SLACK, strict=False):
        if _off(scores, number).max() <= slack:
            return float(number)
    return math.nan


def variance_over_examples(shares: Array, sizes: Array, tasks: Sequence[str]) -> float:
    """Of a model's mean over blocks, were other validation examples drawn.

    A share p of n examples has variance p (1 − p) / n. Blocks of one task may have the
    same examples, under another strategy or with noise, so that their errors add up;
    those of different tasks are independent.

    Args:
        shares: `(num_blocks,)` the model's scores, of either sign.
        sizes: `(num_blocks,)` examples; NaN where unknown.
        tasks: Of each block.

    Returns:
        NaN where a size is unknown.
    """
    p = (np.abs(shares) * sizes + 0.5) / (sizes + 1)  # not 0 where all are right
    errors = np.sqrt(p * (1 - p) / sizes) / len(sizes)
    by_task: dict[str, float] = {}
    for task, error in zip(tasks, errors, strict=True):
        by_task[task] = by_task.get(task, 0.0) + float(error)
    return sum(error**2 for error in by_task.values())
