"""Pictures of what metrics computed; plain values in, matplotlib is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring import num_classes_of
from pretrain_eval.plot._axes import axes_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MAIN, _MUTED = "#0072b2", "#999999"


def history(table: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Every column of a history over its steps.

    Conclude: where a curve flattens, more training buys nothing; where a gradient norm
    jumps or an update ratio falls to 0, look at what happened at that step. Columns
    share one axis: draw those of one unit together.

    Args:
        table: Columns by key, as `history` of a metric gives them; `step`, where it
            is there, is the axis, and NaN leaves a gap.
        ax: Where to draw; a new figure by default.
    """
    keys = [key for key in table if key != "step"]
    if not keys:
        raise ValueError("history expects at least one column besides 'step', got none")
    ax = axes_for(ax, height=4.8)
    for key in keys:
        steps = table.get("step", range(1, len(table[key]) + 1))
        if len(steps) != len(table[key]):
            raise ValueError(
                f"{key!r} has {len(table[key])} values for {len(steps)} steps"
            )
        known = [
            (step, value)
            for step, value in zip(steps, table[key], strict=True)
            if not np.isnan(value)
        ]
        ax.plot([s for s, _ in known], [v for _, v in known], marker=".", label=key)
    ax.set_xlabel("step")
    if len(keys) == 1:
        ax.set_ylabel(keys[0])
    else:
        ax.legend()
    ax.grid(alpha=0.3)
    return ax


def confusion_matrix(
    matrix: Sequence[Sequence[float]] | Run,
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Rows of true classes, columns of predicted ones, shaded by the share of a row.

    Conclude: dark cells off the diagonal are classes taken for one another; a dark
    column is a class predicted too often, a pale diagonal cell one rarely found.

    Args:
        matrix: As `ConfusionMatrix` computes it; or a run that knows its confusions.
        labels: Names of the classes; their numbers by default.
        ax: Where to draw; a new figure by default.
    """
    cells = np.asarray(
        _table(matrix) if isinstance(matrix, Run) else matrix, dtype=float
    )
    if cells.ndim != 2 or cells.shape[0] != cells.shape[1]:
        raise ValueError(f"a confusion matrix is square, got shape {cells.shape}")
    ax = axes_for(ax, height=4.8)
    names = _names(labels, len(cells))
    totals = cells.sum(axis=1, keepdims=True)
    shares = np.divide(cells, totals, out=np.zeros_like(cells), where=totals > 0)
    ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(cells) <= 20:
        for row, column in np.ndindex(*cells.shape):
            color = "white" if shares[row, column] > 0.5 else "black"
            text = f"{cells[row, column]:.4g}"
            ax.text(column, row, text, ha="center", va="center", color=color)
    places = range(len(cells))
    ax.set_xticks(places, names)
    ax.set_yticks(places, names)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    title = "confusions, shaded by the share of a row"
    if isinstance(matrix, Run):
        # A dollar sign would begin a formula.
        name = matrix.name.replace("$", r"\$")
        title = f"{name}: {int(cells.sum()):,} samples\n{title}"
    ax.set_title(title, fontsize=9)
    return ax


def per_class(
    values: Sequence[float],
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One bar a class, the worst on top, and a line at their mean.

    Conclude: bars far left of the line are the classes that the mean hides; a class
    without a value had nothing to be measured on.

    Args:
        values: As a metric with average="none" computes them; NaN has no bar.
        labels: Names of the classes; their numbers by default.
        ax: Where to draw; a new figure by default.
    """
    heights = np.asarray(values, dtype=float)
    if heights.ndim != 1 or not len(heights):
        raise ValueError(f"per_class expects one value a class, got {values!r}")
    ax = axes_for(ax, height=4.8)
    names = _names(labels, len(heights))
    order = np.argsort(np.nan_to_num(heights, nan=np.inf), kind="stable")
    rows = np.arange(len(order))
    ax.barh(rows, np.nan_to_num(heights[order]), color=_MAIN)
    for row, label in enumerate(order):
        if np.isnan(heights[label]):
            ax.text(0, row, " no value", va="center", color=_MUTED)
    if not np.isnan(heights).all():
        ax.axvline(float(np.nanmean(heights)), color=_MUTED, linestyle="--")
    ax.set_yticks(rows, [names[label] for label in order])
    ax.invert_yaxis()
    ax.grid(axis="x", alpha=0.3)
    return ax


def reliability(bins: Mapping[str, Sequence[float]], *, ax: Axes | None = None) -> Axes:
    """Accuracy over confidence in each bin; dots as large as their share of samples.

    Conclude: dots below the diagonal claim more than they keep (overconfident), dots
    above less; the calibration error is their mean distance from it, weighted by size.

    Args:
        bins: As `CalibrationError.bins()` gives them.
        ax: Where to draw; a new figure by default.
    """
    sizes = np.asarray(bins["num_samples"], dtype=float)
    if not sizes.sum() > 0:
        raise ValueError("reliability expects bins with samples, got none")
    ax = axes_for(ax, height=4.8)
    filled = sizes > 0
    confidence = np.asarray(bins["confidence"])[filled]
    accuracy = np.asarray(bins["accuracy"])[filled]
    shares = sizes[filled] / sizes.sum()
    ax.plot([0, 1], [0, 1], color=_MUTED, linestyle="--")
    ax.plot(confidence, accuracy, color=_MAIN, alpha=0.4)
    ax.scatter(confidence, accuracy, s=20 + 400 * shares, color=_MAIN)
    ax.set_xlabel("confidence")
    ax.set_ylabel("accuracy")
    ax.set_aspect("equal")
    ax.grid(alpha=0.3)
    return ax


def _table(run: Run) -> Any:
    if not run.confusion:
        raise ValueError(f"{run.name} does not know its confusions")
    table = np.zeros([num_classes_of([run])] * 2)
    for target, prediction, count in run.confusion:
        table[target, prediction] = count
    return table


def _names(labels: Sequence[str] | None, num_classes: int) -> list[str]:
    if labels is None:
        return [str(label) for label in range(num_classes)]
    if len(labels) != num_classes:
        raise ValueError(f"expected {num_classes} labels, got {len(labels)}")
    return list(labels)
