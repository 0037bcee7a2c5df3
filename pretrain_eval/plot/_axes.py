"""Axes, colours and text that every picture shares."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from pretrain_eval._optional import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart by every eye. A marker goes with each, so that
# they are told apart in grey too.
BEST, TIED, OTHER = "#0072b2", "#56b4e9", "#999999"
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
NUM_NAMED = len(CYCLE)  # more lines than that are grey, and share one name
WIDEST = 26  # characters of a name; its middle gives way


def plain(text: str) -> str:
    """The text as it is, and no longer than a title bears."""
    # A dollar sign would start matplotlib's formula mode.
    return textwrap.shorten(text, 400, placeholder="…").replace("$", r"\$")


def wrapped(text: str, width: int = 58) -> str:
    """The text on lines that a picture of usual width bears."""
    return "\n".join(textwrap.wrap(plain(text), width))


def labels(names: Iterable[str]) -> list[str]:
    """Names that fit a picture: long ones lose their middle, where all stay different.

    >>> labels(["a", "a-very-long-name-of-a-pretrained-network"])
    ['a', 'a-very-long-n…ined-network']
    """
    whole = list(names)
    short = [_shortened(name) for name in whole]
    if len(set(short)) < len(set(whole)):
        short = whole
    return [plain(name) for name in short]


def _shortened(name: str) -> str:
    if len(name) <= WIDEST:
        return name
    half = WIDEST // 2
    return f"{name[:half]}…{name[len(name) - half + 1 :]}"


def axes_for(ax: Axes | None, *, width: float = 6.4, height: float = 4.0) -> Axes:
    """The axes themselves, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    made: Axes = needs("plot").subplots(figsize=(width, height), layout="constrained")[
        1
    ]
    return made


def ink(color: Any) -> str:
    """Black or white, whichever stands out more from a colour.

    The contrast is at least 4.5 : 1, as the Web Content Accessibility Guidelines ask.
    """
    from matplotlib.colors import to_rgb

    return "black" if luminance(to_rgb(color)) > 0.18 else "white"


def luminance(rgb: Sequence[float]) -> float:
    """How bright a colour is, from 0 to 1, as WCAG 2 defines relative luminance."""
    parts = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in rgb]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def legend_beside(ax: Axes, **options: Any) -> None:
    """A legend that covers nothing: to the right of the axes."""
    place = {"loc": "upper left", "bbox_to_anchor": (1.01, 1.0), "borderaxespad": 0.0}
    ax.legend(**{"fontsize": 8, "frameon": False, **place, **options})


def spans_decades(values: Iterable[float], factor: float = 30.0) -> bool:
    """Whether positive values differ so much that an axis should be logarithmic."""
    known = [value for value in values if value > 0]
    return bool(known) and max(known) > factor * min(known)


def amount_axis(ax: Axes, values: Sequence[float], *, in_units: bool) -> None:
    """An axis of amounts with few words: 30M, not 3 × 10⁷, and no minor ones."""
    from matplotlib.ticker import (
        EngFormatter,
        LogLocator,
        NullFormatter,
        StrMethodFormatter,
    )

    if spans_decades(values, 10):
        ax.set_xscale("log")
        low, high = ax.get_xlim()
        subs = (1.0, 3.0) if high < 1000 * low else (1.0,)
        ax.xaxis.set_major_locator(LogLocator(subs=subs))
        ax.xaxis.set_minor_formatter(NullFormatter())
    else:
        ax.set_xlim(left=max(0.0, ax.get_xlim()[0]))  # nothing costs less than nothing
    style = EngFormatter(sep="") if in_units else StrMethodFormatter("{x:g}")
    ax.xaxis.set_major_formatter(style)


def annotate_apart(
    ax: Axes, points: Sequence[tuple[float, float]], texts: Sequence[str]
) -> None:
    """Write a name at each point, where it finds a place that covers no other.

    Args:
        ax: Whose points are drawn, with their limits set.
        points: In data coordinates, the most important first.
        texts: One a point.
    """
    figure: Any = ax.figure
    figure.canvas.draw()
    renderer = figure.canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    taken: list[Any] = []
    for point, text in zip(points, texts, strict=True):
        for offset, sides in _AROUND:
            label = ax.annotate(
                text,
                point,
                offset,
                textcoords="offset points",
                fontsize=8,
                ha=sides[0],
                va=sides[1],
            )
            box = label.get_window_extent(renderer).expanded(1.02, 1.1)
            inside = frame.contains(box.x0, box.y0) and frame.contains(box.x1, box.y1)
            if inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()


# Where a name may stand by its point: the offset, and which side of it is there.
_AROUND = (
    ((6, 4), ("left", "bottom")),
    ((-6, 4), ("right", "bottom")),
    ((6, -4), ("left", "top")),
    ((-6, -4), ("right", "top")),
    ((0, 9), ("center", "bottom")),
    ((0, -9), ("center", "top")),
    ((8, 16), ("left", "bottom")),
    ((-8, 16), ("right", "bottom")),
    ((8, -16), ("left", "top")),
    ((-8, -16), ("right", "top")),
)
