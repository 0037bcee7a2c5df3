"""Pictures of what metrics computed; plain values in, matplotlib is an extra."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring import num_classes_of
from pretrain_eval._scoring.reports import amount
from pretrain_eval.plot._axes import (
    CYCLE,
    MARKERS,
    axes_for,
    ink,
    legend_beside,
    spans_decades,
    wrapped,
)
from pretrain_eval.plot._axes import labels as shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_ROWS = 40  # more names than that do not fit beside a picture
_MAIN, _MUTED = "#0072b2", "#999999"


def history(source: Any, *, ax: Axes | None = None) -> Axes:
    """Every column of a history over its steps, norms left and small values right.

    Conclude: where a curve flattens, more training buys nothing; where a gradient norm
    jumps or an update ratio falls to 0, look at what happened at that step. Marks at the
    bottom are steps that were clipped, or skipped.

    Args:
        source: A metric, a collection or a run, of which the history is drawn; or
            columns by key: `step`, where it is there, is the axis, and NaN leaves a gap.
        ax: Where to draw; a new figure by default.

    Raises:
        TypeError: The source has no history.
        ValueError: There is no column, or one has another length than `step`.
    """
    table = getattr(source, "history", source)
    if not isinstance(table, Mapping):
        raise TypeError(
            "plot.history draws a metric, a collection, a run or columns by key, got"
            f" {type(source).__name__}"
        )
    keys = [key for key in table if key != "step"]
    if not keys:
        raise ValueError("history expects at least one column besides 'step', got none")
    columns = {key: _column(table, key) for key in keys}
    marks = {key: columns.pop(key) for key in _MARKS if key in columns}
    ax = axes_for(ax, width=8.2, height=4.2)
    large, small = _by_size(columns)
    lines = _lines(ax, large, 0)
    if small:
        right = ax.twinx()
        lines += _lines(right, small, len(large))
        right.set_ylabel(", ".join(small))
    for row, (key, (steps, values)) in enumerate(marks.items()):
        (found,) = np.nonzero(values > 0)
        place = 0.02 + 0.05 * row
        lines += ax.plot(
            steps[found],
            np.full(len(found), place),
            _MARKS[key],
            transform=ax.get_xaxis_transform(),
            color=CYCLE[(len(columns) + row) % len(CYCLE)],
            ms=7,
            label=f"{key} ({len(found)} of {len(values)} steps)",
        )
    ax.set_xlabel("step")
    ax.set_ylabel(", ".join(large))
    ax.set_title("step metrics" if len(columns) != 1 else next(iter(columns)))
    if len(lines) > 1:
        names = [str(line.get_label()) for line in lines]
        anchor = (1.12 if small else 1.01, 1.0)
        legend_beside(ax, handles=lines, labels=names, bbox_to_anchor=anchor)
    ax.grid(alpha=0.3)
    return ax


# Columns of 0 and 1 that say what befell a step, each with its marker.
_MARKS = {"clipped": "|", "skipped": "x"}
_Columns = dict[str, tuple[np.ndarray, np.ndarray]]


def _column(table: Mapping[str, Any], key: str) -> tuple[np.ndarray, np.ndarray]:
    """The steps at which a column is known, and its values there."""
    values = np.asarray(table[key], dtype=float)
    steps = np.asarray(table.get("step", range(1, len(values) + 1)), dtype=float)
    if len(steps) != len(values):
        raise ValueError(f"{key!r} has {len(values)} values for {len(steps)} steps")
    known = ~np.isnan(values)
    return steps[known], values[known]


def _by_size(columns: _Columns) -> tuple[_Columns, _Columns]:
    """Those for the left axis, and those that would be a flat line there."""
    sizes = {
        key: float(np.median(np.abs(values))) if len(values) else 0.0
        for key, (_, values) in columns.items()
    }
    most = max(sizes.values(), default=0.0)
    small = {key for key, size in sizes.items() if size < most / 10}
    left = {key: column for key, column in columns.items() if key not in small}
    return left, {key: columns[key] for key in columns if key in small}


def _lines(ax: Any, columns: _Columns, first: int) -> list[Any]:
    lines = []
    for row, (key, (steps, values)) in enumerate(columns.items(), first):
        marker = MARKERS[row % len(MARKERS)]
        every = max(1, len(values) // 12)
        color = CYCLE[row % len(CYCLE)]
        style = {"color": color, "marker": marker, "markevery": every, "ms": 4}
        lines += ax.plot(steps, values, label=key, **style)
    values = np.concatenate([column for _, column in columns.values()] or [np.ones(1)])
    values = values[np.isfinite(values)]  # the gradient of a skipped step is infinite
    if len(values) and values.min() > 0 and spans_decades(values):
        ax.set_yscale("log")
    return lines


def confusion_matrix(
    matrix: Any,
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Rows of true classes, columns of predicted ones, shaded by the share of a row.

    Conclude: dark cells off the diagonal are classes taken for one another; a dark
    column is a class predicted too often, a pale diagonal cell one rarely found.

    Args:
        matrix: A `ConfusionMatrix`, or as it computes it; or a run that knows its
            confusions.
        labels: Names of the classes; their numbers by default.
        ax: Where to draw; a new figure by default.
    """
    given = _table(matrix) if isinstance(matrix, Run) else _computed(matrix)
    cells = np.asarray(given, dtype=float)
    if cells.ndim != 2 or cells.shape[0] != cells.shape[1]:
        raise ValueError(f"a confusion matrix is square, got shape {cells.shape}")
    names = _names(labels, len(cells))
    # One name in so many that they stay apart; a wide cell bears its number.
    every = -(-len(cells) // _MOST_ROWS)
    side = max(3.6, min(0.42 * len(cells), 12.0))
    room = 1.0 + 0.085 * max(map(len, names))
    ax = axes_for(ax, width=side + room, height=side + room)
    totals = cells.sum(axis=1, keepdims=True)
    shares = np.divide(cells, totals, out=np.zeros_like(cells), where=totals > 0)
    image = ax.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    if len(cells) <= 20:
        for row, column in np.ndindex(*cells.shape):
            color = ink(image.cmap(image.norm(shares[row, column]))[:3])
            size = 9 if len(cells) <= 8 else 7
            style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": size}
            ax.text(column, row, _cell(float(cells[row, column])), color=color, **style)
    places = range(0, len(cells), every)
    ax.set_xticks(places, names[::every])
    ax.set_yticks(places, names[::every])
    if max(map(len, names)) > 3:
        ax.tick_params(axis="x", labelrotation=90)
    ax.set_xlabel("predicted class")
    ax.set_ylabel("true class")
    title = "confusions, shaded by the share of a row"
    if isinstance(matrix, Run):
        title = f"{matrix.name}: {int(cells.sum()):,} samples\n{title}"
        title = "\n".join(wrapped(line, 44) for line in title.split("\n"))
    ax.set_title(title, fontsize=9)
    return ax


def per_class(
    values: Any,
    *,
    labels: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """One bar a class, the worst on top, and a line at the mean of all.

    Conclude: bars far left of the line are the classes that the mean hides; a class
    without a value had nothing to be measured on. Of more than 40 classes the worst 40
    are drawn.

    Args:
        values: A metric with average="none", or as it computes them; NaN has no bar.
        labels: Names of the classes; their numbers by default.
        ax: Where to draw; a new figure by default.
    """
    heights = np.asarray(_computed(values), dtype=float)
    if heights.ndim != 1 or not len(heights):
        raise ValueError(f"per_class expects one value a class, got {values!r}")
    names = _names(labels, len(heights))
    order = np.argsort(np.nan_to_num(heights, nan=np.inf), kind="stable")[:_MOST_ROWS]
    ax = axes_for(ax, height=max(2.4, 1.0 + 0.24 * len(order)))
    rows = np.arange(len(order))
    ax.barh(rows, np.nan_to_num(heights[order]), color=_MAIN)
    for row, label in enumerate(order):
        if np.isnan(heights[label]):
            ax.text(0, row, " no value", va="center", fontsize=9)
    if not np.isnan(heights).all():
        ax.axvline(float(np.nanmean(heights)), color=_MUTED, linestyle="--")
    ax.set_yticks(rows, [names[label] for label in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_xlabel(f"{getattr(values, 'key', 'value')}; dashed: the mean of all classes")
    if len(order) < len(heights):
        ax.set_title(f"the worst {len(order)} of {len(heights)} classes")
    ax.grid(axis="x", alpha=0.3)
    return ax


def reliability(bins: Any, *, ax: Axes | None = None) -> Axes:
    """Accuracy over confidence in each bin; dots as large as their share of samples.

    Conclude: dots below the diagonal claim more than they keep (overconfident), dots
    above less; the calibration error is their mean distance from it, weighted by size.

    Args:
        bins: A `CalibrationError`, or as its `bins()` gives them.
        ax: Where to draw; a new figure by default.
    """
    bins = bins.bins() if callable(getattr(bins, "bins", None)) else bins
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
    ax.set_xlabel("confidence; a dot's size: its share of the samples")
    ax.set_ylabel("accuracy")
    ax.set_aspect("equal")
    ax.grid(alpha=0.3)
    return ax


def _computed(source: Any) -> Any:
    """What a metric has computed, or the values themselves."""
    compute = getattr(source, "compute", None)
    return compute() if callable(compute) else source


def _table(run: Run) -> Any:
    if not run.confusion:
        raise ValueError(f"{run.name} does not know its confusions")
    table = np.zeros([num_classes_of([run])] * 2)
    for target, prediction, count in run.confusion:
        table[target, prediction] = count
    return table


def _cell(value: float) -> str:
    return amount(value) if value >= 10_000 else f"{value:.4g}"


def _names(labels: Sequence[str] | None, num_classes: int) -> list[str]:
    if labels is None:
        return [str(label) for label in range(num_classes)]
    if len(labels) != num_classes:
        raise ValueError(f"expected {num_classes} labels, got {len(labels)}")
    return shortened(labels)
