"""What the classes of the pretraining tell about those of the task."""

from __future__ import annotations

import warnings

import numpy as np

from pretrain_eval._transfer.arrays import (
    Array,
    Rows,
    as_array,
    as_classes,
    as_labels,
    sums_by_class,
)


def leep(probabilities: Rows, targets: Rows) -> float:
    """LEEP, 1/n · Σ_i log Σ_z P(y_i | z)·θ_iz, with P(y, z) = 1/n · Σ_{i: y_i = y} θ_iz.

    θ_iz is the probability that the pretrained model gives source class z for sample i.
    Source classes of probability 0 everywhere are left out.

    In nats; at most 0, higher is better.

    Args:
        probabilities: `(num_samples, num_source_classes)`, rows that sum to 1.
        targets: Class labels, `(num_samples,)`.

    Raises:
        ValueError: Rows are no probabilities, or there is a single class.

    Source: Nguyen, Hassner, Seeger and Archambeau, LEEP: A New Measure to Evaluate
    Transferability of Learned Representations, ICML 2020.

    >>> import numpy as np
    >>> leep(np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]), np.array([0, 0, 1]))
    0.0
    """
    chances, labels = _chances("leep", probabilities, targets)
    joint = sums_by_class(chances, labels, int(labels.max()) + 1)
    mass = joint.sum(0)
    given = np.divide(joint, mass, out=np.zeros_like(joint), where=mass > 0)
    expected = (chances * given[labels]).sum(1)
    return float(np.log(expected).mean())


def nce(probabilities: Rows, targets: Rows) -> float:
    """NCE, −H(Y | Z) = Σ_{y, z} P(y, z)·log(P(y, z) / P(z)), Z the most probable class.

    In nats; from −log(number of classes) to 0, higher is better.

    Args:
        probabilities: `(num_samples, num_source_classes)`; or source labels themselves,
            integers of shape `(num_samples,)`.
        targets: Class labels, `(num_samples,)`.

    Raises:
        ValueError: Rows are no probabilities, or there is a single class.

    Source: Tran, Nguyen and Hassner, Transferability and Hardness of Supervised
    Classification Tasks, ICCV 2019.

    >>> import numpy as np
    >>> round(nce(np.array([7, 7, 7, 7]), np.array([0, 0, 1, 1])), 6)
    -0.693147
    """
    given = as_array(probabilities)
    if given.ndim == 1 and given.dtype.kind in "iub":
        labels = as_labels("nce", targets, len(given))
        sources = np.unique(given, return_inverse=True)[1]
    else:
        chances, labels = _chances("nce", given, targets)
        sources = np.unique(chances.argmax(1), return_inverse=True)[1]
    joint = np.zeros((labels.max() + 1, sources.max() + 1))
    np.add.at(joint, (labels, sources), 1 / len(labels))
    given_source = joint / joint.sum(0)
    some = joint > 0
    return float((joint[some] * np.log(given_source[some])).sum())


def nleep(
    features: Rows,
    targets: Rows,
    *,
    num_components: int | None = None,
    seed: int = 0,
) -> float:
    """NLEEP: LEEP with the components of a Gaussian mixture as source classes.

    The features are projected on the principal axes that hold 80 % of their variance;
    the mixture, of full covariances, is fitted on them; then it is 1/n · Σ_i log Σ_v
    P(y_i | v)·P(v | x_i).

    In nats; at most 0, higher is better. It depends on the seed.

    Args:
        features: `(num_samples, width)`.
        targets: Class labels, `(num_samples,)`.
        num_components: Of the mixture; by default five a class, at most a fifth of the
            samples.
        seed: Of the mixture's start.

    Raises:
        ValueError: Shapes do not fit, more components than samples, constant features.

    Source: Li, Jia, Sang, Zhu, Green, Wang and Gong, Ranking Neural Checkpoints, CVPR
    2021.

    >>> import numpy as np
    >>> rows = np.random.default_rng(0).normal(size=(40, 3))
    >>> nleep(rows, (rows[:, 0] > 0).astype(int), num_components=4) < 0
    True
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    rows, labels = as_classes("nleep", features, targets)
    wanted = min(5 * (labels.max() + 1), max(1, len(rows) // 5))
    count = int(wanted) if num_components is None else num_components
    if not 1 <= count <= len(rows):
        raise ValueError(
            f"nleep expects num_components from 1 to the number of samples, {len(rows)},"
            f" got {count}"
        )
    mixture = GaussianMixture(count, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        chances = mixture.fit(projected := _projected(rows)).predict_proba(projected)
    return leep(chances, labels)


def _projected(rows: Array) -> Array:
    """On the principal axes that hold 80 % of the variance, whose mean is then 1."""
    rows = rows - rows.mean(0)
    left, values, _ = np.linalg.svd(rows, full_matrices=False)
    shares = np.cumsum(values**2)
    if shares[-1] == 0:
        raise ValueError("nleep expects features that vary, got constant ones")
    count = int(np.searchsorted(shares, 0.8 * shares[-1])) + 1
    axes = left[:, :count] * values[:count]
    projected: Array = axes / np.sqrt((axes**2).mean())
    return projected


def _chances(what: str, probabilities: Rows, targets: Rows) -> tuple[Array, Array]:
    chances, labels = as_classes(what, probabilities, targets)
    # Rounded to half precision, 1,000 classes are this far from 1.
    wrong = chances.min() < 0 or np.abs(chances.sum(1) - 1).max() > 1e-2
    if wrong:
        raise ValueError(
            f"{what} expects rows of probabilities that sum to 1, got sums from"
            f" {chances.sum(1).min():.3g} to {chances.sum(1).max():.3g} and a smallest"
            f" entry of {chances.min():.3g}; take the softmax of logits"
        )
    return chances / chances.sum(1, keepdims=True), labels
