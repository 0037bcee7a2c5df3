"""Formulas of frozen features, against the papers written out and scikit-learn."""

from unittest import mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats
from sklearn.base import BaseEstimator
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier

from pretrain_eval import functional
from pretrain_eval._transfer.arrays import folds
from pretrain_eval._transfer.scatter import shrunk


def drawn(num_samples=120, width=7, num_classes=4, seed=0, gap=0.7):
    """Classes around means of their own, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(num_classes, size=num_samples)
    labels[:num_classes] = np.arange(num_classes)
    labels[num_classes : 2 * num_classes] = np.arange(num_classes)
    means = gap * rng.normal(size=(num_classes, width))
    return rng.normal(size=(num_samples, width)) + means[labels], labels


def chances(num_samples=90, num_sources=6, seed=0, dead=True):
    """Probabilities of source classes, one of which never occurs."""
    rows = np.random.default_rng(seed).dirichlet(np.ones(num_sources), num_samples)
    if dead:
        rows[:, 2] = 0
    return rows / rows.sum(1, keepdims=True)


def evidence_twin(rows, column):
    """The largest log evidence, from the density of y itself, by scipy."""
    num_samples = len(column)
    gram = rows @ rows.T

    def negative(logs):
        covariance = np.exp(logs[0]) * gram + np.exp(logs[1]) * np.eye(num_samples)
        _, logdet = np.linalg.slogdet(covariance)
        form = column @ np.linalg.solve(covariance, column)
        return 0.5 * (num_samples * np.log(2 * np.pi) + logdet + form) / num_samples

    found = [
        optimize.minimize(
            negative,
            start,
            method="Nelder-Mead",
            options={"xatol": 1e-8, "fatol": 1e-12},
        )
        for start in [(0, 0), (-4, -1), (-8, -1)]
    ]
    return -min(each.fun for each in found)


def fixed_point_twin(rows, column, steps=3000):
    """The paper's iteration for α and β, run to its end, and its formula (2)."""
    num_samples, width = rows.shape
    alpha, beta = 1.0, 1.0
    values = np.linalg.eigvalsh(rows.T @ rows)
    for _ in range(steps):
        precision = alpha * np.eye(width) + beta * rows.T @ rows
        mean = beta * np.linalg.solve(precision, rows.T @ column)
        gamma = (beta * values / (alpha + beta * values)).sum()
        alpha = gamma / (mean @ mean)
        beta = (num_samples - gamma) / ((rows @ mean - column) ** 2).sum()
    precision = alpha * np.eye(width) + beta * rows.T @ rows
    mean = beta * np.linalg.solve(precision, rows.T @ column)
    evidence = (
        num_samples / 2 * np.log(beta)
        + width / 2 * np.log(alpha)
        - num_samples / 2 * np.log(2 * np.pi)
        - beta / 2 * ((rows @ mean - column) ** 2).sum()
        - alpha / 2 * mean @ mean
        - np.linalg.slogdet(precision)[1] / 2
    )
    return evidence / num_samples


def rank_deficient():
    rows, labels = drawn(60, 4)
    return np.hstack([rows, rows @ np.ones((4, 3)), np.zeros((60, 1))]), labels


@pytest.mark.parametrize(
    "case",
    [drawn(60, 7), drawn(30, 50, seed=3), rank_deficient()],
    ids=["many samples", "fewer samples than features", "rank-deficient"],
)
def test_logme_is_the_largest_density_of_the_targets(case):
    """It equals the Gaussian density of y, maximised over both variances."""
    rows, labels = case
    expected = [
        evidence_twin(rows, (labels == each).astype(float)) for each in range(4)
    ]
    assert functional.logme(rows, labels) == pytest.approx(np.mean(expected), abs=1e-6)


def test_logme_is_where_the_papers_iteration_ends():
    """For classes and for numbers, one or several."""
    rows, labels = drawn(90, 6)
    hot = np.eye(4)[labels]
    expected = np.mean([fixed_point_twin(rows, column) for column in hot.T])
    assert functional.logme(rows, labels) == pytest.approx(expected, abs=1e-6)
    assert functional.logme(rows, hot) == pytest.approx(expected, abs=1e-6)
    one = rows[:, 0] + np.random.default_rng(1).normal(size=90)
    expected = fixed_point_twin(rows, one)
    assert functional.logme(rows, one) == pytest.approx(expected, abs=1e-6)


