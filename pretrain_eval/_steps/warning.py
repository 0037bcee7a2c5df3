"""Warnings at the line of the training loop that they are about."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from types import FrameType

import torch

# Between the loop and what is measured lie this package and torch.
_INSIDE = tuple(str(Path(file).parent.parent) for file in (__file__, torch.__file__))


def warn(message: str) -> None:
    """Warn, as if at the line that called the optimizer."""
    level = 2
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and _is_inside(frame):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


def _is_inside(frame: FrameType) -> bool:
    return any(frame.f_code.co_filename.startswith(str(path)) for path in _INSIDE)
