"""The formulas of metrics: what counts are worth, without any state."""

from __future__ import annotations

import math
import warnings
from typing import TypeAlias

import numpy as np

# A number of each class, or of each score.
Column: TypeAlias = np.ndarray

# Of each class: how often it was hit, predicted and actually there. tp is a hit, fp a
# prediction that is none, fn an actual one that was not predicted. A ratio is given as
# numerator and denominator.


def precision(hits: Column, predicted: Column, actual: Column) -> tuple[Column, Column]:
    """Share of predictions that are right, tp / (tp + fp)."""
    return hits, predicted


def recall(hits: Column, predicted: Column, actual: Column) -> tuple[Column, Column]:
    """Share of a class that is found, tp / (tp + fn)."""
    return hits, actual


def dice(hits: Column, predicted: Column, actual: Column) -> tuple[Column, Column]:
    """Twice the intersection over both, 2 tp / (2 tp + fp + fn); the F1 score."""
    return 2 * hits, predicted + actual


def jaccard(hits: Column, predicted: Column, actual: Column) -> tuple[Column, Column]:
    """Intersection over union, tp / (tp + fp + fn)."""
    return hits, predicted + actual - hits


def balanced_accuracy(hits: Column, predicted: Column, actual: Column) -> float:
    """Mean of tp / (tp + fn) over classes that occur among the targets.

    >>> hits, predicted, actual = np.array([3, 1]), np.array([3, 2]), np.array([4, 1])
    >>> balanced_accuracy(hits, predicted, actual)  # of 3/4 and 1
    0.875
    """
    occurs = actual > 0
    recalls = hits[occurs] / actual[occurs]
    return float(recalls.mean())


def cohen_kappa(hits: Column, predicted: Column, actual: Column) -> float:
    """Agreement beyond chance, (p_o − p_e) / (1 − p_e), NaN where p_e is 1.

    >>> hits, predicted, actual = np.array([1, 2]), np.array([1, 3]), np.array([2, 2])
    >>> cohen_kappa(hits, predicted, actual)  # p_o = 3/4, p_e = 2/16 + 6/16
    0.5
    """
    total = actual.sum()
    chance = (predicted * actual).sum() / total**2
    if chance == 1:
        return undefined("kappa", "one class is all there is")
    accuracy = hits.sum() / total
    return float((accuracy - chance) / (1 - chance))


def matthews_corrcoef(hits: Column, predicted: Column, actual: Column) -> float:
    """(c s − Σ p_k t_k) / √((s² − Σ p_k²)(s² − Σ t_k²)), 0 where a factor is 0.

    >>> hits, predicted, actual = np.array([1, 1]), np.array([2, 2]), np.array([2, 2])
    >>> matthews_corrcoef(hits, predicted, actual)  # 2·4 − 8 over 8
    0.0
    """
    total = actual.sum()
    of_predicted = total**2 - (predicted**2).sum()
    of_actual = total**2 - (actual**2).sum()
    if of_predicted <= 0 or of_actual <= 0:
        return 0.0
    covariance = hits.sum() * total - (predicted * actual).sum()
    return float(covariance / math.sqrt(of_predicted) / math.sqrt(of_actual))


def normalized(matrix: np.ndarray, normalize: str | None) -> np.ndarray:
    """The counts over the sums of rows ("true"), columns ("pred") or all.

    >>> normalized(np.array([[1, 1], [0, 2]]), "true").tolist()
    [[0.5, 0.5], [0.0, 1.0]]
    """
    if normalize is None:
        return matrix
    axis = {"true": 1, "pred": 0, "all": None}[normalize]
    totals = matrix.sum(axis=axis, keepdims=True)
    return divide(matrix, np.broadcast_to(totals, matrix.shape), 0.0)


def calibration_error(samples: Column, confidence: Column, hits: Column) -> float:
    """Σ_b abs(hits_b − confidence_b) / n, of sums over the samples of each bin b.

    >>> samples, confidence, hits = (
    ...     np.array([1, 3]),
    ...     np.array([0.25, 2.5]),
    ...     np.array([0, 2]),
    ... )
    >>> calibration_error(samples, confidence, hits)  # (1/4 + 1/2) / 4
    0.1875
    """
    gaps = np.abs(hits - confidence)
    return float(gaps.sum() / samples.sum())


