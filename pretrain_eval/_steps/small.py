"""Sums over small tensors of a CPU: in float64, in a few calls for all of them.

What costs with small tensors is the number of calls. Their entries are written one
behind another into one vector of float64, in which no square of a float32 overflows:

    tensors   64·32 numbers, 64, 64·64, 64, ...      wherever they lie now
    vector    [2048 numbers | 64 | 4096 | 64 | ...]  one `_foreach_copy_`
    sums      Σ of the squares of each segment       one `multiply`, one `reduceat`

A tensor's sum does not depend on the tensors beside it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from operator import attrgetter
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from pretrain_eval._steps.rows import Array

# Entries of a tensor up to which a segment of a vector is faster than rows.
_LARGEST = 1 << 13

# Entries of a vector: it stays in a core's cache.
_VECTOR = 1 << 16

# Those that float64 holds.
_DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)

# What happens at every step takes few calls of Python, hence a C function that maps.
_shape = attrgetter("shape")

_copy: Callable[[Any, Any], object] = torch._foreach_copy_

# Rows of a vector: a gradient or whatever is summed, what is now or has moved, what was.
_GIVEN, _NOW, _THEN = range(3)


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
        self._shapes = list(map(_shape, tensors))
        self._absent = [torch.zeros(shape) for shape in self._shapes]
        sizes = [tensor.numel() for tensor in tensors]
        self._vectors = [_Vector(part, self._tensors) for part in _parts(sizes)]
        # Its squares may be infinite, of which numpy would warn.
        self._is_wide = any(tensor.dtype is torch.float64 for tensor in tensors)

    def are_as_they_were(self) -> bool:
        """Whether none has got another shape since."""
        return list(map(_shape, self._tensors)) == self._shapes

    def write(self, tensors: Sequence[Tensor | None]) -> bool:
        """Keep one tensor for each, of the same shape; zeros for None.

        Returns:
            False, where one of them is sparse.
        """
        try:
            for vector in self._vectors:
                _copy(vector.segments[_GIVEN], tensors[vector.part])
        except TypeError:
            given = zip(tensors, self._absent, strict=True)
            return self.write([zeros if t is None else t for t, zeros in given])
        except RuntimeError:
            return False
        return True

    def copy(self) -> None:
        """Keep what the tensors hold now, in the place of what was kept."""
        for vector in self._vectors:
            _copy(vector.segments[_THEN], vector.tensors)

    def differ(self) -> bool:
        """Whether one holds something else than its copy."""
        for vector in self._vectors:
            _copy(vector.segments[_NOW], vector.tensors)
        return any(not torch.equal(v.rows[_NOW], v.rows[_THEN]) for v in self._vectors)

    def square_sums(self) -> Array:
        """Σ|x|² of each tensor that was written."""
        squares: Array = self._squares(_GIVEN, _NOW)[0]
        return squares

    def compare(self, *, given: bool, sizes: bool) -> Array:
        """Σ|now − then|² of each, which uses up what is kept.

        Args:
            given: Before it, Σ|x|² of what was written.
            sizes: After it, Σ|then|².

        Returns:
            Shape `(given + 1 + sizes, len(tensors))`.
        """
        for vector in self._vectors:
            _copy(vector.segments[_NOW], vector.tensors)
            vector.rows[_NOW].sub_(vector.rows[_THEN])
        return self._squares(_NOW - given, _THEN + sizes)

    def _squares(self, first: int, end: int) -> Array:
        if self._is_wide:
            with np.errstate(over="ignore"):
                return self._sums(first, end)
        return self._sums(first, end)

    def _sums(self, first: int, end: int) -> Array:
        """Σx² of each segment of some rows, which then hold squares."""
        sums: list[Array] = []
        for vector in self._vectors:
            rows = vector.table[first:end]
            np.multiply(rows, rows, out=rows)
            sums.append(np.add.reduceat(rows, vector.starts, axis=1))
        return sums[0] if len(sums) == 1 else np.concatenate(sums, axis=-1)

    def copies(self) -> list[Tensor]:
        """What was kept of each, in float64."""
        return [kept.clone() for v in self._vectors for kept in v.segments[_THEN]]


@final
class _Vector:
    """The segments of some of the tensors, in rows.

    Attributes:
        part: Which of all.
        tensors: They.
        rows: Of all entries.
        segments: The rows' parts in the tensors' shapes.
        table: The rows as an array.
        starts: Where its segments begin.
    """

    __slots__ = ("part", "rows", "segments", "starts", "table", "tensors")

    def __init__(self, part: slice, tensors: Sequence[Tensor]) -> None:
        self.part, self.tensors = part, list(tensors[part])
        sizes = [tensor.numel() for tensor in self.tensors]
        table = torch.zeros(3, sum(sizes), dtype=torch.float64)
        self.rows = list(table)
        self.segments = [
            [
                segment.view(tensor.shape)
                for segment, tensor in zip(row.split(sizes), self.tensors, strict=True)
            ]
            for row in self.rows
        ]
        self.table: Array = table.numpy()
        self.starts = np.cumsum([0, *sizes[:-1]]).astype(np.intp)


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """Neighbours that fill a vector."""
    start = total = 0
    for index, size in enumerate(sizes):
        if total + size > _VECTOR:
            yield slice(start, index)
            start, total = index, 0
        total += size
    yield slice(start, len(sizes))