def test_logme_is_infinite_where_few_features_fit_exactly():
    """The evidence has no maximum there."""
    labels = np.arange(20) % 2
    assert functional.logme(np.eye(2)[labels], labels) == np.inf


def test_logme_holds_all_the_eigenvalues():
    """Columns of zeros change nothing, which they do where D − k are forgotten."""
    rows, labels = drawn(30, 20)
    padded = np.hstack([rows, np.zeros((30, 40))])
    assert functional.logme(padded, labels) == pytest.approx(
        functional.logme(rows, labels), abs=1e-12
    )


def leep_twin(rows, labels):
    total = 0.0
    joint = np.zeros((labels.max() + 1, rows.shape[1]))
    for row, label in zip(rows, labels, strict=True):
        joint[label] += row / len(rows)
    for row, label in zip(rows, labels, strict=True):
        alive = joint.sum(0) > 0
        given_source = joint[label, alive] / joint[:, alive].sum(0)
        total += np.log(row[alive] @ given_source)
    return total / len(rows)


def nce_twin(sources, labels):
    total = 0.0
    for source in set(sources.tolist()):
        for label in set(labels.tolist()):
            both = np.mean((sources == source) & (labels == label))
            if both:
                total += both * np.log(both / np.mean(sources == source))
    return total


def test_leep_and_nce_are_the_papers():
    """With a source class that never occurs; by probabilities and by source labels."""
    rows, (_, labels) = chances(), drawn(90)
    assert functional.leep(rows, labels) == pytest.approx(
        leep_twin(rows, labels), abs=1e-12
    )
    sources = rows.argmax(1)
    expected = nce_twin(sources, labels)
    assert functional.nce(rows, labels) == pytest.approx(expected, abs=1e-12)
    assert functional.nce(sources, labels) == pytest.approx(expected, abs=1e-12)


def test_nleep_is_leep_of_a_mixture():
    """Its posteriors are those of scikit-learn's mixture on 80 % of the variance."""
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    rows, labels = drawn(200, 6, gap=2.0)
    axes = PCA(0.8, svd_solver="full").fit_transform(rows)
    axes /= np.sqrt((axes**2).mean())
    posteriors = GaussianMixture(4, random_state=0).fit(axes).predict_proba(axes)
    assert functional.nleep(rows, labels, num_components=4) == pytest.approx(
        leep_twin(posteriors, labels), abs=1e-6
    )
    assert functional.nleep(1e3 * rows, labels) == pytest.approx(
        functional.nleep(rows, labels), abs=1e-6
    )


def h_twin(rows, labels, covariance, share):
    smooth = np.stack([rows[labels == label].mean(0) for label in labels])
    between = np.cov(smooth, rowvar=False, ddof=0)
    return (1 - share) * np.trace(np.linalg.pinv(covariance, rcond=1e-12) @ between)


@pytest.mark.parametrize("shape", [(120, 7), (40, 90), (60, 60)])
def test_the_h_score_is_the_trace_of_the_paper(shape):
    """By scikit-learn's shrinkage, and by numpy's pseudo-inverse without."""
    rows, labels = drawn(*shape)
    fitted = LedoitWolf().fit(rows)
    expected = h_twin(rows, labels, fitted.covariance_, fitted.shrinkage_)
    assert functional.h_score(rows, labels) == pytest.approx(expected, abs=1e-9)
    plain = np.cov(rows, rowvar=False, ddof=0)
    assert functional.h_score(rows, labels, shrinkage=False) == pytest.approx(
        h_twin(rows, labels, plain, 0.0), abs=1e-8
    )


def test_the_h_score_says_nothing_where_samples_are_few():
    """Without shrinkage it is C − 1 of pure noise."""
    rows = np.random.default_rng(0).normal(size=(40, 50))
    labels = np.arange(40) % 4
    assert functional.h_score(rows, labels, shrinkage=False) == pytest.approx(3.0)
    assert functional.h_score(rows, labels) < 1.0


def test_features_without_noise_or_rank_have_values_too():
    """Classes that are points; columns that repeat."""
    labels = np.arange(60) % 3
    assert functional.lda_accuracy(np.eye(3)[labels], labels) == 1.0
    rows, labels = drawn(90, 5)
    for matrix in (np.hstack([rows] * 8), np.hstack([rows, np.zeros((90, 30))])):
        assert 0 < functional.h_score(matrix, labels) < 3
        assert functional.h_score(matrix, labels, shrinkage=False) == pytest.approx(
            functional.h_score(rows, labels, shrinkage=False), abs=1e-9
        )


