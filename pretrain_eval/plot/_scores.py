"""Pictures of runs and scores."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run
from pretrain_eval._scoring import Grid, ordered
from pretrain_eval._scoring.formulas import members_of, performance_profile, time_share
from pretrain_eval._scoring.protocols import PersistenceEvaluator, pareto_front
from pretrain_eval._scoring.reports import (
    Comparison,
    Interval,
    Report,
    Scorecard,
    amount,
    counted,
    duration,
)
from pretrain_eval.plot._axes import (
    BEST,
    CYCLE,
    OTHER,
    TIED,
    axes_for,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

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
    ax = axes_for(ax, height=1.6 + 0.35 * len(comparison.reports))
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
    first = card[card.decided_by]
    panels = [first, *(c for c in card.comparisons if c.protocol != first.protocol)]
    columns, rows = len(panels) + 1, len(card.models)
    figure: Figure
    figure, axes = needs("plot").subplots(
        1,
        columns,
        figsize=(2.15 * columns + 1.2, 2.3 + 0.36 * rows),
        layout="constrained",
    )
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
        " Dark blue: best; light blue: best, or not separable from it."
    )
    figure.supxlabel("\n".join(textwrap.wrap(caption, 20 * columns)), fontsize=8)
    return figure


def grid(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """The heat map of P_ijk of one model: datasets of tasks in rows, strategies across.

    Conclude: where the model holds and where it does not; a dark row is a hard dataset,
    a dark column a poor strategy, an empty cell was not measured.

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
        ax, width=3.6 + 1.1 * len(strategies), height=1.6 + 0.38 * len(places)
    )
    image = ax.imshow(table, vmin=0, vmax=1, cmap="cividis", aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        words = "none" if math.isnan(value) else f"{value:.3f}"
        color = "black" if math.isnan(value) or value > 0.5 else "white"
        ax.text(column, row, words, ha="center", va="center", color=color, fontsize=9)
    ax.set_xticks(range(len(strategies)), [plain(name) for name in strategies])
    ax.set_yticks(range(len(places)), [plain("/".join(place)) for place in places])
    ax.set_xlabel("strategy")
    ax.set_ylabel("task/dataset")
    ax.set_title(
        f"{plain(model)}: {plain(metric)}\nmean over seeds, {counted(len(runs), 'run')}"
    )
    ax.figure.colorbar(image, ax=ax, label=plain(metric))
    return ax


def curves(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """Validation during training, a mean curve a model over the time that scores it.

    Conclude: the higher and the earlier a curve rises, the larger its shaded area and
    with it the model's optimizability; the area is drawn for the best alone.
    """
    runs = ordered(runs)
    ax = axes_for(ax)
    x = np.linspace(0, 1, 101)
    means = {}
    for model, index in members_of([run.model for run in runs]).items():
        lines = [_resampled(runs[i], metric, x) for i in index]
        kept = [line for line in lines if line is not None]
        if kept:
            means[model] = np.mean(kept, axis=0), len(kept)
    if not means:
        raise ValueError(f"no run has a validation curve of {metric!r}")
    order = sorted(means, key=lambda model: (-float(means[model][0].mean()), model))
    for row, model in enumerate(order):
        line, count = means[model]
        color = CYCLE[row % len(CYCLE)]
        label = f"{plain(model)}: {line.mean():.3f} ({counted(count, 'run')})"
        ax.plot(x, line, color=color, label=label)
        if not row:
            ax.fill_between(x, 0, line, color=color, alpha=0.1)
    ticks = [0, 0.05, 0.2, 0.5, 1]
    ax.set_xticks([time_share(tick, 1) for tick in ticks], [f"{t:.0%}" for t in ticks])
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("share of the training steps (logarithmic)")
    ax.set_ylabel(f"validation {plain(metric)}, mean over runs")
    ax.set_title("learning curves and their mean height")
    ax.legend(fontsize=8)
    return ax


def before_after(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """An arrow a dataset of one model, from before fine-tuning to after it.

    Conclude: what fine-tuning adds on each dataset; an arrow to the left is negative
    transfer, a short one far right had no headroom.

    Raises:
        ValueError: The runs are of several models, or none was measured before.
    """
    runs = ordered(runs)
    model = _one_model(runs, "before_after")
    kept = [r for r in runs if metric in r.baseline and metric in r.scores]
    if not kept:
        raise ValueError(f"no run of {model} holds {metric!r} before and after")
    places = members_of([(run.task, run.dataset) for run in kept])
    ax = axes_for(ax, height=1.8 + 0.35 * len(places))
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
        ax.plot(before, row, "o", color=color, mfc="white")
        if chance is not None:
            ax.plot(chance, row, "|", color="0.4", ms=12)
    ax.set_yticks(range(len(places)), [plain("/".join(place)) for place in places])
    ax.set_ylim(len(places) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.set_xlabel(f"{plain(metric)}: ring before, arrow head after, tick chance")
    ax.set_title(
        f"{plain(model)} before and after fine-tuning, {counted(len(kept), 'run')}"
    )
    ax.grid(axis="x", alpha=0.3)
    return ax


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
    kept = [r for r in comparison.reports if against in r.details]
    if not kept or "performance" not in kept[0].parts:
        raise ValueError(
            f"plot.cost draws a usability comparison whose runs measured {against!r}"
        )
    ax = axes_for(ax)
    front = pareto_front(kept, [against])
    amounts = [report.details[against] for report in kept]
    middle = (min(amounts) * max(amounts)) ** 0.5
    for report in kept:
        color = BEST if report.model in front else OTHER
        point = report.details[against], report.parts["performance"]
        ax.plot(*point, "o", color=color)
        right = point[0] > middle  # names grow towards the middle of the picture
        ax.annotate(
            plain(report.model),
            point,
            (-6 if right else 6, 5),
            textcoords="offset points",
            ha="right" if right else "left",
            fontsize=9,
        )
    line = sorted(
        (r.details[against], r.parts["performance"]) for r in kept if r.model in front
    )
    steps = np.array(line).T
    ax.step(*steps, where="post", color=BEST, alpha=0.5, label="Pareto front")
    if max(amounts) > 10 * min(amounts) > 0:
        ax.set_xscale("log")
    ax.margins(0.18)
    ax.set_xlabel(_UNITS.get(against, against))
    ax.set_ylabel("performance, normalised (0 chance, 1 perfect)")
    ax.set_title(f"performance against cost: {_count(kept)}")
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    return ax


def profiles(
    runs: Iterable[Run], *, metric: str = "accuracy", ax: Axes | None = None
) -> Axes:
    """The share of each model's runs above every score; a diverged run at chance.

    Conclude: a model whose line lies above another's everywhere is better however one
    weighs good and bad runs; where lines cross, it depends on what is asked.
    """
    runs = ordered(runs)
    ax = axes_for(ax)
    thresholds = np.linspace(0, 1, 201)
    for row, (model, measured) in enumerate(_measured(runs, metric).items()):
        found = measured.columns["P"]
        shares = performance_profile(found, thresholds)
        label = f"{plain(model)} ({counted(found.size, 'run')})"
        color = CYCLE[row % len(CYCLE)]
        ax.step(thresholds, shares, where="post", color=color, label=label)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1.02)
    ax.set_xlabel(f"{plain(metric)} τ")
    ax.set_ylabel(f"share of runs with {plain(metric)} above τ")
    ax.set_title("performance profiles")
    ax.legend(fontsize=8)
    ax.grid(alpha=0.3)
    return ax


def ranks(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Rank acceptability: how often each model takes each rank under random weights.

    Conclude: a model that is first under most weights is the choice whatever one
    values; equal shares mean that the weights decide.

    Args:
        comparison: One whose protocol has weights, such as usability with a budget.
        ax: Where to draw; None makes a figure.
    """
    if not comparison.acceptability:
        raise ValueError(f"{comparison.protocol} has no weights here to be drawn anew")
    shares = comparison.acceptability
    models = sorted(shares, key=lambda model: tuple(-s for s in shares[model]))
    ax = axes_for(ax, height=1.9 + 0.35 * len(models))
    left = np.zeros(len(models))
    for rank in range(len(models)):
        width = np.array([shares[model][rank] for model in models])
        tone = rank / max(len(models) - 1, 1)
        color = needs("plot").get_cmap("Blues_r")(0.15 + 0.7 * tone)
        ax.barh(range(len(models)), width, left=left, color=color, label=f"{rank + 1}")
        left += width
    ax.set_yticks(range(len(models)), [plain(model) for model in models])
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.set_xlim(0, 1)
    ax.set_xlabel("share of random weights (Dirichlet 1)")
    ax.set_title(f"{comparison.protocol}: rank acceptability")
    ax.legend(title="rank", fontsize=8, bbox_to_anchor=(1.01, 1), loc="upper left")
    return ax


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
            _bar(ax, report.interval, row, color)
        ax.plot(report.score, row, "o", color=color)
    if all(report.score is None for report in reports.values()):
        ax.text(
            0.5,
            0.5,
            "no budget stated:\nno score",
            transform=ax.transAxes,
            ha="center",
            va="center",
            color="0.4",
            fontsize=9,
        )
        ax.set_xticks([])
    ax.set_yticks(range(len(models)), [plain(model) for model in models])
    ax.set_ylim(len(models) - 0.5, -0.5)
    ax.grid(axis="x", alpha=0.3)


def _bar(ax: Axes, interval: Interval, row: int, color: str) -> None:
    ax.plot([interval.low, interval.high], [row, row], color=color, lw=2)


def _cost_rows(ax: Axes, comparison: Comparison) -> None:
    reports = comparison.reports
    seconds = [report.cost.total_seconds or 0.0 for report in reports]
    ax.barh(range(len(reports)), seconds, color="0.85", height=0.7)
    for row, report in enumerate(reports):
        words = []
        if report.cost.total_seconds is not None:
            words.append(duration(report.cost.total_seconds))
        if report.cost.num_parameters is not None:
            words.append(f"{amount(report.cost.num_parameters)} parameters")
        ax.text(
            0, row, "\n".join(f" {word}" for word in words), va="center", fontsize=7
        )
    ax.set_yticks(range(len(reports)))
    ax.set_ylim(len(reports) - 0.5, -0.5)
    ax.set_title("cost of its runs", fontsize=10)
    ax.set_xlabel("seconds in all", fontsize=9)
    ax.tick_params(axis="x", labelsize=8)


def _legend(ax: Axes, comparison: Comparison) -> None:
    tied = "best, or not separable from it"
    words = {BEST: "best", TIED: tied, OTHER: "worse"}
    colors = {_color(comparison, report.model) for report in comparison.reports}
    for color in (each for each in words if each in colors):
        ax.plot([], [], "o", color=color, label=words[color])
    if comparison.p_best and comparison.protocol not in _NO_MERIT:
        ax.legend(fontsize=8)


def _color(comparison: Comparison, model: str) -> str:
    if comparison.protocol in _NO_MERIT:
        return OTHER
    if model == comparison.best and comparison.verdict == "use":
        return BEST
    if model == comparison.best and comparison.not_separable:
        return TIED
    return TIED if model in comparison.not_separable else OTHER


def _interval_words(comparison: Comparison) -> str:
    if all(report.interval is None for report in comparison.reports):
        return "none (one seed a cell)"
    known = [report.interval for report in comparison.reports if report.interval]
    words = f"{100 * comparison.confidence:g} % interval for new {known[0].over}"
    if any(report.bounds is not None for report in comparison.reports):
        words += "; wide band: bounds with missing runs"
    return words


def _count(reports: Sequence[Report]) -> str:
    runs = counted(sum(each.num_runs for each in reports), "run")
    return f"{runs} of {counted(len(reports), 'model')}"


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
