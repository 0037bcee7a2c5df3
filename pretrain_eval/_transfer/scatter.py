"""How far apart the classes lie, against how wide they are."""

from __future__ import annotations

from typing import Literal

import numpy as np

from pretrain_eval._transfer.arrays import Array, Rows, as_classes, class_means, solved


def h_score(features: Rows, targets: Rows, *, shrinkage: bool = True) -> float:
    """H-score, (1 − a)·tr(Σ_a⁻¹ · Cov(E[f | y])), Σ_a = (1 − a)·Cov(f) + a·tr(Cov(f))/D·I.

    a is the intensity of Ledoit and Wolf; without shrinkage it is 0, and the inverse is
    the pseudo-inverse. All covariances are divided by n.

    From 0 to C − 1, higher is better; neither scale nor rotation of the features
    matters. Without shrinkage it is C − 1, whatever the features, where there are no
    more samples than width, and no noise column lowers it.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        shrinkage: Whether the covariance is regularised.

    Raises:
        ValueError: Shapes do not fit, a value is not finite, or a single class.

    Sources: Bao et al., An Information-Theoretic Approach to Transferability in Task
    Transfer Learning, ICIP 2019; Ibrahim, Ponomareva and Mazumder, Newer Is Not Always
    Better: Rethinking Transferability Metrics, ECML 2022; Ledoit and Wolf, A
    Well-Conditioned Estimator for Large-Dimensional Covariance Matrices, 2004.

    >>> import numpy as np
    >>> rows = np.array([[1.0], [1.0], [3.0], [3.0]])
    >>> round(h_score(rows, np.array([0, 0, 1, 1]), shrinkage=False), 6)
    1.0
    """
    rows, labels = as_classes("h_score", features, targets)
    rows -= rows.mean(0)
    num_samples, width = rows.shape
    counts, means = class_means(rows, labels)
    between = means * np.sqrt(counts / num_samples)[:, None]
    if not np.any(rows):
        return 0.0
    wide = width > num_samples
    gram = rows @ rows.T if wide else rows.T @ rows
    intensity = _intensity(rows, gram) if shrinkage else 0.0
    if intensity == 1:
        return 0.0
    if intensity == 0:
        left, values, _ = np.linalg.svd(rows, full_matrices=False)
        kept = values > values[0] * np.finfo(float).eps * max(rows.shape)
        _, shares = class_means(left[:, kept], labels)
        return float((counts[:, None] * shares**2).sum())
    ridge = intensity / (1 - intensity) * np.vdot(rows, rows) / width
    gram[np.diag_indices(len(gram))] += ridge
    # The scatter and its inverse, both times n; in the smaller of the two spaces.
    if not wide:
        return float(num_samples * (between.T * solved(gram, between.T)).sum())
    crossed = rows @ between.T
    inside = (between**2).sum() - (crossed * solved(gram, crossed)).sum()
    return float(num_samples / ridge * inside)


def _intensity(rows: Array, gram: Array) -> float:
    """Of Ledoit and Wolf's shrinkage, for centred rows and one of their Gram matrices."""
    num_samples, width = rows.shape
    lengths = np.einsum("ij,ij->i", rows, rows)
    mean = lengths.sum() / (num_samples * width)
    square = np.vdot(gram, gram) / num_samples**2
    distance = square - width * mean**2
    noise = ((lengths**2).sum() / num_samples - square) / num_samples
    if min(noise, distance) <= 0:
        return 1.0 if distance <= 0 else 0.0
    return float(min(noise / distance, 1.0))


def shrunk(scatter: Array, lengths: Array) -> Array:
    """Ledoit and Wolf's covariance of centred rows.

    Args:
        scatter: The sum of their outer products.
        lengths: Their squared lengths.
    """
    num_samples, width = len(lengths), len(scatter)
    covariance = scatter / num_samples
    mean = np.trace(covariance) / width
    square = np.vdot(covariance, covariance)
    distance = square - width * mean**2
    noise = ((lengths**2).sum() / num_samples - square) / num_samples
    intensity = 1.0 if distance <= 0 else float(np.clip(noise / distance, 0, 1))
    covariance *= 1 - intensity
    covariance[np.diag_indices(width)] += intensity * mean
    return covariance