@pytest.mark.parametrize("exponent", [0, 4, 8])
def test_logme_survives_features_of_very_different_sizes(exponent):
    """By the decomposition of FᵀF where it is exact enough, and of F where not."""
    rows, labels = drawn(60, 3)
    rows[:, 0] *= 10.0**-exponent
    expected = [evidence_twin(rows, column) for column in np.eye(4)[labels].T]
    assert functional.logme(rows, labels) == pytest.approx(np.mean(expected), abs=1e-6)


def gbc_twin(rows, labels, covariance):
    total, width = 0.0, rows.shape[1]
    for i in range(labels.max() + 1):
        for j in range(labels.max() + 1):
            if i == j:
                continue
            one, two = rows[labels == i], rows[labels == j]
            squares = [np.diag(part.var(0)) for part in (one, two)]
            if covariance == "spherical":
                squares = [np.trace(s) / width * np.eye(width) for s in squares]
            both = (squares[0] + squares[1]) / 2
            gap = one.mean(0) - two.mean(0)
            distance = gap @ np.linalg.solve(both, gap) / 8
            distance += (
                np.log(
                    np.linalg.det(both)
                    / np.sqrt(np.linalg.det(squares[0] @ squares[1]))
                )
                / 2
            )
            total -= np.exp(-distance)
    return total


@pytest.mark.parametrize("covariance", ["spherical", "diagonal"])
def test_gbc_is_the_papers(covariance):
    """Determinants are those of D dimensions."""
    from sklearn.decomposition import PCA

    rows, labels = drawn(200, 9)
    axes = PCA(5, svd_solver="full").fit_transform(rows)
    found = functional.gbc(rows, labels, covariance=covariance, num_dimensions=5)
    assert found == pytest.approx(gbc_twin(axes, labels, covariance), abs=1e-9)


@pytest.mark.parametrize("k", [1, 4, 5])
def test_knn_leaves_each_sample_out(k):
    """As scikit-learn does that is fitted on all the others."""
    rows, labels = drawn(80)
    right = 0
    for i in range(80):
        others = np.arange(80) != i
        fitted = KNeighborsClassifier(k, algorithm="brute").fit(
            rows[others], labels[others]
        )
        right += fitted.predict(rows[i : i + 1])[0] == labels[i]
    assert functional.knn_accuracy(rows, labels, k=k) == right / 80


def test_the_nearest_mean_leaves_each_sample_out():
    """The mean of its class is that of the others; alone in its class it is wrong."""
    rows, labels = drawn(60)
    labels[7] = 9
    right = 0
    for i in range(60):
        others = np.arange(60) != i
        present = np.unique(labels[others])
        means = [rows[others & (labels == each)].mean(0) for each in present]
        distances = ((rows[i] - np.stack(means)) ** 2).sum(1)
        right += present[distances.argmin()] == labels[i]
    assert functional.nearest_mean_accuracy(rows, labels) == right / 60


@pytest.mark.parametrize("shape", [(150, 8), (50, 80)])
def test_lda_is_that_of_scikit_learn(shape):
    """With the shrunk covariance within the classes, fold by fold."""
    rows, labels = drawn(*shape, gap=0.5)
    fold, right = folds(labels, 5, 0), 0
    for each in range(5):
        known = fold != each
        part, own = rows[known], labels[known]
        means = np.stack([part[own == c].mean(0) for c in range(4)])
        within = LedoitWolf(assume_centered=True).fit(part - means[own]).covariance_
        fitted = LinearDiscriminantAnalysis(
            solver="lsqr", covariance_estimator=_Known()
        )
        with mock.patch.object(_Known, "covariance_", within, create=True):
            fitted.fit(part, own)
        right += (fitted.predict(rows[~known]) == labels[~known]).sum()
    assert functional.lda_accuracy(rows, labels) == right / len(rows)


class _Known(BaseEstimator):
    """A covariance that is given, the same in every class."""

    def fit(self, part):
        return self


def test_shrinkage_is_that_of_ledoit_and_wolf():
    """From scatter and lengths alone."""
    rows, _ = drawn(50, 20)
    rows -= rows.mean(0)
    found = shrunk(rows.T @ rows, (rows**2).sum(1))
    expected = LedoitWolf(assume_centered=True).fit(rows).covariance_
    np.testing.assert_allclose(found, expected, atol=1e-12)


