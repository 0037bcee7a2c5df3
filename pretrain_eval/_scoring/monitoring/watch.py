"""A watch begins: what of a reference is watched, and at which rate of false alarms."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pretrain_eval._runs import SCALES, Better, Run
from pretrain_eval._scoring.formulas.statistics import Array
from pretrain_eval._scoring.monitoring.monitor import Monitor
from pretrain_eval._scoring.monitoring.predictions import (
    VALUES,
    AnyPredictions,
    Columns,
    Scores,
    read,
)
from pretrain_eval._scoring.monitoring.signal import Signal
from pretrain_eval._scoring.reports.checked import is_positive, is_rate

# Where other signals are watched beside the metric, so much of the rate is the metric's.
_SHARE_OF_METRIC = 0.8


def monitor(
    reference: AnyPredictions,
    looks: Mapping[str, AnyPredictions] | None = None,
    *,
    metric: str = "accuracy",
    better: Better | None = None,
    scores: Scores | None = None,
    false_alarms: float = 0.05,
    horizon: int = 52,
) -> Monitor:
    """Whether a deployed model still does what it did, from looks as they arrive.

    The metric's mean over labelled examples, the mean confidence and the mean of the
    features are held against the reference and the looks before, in windows of 1, 2, 4,
    … and all looks, so that a sudden drop and a slow one are both seen. Limits are
    simulated for the sizes that came, such that where nothing changes an alarm comes in
    at most `false_alarms` of `horizon` looks, over all looks and signals together; the
    metric has four fifths of that rate where other signals are watched beside it. The
    examples of a look are taken to be independent; where looks swing by more than that,
    a note says so.

    Predictions come as `(outputs, targets)`, targets None where there are none yet; as a
    mapping, or what `numpy.load` gives of an .npz file, with some of these arrays; or as
    a `Run`, of its outcomes.

    - "outputs": `(num_examples, num_classes)`, or predicted classes as integers, or
      numbers as targets are.
    - "targets": `(num_examples,)`, integer classes, or numbers.
    - "values": `(num_examples,)`, any metric of one's own of each example.
    - "features": `(num_examples, num_features)`. Where there are none, outputs stand for
      them.

    Args:
        reference: What the model did on examples of before, best those of a held-out
            split that nothing was selected on; its size limits what can be seen.
        looks: By name of the date, week or batch, in order; more come by `look`.
        metric: "accuracy", "log_loss", "mse", "mae", or a name for "values".
        better: Which values are better, where the name does not say it.
        scores: Whether float outputs of classes are "logits", as by default, or
            "probabilities".
        false_alarms: The rate, between 0 and 1.
        horizon: In so many looks.

    Raises:
        TypeError: Predictions are of no form that is known.
        ValueError: The direction of a metric is not known, the reference has fewer than
            30 examples, arrays are of unlike lengths, hold no numbers, or look like other
            `scores`.

    Sources: limits by Lan and DeMets, Biometrika 1983; drift of outputs and features as
    in Rabanser, Günnemann and Lipton, Failing Loudly, NeurIPS 2019.

    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> def week(accuracy, size=400):
    ...     return {"values": rng.random(size) < accuracy}
    >>> watch = monitor(week(0.9, 3000), {f"W{i}": week(0.9) for i in range(1, 5)})
    >>> watch.dropped, watch.exit_code
    (False, 0)
    >>> watch = watch.look("W5", week(0.8)).look("W6", week(0.8))
    >>> watch.dropped, watch["accuracy"].since, watch.exit_code
    (True, 'W5', 2)
    """
    if better not in ("higher", "lower", None):
        raise ValueError(
            f"monitor expects better as 'higher' or 'lower', got {better!r}"
        )
    if not is_rate(false_alarms):
        raise ValueError(
            f"monitor expects false_alarms between 0 and 1, got {false_alarms!r}"
        )
    if not is_positive(horizon):
        raise ValueError(f"monitor expects horizon as 1 look or more, got {horizon!r}")
    if looks is not None and not isinstance(looks, Mapping):
        raise TypeError(
            "monitor expects looks as a mapping, the name of each to its predictions, got"
            f" {type(looks).__name__}"
        )
    better = better or _direction(metric, reference)
    watched = _watchable(read("reference", reference, metric, scores), metric)
    made = Monitor(
        metric=metric,
        better=better,
        scores=scores,
        false_alarms=false_alarms,
        horizon=horizon,
        signals=tuple(
            Signal.of(name, values, better if name == metric else None, rate, horizon)
            for (name, values), rate in zip(
                watched.items(), _rates(watched, metric, false_alarms), strict=True
            )
        ),
    )
    return made.after(looks) if looks else made


def _watchable(reference: Columns, metric: str) -> dict[str, Array]:
    """The columns of a reference by name, the metric first, less what never varies."""
    if metric in ("confidence", "outputs", "features"):
        raise ValueError(
            f"monitor watches {metric!r} anyway; name the metric otherwise"
        )
    columns = {} if reference.values is None else {metric: reference.values}
    others = {"confidence": reference.confidence, **reference.rows}
    for name, values in others.items():
        if values is not None and np.ptp(values, axis=0).any():
            columns[name] = values
    if not columns:
        raise ValueError(
            "the reference has nothing to watch: no targets or values, and outputs or"
            " features that never vary"
        )
    return columns


def _rates(
    columns: Mapping[str, Array], metric: str, false_alarms: float
) -> list[float]:
    """Of each column its share of the false alarms."""
    others = len(columns) - (metric in columns)
    if metric not in columns:
        return [false_alarms / others] * others
    if not others:
        return [false_alarms]
    rest = (1 - _SHARE_OF_METRIC) * false_alarms / others
    return [_SHARE_OF_METRIC * false_alarms, *[rest] * others]


def _direction(metric: str, reference: AnyPredictions) -> Better:
    known = SCALES.get(metric)
    if isinstance(reference, Run):
        known = reference.scales.get(metric, known)
    if known is None:
        raise ValueError(
            f"monitor does not know which values of {metric!r} are better; give"
            f' better="higher" or "lower". It knows {", ".join(VALUES)}'
        )
    return known.better
