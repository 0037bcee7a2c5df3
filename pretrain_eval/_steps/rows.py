"""How flat tensors are cut into rows of one length, and rows into windows."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, final

import numpy as np

# Rows of this length are summed in float32, then in float64. A CPU sums a row in as few
# as 4 lanes; in longer rows of one repeated value the rounding errors of a lane, which
# are all of one sign, would pass 1e-6.
ROW = 512

Array = np.ndarray[Any, np.dtype[Any]]


class Window(NamedTuple):
    """Some rows of a block, and their place among all rows."""

    block: int
    rows: slice
    place: slice


@final
class RowLayout:
    """Where the rows of flat tensors lie: whole ones, then what is left of each.

    The whole rows of a tensor are a block; what is left of all tensors is the last one.

    Attributes:
        num_rows: Of all tensors.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._num_tensors = len(sizes)
        self._whole = [index for index, size in enumerate(sizes) if size >= ROW]
        self._rests = [index for index, size in enumerate(sizes) if size % ROW]
        heights = [sizes[index] // ROW for index in self._whole]
        *self._starts, self._num_whole = accumulate(heights, initial=0)
        self._heights = [*heights, len(self._rests)] if self._rests else heights
        self._windows: dict[int, list[Window]] = {}
        self.num_rows = sum(self._heights)

    @staticmethod
    @lru_cache(maxsize=32)
    def of(sizes: tuple[int, ...]) -> RowLayout:
        """The layout of tensors of these sizes, remembered from step to step."""
        return RowLayout(sizes)

    def blocks(self, arrays: Sequence[Array]) -> list[Array]:
        """Whole rows of each array, `(rows, ROW)`; the rests, filled up with zeros."""
        whole = [arrays[index] for index in self._whole]
        blocks = [array[: len(array) // ROW * ROW].reshape(-1, ROW) for array in whole]
        if self._rests:
            rests = np.zeros((len(self._rests), ROW), arrays[0].dtype)
            for row, index in zip(rests, self._rests, strict=True):
                size = len(arrays[index]) % ROW
                row[:size] = arrays[index][-size:]
            blocks.append(rests)
        return blocks

    def windows(self, size: int) -> list[Window]:
        """All rows, so many at a time."""
        if size not in self._windows:
            self._windows[size] = self._cut(size)
        return self._windows[size]

    def _cut(self, size: int) -> list[Window]:
        windows = []
        first = 0  # row of the block
        for block, height in enumerate(self._heights):
            for start in range(0, height, size):
                stop = min(start + size, height)
                place = slice(first + start, first + stop)
                windows.append(Window(block, slice(start, stop), place))
            first += height
        return windows

    def sums(self, rows: Array) -> Array:
        """Sums over each tensor's rows, shape `(count, number of tensors)`."""
        sums = np.zeros((len(rows), self._num_tensors))
        if self._whole:
            whole = rows[:, : self._num_whole]
            sums[:, self._whole] = np.add.reduceat(whole, self._starts, axis=1)
        sums[:, self._rests] += rows[:, self._num_whole :]
        return sums
