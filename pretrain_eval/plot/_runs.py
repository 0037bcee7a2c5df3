"""Pictures of runs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring import Grid, ordered
from pretrain_eval._scoring.formulas import (
    members_of,
    performance_profile,
    t_quantile,
    time_share,
)
from pretrain_eval._scoring.protocols import PersistenceEvaluator
from pretrain_eval._scoring.reports import counted
from pretrain_eval.plot._axes import (
    BEST,
    CYCLE,
    MARKERS,
    NUM_NAMED,
    OTHER,
    axes_for,
    ink,
    labels,
    legend_beside,
    plain,
    wrapped,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def grid(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """The heat map of P_ijk of one model: datasets of tasks in rows, strategies across.

    Conclude: where the model holds and where it does not; a dark row is a hard dataset,
    a dark column a poor strategy, an empty cell was not measured. Shares are shaded
    from 0 to 1, other metrics over their range here.

    Args:
        runs: Of one model.
        metric: The key of the scores that are drawn.
        ax: Where to draw; None makes a figure.

    Raises:
        ValueError: The runs are of several models.
    """
    runs = ordered(runs)
    model = _one_model(runs, "grid")
    measured = _measured(runs, metric)[model]
    cells = measured.full.names
    places = list(dict.fromkeys(cell[:2] for cell in cells))
    strategies = sorted({cell[2] for cell in cells})
    table = np.full((len(places), len(strategies)), math.nan)
    for (task, dataset, strategy), mean in zip(
        measured.cells.names, measured.cells["P"].tolist(), strict=True
    ):
        table[places.index((task, dataset)), strategies.index(strategy)] = mean
    ax = axes_for(
        ax, width=3.6 + 1.1 * len(strategies), height=1.8 + 0.38 * len(places)
    )
    heat(ax, table, plain(metric))
    ax.set_xticks(range(len(strategies)), labels(strategies))
    # Names below an axis that would meet.
    if max(map(len, strategies)) > 8 or len(strategies) > 6:
        slant(ax)
    ax.set_yticks(range(len(places)), labels("/".join(place) for place in places))
    ax.set_xlabel("strategy")
    ax.set_ylabel("task/dataset")
    ax.set_title(
        f"{wrapped(f'{model}: {metric}', 34)}\n"
        f"mean over seeds, {counted(len(runs), 'run')}",
        fontsize=10,
    )
    return ax


def heat(ax: Axes, table: np.ndarray, label: str) -> None:
    """Shade a table of numbers and write each into its cell; NaN is "none"."""
    known = table[~np.isnan(table)]
    is_share = bool(known.size) and known.min() >= 0 and known.max() <= 1
    ends = (0.0, 1.0) if is_share or not known.size else (known.min(), known.max())
    image = ax.imshow(table, vmin=ends[0], vmax=ends[1], cmap="cividis", aspect="auto")
    size = 9 if table.shape[1] <= 6 else 6.5
    digits = 3 if table.shape[1] <= 12 else 2
    for (row, column), value in np.ndenumerate(table):
        hole = math.isnan(value)
        color = ax.get_facecolor() if hole else image.cmap(image.norm(value))
        ax.text(
            column,
            row,
            "none" if hole else f"{value:.{digits}f}",
            ha="center",
            va="center",
            color=ink(color[:3]),
            fontsize=size,
        )
    ax.figure.colorbar(image, ax=ax, label=label)


def curves(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """Validation during training, a mean curve a model over the time that scores it.

    Conclude: the higher and the earlier a curve rises, the larger its area and with it
    the model's optimizability. The band is a 95 % t interval of the mean over runs; of
    more than six models the best six are named.

    Args:
        runs: Of any number of models.
        metric: The key of the curves that are drawn.
        ax: Where to draw; None makes a figure.

    Raises:
        ValueError: No run has a curve of the metric.
    """
    runs = ordered(runs)
    ax = axes_for(ax, width=8.2)
    x = np.linspace(0, 1, 101)
    found: dict[str, np.ndarray] = {}
    for model, index in members_of([run.model for run in runs]).items():
        lines = [_resampled(runs[i], metric, x) for i in index]
        kept = [line for line in lines if line is not None]
        if kept:
            found[model] = np.array(kept)
    if not found:
        raise ValueError(f"no run has a validation curve of {metric!r}")
    order = sorted(found, key=lambda model: (-float(found[model].mean()), model))
    words = dict(zip(order, labels(order), strict=True))
    _rest(ax, [(x, found[model].mean(0)) for model in order[NUM_NAMED:]])
    for row, model in reversed([*enumerate(order[:NUM_NAMED])]):
        rows = found[model]
        mean = rows.mean(0)
        label = f"{words[model]}: {mean.mean():.3f} ({counted(len(rows), 'run')})"
        ax.plot(
            x,
            mean,
            color=CYCLE[row],
            marker=MARKERS[row],
            markevery=(4 * row, 25),
            ms=5,
            label=label,
        )
        if len(rows) > 1:
            half = t_quantile(0.975, len(rows) - 1) * rows.std(0, ddof=1)
            half /= math.sqrt(len(rows))
            ax.fill_between(x, mean - half, mean + half, color=CYCLE[row], alpha=0.12)
    ticks = [0, 0.05, 0.2, 0.5, 1]
    ax.set_xticks([time_share(tick, 1) for tick in ticks], [f"{t:.0%}" for t in ticks])
    ax.set_xlim(0, 1)
    _limit(ax, np.concatenate([rows.mean(0) for rows in found.values()]))
    ax.set_xlabel("share of the training steps (logarithmic)")
    ax.set_ylabel(f"validation {plain(metric)}, mean over runs")
    ax.set_title("learning curves and their mean height")
    _legend(ax, first_drawn_last=True)
    return ax


def before_after(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """An arrow a dataset of one model, from before fine-tuning to after it.

    Conclude: what fine-tuning adds on each dataset; an arrow to the left is negative
    transfer, a short one far right had no headroom.

    Args:
        runs: Of one model.
        metric: The key of the scores that are drawn.
        ax: Where to draw; None makes a figure.

    Raises:
        ValueError: The runs are of several models, or none was measured before.
    """
    runs = ordered(runs)
    model = _one_model(runs, "before_after")
    kept = [r for r in runs if metric in r.baseline and metric in r.scores]
    if not kept:
        raise ValueError(f"no run of {model} holds {metric!r} before and after")
    places = members_of([(run.task, run.dataset) for run in kept])
    ax = axes_for(ax, height=1.9 + 0.35 * len(places))
    drawn: list[float] = []
    for row, index in enumerate(places.values()):
        before = math.fsum(kept[i].baseline[metric] for i in index) / len(index)
        after = math.fsum(kept[i].scores[metric] for i in index) / len(index)
        chance = kept[index[0]].chance.get(metric)
        color = BEST if after >= before else "#d55e00"
        ax.annotate(
            "",
            (after, row),
            (before, row),
            arrowprops={"arrowstyle": "-|>", "color": color, "lw": 2},
        )
        ax.plot(before, row, "o", color=color, mfc="none")
        drawn += [before, after]
        if chance is not None:
            ax.plot(chance, row, "|", color=OTHER, ms=12, mew=2)
            drawn.append(chance)
    ax.set_yticks(range(len(places)), labels("/".join(place) for place in places))
    ax.set_ylim(len(places) - 0.5, -0.5)
    low, high = min(0.0, *drawn), max(drawn)
    ax.set_xlim(low, 1 if high <= 1 else high * 1.05)
    ax.set_xlabel(f"{plain(metric)}: ring before, arrow head after, tick chance")
    title = f"{model} before and after fine-tuning, {counted(len(kept), 'run')}"
    ax.set_title(wrapped(title), fontsize=10)
    ax.grid(axis="x", alpha=0.3)
    return ax


def profiles(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """The share of each model's runs above every score; a diverged run at chance.

    Conclude: a model whose line lies above another's everywhere is better however one
    weighs good and bad runs; where lines cross, it depends on what is asked. Of more
    than six models those of the best means are named.

    Args:
        runs: Of any number of models.
        metric: The key of the scores that are drawn.
        ax: Where to draw; None makes a figure.
    """
    runs = ordered(runs)
    ax = axes_for(ax, width=8.2)
    found = {
        model: measured.columns["P"]
        for model, measured in _measured(runs, metric).items()
    }
    order = sorted(found, key=lambda model: (-float(np.nanmean(found[model])), model))
    words = dict(zip(order, labels(order), strict=True))
    every = np.concatenate(list(found.values()))
    low, high = min(0.0, float(every.min())), max(1.0, float(every.max()))
    thresholds = np.linspace(low, high, 201)
    shares = {m: performance_profile(found[m], thresholds) for m in order}
    _rest(ax, [(thresholds, shares[model]) for model in order[NUM_NAMED:]])
    for row, model in enumerate(order[:NUM_NAMED]):
        ax.step(
            thresholds,
            shares[model],
            where="post",
            color=CYCLE[row],
            marker=MARKERS[row],
            markevery=(6 * row, 40),
            ms=5,
            label=f"{words[model]} ({counted(found[model].size, 'run')})",
        )
    ax.set_xlim(low, high)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(f"{plain(metric)} τ")
    ax.set_ylabel(f"share of runs with {plain(metric)} above τ")
    ax.set_title("performance profiles")
    _legend(ax)
    ax.grid(alpha=0.3)
    return ax


def _rest(ax: Axes, lines: Sequence[tuple[Any, Any]]) -> None:
    """Lines without names, in grey behind the others."""
    for number, line in enumerate(lines):
        label = f"{counted(len(lines), 'other')}" if not number else None
        ax.plot(*line, color=OTHER, alpha=0.5, lw=0.8, zorder=1, label=label)


def _legend(ax: Axes, *, first_drawn_last: bool = False) -> None:
    handles, words = ax.get_legend_handles_labels()
    pairs = list(zip(handles, words, strict=True))
    rest = [pair for pair in pairs if pair[1].endswith((" other", " others"))]
    named = [pair for pair in pairs if pair not in rest]
    pairs = (named[::-1] if first_drawn_last else named) + rest
    legend_beside(ax, handles=[h for h, _ in pairs], labels=[w for _, w in pairs])


def _limit(ax: Axes, values: np.ndarray) -> None:
    """From 0 to 1 for shares; otherwise as the values say."""
    if values.min() >= 0 and values.max() <= 1:
        ax.set_ylim(0, 1)


def slant(ax: Axes) -> None:
    """Turn the names below an axis."""
    ax.tick_params(axis="x", labelrotation=30)
    for label in ax.get_xticklabels():
        label.set_horizontalalignment("right")
        label.set_rotation_mode("anchor")


def _resampled(run: Run, metric: str, x: Any) -> Any:
    curve = run.curve.get(metric)
    if not curve or not all(map(math.isfinite, curve)):
        return None
    steps = run.curve.get("step", tuple(range(len(curve))))
    if steps[-1] <= 0:
        return None
    return np.interp(x, [time_share(step, steps[-1]) for step in steps], curve)


def _measured(runs: Sequence[Run], metric: str) -> dict[str, Grid]:
    # What persistence reads, so that a diverged run is drawn where it counts: at chance.
    return PersistenceEvaluator(metric=metric).grids(runs)


def _one_model(runs: Sequence[Run], name: str) -> str:
    models = sorted({run.model for run in runs})
    if len(models) > 1:
        raise ValueError(f"plot.{name} draws the runs of one model, got {models}")
    return models[0]