# Of each score, falling: the weights of positives and of negatives that have it.


def auroc(positives: Column, negatives: Column) -> float:
    """P(s₊ > s₋) + P(s₊ = s₋) / 2 over pairs of a positive and a negative, or NaN.

    >>> auroc(np.array([1, 0, 1, 0]), np.array([0, 1, 0, 1]))  # 3 of 4 pairs
    0.75
    """
    pairs = positives.sum() * negatives.sum()
    if pairs == 0:
        return math.nan
    below = negatives.sum() - np.cumsum(negatives)
    won = positives * (below + negatives / 2)
    return float(won.sum() / pairs)


def average_precision(positives: Column, negatives: Column) -> float:
    """Σ (R_n − R_{n−1}) P_n over scores n, NaN without positives.

    >>> average_precision(np.array([1, 0, 1]), np.array([0, 2, 0]))  # 1/1 and 2/4
    0.75
    """
    if positives.sum() == 0:
        return math.nan
    hits = np.cumsum(positives)
    predicted = hits + np.cumsum(negatives)
    filled = predicted > 0
    precisions = hits[filled] / predicted[filled]
    found = positives[filled] * precisions
    return float(found.sum() / hits[-1])


def perplexity(total: float, count: float) -> float:
    """exp(Σ −log p / n), infinite beyond the largest number.

    >>> perplexity(0.0, 3.0)
    1.0
    """
    mean = total / count
    return math.exp(mean) if mean < 700 else math.inf


def r2(residual: Column, spread: Column) -> Column:
    """1 − Σr² / Σ(t − mean t)² of each output.

    >>> r2(residual=np.array([1.0]), spread=np.array([2.0])).tolist()
    [0.5]
    """
    ratios: np.ndarray = 1 - residual / spread
    return ratios


def spearman(outputs: Column, targets: Column) -> float:
    """Pearson's correlation of mean ranks, NaN where one of both is constant.

    >>> spearman(np.array([1, 2, 3]), np.array([1, 6, 2]))
    0.5
    """
    found, truth = (
        mean_ranks(each) - (len(each) + 1) / 2 for each in (outputs, targets)
    )
    # Twice a rank is whole, so that these sums are exact for millions of samples.
    spreads = float((found**2).sum()), float((truth**2).sum())
    if not all(spreads):
        return math.nan
    both = float((found * truth).sum()) / math.sqrt(spreads[0] * spreads[1])
    return min(1.0, max(-1.0, both))


def mean_ranks(values: Column) -> Column:
    """Ranks from 1, equal values sharing the mean of theirs.

    >>> mean_ranks(np.array([0.5, 0.1, 0.5])).tolist()
    [2.5, 1.0, 2.5]
    """
    _, place, count = np.unique(values, return_inverse=True, return_counts=True)
    ranks: np.ndarray = (np.cumsum(count) - (count - 1) / 2)[place.reshape(-1)]
    return ranks


def divide(top: Column, bottom: Column, zero_division: float) -> Column:
    """Ratios top / bottom, `zero_division` where bottom is 0."""
    ratios = np.full(np.shape(top), zero_division, dtype=float)
    np.divide(top, bottom, out=ratios, where=bottom > 0)
    return ratios


def average_of(ratios: Column, weights: Column | None = None) -> float:
    """The mean of what is not NaN, unweighted where every weight is 0."""
    known = ~np.isnan(ratios)
    if not known.any():
        return math.nan
    ratios = ratios[known]
    if weights is None or not weights[known].any():
        return float(ratios.mean())
    return float(np.average(ratios, weights=weights[known]))


def undefined(key: str, reason: str) -> float:
    """NaN, and a warning that says so."""
    warnings.warn(f"{key} is undefined: {reason}", stacklevel=2)
    return math.nan
