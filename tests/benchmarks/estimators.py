"""How fast the formulas of frozen features are, beside the papers' ways.

`OMP_NUM_THREADS=1 python tests/benchmarks/estimators.py` prints ratios of seconds, the
best of three, in one process.
"""

import time

import numpy as np
from sklearn.covariance import LedoitWolf
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from pretrain_eval import functional

PENALTIES = (1e-4, 1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1000.0)


def drawn(num_samples, width, num_classes):
    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=num_samples)
    means = 0.1 * rng.normal(size=(num_classes, width))
    return rng.normal(size=(num_samples, width)) + means[labels], labels


def logme_by_the_paper(rows, labels):
    """A decomposition, then a fixed point for each class, as algorithm 1 has it."""
    num_samples, width = rows.shape
    _, values, axes = np.linalg.svd(rows.T @ rows)
    found = []
    for label in range(labels.max() + 1):
        column = (labels == label).astype(float)
        crossed = axes @ (rows.T @ column)
        alpha = beta = 1.0
        for _ in range(100):
            before = alpha / beta
            gamma = (beta * values / (alpha + beta * values)).sum()
            mean = axes.T @ (beta * crossed / (alpha + beta * values))
            square, misfit = mean @ mean, ((rows @ mean - column) ** 2).sum()
            alpha, beta = gamma / square, (num_samples - gamma) / misfit
            if abs(alpha / beta - before) < 1e-3 * before:
                break
        found.append(
            width / 2 * np.log(alpha)
            + num_samples / 2 * np.log(beta / (2 * np.pi))
            - (beta * misfit + alpha * square) / 2
            - np.log(alpha + beta * values).sum() / 2
        )
    return np.mean(found) / num_samples


def logme_by_its_second_version(rows, labels):
    """Left singular vectors of all rows, then fixed points in them alone."""
    num_samples, width = rows.shape
    _, squares, axes = np.linalg.svd(rows.T @ rows)
    left = rows @ axes.T / np.sqrt(squares)
    found = []
    for label in range(labels.max() + 1):
        column = (labels == label).astype(float)
        parts = (left.T @ column) ** 2
        rest = (column**2).sum() - parts.sum()
        alpha = beta = 1.0
        for _ in range(11):
            t = alpha / beta
            gamma = (squares / (squares + t)).sum()
            square = (squares * parts / (t + squares) ** 2).sum()
            misfit = (parts / (1 + squares / t) ** 2).sum() + rest
            alpha, beta = gamma / square, (num_samples - gamma) / misfit
            if abs(alpha / beta - t) <= 1e-3 * t:
                break
        found.append(
            width / 2 * np.log(alpha)
            + num_samples / 2 * np.log(beta / (2 * np.pi))
            - (beta * misfit + alpha * square) / 2
            - np.log(alpha + beta * squares).sum() / 2
        )
    return np.mean(found) / num_samples


def one_decomposition(rows, labels):
    """What no exact LogME can do without: the Gram matrix and its eigenvectors."""
    return np.linalg.eigh(rows.T @ rows)[0][0]


def h_score_by_the_paper(rows, labels):
    """Ledoit and Wolf's covariance by scikit-learn, its pseudo-inverse by numpy."""
    fitted = LedoitWolf().fit(rows)
    smooth = np.zeros_like(rows)
    for label in range(labels.max() + 1):
        smooth[labels == label] = rows[labels == label].mean(0)
    inverse = np.linalg.pinv(fitted.covariance_, rcond=1e-15)
    between = np.cov(smooth, rowvar=False, ddof=0)
    return (1 - fitted.shrinkage_) * np.trace(inverse @ between)


def ridge_by_scikit_learn(rows, labels):
    probe = make_pipeline(StandardScaler(), RidgeClassifier())
    alphas = [penalty * len(rows) * 0.8 for penalty in PENALTIES]
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    search = GridSearchCV(probe, {"ridgeclassifier__alpha": alphas}, cv=folds)
    return search.fit(rows, labels).best_score_


def lda_by_scikit_learn(rows, labels):
    lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    folds = StratifiedKFold(5, shuffle=True, random_state=0)
    return cross_val_score(lda, rows, labels, cv=folds).mean()


def seconds(call, repeats):
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        value = call()
        found.append(time.perf_counter() - start)
    return min(found), value


CASES = [
    ("logme", functional.logme, logme_by_the_paper, (10_000, 512, 10)),
    ("logme", functional.logme, logme_by_the_paper, (10_000, 512, 1000)),
    ("logme 2", functional.logme, logme_by_its_second_version, (10_000, 512, 10)),
    ("logme 2", functional.logme, logme_by_its_second_version, (10_000, 512, 1000)),
    ("(its floor)", one_decomposition, logme_by_the_paper, (10_000, 512, 10)),
    ("h_score", functional.h_score, h_score_by_the_paper, (3000, 2048, 10)),
    ("h_score", functional.h_score, h_score_by_the_paper, (1000, 2048, 10)),
    (
        "probe_accuracy",
        functional.probe_accuracy,
        ridge_by_scikit_learn,
        (4000, 512, 10),
    ),
    ("lda_accuracy", functional.lda_accuracy, lda_by_scikit_learn, (4000, 512, 10)),
    ("lda_accuracy", functional.lda_accuracy, lda_by_scikit_learn, (4000, 1024, 100)),
]


def main():
    print("formula          n × D × C            ours      theirs   ratio   values")
    for name, ours, theirs, shape in CASES:
        rows, labels = drawn(*shape)
        mine, value = seconds(lambda a=rows, b=labels, f=ours: f(a, b), 3)
        other, known = seconds(lambda a=rows, b=labels, f=theirs: f(a, b), 1)
        print(
            f"{name:<16} {' × '.join(map(str, shape)):<18} {mine:7.3f} s {other:8.2f} s"
            f" {other / mine:6.1f}×   {value:.5f} {known:.5f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
