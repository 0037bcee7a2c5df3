"""How near samples of one class are to each other."""

from __future__ import annotations

import numpy as np

from pretrain_eval._transfer.arrays import Array, Rows, as_classes, class_means


def knn_accuracy(features: Rows, targets: Rows, *, k: int = 5) -> float:
    """Share of samples whose class most of their k nearest other samples have.

    By Euclidean distance; each sample is left out in turn; of classes with equally many
    votes the first counts.

    From 0 to 1, higher is better; neither scale nor rotation matters.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        k: How many vote, fewer than samples.

    Raises:
        ValueError: Shapes do not fit, or k is out of range.

    Source: Cover and Hart, Nearest Neighbor Pattern Classification, 1967.

    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.5]])
    >>> knn_accuracy(rows, np.array([0, 0, 1, 1]), k=1)
    1.0
    """
    from sklearn.neighbors import NearestNeighbors

    rows, labels = as_classes("knn_accuracy", features, targets)
    if not 1 <= k < len(rows):
        raise ValueError(
            f"knn_accuracy expects k from 1 to {len(rows) - 1}, fewer than samples, got"
            f" {k}"
        )
    # Sums of squares round less near the origin.
    rows -= rows.mean(0)
    found = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(rows)
    voters = labels[found.kneighbors(return_distance=False)]  # itself is no neighbour
    votes = np.zeros((len(rows), labels.max() + 1), dtype=int)
    np.add.at(votes, (np.arange(len(rows))[:, None], voters), 1)
    return float((votes.argmax(1) == labels).mean())


def nearest_mean_accuracy(features: Rows, targets: Rows) -> float:
    """Share of samples that are nearest to the mean of their own class, themselves out.

    By Euclidean distance. A class of one sample has no mean without it, and that sample
    counts as wrong.

    From 0 to 1, higher is better; neither scale nor rotation matters.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.

    Raises:
        ValueError: Shapes do not fit.

    Source: Mensink, Verbeek, Perronnin and Csurka, Distance-Based Image Classification,
    2013.

    >>> import numpy as np
    >>> rows = np.array([[0.0], [1.0], [10.0], [11.0]])
    >>> nearest_mean_accuracy(rows, np.array([0, 0, 1, 1]))
    1.0
    """
    rows, labels = as_classes("nearest_mean_accuracy", features, targets)
    rows -= rows.mean(0)
    counts, means = class_means(rows, labels)
    everyone = np.arange(len(rows))
    distances = (means**2).sum(1) - 2 * rows @ means.T + (rows**2).sum(1)[:, None]
    # x − mean of the others = n/(n − 1) · (x − mean)
    own = ((rows - means[labels]) ** 2).sum(1)
    size = counts[labels].astype(float)
    factor = np.divide(size, size - 1, out=np.full(len(size), np.inf), where=size > 1)
    own = np.where(size > 1, own * np.where(size > 1, factor, 1) ** 2, np.inf)
    distances[everyone, labels] = own
    return float((distances.argmin(1) == labels).mean())


def parc(
    features: Rows, targets: Rows, *, num_samples: int | None = 500, seed: int = 0
) -> float:
    """PARC, the rank correlation between distances of features and distances of labels.

    Over all pairs of samples; the distance of two samples is 1 − Pearson's correlation
    of their rows, for labels that of one-hot rows; the correlation is Spearman's.

    From −1 to 1, higher is better; the scale of the features does not matter. The
    authors print it times 100.

    Args:
        features: `(num_samples, width)`, of a width of at least 2.
        targets: Class labels, `(num_samples,)`.
        num_samples: The most that are looked at, drawn, since there are half its square
            of pairs; None: all.
        seed: Of that draw.

    Raises:
        ValueError: Shapes do not fit, or all features of a sample are equal.

    Source: Bolya, Mittapalli and Hoffman, Scalable Diverse Model Selection for
    Accessible Transfer Learning, NeurIPS 2021, who look at 500 samples.

    >>> import numpy as np
    >>> rows = np.array([[1.0, 0.0], [2.0, 1.0], [0.0, 1.0], [1.0, 3.0]])
    >>> round(parc(rows, np.array([0, 0, 1, 1])), 6)
    1.0
    """
    rows, labels = as_classes("parc", features, targets)
    if num_samples is not None and num_samples < len(rows):
        if num_samples < 3:
            raise ValueError(
                f"parc expects num_samples of at least 3, got {num_samples}"
            )
        drawn = np.random.default_rng(seed).permutation(len(rows))[:num_samples]
        rows, labels = rows[drawn], labels[drawn]
    rows -= rows.mean(1, keepdims=True)
    lengths = np.sqrt((rows**2).sum(1, keepdims=True))
    if (lengths == 0).any():
        raise ValueError(
            "parc expects features that differ within each sample, got equal ones"
        )
    rows /= lengths
    pairs = np.tril_indices(len(rows), -1)
    differ = (labels[pairs[0]] != labels[pairs[1]]).astype(float)
    return _rank_correlation(1 - (rows @ rows.T)[pairs], differ)


def _rank_correlation(first: Array, second: Array) -> float:
    """Spearman's, ties at their mean rank; 0 where one does not vary."""
    from scipy.stats import rankdata

    one, two = (rankdata(each) for each in (np.round(first, 12), second))
    one, two = one - one.mean(), two - two.mean()
    scale = np.sqrt((one**2).sum() * (two**2).sum())
    return float(one @ two / scale) if scale > 0 else 0.0