@pytest.mark.parametrize("shape", [(150, 8), (50, 80)])
@pytest.mark.parametrize("method", ["ridge", "logistic"])
def test_the_probe_is_that_of_scikit_learn(shape, method):
    """Penalty by penalty, fold by fold, and the best of them."""
    rows, labels = drawn(*shape, gap=0.4)
    standard = (rows - rows.mean(0)) / rows.std(0)
    fold, right = folds(labels, 5, 0), np.zeros(3)
    for each in range(5):
        known = fold != each
        for number, penalty in enumerate([0.01, 0.1, 1.0]):
            if method == "ridge":
                fit = Ridge(penalty * known.sum()).fit(
                    standard[known], np.eye(4)[labels[known]]
                )
                predicted = fit.predict(standard[~known]).argmax(1)
            else:
                fit = LogisticRegression(C=1 / penalty / known.sum(), max_iter=1000)
                predicted = fit.fit(standard[known], labels[known]).predict(
                    standard[~known]
                )
            right[number] += (predicted == labels[~known]).sum()
    found = functional.probe_accuracy(
        rows, labels, method=method, penalties=[0.01, 0.1, 1.0]
    )
    assert found == pytest.approx(right.max() / len(rows), abs=1e-12)


def test_the_probe_of_numbers_is_ridge_regression():
    """R² of what is predicted of samples that were held out."""
    rows, _ = drawn(90, 6)
    numbers = rows[:, :2] + np.random.default_rng(0).normal(size=(90, 2))
    standard = (rows - rows.mean(0)) / rows.std(0)
    fold, predicted = folds(np.zeros(90, int), 5, 0), np.zeros((90, 2))
    for each in range(5):
        known = fold != each
        fit = Ridge(0.1 * known.sum()).fit(standard[known], numbers[known])
        predicted[~known] = fit.predict(standard[~known])
    spread = ((numbers - numbers.mean(0)) ** 2).sum(0)
    expected = (1 - ((predicted - numbers) ** 2).sum(0) / spread).mean()
    found = functional.probe_r2(rows, numbers, penalties=[0.1])
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("shape", [(80, 6), (20, 50)])
def test_transrate_is_the_papers_up_to_the_scale(shape):
    """With ε in units of the mean variance."""
    rows, labels = drawn(*shape)
    centred = rows - rows.mean(0)
    epsilon = 1e-4 * (centred**2).mean()

    def rate(part):
        inside = np.eye(shape[1]) + part.T @ part / (len(part) * epsilon)
        return np.linalg.slogdet(inside)[1] / 2

    expected = rate(centred)
    for each in range(4):
        part = centred[labels == each]
        expected -= len(part) / len(rows) * rate(part)
    assert functional.transrate(rows, labels) == pytest.approx(expected, abs=1e-8)


def test_parc_is_the_papers():
    """Spearman's correlation of both matrices of distances."""
    rows, labels = drawn(60, 9)
    low = np.tril_indices(60, -1)
    expected = stats.spearmanr(
        (1 - np.corrcoef(rows))[low], (1 - np.corrcoef(np.eye(4)[labels]))[low]
    ).statistic
    assert functional.parc(rows, labels) == pytest.approx(expected, abs=1e-9)


OF_FEATURES = [
    functional.logme,
    functional.h_score,
    functional.gbc,
    functional.knn_accuracy,
    functional.nearest_mean_accuracy,
    functional.lda_accuracy,
    functional.probe_accuracy,
    functional.transrate,
    functional.parc,
]
# Folds are drawn by class, and of a tie of votes the first class counts.
NAMED = [
    functional.knn_accuracy,
    functional.lda_accuracy,
    functional.probe_accuracy,
]
ROTATED = [f for f in OF_FEATURES if f.__name__ not in ("probe_accuracy", "parc")]


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6), scale=st.sampled_from([1e-3, 0.3, 7.0, 1e4]))
@pytest.mark.parametrize("formula", OF_FEATURES)
def test_the_scale_of_features_does_not_matter(formula, seed, scale):
    """Nor do the names of classes, nor the kind of array."""
    rows, labels = drawn(60, 6, seed=seed, gap=1.5)
    value = formula(rows, labels)
    assert formula(scale * rows, labels) == pytest.approx(value, abs=1e-7)
    if formula not in NAMED:
        renamed = 3 * ((labels + 1) % 4) + 5
        assert formula(rows, renamed) == pytest.approx(value, abs=1e-9)
    tensors = torch.from_numpy(rows), torch.from_numpy(labels)
    assert formula(*tensors) == value


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize("formula", ROTATED)
def test_a_rotation_of_the_features_does_not_matter(formula, seed):
    """Whatever axes a layer happens to have."""
    rows, labels = drawn(60, 6, seed=seed, gap=1.5)
    axes, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(6, 6)))
    assert formula(rows @ axes, labels) == pytest.approx(
        formula(rows, labels), abs=1e-7
    )


