"""Pictures of scores; matplotlib is an extra."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any

from pretrain_eval._render import amount, duration
from pretrain_eval._report import Comparison
from pretrain_eval._scorecard import Scorecard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_BEST, _TIED, _OTHER = "#0072b2", "#56b4e9", "#999999"


def scores(comparison: Comparison, *, ax: Axes | None = None) -> Axes:
    """Each model's score with its interval, best on top.

    Conclude: models drawn in light blue cannot be told from the recommended one.
    """
    ax = ax if ax is not None else _pyplot().subplots(layout="constrained")[1]
    reports = comparison.reports
    for row, report in enumerate(reports):
        if report.score is None:
            ax.text(0.5, row, "no score", ha="center", va="center", color=_OTHER)
            continue
        color = _color(comparison, report.model)
        if report.num_missing and report.bounds is not None:
            ax.plot(report.bounds, [row, row], color=color, alpha=0.3, lw=6)
        if report.interval is not None:
            ends = [report.interval.low, report.interval.high]
            ax.plot(ends, [row, row], color=color, lw=2)
        ax.plot(report.score, row, "o", color=color)
    ax.set_yticks(range(len(reports)), [_name(report.model) for report in reports])
    ax.set_ylim(len(reports) - 0.5, -0.5)
    ax.set_xlabel(_interval_label(comparison))
    ax.set_title(comparison.protocol)
    ax.grid(axis="x", alpha=0.3)
    return ax


def scorecard(card: Scorecard) -> Figure:
    """The five protocols side by side with the cost, and the decision above.

    Conclude: which model to use, where it is strong or weak, what it costs, and (light
    blue) which models these runs cannot tell from it.
    """
    first = card[card.decided_by]
    others = [c for c in card.comparisons if c.protocol != card.decided_by]
    panels = [first, *others]
    columns = len(panels) + 1
    height = 2.1 + 0.34 * len(card.models)
    figure: Figure
    figure, axes = _pyplot().subplots(
        1, columns, figsize=(2.3 * columns + 0.8, height), layout="constrained"
    )
    for ax, comparison in zip(axes, panels, strict=False):
        _panel(ax, comparison, card)
    _cost_panel(axes[-1], card)
    for ax in axes[1:]:
        ax.set_yticklabels([])
    width = int(15 * columns)
    figure.suptitle("\n".join(textwrap.wrap(card.decision, width)), fontsize=10)
    return figure


def _panel(ax: Axes, comparison: Comparison, card: Scorecard) -> None:
    order = {model: row for row, model in enumerate(card.models)}
    for report in comparison.reports:
        row, color = order[report.model], _color(comparison, report.model)
        if report.score is None:
            continue
        if report.interval is not None:
            ends = [report.interval.low, report.interval.high]
            ax.plot(ends, [row, row], color=color, lw=2)
        ax.plot(report.score, row, "o", color=color)
    if all(report.score is None for report in comparison.reports):
        ax.text(
            0.5,
            0.5,
            "no budget stated:\nno score",
            ha="center",
            va="center",
            transform=ax.transAxes,
            color="0.4",
        )
        ax.set_xticks([])
    ax.set_yticks(range(len(order)), [_name(model) for model in order])
    ax.set_ylim(len(order) - 0.5, -0.5)
    ax.set_title(comparison.protocol, fontsize=10)
    ax.set_xlabel(_interval_label(comparison), fontsize=8)
    ax.tick_params(axis="x", labelsize=8)
    ax.grid(axis="x", alpha=0.3)


def _cost_panel(ax: Axes, card: Scorecard) -> None:
    reports = card[card.decided_by].reports
    seconds = [report.cost.seconds or 0.0 for report in reports]
    ax.barh(range(len(reports)), seconds, color="0.8", height=0.6)
    for row, report in enumerate(reports):
        words = f"{amount(report.cost.num_parameters)} parameters"
        if report.cost.seconds is not None:
            words = f"{duration(report.cost.seconds)}\n{words}"
        ax.text(0, row, " " + words.replace("\n", "\n "), va="center", fontsize=7)
    ax.set_yticks(range(len(reports)))
    ax.set_ylim(len(reports) - 0.5, -0.5)
    ax.set_title("cost of the runs", fontsize=10)
    ax.set_xlabel("seconds, all runs", fontsize=8)
    ax.tick_params(axis="x", labelsize=8)


def _color(comparison: Comparison, model: str) -> str:
    if model == comparison.best:
        return _BEST
    return _TIED if model in comparison.inseparable else _OTHER


def _interval_label(comparison: Comparison) -> str:
    if any(report.interval is not None for report in comparison.reports):
        return f"score, {100 * comparison.confidence:g} % interval over seeds"
    return "score"


def _name(model: str) -> str:
    # A dollar sign would start matplotlib's formula mode.
    return textwrap.shorten(model, 24, placeholder="…").replace("$", r"\$")


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            'pictures need matplotlib: pip install "pretrain-eval[plot]"'
        ) from error
    return plt
