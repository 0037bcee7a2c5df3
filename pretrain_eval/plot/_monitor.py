"""The picture of a watch: what each look showed, and where chance ends."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from pretrain_eval._scoring.monitoring import Monitor, Signal
from pretrain_eval.plot._axes import BEST, CYCLE, OTHER, axes_for, labels, legend_beside

if TYPE_CHECKING:
    from matplotlib.axes import Axes


_LIMIT: dict[str, Any] = {"where": "mid", "color": CYCLE[1], "lw": 1, "ls": "--"}


def monitor(
    monitor: Monitor, signal: str | None = None, *, ax: Axes | None = None
) -> Axes:
    """One signal over the looks, with the limits that a look by itself must not cross.

    Conclude: a red look is an alarm, and the grey band begins where the change is seen to
    have begun. A red look within the limits is an alarm of several looks together. The
    limits narrow as the looks before them add up.

    Args:
        monitor: What `pretrain_eval.monitor` gave.
        signal: The metric, "confidence", "outputs" or "features"; by default the first
            that has looks. Of outputs and features the distance is drawn, in standard
            errors.
        ax: Where to draw; None makes a figure.

    Raises:
        TypeError: It is no `Monitor`.
        KeyError: There is no signal of this name.
        ValueError: The signal has no look yet.
    """
    if not isinstance(monitor, Monitor):
        raise TypeError(
            f"plot.monitor draws a Monitor, got {type(monitor).__name__}; make one by"
            " monitor(reference, looks)"
        )
    found = _signal(monitor, signal)
    ax = axes_for(ax, width=8.2, height=3.8)
    looks = range(1, len(found.points) + 1)
    if found.since is not None:
        start = [point.look for point in found.points].index(found.since)
        ax.axvspan(start + 0.5, len(looks) + 0.5, color=OTHER, alpha=0.18, lw=0)
    heights = _vector(ax, found) if found.kind == "vector" else _number(ax, found)
    ax.plot(looks, heights, color=BEST, marker="o", ms=4, lw=1.2, zorder=3)
    alarms = [n for n, p in zip(looks, found.points, strict=True) if p.is_alarm]
    if alarms:
        at = [heights[n - 1] for n in alarms]
        ax.plot(alarms, at, "X", ms=9, color=CYCLE[1], zorder=4, label="alarm")
    _name_looks(ax, [point.look for point in found.points])
    what = "drop" if found.better else "drift"
    seen = f"{what} since {labels([found.since])[0]}" if found.since else f"no {what}"
    ax.set_title(f"{labels([found.name])[0]} of a deployed model: {seen}")
    legend_beside(ax)
    return ax


def _signal(monitor: Monitor, name: str | None) -> Signal:
    if name is not None:
        found = monitor[name]
    else:
        seen = [each for each in monitor.signals if each.points]
        found = seen[0] if seen else monitor.signals[0]
    if not found.points:
        raise ValueError(
            f"{found.name!r} has no look yet; look(name, predictions) adds one"
        )
    return found


def _number(ax: Axes, signal: Signal) -> list[float]:
    """Means with the reference's and the limits of each look alone."""
    ends = [signal.limits_of(point) for point in signal.points]
    ax.axhline(signal.value or 0.0, color=OTHER, lw=1, label="reference")
    looks = range(1, len(ends) + 1)
    label = "limit of a look alone"
    for side in zip(*ends, strict=True):
        if not math.isinf(side[0]):
            ax.step(looks, side, label=label, **_LIMIT)
            label = "_"
    ax.set_ylabel(
        signal.name + (f", {signal.better} is better" if signal.better else "")
    )
    return [point.value or 0.0 for point in signal.points]


def _vector(ax: Axes, signal: Signal) -> list[float]:
    """How far the mean has moved, with the limits."""
    looks = range(1, len(signal.points) + 1)
    limits = [point.limit for point in signal.points]
    ax.step(looks, limits, label="limit", **_LIMIT)
    ax.set_ylabel("distance from before, standard errors")
    heights = [point.statistic for point in signal.points]
    ax.set_ylim(0, 1.1 * max(*heights, *limits))
    return heights


def _name_looks(ax: Axes, names: list[str]) -> None:
    """As many names as have room beside each other."""
    shown = labels(names)
    room = 6.0 / (0.085 * max(map(len, shown)) + 0.15)  # inches, at 8 points
    every = math.ceil(len(names) / max(1.0, room))
    places = range(1, len(names) + 1, every)
    ax.set_xticks(list(places), [shown[place - 1] for place in places], fontsize=8)
    ax.set_xlim(0.5, len(names) + 0.5)
    ax.grid(alpha=0.3)
