"""Sums of squares of many tensors: exact to 1e-6, each byte of memory read once.

An accelerator takes them in one launch. On a CPU all tensors of one dtype go together:

    tensors   1553 numbers         552        3        flat, of any size
    rows      512, 512, 512, 17    512, 40    3
    blocks    [512, 512, 512]      [512]               whole rows, where they lie
              [17 0…, 40 0…, 3 0…]                     a copy of the rests, with zeros
    windows   some rows of a block; a thread takes the next when it is free
    values    what `make` gives for a window, as new − old, while in the core's cache
    squares   Σ of each row in float32; once more in float64 where that is doubtful
    sums      Σ over each tensor's rows in float64
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._steps.kinds import flat, in_order, kinds, wide_dtype
from pretrain_eval._steps.rows import ROW, Array, RowLayout, Window

# Rows at a time. What is computed is squared while it lies in a core's cache; what is
# only read comes in long windows, since threads meet between them; and for longer
# windows of what is converted, torch would start threads of its own inside ours.
_COMPUTED, _READ, _CONVERTED = 1 << 7, 1 << 10, 1 << 6

# Rows that are worth a thread; Python does not keep more threads busy than these.
_SHARE = 1 << 10
_MAX_THREADS = 8

# Below this sum of squares of a row, squares may have underflowed in float32.
_TINY = 1e-30 * ROW

_vecdot: Any = getattr(np, "vecdot", None)  # since numpy 2

Make = Callable[..., Sequence[Array]]


def square_sums(tensors: Sequence[Tensor | None]) -> Tensor:
    """Σ|x|² of each tensor, shape `(len(tensors),)`, float64; 0 for None.

    Exact to 1e-6 relative whatever the size, and mostly to 1e-8; half precision does
    not overflow, a sparse tensor's repeated entries are summed first, a complex
    number counts with its absolute value.

    >>> square_sums([torch.tensor([3.0, 4.0]), torch.full((2,), 3e4).half()])
    tensor([2.5000e+01, 1.8000e+09], dtype=torch.float64)
    """
    reals = [None if tensor is None else flat(tensor) for tensor in tensors]
    indices = kinds(reals)
    sums = {}
    for kind, members in indices.items():
        given = [real for index in members if (real := reals[index]) is not None]
        on_cpu = given[0].device.type == "cpu"
        squares = row_square_sums(given) if on_cpu else foreach_square_sums(given)
        sums[kind] = squares[None]
    return in_order(sums, indices, len(reals), rows=1)[0]


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """‖x‖₂ = √Σ|x|² over all entries of all tensors, a float64 scalar.

    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5., dtype=torch.float64)
    """
    return square_sums(list(tensors)).sum().sqrt()


def foreach_square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """On an accelerator: one launch for many tensors, accumulated in float64."""
    wide = wide_dtype(tensors[0].device)
    norms = torch._foreach_norm(list(tensors), 2, dtype=wide)
    return torch.stack(norms).square_()


def row_square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """On the CPU: rows in float32, their sums in float64."""
    squares = RowSquares(lambda _, values: [values], tensors, window=_READ)
    return squares.sums()[0]


@final
class RowSquares:
    """Squares of what is made of rows of tensors, and their sums.

    The sums are the same to the last bit on any number of threads, since one thread
    sums a row. Where squares may have under- or overflowed in float32, they are taken
    again in float64.

    Args:
        make: From memory to compute in and some rows of each sequence, all of one
            shape, makes as many arrays of that shape as `count` says.
        sequences: Flat tensors of one dtype, of the same sizes in each sequence.
        count: Sums of each tensor.
        window: Rows that `make` gets at a time.
    """

    def __init__(
        self,
        make: Make,
        *sequences: Sequence[Tensor],
        count: int = 1,
        window: int = _COMPUTED,
    ) -> None:
        given = sequences[0][0].dtype
        self._make, self._given = make, given
        self._converts = given not in (torch.float32, torch.float64)
        self._dtype = np.float64 if given is torch.float64 else np.float32
        self._window = _CONVERTED if self._converts else window
        # Numpy does not know every dtype, and sees those that are converted as integers.
        seen = {1: torch.int8, 2: torch.int16}.get(given.itemsize, given)
        self._layout = RowLayout.of(tuple(tensor.numel() for tensor in sequences[0]))
        self._blocks = []
        for tensors in sequences:
            views = [t.view(seen) for t in tensors] if self._converts else tensors
            self._blocks.append(self._layout.blocks([view.numpy() for view in views]))
        self._squares: Array = np.empty((count, self._layout.num_rows), self._dtype)
        self._exact = self._squares

    def sums(self) -> Tensor:
        """Shape `(count, len(tensors))`, float64."""
        windows = self._layout.windows(self._window)
        _in_threads(self._take, windows)
        if self._dtype is np.float32:
            self._exact = self._squares.astype(np.float64)
            doubtful = np.any(_doubtful(self._squares), axis=0)
            if doubtful.any():
                again = [w for w in windows if doubtful[w.place].any()]
                _in_threads(self._take_again, again)
        return torch.from_numpy(self._layout.sums(self._exact))

    def _take(self, windows: Iterable[Window]) -> None:
        with np.errstate(all="ignore"):  # what overflows is taken again
            for number, place, values in self._values(windows):
                _row_dots(values, self._squares[number, place])

    def _take_again(self, windows: Iterable[Window]) -> None:
        with np.errstate(all="ignore"):
            for number, place, values in self._values(windows):
                rows = _doubtful(self._squares[number, place])
                chosen = values[rows]
                # Weights that do not move are common.
                if len(chosen) and (chosen.max() or chosen.min()):
                    wide = chosen.astype(np.float64)
                    self._exact[number, place][rows] = _row_dots(wide)

    def _values(self, windows: Iterable[Window]) -> Iterator[tuple[int, slice, Array]]:
        """Which sum, which rows, and what was made of them."""
        scratch: Array = np.empty((self._window, ROW), self._dtype)
        for window in windows:
            for number, values in enumerate(self._made(scratch, window)):
                yield number, window.place, values

    def _made(self, scratch: Array, window: Window) -> Sequence[Array]:
        pieces = [blocks[window.block][window.rows] for blocks in self._blocks]
        if self._converts:
            typed = [torch.from_numpy(piece).view(self._given) for piece in pieces]
            pieces = [piece.float().numpy() for piece in typed]
        height, width = pieces[0].shape
        return self._make(scratch[:height, :width], *pieces)


def _doubtful(squares: Array) -> Array:
    doubtful: Array = ~((squares > _TINY) & (squares < np.inf))
    return doubtful


def _row_dots(rows: Array, out: Array | None = None) -> Array:
    """Σ of the squares of each row."""
    if _vecdot is not None:
        dots: Array = _vecdot(rows, rows, out=out)
        return dots
    # The same routine by another way; what einsum sums is not exact to 1e-6.
    column = None if out is None else out[:, None, None]
    products: Array = np.matmul(rows[:, None, :], rows[:, :, None], out=column)
    return products[:, 0, 0]


def _in_threads(
    work: Callable[[Iterable[Window]], None], windows: list[Window]
) -> None:
    """Do the work on the windows in as many threads as torch may use.

    Each takes the next window when it is free: torch's own threads keep their cores
    busy for a while after the optimizer's step.
    """
    num_rows = sum(window.rows.stop - window.rows.start for window in windows)
    number = max(1, min(torch.get_num_threads(), _MAX_THREADS, num_rows // _SHARE))
    waiting = iter(windows)
    if number == 1:
        work(waiting)
        return
    with ThreadPoolExecutor(number - 1) as pool:
        pending = [pool.submit(work, waiting) for _ in range(number - 1)]
        work(waiting)
        for job in pending:
            job.result()
