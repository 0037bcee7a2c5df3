"""Pictures of scores: who is best, how surely, and at what cost."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from pretrain_eval._optional import needs
from pretrain_eval._scoring.formulas import nemenyi
from pretrain_eval._scoring.protocols import pareto_front
from pretrain_eval._scoring.reports import (
    Comparison,
    Report,
    Scorecard,
    amount,
    counted,
    duration,
)
from pretrain_eval.plot._axes import (
    BEST,
    OTHER,
    TIED,
    amount_axis,
    annotate_apart,
    axes_for,
    labels,
    legend_beside,
    plain,
)
from pretrain_eval.plot._runs import heat, slant

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# A marker for each colour, since in grey the colours are one.
_MARKER = {BEST: "D", TIED: "o", OTHER: "s"}
_WORDS = {BEST: "best", TIED: "best, or not separable from it", OTHER: "worse"}

# What these score is a trait, of which more is not better for everyone.
_NO_MERIT = ("variability",)

_UNITS = {
    "parameters": "parameters of the model",
    "macs": "multiply-accumulates of one forward pass",
    "peak_memory": "peak memory of one training step (bytes)",
    "seconds": "seconds of one fine-tuning (mean)",
}


def scores(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Each model's score with its interval, best on top.

    Conclude: a dark blue model is the best, told from all others; of those in light
    blue any may be. Where a protocol asks for a trait and no merit, none is coloured.
    """
    _check(comparison, Comparison, "scores")
    ax = axes_for(ax, width=7.6, height=1.6 + 0.3 * len(comparison.reports))
    models = [report.model for report in comparison.reports]
    _score_rows(ax, comparison, models)
    ax.set_title(f"{comparison.protocol}: {_count(comparison.reports)}")
    ax.set_xlabel(f"score; bar: {_interval_words(comparison)}")
    _legend(ax, comparison)
    return ax


def scorecard(card: Scorecard) -> Figure:
    """The five protocols side by side with the cost, and the decision above.

    Conclude: which model to use, where it is strong or weak, what it costs, and (light
    blue) which models these runs cannot tell from it.
    """
    _check(card, Scorecard, "scorecard")
    first = card[card.decided_by]
    panels = [first, *(c for c in card.comparisons if c.protocol != first.protocol)]
    columns, rows = len(panels) + 1, len(card.models)
    needs("plot")
    from matplotlib.figure import Figure

    # Not pyplot's, which a notebook would draw a second time.
    size = (2.15 * columns + 2.2, 2.5 + 0.36 * rows)
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots(1, columns)
    for ax, comparison in zip(axes, panels, strict=False):
        _score_rows(ax, comparison, card.models)
        ax.set_title(comparison.protocol, fontsize=10)
        ax.set_xlabel("score", fontsize=9)
        ax.tick_params(axis="x", labelsize=8)
    _cost_rows(axes[-1], first)
    for ax in axes[1:]:
        ax.set_yticklabels([])
    axes[0].set_title(f"{first.protocol} (decides)", fontsize=10)
    sentence = "\n".join(textwrap.wrap(plain(card.decision), 20 * columns))
    figure.suptitle(sentence, fontsize=10.5)
    caption = (
        f"Bar: {_interval_words(first)}. {_count(first.reports)}."
        " Diamond: best; circle: best, or not separable from it."
    )
    figure.supxlabel("\n".join(textwrap.wrap(caption, 20 * columns)), fontsize=8)
    return figure