def gbc(
    features: Rows,
    targets: Rows,
    *,
    covariance: Literal["spherical", "diagonal"] = "spherical",
    num_dimensions: int | None = 64,
) -> float:
    """GBC, −Σ_{i ≠ j} exp(−B_ij), B_ij the Bhattacharyya distance of two classes.

    B = ⅛·(μ_i − μ_j)ᵀΣ⁻¹(μ_i − μ_j) + ½·log(det Σ / √(det Σ_i · det Σ_j)), Σ the mean of
    the two covariances, Gaussians on the first principal axes. For spherical ones
    Σ_i = σ_i²·I, and the determinants carry the factor D: ½·D·log(σ² / (σ_i·σ_j)).

    From −C·(C − 1) to 0, higher is better; neither scale nor rotation matters.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        covariance: Of each class.
        num_dimensions: How many principal axes; None: all of the features' rank.

    Raises:
        ValueError: Shapes do not fit, or a class has no variance, such as one of a
            single sample.

    Source: Pándy, Agostinelli, Uijlings, Ferrari and Mensink, Transferability
    Estimation Using Bhattacharyya Class Separability, CVPR 2022.

    >>> import numpy as np
    >>> rows = np.array([[0.0], [2.0], [0.0], [2.0]])
    >>> gbc(rows, np.array([0, 0, 1, 1]))
    -2.0
    """
    rows, labels = as_classes("gbc", features, targets)
    axes = _axes(rows, num_dimensions)
    counts, means = class_means(axes, labels)
    _, squares = class_means((axes - means[labels]) ** 2, labels)
    if covariance == "spherical":
        squares = np.broadcast_to(squares.mean(1, keepdims=True), squares.shape)
    elif covariance != "diagonal":
        raise ValueError(f"gbc knows spherical and diagonal, got {covariance!r}")
    if (squares <= 0).any():
        first = int(np.flatnonzero((squares <= 0).any(1))[0])
        raise ValueError(
            "gbc expects classes that vary along every axis; the class of rank"
            f" {first}, of {counts[first]} samples, does not"
        )
    overlap = 0.0
    for mean, square in zip(means, squares, strict=True):
        both = (square + squares) / 2
        apart = ((mean - means) ** 2 / both).sum(1) / 8
        logs = np.log(both) - (np.log(square) + np.log(squares)) / 2
        overlap += np.exp(-apart - logs.sum(1) / 2).sum() - 1
    return -float(overlap)


def _axes(rows: Array, num_dimensions: int | None) -> Array:
    """Coordinates on the principal axes, without those along which nothing varies."""
    if num_dimensions is not None and num_dimensions < 1:
        raise ValueError(
            f"gbc expects num_dimensions of at least 1, got {num_dimensions}"
        )
    centred = rows - rows.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    kept = int((values > values[0] * np.finfo(float).eps * max(rows.shape)).sum())
    if not kept:
        raise ValueError("gbc expects features that vary, got constant ones")
    count = kept if num_dimensions is None else min(num_dimensions, kept)
    axes: Array = left[:, :count] * values[:count]
    return axes


def transrate(features: Rows, targets: Rows, *, distortion: float = 1e-4) -> float:
    """TransRate, R(Z) − Σ_c n_c/n · R(Z_c), R(Z) = ½·log det(I + ZᵀZ / (n·ε)).

    Z are the features minus their mean. The paper's ε is a number in the features' unit
    squared; here ε = `distortion` × the mean variance of a feature, so that the scale
    does not matter.

    In nats; at least 0, higher is better; rotations do not matter.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        distortion: ε as a share of the mean variance, positive.

    Raises:
        ValueError: Shapes do not fit, or `distortion` is not positive.

    Source: Huang, Huang, Rong, Yang and Wei, Frustratingly Easy Transferability
    Estimation, ICML 2022; the weights n_c/n are the paper's.

    >>> import numpy as np
    >>> rows = np.array([[-1.0], [-1.0], [1.0], [1.0]])
    >>> round(transrate(rows, np.array([0, 1, 0, 1])), 6)
    0.0
    """
    if not distortion > 0:
        raise ValueError(f"transrate expects a positive distortion, got {distortion}")
    rows, labels = as_classes("transrate", features, targets)
    rows -= rows.mean(0)
    epsilon = distortion * (rows**2).mean()
    if epsilon == 0:
        return 0.0
    parts = [rows[labels == each] for each in range(labels.max() + 1)]
    inside = sum(len(part) / len(rows) * _rate(part, epsilon) for part in parts)
    return float(_rate(rows, epsilon) - inside)


def _rate(rows: Array, epsilon: float) -> float:
    """½·log det(I + ZᵀZ / (n·ε)), of the smaller of both Gram matrices."""
    gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    gram = gram / (len(rows) * epsilon)
    gram[np.diag_indices(len(gram))] += 1
    return 0.5 * float(np.linalg.slogdet(gram)[1])
