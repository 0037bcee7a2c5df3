"""Linear models of the features, scored on samples that they were not fitted on."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Sequence
from typing import Literal

import numpy as np

from pretrain_eval._transfer.arrays import (
    Array,
    Rows,
    as_classes,
    as_numbers,
    as_rows,
    check_folds,
    folds,
    one_hot,
    solved,
    sums_by_class,
)
from pretrain_eval._transfer.scatter import shrunk

PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)


def lda_accuracy(
    features: Rows, targets: Rows, *, num_folds: int = 5, seed: int = 0
) -> float:
    """Share of samples that linear discriminant analysis classifies, fitted without them.

    The class of largest xᵀΣ⁻¹μ_c − ½·μ_cᵀΣ⁻¹μ_c + log π_c, Σ the covariance within the
    classes by the shrinkage of Ledoit and Wolf, all of the other folds.

    From 0 to 1, higher is better; neither scale nor rotation matters.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        num_folds: Of the cross-validation, stratified.
        seed: Of the folds.

    Raises:
        ValueError: Shapes do not fit, or there are fewer samples than folds.

    Sources: Fisher, The Use of Multiple Measurements in Taxonomic Problems, 1936;
    Ledoit and Wolf, 2004.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(40, 3))
    >>> labels = np.arange(40) % 2
    >>> lda_accuracy(rows + 9 * labels[:, None], labels)
    1.0
    """
    rows, labels = as_classes("lda_accuracy", features, targets)
    check_folds("lda_accuracy", num_folds, len(rows))
    rows = _narrow(rows - rows.mean(0))
    fold = folds(labels, num_folds, seed)
    order = np.argsort(fold, kind="stable")
    ends = np.searchsorted(fold[order], np.arange(num_folds + 1))
    parts = [slice(*each) for each in itertools.pairwise(ends)]
    rows, labels = rows[order], labels[order]

    right = 0
    for part, weights, bias in _discriminants(rows, labels, parts):
        chosen = (rows[part] @ weights + bias).argmax(1)
        right += int((chosen == labels[part]).sum())
    return right / len(rows)


def _discriminants(
    rows: Array, labels: Array, parts: Sequence[slice]
) -> Iterator[tuple[slice, Array, Array]]:
    """By fold, the weights and biases of an analysis of the other folds.

    Yields:
        The fold, `(width, num_classes)` and `(num_classes,)`.
    """
    num_classes = int(labels.max()) + 1
    sums = [sums_by_class(rows[p], labels[p], num_classes) for p in parts]
    counts = [np.bincount(labels[p], minlength=num_classes) for p in parts]
    mean_length = np.vdot(rows, rows) / len(rows)

    folded = zip(parts, sums, counts, _grams_without(rows, parts), strict=True)
    for part, inside, count, gram in folded:
        known = sum(counts) - count
        means = (sum(sums) - inside) / np.maximum(known, 1)[:, None]
        gram -= (means * known[:, None]).T @ means

        apart = _to_own_mean(rows, labels, means, [p for p in parts if p is not part])
        covariance = shrunk(gram, apart)
        covariance[np.diag_indices(len(covariance))] += mean_length * 1e-12

        weights = solved(covariance, means.T)
        with np.errstate(divide="ignore"):  # a class that is unknown is never chosen
            priors = np.log(known / known.sum())
        yield part, weights, priors - (means.T * weights).sum(0) / 2


def _to_own_mean(
    rows: Array, labels: Array, means: Array, parts: Sequence[slice]
) -> Array:
    """The squared distance of each of the parts' rows to the mean of its class."""
    found = []
    for part in parts:
        residuals = rows[part] - means[labels[part]]
        found.append(np.einsum("ij,ij->i", residuals, residuals))
    return np.concatenate(found)


def _grams_without(rows: Array, parts: Sequence[slice]) -> Iterator[Array]:
    """By fold, the Gram matrix of the other folds' rows.

    Those of the folds are kept where together they are at most twice as large as the
    rows, so that each row is multiplied once; else each is computed again.
    """
    kept: list[Array] = []
    if len(parts) * rows.shape[1] <= 2 * len(rows):
        kept = [rows[part].T @ rows[part] for part in parts]
        whole: Array = np.sum(kept, axis=0)
    else:
        whole = rows.T @ rows
    for number, part in enumerate(parts):
        yield whole - (kept[number] if kept else rows[part].T @ rows[part])


def probe_accuracy(
    features: Rows,
    targets: Rows,
    *,
    method: Literal["ridge", "logistic"] = "ridge",
    penalties: Sequence[float] = PENALTIES,
    num_folds: int = 5,
    seed: int = 0,
) -> float:
    """Share of samples that a linear probe classifies, fitted without them.

    Features are standardised, over all samples and without a look at targets. A ridge
    probe minimises mean (W·x + b − onehot)² + λ·‖W‖², a logistic one the mean log-loss +
    λ/2·‖W‖²; the λ counts that does best over all folds, which favours features by
    about as much as the best of a few equal numbers is above their mean.

    From 0 to 1, higher is better; neither scale nor offset of a feature matters.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        method: Ridge takes one decomposition a fold, logistic regression a fit a fold
            and penalty.
        penalties: Candidates for λ, positive.
        num_folds: Of the cross-validation, stratified.
        seed: Of the folds.

    Raises:
        ValueError: Shapes do not fit, a penalty is not positive, or there are fewer
            samples than folds.

    Source: Kornblith, Shlens and Le, Do Better ImageNet Models Transfer Better?, CVPR
    2019.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(40, 3))
    >>> probe_accuracy(rows, (rows[:, 0] > 0).astype(int)) > 0.8
    True
    """
    rows, labels = as_classes("probe_accuracy", features, targets)
    _check("probe_accuracy", penalties, num_folds, len(rows))
    fold = folds(labels, num_folds, seed)
    if method == "logistic":
        return _logistic(_standard(rows), labels, fold, penalties)
    if method != "ridge":
        raise ValueError(f"probe_accuracy knows ridge and logistic, got {method!r}")
    hot, right = one_hot(labels), np.zeros(len(penalties))
    for held, predicted in _ridge(_standard(rows), hot, fold, penalties):
        right += (predicted.argmax(2) == labels[held]).sum(1)
    return float(right.max() / len(rows))


