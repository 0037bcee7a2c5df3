"""Axes, colours and text that every picture shares."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

from pretrain_eval._optional import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's colours, told apart by every eye.
BEST, TIED, OTHER = "#0072b2", "#56b4e9", "#999999"
CYCLE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")


def plain(text: str) -> str:
    """The text as it is, and no longer than a title bears."""
    # A dollar sign would start matplotlib's formula mode.
    return textwrap.shorten(text, 400, placeholder="…").replace("$", r"\$")


def axes_for(ax: Axes | None, *, width: float = 6.4, height: float = 4.0) -> Axes:
    """The axes themselves, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    made: Axes = needs("plot").subplots(figsize=(width, height), layout="constrained")[
        1
    ]
    return made
