"""The picture of a race: who ran how far, at what cost, and who was dropped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, cast

from pretrain_eval._scoring.reports import counted
from pretrain_eval.plot._axes import (
    BEST,
    CYCLE,
    MARKERS,
    NUM_NAMED,
    OTHER,
    axes_for,
    labels,
    legend_beside,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class _Round(Protocol):
    short: bool
    models: Sequence[str]
    means: Mapping[str, float]
    dropped: Mapping[str, str]
    reach: Mapping[str, float]
    cost_share: float


class _Choice(Protocol):
    model: str
    rounds: Sequence[_Round]
    not_separable: Sequence[str]
    filtered: Sequence[str]
    confidence: float


def race(choice: object, *, ax: Axes | None = None) -> Axes:
    """The mean validation score of each model after each round, over what was spent.

    Conclude: where the cost went, and how clear the decision was. A line that ends in a
    cross is a model that was dropped; its bar, the uncertainty of its difference from
    the leader over all looks, lies below the leader then. Bars that reach the leader
    are models that were not told from it. The first round, where runs are cut short,
    has no bars, since it drops by rank; from it a line rises for the epochs that came,
    too.

    Args:
        choice: What `choose` or `replay` gave.
        ax: Where to draw; None makes a figure.

    Raises:
        TypeError: It is no `Choice`.
    """
    if not all(hasattr(choice, name) for name in ("rounds", "not_separable", "p_best")):
        raise TypeError(
            f"plot.race draws a Choice, got {type(choice).__name__}; make one by"
            " choose(models, ...) or replay(runs)"
        )
    found = cast(_Choice, choice)
    ax = axes_for(ax, width=8.2, height=4.4)
    width = found.rounds[-1].cost_share
    left = [found.model, *found.not_separable]
    named = left[:NUM_NAMED]
    models = dict.fromkeys(m for each in found.rounds for m in each.means)
    rest = [model for model in models if model not in named]
    for place, model in enumerate([*rest, *reversed(named)]):
        shift = 0.004 * width * (len(models) - 1 - place)
        _line(ax, found, model, named, shift)
    _legend(ax, found, named, rest)
    ax.set_xlim(0, width * (1.08 + 0.004 * len(models)))
    ax.xaxis.set_major_formatter(lambda share, _: f"{100 * share:.3g} %")
    ax.set_xlabel(
        "spent, as a share of the grid's cost\nbar: difference from the leader,"
        f" {100 * found.confidence:g} % over all looks"
    )
    ax.set_ylabel("mean validation score, higher is better")
    ax.set_title(f"a race in {counted(len(found.rounds), 'round')}")
    ax.grid(alpha=0.3)
    return ax


def _line(
    ax: Axes, choice: _Choice, model: str, named: Sequence[str], shift: float
) -> None:
    """One model's way, with a bar after each round that compared it with the leader."""
    own = [each for each in choice.rounds if model in each.means]
    x = [each.cost_share + shift for each in own]
    y = [each.means[model] for each in own]
    row = named.index(model) if model in named else None
    style: dict[str, Any] = {"color": OTHER, "lw": 1, "alpha": 0.7, "zorder": 2}
    if row is not None:
        style = {"color": CYCLE[row], "lw": 2, "zorder": 4}
    marker = "." if row is None else MARKERS[row]
    ax.plot(x, y, marker=marker, ms=5, **style)
    for place, mean, each in zip(x, y, own, strict=True):
        if model in each.reach:
            reach = each.reach[model]
            ax.plot([place, place], [mean - reach, mean + reach], **style)
    if model in own[-1].dropped:
        ax.plot(x[-1], y[-1], "x", ms=7, **style)


def _legend(
    ax: Axes, choice: _Choice, named: Sequence[str], rest: Sequence[str]
) -> None:
    words = dict(zip(named, labels(named), strict=True))
    for row, model in enumerate(named):
        what = "use" if model == choice.model else "not separable"
        color = BEST if row == 0 else CYCLE[row]
        label = f"{words[model]}: {what}"
        ax.plot([], [], MARKERS[row], ls="-", color=color, label=label)
    cut = [m for each in choice.rounds if each.short for m in each.dropped]
    tested = [m for each in choice.rounds if not each.short for m in each.dropped]
    others = len(set(rest) - set(cut) - set(tested))
    for number, line, what in (
        (len(cut), "x-", "dropped after a short round, by rank"),
        (len(tested), "x-", "dropped by a test"),
        (others, "-", "others, not separable"),
        (len(choice.filtered), " ", "filtered, not trained"),
    ):
        if number:
            ax.plot([], [], line, color=OTHER, label=f"{number} {what}")
    legend_beside(ax)