@settings(max_examples=15, deadline=None)
@given(seed=st.integers(0, 10**6))
@pytest.mark.parametrize(
    "formula",
    [f for f in OF_FEATURES if f.__name__ not in ("lda_accuracy", "probe_accuracy")],
)
def test_the_order_of_samples_does_not_matter(formula, seed):
    """Where no folds are drawn."""
    rows, labels = drawn(60, 6, seed=seed, gap=1.5)
    order = np.random.default_rng(seed).permutation(60)
    value = formula(rows[order], labels[order])
    assert value == pytest.approx(formula(rows, labels), abs=1e-9)


@pytest.mark.parametrize("formula", [functional.logme, functional.h_score])
def test_noise_columns_lower_the_value_on_average(formula):
    """And by more, the more there are; a single draw may go either way."""
    changes = []
    for seed in range(40):
        rows, labels = drawn(80, 10, seed=seed)
        rng = np.random.default_rng(seed)
        few, many = (np.hstack([rows, rng.normal(size=(80, n))]) for n in (20, 200))
        changes.append([formula(each, labels) for each in (rows, few, many)])
    plain, few, many = np.mean(changes, axis=0)
    assert plain > few > many


@pytest.mark.parametrize("formula", [functional.logme, functional.h_score])
def test_a_column_that_happens_to_fit_raises_the_value(formula):
    """So that "noise never raises it" holds of neither formula."""
    rows, labels = drawn(80, 3, gap=0.0)
    values = [
        formula(
            np.hstack([rows, np.random.default_rng(seed).normal(size=(80, 1))]), labels
        )
        for seed in range(60)
    ]
    assert max(values) > formula(rows, labels)


def test_inputs_are_left_as_they_were():
    """Neither arrays nor tensors are changed."""
    rows, labels = drawn(60, 6)
    for formula in [*OF_FEATURES, functional.nleep]:
        kept, tensor = rows.copy(), torch.from_numpy(rows.copy())
        formula(kept, labels)
        formula(tensor, torch.from_numpy(labels))
        np.testing.assert_array_equal(kept, rows)
        np.testing.assert_array_equal(tensor.numpy(), rows)


ROWS, LABELS = drawn(30, 4)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: functional.logme(ROWS[:, 0], LABELS), r"num_samples, width.*\(30,\)"),
        (lambda: functional.logme(ROWS, LABELS[:9]), r"shape \(30,\)"),
        (lambda: functional.logme(ROWS, np.ones(30)), "vary, got a constant"),
        (
            lambda: functional.logme(ROWS, ROWS[:9]),
            r"\(30, num_outputs\), got \(9, 4\)",
        ),
        (lambda: functional.logme(ROWS * np.nan, LABELS), "finite features"),
        (lambda: functional.h_score(ROWS, LABELS * 0), "two classes or more"),
        (lambda: functional.h_score(ROWS, LABELS / 2), "integer class targets"),
        (lambda: functional.leep(ROWS, LABELS), "take the softmax"),
        (lambda: functional.knn_accuracy(ROWS, LABELS, k=30), "k from 1 to 29"),
        (lambda: functional.lda_accuracy(ROWS, LABELS, num_folds=1), "num_folds"),
        (lambda: functional.probe_accuracy(ROWS, LABELS, penalties=[]), "positive"),
        (lambda: functional.probe_accuracy(ROWS, LABELS, method="svm"), "ridge and"),
        (lambda: functional.gbc(ROWS, np.arange(30) // 29), "classes that vary"),
        (lambda: functional.gbc(ROWS, LABELS, num_dimensions=0), "num_dimensions"),
        (lambda: functional.transrate(ROWS, LABELS, distortion=0.0), "distortion"),
        (lambda: functional.parc(ROWS[:, :1], LABELS), "differ within each sample"),
        (lambda: functional.nleep(ROWS, LABELS, num_components=31), "num_components"),
    ],
)
def test_wrong_input_is_refused(call, message):
    """One sentence says what was expected and what came."""
    with pytest.raises(ValueError, match=message):
        call()
