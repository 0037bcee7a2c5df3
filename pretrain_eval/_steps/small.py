"""Sums over small tensors of a CPU: in float64, in a few calls for all of them.

What costs with small tensors is the number of calls. Their entries are written one
behind another into one vector of float64, in which no square of a float32 overflows:

    tensors   64·32 numbers, 64, 64·64, 64, ...      wherever they lie now
    vector    [2048 numbers | 64 | 4096 | 64 | ...]  one concatenation
    sums      Σ of the squares of each segment       one `multiply`, one `reduceat`

A tensor's sum does not depend on the tensors beside it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, _utils, nn

from pretrain_eval._steps.rows import Array

# Entries of a tensor up to which a segment of a vector is faster than rows.
_LARGEST = 1 << 13

# Entries of a vector: it stays in a core's cache.
_VECTOR = 1 << 16

# Those that float64 holds.
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# Rows of a vector: a gradient or whatever is summed, what is now or has moved, what was.
_GIVEN, _NOW, _THEN = range(3)

_flattened: Callable[[Sequence[Any]], Tensor] = _utils._flatten_dense_tensors


def is_small(tensor: Tensor) -> bool:
    """Whether it is summed here; a subclass may hold its numbers elsewhere."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype in _DTYPES
        and tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and 0 < tensor.numel() <= _LARGEST
    )


@final
class SmallTensors:
    """Small tensors and what they held at one moment; to be used without gradients.

    Args:
        tensors: Each of them `is_small`.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = list(tensors)
        self._shapes = [tensor.shape for tensor in tensors]
        self._absent = [torch.zeros(shape) for shape in self._shapes]
        sizes = [tensor.numel() for tensor in tensors]
        self._vectors = [_Vector(part, sizes) for part in _parts(sizes)]

    def are_as_they_were(self) -> bool:
        """Whether none has got another shape since."""
        return [tensor.shape for tensor in self._tensors] == self._shapes

    def write(self, tensors: Sequence[Tensor | None]) -> bool:
        """Keep one tensor for each, of the same shape; zeros for None.

        Returns:
            False, where one of them is sparse.
        """
        try:
            self._write(_GIVEN, tensors)
        except TypeError:
            given = zip(tensors, self._absent, strict=True)
            return self.write([zeros if t is None else t for t, zeros in given])
        except RuntimeError:
            return False
        return True

    def copy(self) -> None:
        """Keep what the tensors hold now, in the place of what was kept."""
        self._write(_THEN, self._tensors)

    def differ(self) -> bool:
        """Whether one holds something else than its copy."""
        self._write(_NOW, self._tensors)
        return any(vector.differs() for vector in self._vectors)

    def square_sums(self) -> Array:
        """Σ|x|² of each tensor that was written."""
        squares: Array = self._sums(_GIVEN, _NOW, moves=False)[0]
        return squares

    def compare(self, *, given: bool, sizes: bool) -> Array:
        """Σ|now − then|² of each, which uses up what is kept.

        Args:
            given: Before it, Σ|x|² of what was written.
            sizes: After it, Σ|then|².

        Returns:
            Shape `(given + 1 + sizes, len(tensors))`.
        """
        self._write(_NOW, self._tensors)
        return self._sums(_NOW - given, _THEN + sizes, moves=True)

    def _write(self, row: int, tensors: Sequence[Tensor | None]) -> None:
        for vector in self._vectors:
            vector.write(row, tensors)

    def _sums(self, first: int, end: int, *, moves: bool) -> Array:
        # ∞ − ∞ is NaN, and squares of float64 may be infinite.
        with np.errstate(invalid="ignore", over="ignore"):
            if moves:
                for vector in self._vectors:
                    vector.move()
            sums = [vector.squares(first, end) for vector in self._vectors]
        return sums[0] if len(sums) == 1 else np.concatenate(sums, axis=-1)

    def copies(self) -> list[Tensor]:
        """What was kept of each, in float64."""
        flat = (torch.from_numpy(c) for v in self._vectors for c in v.copies())
        return [c.view(shape) for c, shape in zip(flat, self._shapes, strict=True)]


@final
class _Vector:
    """The segments of some of the tensors, in rows."""

    def __init__(self, part: slice, sizes: Sequence[int]) -> None:
        self._part = part
        ends = np.cumsum(sizes[part])
        self._starts = np.concatenate([[0], ends[:-1]]).astype(np.intp)
        table = torch.zeros(3, int(ends[-1]), dtype=torch.float64)
        self._rows, self._table = list(table), table.numpy()

    def write(self, row: int, tensors: Sequence[Tensor | None]) -> None:
        self._rows[row].copy_(_flattened(tensors[self._part]))

    def differs(self) -> bool:
        return not np.array_equal(self._table[_NOW], self._table[_THEN])

    def move(self) -> None:
        now = self._table[_NOW]
        np.subtract(now, self._table[_THEN], out=now)

    def squares(self, first: int, end: int) -> Array:
        """Σx² of each segment of some rows, which then hold squares."""
        rows = self._table[first:end]
        np.multiply(rows, rows, out=rows)
        sums: Array = np.add.reduceat(rows, self._starts, axis=1)
        return sums

    def copies(self) -> list[Array]:
        return np.split(self._table[_THEN].copy(), self._starts[1:])


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """Neighbours that fill a vector."""
    start = total = 0
    for index, size in enumerate(sizes):
        if total + size > _VECTOR:
            yield slice(start, index)
            start, total = index, 0
        total += size
    yield slice(start, len(sizes))
