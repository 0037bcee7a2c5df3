"""The estimators by name: which formula, and what a value of it is worth."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from pretrain_eval import _transfer
from pretrain_eval._scoring.formulas import t_quantile
from pretrain_eval._transfer import Array

Formula = Callable[[Array, Array], float]

# Of class targets: what each formula reads is features, but for those of `SOURCE`.
OF_CLASSES: dict[str, Formula] = {
    "logme": _transfer.logme,
    "h_score": _transfer.h_score,
    "h_score_unshrunk": partial(_transfer.h_score, shrinkage=False),
    "gbc": _transfer.gbc,
    "transrate": _transfer.transrate,
    "parc": _transfer.parc,
    "knn_accuracy": _transfer.knn_accuracy,
    "nearest_mean_accuracy": _transfer.nearest_mean_accuracy,
    "lda_accuracy": _transfer.lda_accuracy,
    "probe_accuracy": _transfer.probe_accuracy,
    "leep": _transfer.leep,
    "nce": _transfer.nce,
    "nleep": _transfer.nleep,
}
OF_NUMBERS: dict[str, Formula] = {
    "logme": _transfer.logme,
    "probe_r2": _transfer.probe_r2,
}
SOURCE = ("leep", "nce")
# Computed where they are asked for by name: one is slow, one is there to be compared.
ASKED = ("nleep", "h_score_unshrunk")
_PERMUTATIONS = 3


@dataclass(frozen=True)
class Measured:
    """The value of a formula, and what it would be without any relation.

    Attributes:
        value: NaN where it is not defined.
        null: The mean over permuted targets.
        low: The lower end of the interval for new examples, of 95 %.
        high: The upper end.
        seconds: What the value took.
        note: Where it is not defined, or says little.
    """

    value: float = np.nan
    null: float = np.nan
    low: float = np.nan
    high: float = np.nan
    seconds: float = 0.0
    note: str = ""


def measured(
    name: str, formula: Formula, rows: Array, targets: Array, seed: int, pairs: int
) -> Measured:
    """A formula's value with its null value and interval.

    The interval is from differences between complementary halves of the examples, each
    class halved: Σ (a − b)²/4 over the pairs is the variance of the value. Halves, and
    no draws with repetition, since a copy of a sample would be its own neighbour.

    Source: McCarthy, Pseudo-Replication: Half Samples, 1969.
    """
    start = time.perf_counter()
    try:
        value = formula(rows, targets)
    except ValueError as error:
        return Measured(note=f"not defined: {error}")
    seconds = time.perf_counter() - start
    note = _saturated(name, value, rows, targets)
    rng = np.random.default_rng(seed)
    try:
        null = np.mean(
            [formula(rows, rng.permutation(targets)) for _ in range(_PERMUTATIONS)]
        )
        width = _half_width(formula, rows, targets, seed, pairs)
    except ValueError as error:
        return Measured(value, seconds=seconds, note=note or f"no interval: {error}")
    return Measured(value, float(null), value - width, value + width, seconds, note)


def _half_width(
    formula: Formula, rows: Array, targets: Array, seed: int, pairs: int
) -> float:
    if pairs == 0:
        return np.nan
    is_classes = targets.dtype.kind in "iu"
    strata = targets if is_classes else np.zeros(len(targets), dtype=int)
    squares = []
    for number in range(pairs):
        half = _transfer.folds(strata, 2, seed + number) == 0
        one, two = (formula(rows[part], targets[part]) for part in (half, ~half))
        # Both may be infinite, and then nothing is known of the spread.
        squares.append(
            (one - two) ** 2 / 4 if np.isfinite([one, two]).all() else np.nan
        )
    return t_quantile(0.975, pairs) * float(np.sqrt(np.mean(squares)))


def _saturated(name: str, value: float, rows: Array, targets: Array) -> str:
    num_samples, width = rows.shape
    if name == "h_score_unshrunk" and num_samples <= width:
        return (
            f"saturated: C − 1 whatever the features, {num_samples} samples of width"
            f" {width}"
        )
    if name == "logme" and np.isinf(value):
        return "saturated: fewer features than samples fit the targets exactly"
    if name.endswith("accuracy") and value == 1:
        return "saturated: no sample is wrong"
    return ""