def cost(
    comparison: Comparison, *, against: str = "parameters", ax: Axes | None = None
) -> Axes:
    """Score against cost with the Pareto front, from a usability comparison.

    Conclude: models on the line are the best at their cost; those off it cost more
    than a model that is at least as good.

    Args:
        comparison: Of `UsabilityEvaluator`; its performance is drawn.
        against: "parameters", "macs", "peak_memory" or "seconds".
        ax: Where to draw; None makes a figure.
    """
    _check(comparison, Comparison, "cost")
    kept = [r for r in comparison.reports if against in r.details]
    if not kept or "performance" not in kept[0].parts:
        raise ValueError(
            f"plot.cost draws a usability comparison whose runs measured {against!r}"
        )
    ax = axes_for(ax, width=7.6, height=4.6)
    front = pareto_front(kept, [against])
    kept = sorted(kept, key=lambda each: each.model not in front)
    points = [(each.details[against], each.parts["performance"]) for each in kept]
    for report, point in zip(kept, points, strict=True):
        best = report.model in front
        ax.plot(*point, "D" if best else "s", color=BEST if best else OTHER, ms=5)
    line = np.array(sorted(points[: len(front)]))
    ax.step(*line.T, where="post", color=BEST, alpha=0.5, label="Pareto front")
    ax.margins(0.22)
    amount_axis(ax, [x for x, _ in points], in_units=against != "seconds")
    ax.set_xlabel(_UNITS.get(against, against))
    ax.set_ylabel("performance, normalised (0 chance, 1 perfect)")
    ax.set_title(f"performance against cost: {_count(kept)}")
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    # Off the front names are drawn as far as there is room.
    num_named = len(kept) if len(kept) <= 8 else len(front)
    names = labels(each.model for each in kept)
    annotate_apart(ax, points[:num_named], names[:num_named])
    return ax


