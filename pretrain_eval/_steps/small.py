"""Sums over small tensors of a CPU: in float64, in a few calls for all of them.

What costs with small tensors is the number of calls. Their entries are written one
behind another into one vector of float64, in which no square of a float32 overflows:

    tensors   64·32 numbers, 64, 64·64, 64, ...      where they lie, seen as arrays
    vector    [2048 numbers | 64 | 4096 | 64 | ...]  one `concatenate`
    sums      Σ of the squares of each segment       one `multiply`, one `reduceat`

A tensor's sum does not depend on the tensors beside it, to the last bit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from pretrain_eval._steps.rows import Array

# Entries of a tensor up to which a segment of a vector is faster than rows.
_LARGEST = 1 << 13

# Entries of a vector: it stays in a core's cache.
_VECTOR = 1 << 16

# Those that numpy knows and float64 holds.
_DTYPES = (torch.float32, torch.float64, torch.float16)


def is_small(tensor: Tensor) -> bool:
    """Whether it is summed here; a subclass may hold its numbers elsewhere."""
    return (
        type(tensor) in (Tensor, nn.Parameter)
        and tensor.dtype in _DTYPES
        and tensor.device.type == "cpu"
        and tensor.layout is torch.strided
        and 0 < tensor.numel() <= _LARGEST
        and not tensor.is_neg()
    )


@final
class SmallTensors:
    """Small tensors, seen as arrays for as long as they lie where they lie.

    Args:
        tensors: Each of them `is_small`.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._tensors = tensors
        self._look()
        sizes = [tensor.numel() for tensor in tensors]
        self._absent = [np.broadcast_to(np.zeros(()), size) for size in sizes]
        self._vectors = [_Vector(part, sizes) for part in _parts(sizes)]

    def _look(self) -> None:
        self._arrays = [tensor.detach().numpy() for tensor in self._tensors]
        self._places = self._found()

    def _found(self) -> list[object]:
        pointers: list[object] = [tensor.data_ptr() for tensor in self._tensors]
        return pointers + [tensor.shape for tensor in self._tensors]

    def are_where_they_were(self) -> bool:
        """Whether none has got other memory or another shape since."""
        return self._found() == self._places

    def square_sums(self, tensors: Sequence[Tensor | None]) -> Array | None:
        """Σ|x|² of one tensor for each, of the same shape; 0 for None.

        Returns:
            None, where one of them is of a kind that numpy does not know.
        """
        try:
            arrays = [
                absent if tensor is None else tensor.numpy()
                for tensor, absent in zip(tensors, self._absent, strict=True)
            ]
        except (TypeError, RuntimeError):  # bfloat16, sparse, with a graph
            return None
        with _quiet():
            return _joined([vector.square_sums(arrays) for vector in self._vectors])

    def copy(self) -> None:
        """Keep what the tensors hold now, in the place of what was kept."""
        for vector in self._vectors:
            vector.copy(self._arrays)

    def differ(self) -> bool:
        """Whether one holds something else than its copy."""
        self._follow()
        return any(vector.differs(self._arrays) for vector in self._vectors)

    def compare(self, *, sizes: bool) -> list[Array]:
        """Σ|now − then|² of each and, where `sizes`, Σ|then|², from the copies."""
        self._follow()
        with _quiet():
            found = [v.compare(self._arrays, sizes=sizes) for v in self._vectors]
        if len(found) == 1:
            return found[0]
        return [_joined(sums) for sums in zip(*found, strict=True)]

    def copies(self) -> list[Tensor]:
        """What was kept of each, in float64."""
        flat = (torch.from_numpy(c) for v in self._vectors for c in v.copies())
        return [c.view(t.shape) for c, t in zip(flat, self._tensors, strict=True)]

    def _follow(self) -> None:
        # An optimizer may give a parameter other memory: `parameter.data = …`.
        if not self.are_where_they_were():
            self._look()


@final
class _Vector:
    """The segments of some of the tensors."""

    def __init__(self, part: slice, sizes: Sequence[int]) -> None:
        self._part = part
        ends = np.cumsum(sizes[part])
        self._starts = np.concatenate([[0], ends[:-1]]).astype(np.intp)
        self._now, self._then = np.empty(ends[-1]), np.empty(ends[-1])

    def square_sums(self, arrays: Sequence[Array]) -> Array:
        np.concatenate(arrays[self._part], axis=None, out=self._now)
        return self._squares(self._now)

    def copy(self, arrays: Sequence[Array]) -> None:
        np.concatenate(arrays[self._part], axis=None, out=self._then)

    def differs(self, arrays: Sequence[Array]) -> bool:
        np.concatenate(arrays[self._part], axis=None, out=self._now)
        return not np.array_equal(self._now, self._then)

    def compare(self, arrays: Sequence[Array], *, sizes: bool) -> list[Array]:
        np.concatenate(arrays[self._part], axis=None, out=self._now)
        moved = np.subtract(self._now, self._then, out=self._now)
        sums = [self._squares(moved)]
        return [*sums, self._squares(self._then)] if sizes else sums

    def copies(self) -> list[Array]:
        return np.split(self._then.copy(), self._starts[1:])

    def _squares(self, values: Array) -> Array:
        squares = np.multiply(values, values, out=self._now)
        sums: Array = np.add.reduceat(squares, self._starts)
        return sums


def _quiet() -> np.errstate:
    # ∞ − ∞ is NaN, and squares of float64 may be infinite.
    return np.errstate(invalid="ignore", over="ignore")


def _parts(sizes: Sequence[int]) -> Iterator[slice]:
    """Neighbours that fill a vector."""
    start = total = 0
    for index, size in enumerate(sizes):
        if total + size > _VECTOR:
            yield slice(start, index)
            start, total = index, 0
        total += size
    yield slice(start, len(sizes))


def _joined(arrays: Sequence[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