def probe_r2(
    features: Rows,
    targets: Rows,
    *,
    penalties: Sequence[float] = PENALTIES,
    num_folds: int = 5,
    seed: int = 0,
) -> float:
    """1 − Σ(prediction − target)² / Σ(target − mean)² of a ridge probe, cross-validated.

    As `probe_accuracy` with ridge, for numbers; several outputs count by the mean of
    theirs.

    At most 1, higher is better; 0 is the mean's.

    Args:
        features: `(num_samples, width)`.
        targets: Numbers, `(num_samples,)` or `(num_samples, num_outputs)`.
        penalties: Candidates for λ, positive.
        num_folds: Of the cross-validation.
        seed: Of the folds.

    Raises:
        ValueError: Shapes do not fit, a penalty is not positive, a target is constant.

    Source: Hoerl and Kennard, Ridge Regression: Biased Estimation for Nonorthogonal
    Problems, 1970.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(40, 3))
    >>> probe_r2(rows, rows @ [1.0, 2.0, 3.0]) > 0.99
    True
    """
    rows = as_rows("probe_r2", features)
    numbers = as_numbers("probe_r2", targets, len(rows))
    _check("probe_r2", penalties, num_folds, len(rows))
    fold = folds(np.zeros(len(rows), dtype=int), num_folds, seed)
    errors = np.zeros((len(penalties), numbers.shape[1]))
    for held, predicted in _ridge(_standard(rows), numbers, fold, penalties):
        errors += ((predicted - numbers[held]) ** 2).sum(1)
    spread = ((numbers - numbers.mean(0)) ** 2).sum(0)
    return float((1 - errors / spread).mean(1).max())


def _check(
    what: str, penalties: Sequence[float], num_folds: int, num_samples: int
) -> None:
    if not penalties or not all(penalty > 0 for penalty in penalties):
        raise ValueError(f"{what} expects positive penalties, got {penalties!r}")
    check_folds(what, num_folds, num_samples)


def _standard(rows: Array) -> Array:
    """Of mean 0 and variance 1; what does not vary becomes 0."""
    rows = rows - rows.mean(0)
    spread = rows.std(0)
    standard: Array = rows / np.where(spread > 0, spread, 1)
    return standard


def _narrow(rows: Array) -> Array:
    """No wider than there are samples: a rotation, with its empty columns left out."""
    if rows.shape[1] <= 2 * len(rows):
        return rows
    triangle: Array = np.linalg.qr(rows.T, mode="r")  # type: ignore[assignment] # an array
    return triangle.T


def _ridge(
    rows: Array, columns: Array, fold: Array, penalties: Sequence[float]
) -> Iterator[tuple[Array, Array]]:
    """By fold, which samples were held out and what is predicted of them.

    Yields:
        A mask, and `(num_penalties, num_held, num_columns)`.
    """
    rows = _narrow(rows)
    parts = [fold == each for each in range(fold.max() + 1)]
    grams = [rows[part].T @ rows[part] for part in parts]
    crosses = [rows[part].T @ columns[part] for part in parts]
    whole, crossed = sum(grams), sum(crosses)
    for part, gram, cross in zip(parts, grams, crosses, strict=True):
        count = int((~part).sum())
        mean, offset = rows[~part].mean(0), columns[~part].mean(0)
        values, axes = np.linalg.eigh(whole - gram - count * np.outer(mean, mean))
        inside = axes.T @ (crossed - cross - count * np.outer(mean, offset))
        held = (rows[part] - mean) @ axes
        yield (
            part,
            np.stack(
                [
                    held @ (inside / (np.maximum(values, 0) + each * count)[:, None])
                    + offset
                    for each in penalties
                ]
            ),
        )


def _logistic(
    rows: Array, labels: Array, fold: Array, penalties: Sequence[float]
) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    rows = _narrow(rows)
    right = np.zeros(len(penalties))
    for each in range(fold.max() + 1):
        known = fold != each
        if len(np.unique(labels[known])) < 2:
            right += (labels[~known] == labels[known][0]).sum()
            continue
        for number, penalty in enumerate(penalties):
            # scikit-learn weighs the summed loss, not the penalty of the mean one.
            fit = LogisticRegression(C=1 / (penalty * known.sum()), max_iter=1000)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                fit.fit(rows[known], labels[known])
            right[number] += (fit.predict(rows[~known]) == labels[~known]).sum()
    return float(right.max() / len(rows))
