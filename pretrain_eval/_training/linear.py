"""Linear models fitted to the end on frozen features, by scikit-learn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np

# Makes outputs of rows, `(num_rows, width)` to `(num_rows, num_outputs)`.
Predict = Callable[[np.ndarray], np.ndarray]
# Fits on rows and their targets, with one of the penalties, by a seed.
Fit = Callable[[np.ndarray, np.ndarray, Sequence[float], int], Predict]


def fit_classes(num_classes: int) -> Fit:
    """A logistic regression, whose outputs are log-probabilities of all classes."""
    return partial(_fit_classes, num_classes)


def _fit_classes(
    num_classes: int,
    rows: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float],
    seed: int,
) -> Predict:
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import GridSearchCV, StratifiedKFold
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # scikit-learn weighs the summed loss, not the penalty of the mean one.
    strengths = [1 / (penalty * len(rows)) for penalty in penalties]
    linear = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    smallest = int(np.unique(targets, return_counts=True)[1].min())
    if smallest > 1 and len(penalties) > 1:
        folds = StratifiedKFold(min(5, smallest), shuffle=True, random_state=seed)
        grid = {"logisticregression__C": strengths}
        fitted = GridSearchCV(linear, grid, cv=folds, scoring="neg_log_loss")
    else:  # a class of one sample cannot be left out
        middle = strengths[len(strengths) // 2]
        fitted = linear.set_params(logisticregression__C=middle)
    fitted.fit(rows, targets)
    classes = np.asarray(fitted.classes_)

    def predict(queries: np.ndarray) -> np.ndarray:
        outputs = np.full((len(queries), num_classes), -1e9)
        with np.errstate(divide="ignore"):
            found = fitted.predict_log_proba(queries)
        # Of a class that is out of the question it is the logarithm of 0.
        outputs[:, classes] = np.maximum(found, -1e9)
        return outputs

    return predict


def fit_numbers(
    rows: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float],
    seed: int,
) -> Predict:
    """A ridge regression, whose outputs are numbers."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    alphas = [penalty * len(rows) for penalty in penalties]
    fitted = make_pipeline(StandardScaler(), RidgeCV(alphas=alphas))
    fitted.fit(rows, targets.reshape(len(targets), -1))
    return lambda queries: np.reshape(fitted.predict(queries), (len(queries), -1))


def fit_labels(
    rows: np.ndarray,
    targets: np.ndarray,
    penalties: Sequence[float],
    seed: int,
) -> Predict:
    """A logistic regression a label, whose outputs are logits.

    A label that all training samples have, or none, is always predicted so.
    """
    columns = targets.reshape(len(targets), -1).astype(int).T
    fitted = [_fit_label(rows, column, penalties, seed) for column in columns]
    return lambda queries: np.stack([each(queries) for each in fitted], 1)


def _fit_label(
    rows: np.ndarray, column: np.ndarray, penalties: Sequence[float], seed: int
) -> Predict:
    if len(np.unique(column)) == 1:
        certain = 1e9 if column[0] else -1e9
        return lambda queries: np.full(len(queries), certain)
    predict = _fit_classes(2, rows, column, penalties, seed)

    def logits(queries: np.ndarray) -> np.ndarray:
        outputs = predict(queries)
        found: np.ndarray = outputs[:, 1] - outputs[:, 0]
        return found

    return logits