def ranks(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Rank acceptability: how often each model takes each rank under random weights.

    Conclude: a model that is first under most weights is the choice whatever one
    values; equal shares mean that the weights decide.

    Args:
        comparison: One whose protocol has weights, such as usability with a budget.
        ax: Where to draw; None makes a figure.
    """
    _check(comparison, Comparison, "ranks")
    if not comparison.acceptability:
        raise ValueError(f"{comparison.protocol} has no weights here to be drawn anew")
    shares = comparison.acceptability
    models = sorted(shares, key=lambda model: tuple(-s for s in shares[model]))
    ax = axes_for(ax, width=7.6, height=1.9 + 0.3 * len(models))
    pyplot = needs("plot")
    tones = pyplot.get_cmap("Blues_r").resampled(256)
    left = np.zeros(len(models))
    for rank in range(len(models)):
        width = np.array([shares[model][rank] for model in models])
        tone = rank / max(len(models) - 1, 1)
        color = tones(0.15 + 0.7 * tone)
        ax.barh(range(len(models)), width, left=left, color=color, label=f"{rank + 1}")
        left += width
    ax.set_yticks(range(len(models)), labels(models))
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of random weights (Dirichlet 1)")
    ax.set_title(f"{comparison.protocol}: rank acceptability")
    shown = sorted({*range(min(5, len(models))), len(models) - 1})
    handles = [ax.containers[rank] for rank in shown]
    legend_beside(
        ax, handles=handles, labels=[str(rank + 1) for rank in shown], title="rank"
    )
    return ax


def tasks(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """The heat map of scores: tasks across, models in rows, best on top.

    Conclude: where each model is strong; a row that is bright all along holds
    everywhere, a dark column is a hard task, "none" was not measured.

    Raises:
        ValueError: The comparison knows no task's score.
    """
    _check(comparison, Comparison, "tasks")
    names = list(
        dict.fromkeys(task for own in comparison.tasks.values() for task in own)
    )
    if not names:
        raise ValueError(f"{comparison.protocol} has no scores of tasks to be drawn")
    models = [
        each.model for each in comparison.reports if each.model in comparison.tasks
    ]
    table = np.array(
        [[comparison.tasks[m].get(task, np.nan) for task in names] for m in models]
    )
    ax = axes_for(ax, width=4.2 + 0.75 * len(names), height=2.6 + 0.3 * len(models))
    heat(ax, table, f"{comparison.protocol} of the task")
    ax.set_xticks(range(len(names)), labels(names))
    slant(ax)
    ax.set_yticks(range(len(models)), labels(models))
    ax.set_xlabel("task")
    ax.set_title(f"{comparison.protocol} by task")
    return ax


def differences(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """The forest of differences from the best, with their intervals and the rope.

    Conclude: a bar left of 0 is a model that is worse; one that reaches 0 cannot be
    told from the best; one within the shaded rope is practically equal to it.

    Raises:
        ValueError: There is one model, or no cell is common.
    """
    _check(comparison, Comparison, "differences")
    best = comparison.best or ""
    gaps = [
        (each.model, comparison.difference(best, each.model))
        for each in comparison.reports[1:]
    ]
    known = [(model, gap) for model, gap in gaps if gap is not None]
    if not known:
        raise ValueError("plot.differences needs two models with a common cell")
    ax = axes_for(ax, width=7.6, height=1.8 + 0.3 * len(known))
    for row, (model, gap) in enumerate(known):
        color = _color(comparison, model)
        if gap.interval is not None:
            ends = [-gap.interval.high, -gap.interval.low]
            ax.plot(ends, [row, row], color=color, lw=2)
        ax.plot(-gap.difference, row, _MARKER[color], color=color)
    ax.axvline(0, color=BEST, lw=1)
    if comparison.rope:
        rope = comparison.rope
        ax.axvspan(-rope, rope, color=TIED, alpha=0.2, label="practically equal")
        ax.legend(fontsize=8)
    ax.set_yticks(range(len(known)), labels(model for model, _ in known))
    ax.set_ylim(len(known) - 0.5, -0.5)
    (word,) = labels([best])
    anew = " and ".join(comparison.over) or "nothing"
    percent = f"{100 * comparison.confidence:g} %"
    ax.set_xlabel(f"score minus that of {word}\nbar: {percent} for new {anew}")
    ax.set_title(f"{comparison.protocol}: differences from the best")
    ax.grid(axis="x", alpha=0.3)
    return ax


def critical_difference(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Mean ranks over tasks, with a bar under those that Nemenyi's test holds alike.

    Conclude: models under one bar are not separable by their ranks over these tasks;
    the further left, the better. Many tasks are needed before bars are short.

    Source: Demšar, Statistical Comparisons of Classifiers over Multiple Data Sets, JMLR
    7, 2006.

    Raises:
        ValueError: There are fewer than two models or two tasks that all have.
    """
    _check(comparison, Comparison, "critical_difference")
    found = {
        str(row["model"]): float(row["mean_rank"] or 0.0)
        for row in comparison.ranks().rows()
    }
    own = comparison.tasks.values()
    num_tasks = len(set.intersection(*(set(each) for each in own)))
    reach = nemenyi(len(found), num_tasks, comparison.confidence)
    models, means = list(found), np.array(list(found.values()))
    ax = axes_for(ax, width=7.6, height=2.0 + 0.3 * len(models))
    for row, (model, mean) in enumerate(found.items()):
        color = _color(comparison, model)
        ax.plot(mean, row, _MARKER[color], color=color)
    best = float(means[0])
    ax.plot([best, best + reach], [0, 0], color=OTHER, alpha=0.4, lw=6, zorder=1)
    for number, (first, last) in enumerate(_cliques(means, reach)):
        place = len(models) + 0.2 + 0.5 * number
        ax.plot(means[[first, last]], [place, place], color=TIED, lw=4)
    ax.set_yticks(range(len(models)), labels(models))
    bars = max(1, len(_cliques(means, reach)))
    ax.set_ylim(len(models) + 0.5 * bars, -0.5)
    edge = 0.3 + 0.02 * len(models)  # no marker is cut
    ax.set_xlim(1 - edge, len(models) + edge)
    ax.set_xlabel(
        f"mean rank over {counted(num_tasks, 'task')}; grey: a critical difference"
        f" {reach:.2f}"
    )
    ax.set_title(f"{comparison.protocol}: mean ranks\nbars below join what is tied")
    ax.grid(axis="x", alpha=0.3)
    return ax


def _cliques(means: np.ndarray, reach: float) -> list[tuple[int, int]]:
    """The largest groups of sorted means that lie within a reach, by their ends."""
    groups: list[tuple[int, int]] = []
    for first, mean in enumerate(means):
        last = int(np.flatnonzero(means <= mean + reach)[-1])
        if last > first and (not groups or last > groups[-1][1]):
            groups.append((first, last))
    return groups


def _score_rows(ax: Axes, comparison: Comparison, models: Sequence[str]) -> None:
    reports = {report.model: report for report in comparison.reports}
    for row, model in enumerate(models):
        report = reports[model]
        if report.score is None:
            continue
        color = _color(comparison, model)
        if report.bounds is not None:
            ax.plot(report.bounds, [row, row], color=color, alpha=0.25, lw=7)
        if report.interval is not None:
            ends = [report.interval.low, report.interval.high]
            ax.plot(ends, [row, row], color=color, lw=2)
        ax.plot(report.score, row, _MARKER[color], color=color)
    if all(report.score is None for report in reports.values()):
        ax.text(
            0.5,
            0.5,
            "no budget stated:\nno score",
            transform=ax.transAxes,
            ha="center",
            va="center",
            fontsize=9,
        )
        ax.set_xticks([])
    ax.set_yticks(range(len(models)), labels(models))
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)


