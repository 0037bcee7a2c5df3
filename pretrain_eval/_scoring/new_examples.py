"""How a score would vary on other examples: the bootstrap over confusion counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.random import Generator

from pretrain_eval._runs import SHARE, Run
from pretrain_eval._scoring.formulas.intervals import percentiles
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import Cells, cell_of

MACRO = ("recall", "precision", "f1", "balanced_accuracy")
NUM_TABLES = 1000


def macro_scores(key: str, pairs: Index, counts: Array, num_classes: int) -> Array:
    """Macro recall, precision or F1 from confusion counts; 0/0 is 0.

    Args:
        key: One of `MACRO`; balanced accuracy is macro recall.
        pairs: Target and prediction of each count, (2, num_pairs).
        counts: One or more tables of counts, (..., num_pairs).
        num_classes: Classes that are averaged over.

    >>> pairs, counts = np.array([[0, 0, 1], [0, 1, 1]]), np.array([1.0, 1.0, 2.0])
    >>> float(macro_scores("recall", pairs, counts, 2))
    0.75
    """
    actual, predicted = (_by_class(each, counts, num_classes) for each in pairs)
    diagonal = pairs[0] == pairs[1]
    hits = _by_class(pairs[0, diagonal], counts[..., diagonal], num_classes)
    below = {"precision": predicted, "f1": (actual + predicted) / 2}.get(key, actual)
    ratios = np.divide(hits, below, out=np.zeros_like(hits), where=below > 0)
    score: Array = ratios.mean(axis=-1)
    return score


def _by_class(classes: Index, counts: Array, num_classes: int) -> Array:
    # Counts added up by class, along the last axis.
    totals = np.zeros((*counts.shape[:-1], num_classes))
    order = np.argsort(classes, kind="stable")
    found, starts = np.unique(classes[order], return_index=True)
    if found.size:
        totals[..., found] = np.add.reduceat(counts[..., order], starts, axis=-1)
    return totals


def moves_over_examples(
    runs: Iterable[Run], cells: Cells, key: str, confidence: float, rng: Generator
) -> tuple[float, float] | None:
    """How far a macro mean over cells may lie below and above it on new examples.

    The examples of each cell are drawn with replacement, which is a multinomial draw
    of its confusion counts. Seeds and strategies are measured on the same examples of
    a dataset: they are taken to err together, so that they add no certainty; datasets
    are independent.

    Args:
        runs: The runs of one model.
        cells: Those that are averaged over.
        key: One of `MACRO`.
        confidence: For example 0.95.
        rng: The source of randomness.

    Returns:
        The two distances from the score, the first of at most 0; None where the counts
        of a cell are unknown or do not give the score that its run states.
    """
    members: dict[Cell, list[Run]] = {cell: [] for cell in cells.names}
    for run in runs:
        if run.status == "completed":
            members.setdefault(cell_of(run), []).append(run)
    moves: dict[tuple[str, str], Array] = {}
    for cell, weight in zip(cells.names, cells.weights.tolist(), strict=True):
        drawn = _drawn(members[cell], key, rng)
        if drawn is None:
            return None
        # Sorted draws add up as if the cells of a dataset erred together.
        moves[cell[:2]] = moves.get(cell[:2], 0.0) + weight * np.sort(drawn)
    total = np.sum([rng.permutation(each) for each in moves.values()], axis=0)
    low, high = percentiles(total, confidence).tolist()
    return low, high


def spread_over_examples(runs: Sequence[Run], key: str) -> float | None:
    """The standard error of a cell's score for new examples, seeds pooled.

    That of a share for accuracy, as if four more examples had come out by chance, two
    of them well (Agresti and Coull); that of multinomial draws of the confusion counts
    for macro averages. None where neither is known.
    """
    if key == "accuracy":
        sizes = [run.num_examples for run in runs if run.num_examples is not None]
        if len(sizes) < len(runs):
            return None
        size = min(sizes)
        mean = math.fsum(run.scores[key] for run in runs) / len(runs)
        units = {run.scales.get(key, SHARE) for run in runs}
        if units != {SHARE} or not 0 <= mean <= 1:
            return None  # in percent, say
        share = (mean * size + 2) / (size + 4)
        return math.sqrt(share * (1 - share) / (size + 4))
    if key not in MACRO:
        return None
    drawn = _drawn(runs, key, np.random.default_rng(0))
    return None if drawn is None else float(drawn.std())


def _drawn(runs: Sequence[Run], key: str, rng: Generator) -> Array | None:
    # Deviations of a cell's score on examples drawn anew; seeds are pooled.
    if not runs or not all(run.confusion for run in runs):
        return None
    num_classes = num_classes_of(runs)
    pooled: dict[tuple[int, int], int] = {}
    for run in runs:
        pairs, counts = _columns(run.confusion)
        stated = run.scores.get(key, math.nan)
        if not abs(macro_scores(key, pairs, counts, num_classes) - stated) < 1e-9:
            return None
        for target, prediction, count in run.confusion:
            pair = target, prediction
            pooled[pair] = pooled.get(pair, 0) + count
    pairs = np.array(sorted(pooled)).T
    shares = np.array([pooled[pair] for pair in sorted(pooled)], dtype=float)
    size = sum(count for _, _, count in runs[0].confusion)
    drawn = rng.multinomial(size, shares / shares.sum(), NUM_TABLES).astype(float)
    scores = macro_scores(key, pairs, drawn, num_classes)
    return np.asarray(scores - scores.mean())


def _columns(confusion: Sequence[tuple[int, int, int]]) -> tuple[Index, Array]:
    targets, predictions, counts = zip(*confusion, strict=True)
    return np.array([targets, predictions]), np.array(counts, dtype=float)


def num_classes_of(runs: Sequence[Run]) -> int:
    """As the settings of the first say, and no fewer than the confusions name."""
    stated = runs[0].settings.get("num_classes")
    largest = max(max(triple[:2]) for run in runs for triple in run.confusion) + 1
    return max(stated, largest) if type(stated) is int else largest
