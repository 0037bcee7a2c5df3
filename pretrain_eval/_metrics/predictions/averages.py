"""Ratios of counts, averages over classes, and what is undefined."""

from __future__ import annotations

import math
import warnings

import numpy as np


def divide(top: np.ndarray, bottom: np.ndarray, zero_division: float) -> np.ndarray:
    """Ratios top / bottom, `zero_division` where bottom is 0."""
    ratios = np.full(np.shape(top), zero_division, dtype=float)
    np.divide(top, bottom, out=ratios, where=bottom > 0)
    return ratios


def average_of(ratios: np.ndarray, weights: np.ndarray | None = None) -> float:
    """The mean of what is not NaN, unweighted where every weight is 0."""
    known = ~np.isnan(ratios)
    if not known.any():
        return math.nan
    if weights is None or not weights[known].any():
        return float(ratios[known].mean())
    return float(np.average(ratios[known], weights=weights[known]))


def undefined(key: str, reason: str) -> float:
    """NaN, and a warning that says so."""
    warnings.warn(f"{key} is undefined: {reason}", stacklevel=2)
    return math.nan
