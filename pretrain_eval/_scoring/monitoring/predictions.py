"""What a model said of some examples, in whatever form it comes, as columns of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from pretrain_eval._runs import Run
from pretrain_eval._scoring.formulas.statistics import Array

# (outputs, targets), or by name "outputs", "targets", "values" and "features"; or a run.
AnyPredictions = tuple[Any, Any] | Mapping[str, Any] | Run
Scores = Literal["logits", "probabilities"]

NAMES = ("outputs", "targets", "values", "features")


class Columns(NamedTuple):
    """Predictions of one date, as they are watched.

    Attributes:
        num_examples: How many.
        values: The metric of each example; None where there are no labels yet.
        confidence: The largest probability of each example; None where there is none.
        rows: Features, or what stands for them, by the name of what they are.
    """

    num_examples: int
    values: Array | None
    confidence: Array | None
    rows: Mapping[str, Array]


def read(
    what: str, predictions: AnyPredictions, metric: str, scores: Scores | None
) -> Columns:
    """The columns of predictions.

    Args:
        what: Whose they are, for errors: "reference", or a look's name.
        predictions: What came.
        metric: A metric's key.
        scores: What float outputs of several columns are; None is logits where the
            metric is of classes, and elsewhere no scores of classes at all.

    Raises:
        TypeError: They are of no form that is known.
        ValueError: Lengths differ, numbers are not finite, or labels are out of range.
    """
    if isinstance(predictions, Run):
        return _of_run(what, predictions, metric)
    given = _named(what, predictions)
    size = len(next(iter(given.values())))
    for name, array in given.items():
        if len(array) != size:
            raise ValueError(
                f"{what}: {name} are of {len(array)} examples, others of {size}"
            )
        if array.dtype.kind not in "iubf" or not np.isfinite(array).all():
            raise ValueError(f"{what}: {name} must be finite numbers")
    if not size:
        raise ValueError(f"{what}: there is no example")
    outputs, targets = given.get("outputs"), given.get("targets")
    values = given.get("values")
    if values is not None and values.shape != (size,):
        raise ValueError(
            f"{what}: values must be one an example, ({size},), got {values.shape}"
        )
    if values is None and targets is not None:
        values = _values(what, outputs, targets, metric, scores)
    rows = {"features": given["features"]} if "features" in given else {}
    probabilities = None
    if outputs is not None and outputs.dtype.kind == "f":
        of_classes = scores is not None or metric in ("accuracy", "log_loss")
        if of_classes and outputs.ndim == 2 and outputs.shape[1] > 1:
            probabilities = _probabilities(what, outputs, scores)
        if not rows:
            rows = {"outputs": outputs if probabilities is None else probabilities}
    return Columns(
        size,
        None if values is None else values.astype(np.float64),
        None if probabilities is None else probabilities.max(axis=1),
        {name: _flat(what, name, each) for name, each in rows.items()},
    )


def _named(what: str, predictions: Any) -> dict[str, Array]:
    if isinstance(predictions, tuple) and len(predictions) == 2:
        predictions = dict(zip(("outputs", "targets"), predictions, strict=True))
    if not isinstance(predictions, Mapping):
        raise TypeError(
            f"{what}: predictions are expected as (outputs, targets), targets None where"
            f" there are none yet, as a mapping with some of {', '.join(NAMES)}, or as a"
            f" Run, got {type(predictions).__name__}; predict(model, loader) makes them"
        )
    unknown = sorted(set(predictions) - set(NAMES))
    if unknown:
        raise ValueError(f"{what}: predictions have {', '.join(NAMES)}, got {unknown}")
    given = {
        name: _array(predictions[name])
        for name in NAMES
        if name in predictions and predictions[name] is not None
    }
    if not given or set(given) == {"targets"}:
        raise ValueError(f"{what}: predictions need outputs, values or features")
    for name, array in given.items():
        if array.ndim == 0:
            raise ValueError(f"{what}: {name} must be an array, one row an example")
    return given


def _array(values: npt.ArrayLike) -> Array:
    """A numpy array, also of a tensor on any device and of any precision."""
    tensor: Any = values
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu()
        values = tensor.double() if tensor.is_floating_point() else tensor
    return np.asarray(values)


def _flat(what: str, name: str, rows: Array) -> Array:
    """`(num_examples, num_features)`."""
    if rows.ndim == 1:
        return rows.astype(np.float64).reshape(-1, 1)
    if rows.ndim != 2:
        raise ValueError(
            f"{what}: {name} must be of shape (num_examples, num_features), got"
            f" {rows.shape}; average over positions, or flatten them"
        )
    return rows.astype(np.float64)


# --- the metric of each example


def _values(
    what: str, outputs: Array | None, targets: Array, metric: str, scores: Scores | None
) -> Array:
    if outputs is None:
        raise ValueError(f"{what}: targets say nothing without outputs")
    make = VALUES.get(metric)
    if make is None:
        raise ValueError(
            f"{what}: {metric!r} of each example is not known here; it is for"
            f" {', '.join(VALUES)}. For a metric of your own give its value of each"
            ' example as {"values": ...}; F1 and the like are no mean over examples'
        )
    return make(what, outputs, targets, scores)


def _accuracy(what: str, outputs: Array, targets: Array, _: object) -> Array:
    targets = _classes(what, targets)
    if outputs.dtype.kind in "iub":  # classes
        if outputs.shape != targets.shape:
            raise ValueError(
                f"{what}: predicted classes {outputs.shape} and targets"
                f" {targets.shape} have unlike shapes"
            )
        return np.asarray(outputs == targets)
    _check_width(what, outputs, targets)
    return np.asarray(outputs.argmax(axis=1) == targets)


def _log_loss(
    what: str, outputs: Array, targets: Array, scores: Scores | None
) -> Array:
    targets = _classes(what, targets)
    _check_width(what, outputs, targets)
    found = _probabilities(what, outputs, scores)[np.arange(len(targets)), targets]
    return np.asarray(-np.log(np.maximum(found, 1e-12)))


def _squared_error(what: str, outputs: Array, targets: Array, _: object) -> Array:
    return np.asarray((_errors(what, outputs, targets) ** 2).mean(axis=1))


def _absolute_error(what: str, outputs: Array, targets: Array, _: object) -> Array:
    return np.asarray(np.abs(_errors(what, outputs, targets)).mean(axis=1))


VALUES: dict[str, Callable[..., Array]] = {
    "accuracy": _accuracy,
    "log_loss": _log_loss,
    "mse": _squared_error,
    "mae": _absolute_error,
}


def _errors(what: str, outputs: Array, targets: Array) -> Array:
    if outputs.shape != targets.shape:
        raise ValueError(
            f"{what}: outputs {outputs.shape} and targets {targets.shape} have unlike"
            " shapes"
        )
    size = len(outputs)
    return outputs.reshape(size, -1).astype(float) - targets.reshape(size, -1)


def _classes(what: str, targets: Array) -> Array:
    if targets.dtype.kind not in "iub" or targets.ndim != 1:
        raise ValueError(
            f"{what}: targets must be integer classes, one an example, got shape"
            f" {targets.shape} of {targets.dtype}; for numbers give"
            ' metric="mse" or "mae"'
        )
    return targets.astype(np.int64)


def _check_width(what: str, outputs: Array, targets: Array) -> None:
    if outputs.ndim != 2 or outputs.shape[1] < 2:
        raise ValueError(
            f"{what}: outputs must be scores of shape (num_examples, num_classes) or"
            f" predicted classes as integers, got shape {outputs.shape} of"
            f" {outputs.dtype}; of one logit make classes, (logit > 0).long()"
        )
    low, high = int(targets.min()), int(targets.max())
    if low < 0 or high >= outputs.shape[1]:
        raise ValueError(
            f"{what}: targets hold {low if low < 0 else high}; outputs of"
            f" {outputs.shape[1]} classes allow 0..{outputs.shape[1] - 1}"
        )


def _probabilities(what: str, outputs: Array, scores: Scores | None) -> Array:
    sums_to_one = np.abs(outputs.sum(axis=1) - 1).max() < 1e-3
    are_shares = outputs.min() >= 0 and sums_to_one
    if scores == "probabilities":
        if not are_shares:
            raise ValueError(
                f"{what}: outputs are no probabilities, which lie in 0..1 and sum to 1;"
                ' give scores="logits"'
            )
        return outputs
    if are_shares:
        raise ValueError(
            f"{what}: outputs look like probabilities, each row sums to 1; give"
            ' scores="probabilities"'
        )
    raised = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    return np.asarray(raised / raised.sum(axis=1, keepdims=True))


def _of_run(what: str, run: Run, metric: str) -> Columns:
    """A run's outcomes, or its score as so many right and wrong examples."""
    outcomes = run.outcomes
    if outcomes is not None and outcomes.key == metric:
        values = np.asarray(outcomes.values())
    elif metric not in run.scores:
        raise ValueError(
            f"{what}: {run.name} has no {metric!r}, it has {sorted(run.scores)}"
        )
    elif metric != "accuracy" or run.num_examples is None:
        raise ValueError(
            f"{what}: {run.name} says nothing of single examples: it has no outcomes of"
            f" {metric!r}, and only an accuracy on a known number of examples tells how"
            " many were right"
        )
    else:
        right = round(run.scores[metric] * run.num_examples)
        values = np.arange(run.num_examples) < right
    return Columns(len(values), values.astype(np.float64), None, {})