def _cost_rows(ax: Axes, comparison: Comparison) -> None:
    reports = comparison.reports
    seconds = [report.cost.total_seconds or 0.0 for report in reports]
    ax.barh(range(len(reports)), seconds, color=OTHER, alpha=0.3, height=0.7)
    for row, report in enumerate(reports):
        words = []
        if report.cost.total_seconds is not None:
            words.append(duration(report.cost.total_seconds))
        if report.cost.num_parameters is not None:
            words.append(f"{amount(report.cost.num_parameters)} parameters")
        text = "\n".join(f" {word}" for word in words)
        ax.text(0, row, text, va="center", fontsize=7)
    # Words are longer than the bar of a quick run.
    ax.set_xlim(0, 2 * max([*seconds, 1e-9]))
    ax.set_yticks(range(len(reports)))
    ax.set_ylim(len(reports) - 0.5, -0.5)
    ax.set_title("cost of its runs", fontsize=10)
    ax.set_xlabel("seconds in all", fontsize=9)
    ax.tick_params(axis="x", labelsize=8)


def _legend(ax: Axes, comparison: Comparison) -> None:
    colors = {_color(comparison, report.model) for report in comparison.reports}
    for color in (each for each in _WORDS if each in colors):
        ax.plot([], [], _MARKER[color], color=color, label=_WORDS[color])
    if comparison.p_best and comparison.protocol not in _NO_MERIT:
        legend_beside(ax)


def _color(comparison: Comparison, model: str) -> str:
    if comparison.protocol in _NO_MERIT:
        return OTHER
    if model == comparison.best and comparison.verdict == "use":
        return BEST
    if model == comparison.best and comparison.not_separable:
        return TIED
    return TIED if model in comparison.not_separable else OTHER


def _interval_words(comparison: Comparison) -> str:
    known = [report.interval for report in comparison.reports if report.interval]
    if not known:
        return "none (one seed a cell)"
    words = f"{100 * comparison.confidence:g} % interval for new {known[0].over}"
    if any(report.bounds is not None for report in comparison.reports):
        words += "; wide band: bounds with missing runs"
    return words


def _count(reports: Sequence[Report]) -> str:
    runs = counted(sum(each.num_runs for each in reports), "run")
    return f"{runs} of {counted(len(reports), 'model')}"


def _check(given: object, kind: type, name: str) -> None:
    if not isinstance(given, kind):
        raise TypeError(
            f"plot.{name} draws a {kind.__name__}, got {type(given).__name__}; make one"
            " by compare(runs) or scorecard(runs)"
        )
