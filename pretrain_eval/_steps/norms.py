"""Sums of squares of many tensors: exact to 1e-6, each byte of memory read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from itertools import accumulate
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

# Rows of this length are summed in float32, then in float64. A CPU sums a row in as few
# as 4 lanes; in longer rows of one repeated value the rounding errors of a lane, which
# are all of one sign, would pass 1e-6.
ROW = 512

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

Array = np.ndarray[Any, np.dtype[Any]]
Kind = tuple[torch.device, torch.dtype]
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
    sums = {
        kind: one_kind([reals[index] for index in those])[None]
        for kind, those in indices.items()
    }
    return in_order(sums, indices, len(reals), rows=1)[0]


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """‖x‖₂ = √Σ|x|² over all entries of all tensors, a float64 scalar.

    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5., dtype=torch.float64)
    """
    return square_sums(list(tensors)).sum().sqrt()


def one_kind(tensors: Sequence[Tensor | None]) -> Tensor:
    """Σ|x|² of flat tensors of one device and dtype."""
    given = [tensor for tensor in tensors if tensor is not None]
    if given[0].device.type != "cpu":
        return foreach_square_sums(given)
    return row_square_sums(given)


def foreach_square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """On an accelerator: one launch for many tensors, accumulated in float64."""
    wide = wide_dtype(tensors[0].device)
    norms = torch._foreach_norm(list(tensors), 2, dtype=wide)
    return torch.stack(norms).square_()


def row_square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """On the CPU: rows in float32, their sums in float64."""
    rows = Rows(lambda _, values: [values], tensors, window=_READ)
    return rows.square_sums()[0]


@final
class Rows:
    """What is made of rows of tensors, whose squares are summed.

    The sums are the same to the last bit on any number of threads, since one thread
    sums a row. Where squares may have under- or overflowed in float32, they are taken
    again in float64.

    Args:
        make: From memory to compute in and some rows of each sequence, all of one
            shape, makes as many arrays of that shape as `count` says.
        tensors: Flat ones of one dtype, of the same sizes in each sequence.
        count: Sums of each tensor.
        window: Rows that `make` gets at a time.
    """

    def __init__(
        self,
        make: Make,
        *tensors: Sequence[Tensor],
        count: int = 1,
        window: int = _COMPUTED,
    ) -> None:
        dtype = tensors[0][0].dtype
        self._make = make
        self._converts = dtype not in (torch.float32, torch.float64)
        self._dtype = np.float64 if dtype is torch.float64 else np.float32
        self._window = _CONVERTED if self._converts else window
        self._layout = Layout.of(tuple(tensor.numel() for tensor in tensors[0]))
        # Numpy does not know every dtype, and sees those that are converted as integers.
        self._given = dtype
        seen = {1: torch.int8, 2: torch.int16}.get(dtype.itemsize, dtype)
        self._blocks = [
            self._layout.blocks(
                [(t.view(seen) if self._converts else t).numpy() for t in each]
            )
            for each in tensors
        ]
        self._squares: Array = np.empty((count, self._layout.num_rows), self._dtype)
        self._exact = self._squares

    def square_sums(self) -> Tensor:
        """Shape `(count, len(tensors))`, float64."""
        windows = self._layout.windows(self._window)
        in_threads(self._take, windows)
        if self._dtype is np.float32:
            self._exact = self._squares.astype(np.float64)
            doubtful = np.any(_doubtful(self._squares), axis=0)
            if doubtful.any():
                again = [w for w in windows if doubtful[w.place].any()]
                in_threads(self._take_again, again)
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
                    exact = _row_dots(chosen.astype(np.float64))
                    self._exact[number, place][rows] = exact

    def _values(self, windows: Iterable[Window]) -> Iterator[tuple[int, slice, Array]]:
        """Which sum, which rows, and what was made of them."""
        scratch: Array = np.empty((self._window, ROW), self._dtype)
        for window in windows:
            for number, values in enumerate(self._made(scratch, window)):
                yield number, window.place, values

    def _made(self, scratch: Array, window: Window) -> Sequence[Array]:
        pieces = [each[window.block][window.rows] for each in self._blocks]
        if self._converts:
            typed = [torch.from_numpy(piece).view(self._given) for piece in pieces]
            pieces = [piece.float().numpy() for piece in typed]
        height, width = pieces[0].shape
        return self._make(scratch[:height, :width], *pieces)


def _doubtful(squares: Array) -> Array:
    doubtful: Array = ~((squares > _TINY) & (squares < np.inf))
    return doubtful


def _row_dots(rows: Array, out: Array | None = None) -> Array:
    dots: Array = (
        np.einsum("ij,ij->i", rows, rows, out=out)
        if _vecdot is None
        else _vecdot(rows, rows, out=out)
    )
    return dots


class Window(NamedTuple):
    """Some rows of a block, and their place among all rows."""

    block: int
    rows: slice
    place: slice


def in_threads(work: Callable[[Iterable[Window]], None], windows: list[Window]) -> None:
    """Do the work on the windows in as many threads as torch may use.

    Each takes the next window when it is free: torch's own threads keep their cores
    busy for a while after the optimizer's step.
    """
    size = sum(window.rows.stop - window.rows.start for window in windows)
    number = max(1, min(torch.get_num_threads(), _MAX_THREADS, size // _SHARE))
    waiting = iter(windows)
    if number == 1:
        work(waiting)
        return
    with ThreadPoolExecutor(number - 1) as pool:
        pending = [pool.submit(work, waiting) for _ in range(number - 1)]
        work(waiting)
        for each in pending:
            each.result()


@final
class Layout:
    """How flat tensors are cut into rows: whole ones, then what is left of each.

    Attributes:
        num_rows: Of all tensors.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self._whole = [index for index, size in enumerate(sizes) if size >= ROW]
        self._rests = [index for index, size in enumerate(sizes) if size % ROW]
        heights = [sizes[index] // ROW for index in self._whole]
        self._starts = list(accumulate(heights, initial=0))[:-1]
        self._num_whole = sum(heights)
        self._heights = [*heights, len(self._rests)] if self._rests else heights
        self._number = len(sizes)
        self._windows: dict[int, list[Window]] = {}
        self.num_rows = sum(self._heights)

    @staticmethod
    @lru_cache(maxsize=32)
    def of(sizes: tuple[int, ...]) -> Layout:
        """The layout of tensors of these sizes, remembered from step to step."""
        return Layout(sizes)

    def blocks(self, arrays: Sequence[Array]) -> list[Array]:
        """Whole rows of each array, `(rows, ROW)`; the rests, filled up with zeros."""
        whole = [arrays[index] for index in self._whole]
        blocks = [each[: len(each) // ROW * ROW].reshape(-1, ROW) for each in whole]
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
        return [
            Window(block, slice(start, stop), slice(first + start, first + stop))
            for block, (first, height) in enumerate(
                zip([*self._starts, self._num_whole], self._heights, strict=False)
            )
            for start in range(0, height, size)
            for stop in [min(start + size, height)]
        ]

    def sums(self, rows: Array) -> Array:
        """Sums over each tensor's rows, shape `(count, number of tensors)`."""
        sums = np.zeros((len(rows), self._number))
        if self._whole:
            whole = rows[:, : self._num_whole]
            sums[:, self._whole] = np.add.reduceat(whole, self._starts, axis=1)
        sums[:, self._rests] += rows[:, self._num_whole :]
        return sums


def flat(tensor: Tensor) -> Tensor:
    """The tensor's real numbers as they lie in memory, in one dimension.

    A sparse tensor's repeated entries are summed first; complex numbers are two.
    """
    tensor = tensor.detach()
    if tensor.layout is not torch.strided:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    if tensor.is_neg():
        tensor = tensor.resolve_neg()
    if tensor.is_contiguous():
        return tensor.view(-1)
    if _is_dense(tensor):  # channels_last, transposed: any order serves a norm
        return tensor.as_strided((tensor.numel(),), (1,))
    return tensor.reshape(-1)


def _is_dense(tensor: Tensor) -> bool:
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size != 1 and stride != expected:
            return False
        expected *= size
    return True


def kinds(tensors: Iterable[Tensor | None]) -> dict[Kind, list[int]]:
    """Indices of the tensors that are computed together; empty ones have none."""
    found = defaultdict(list)
    for index, tensor in enumerate(tensors):
        if tensor is not None and tensor.numel():
            found[tensor.device, tensor.dtype].append(index)
    return dict(found)


def in_order(
    sums: dict[Kind, Tensor], indices: dict[Kind, list[int]], size: int, *, rows: int
) -> Tensor:
    """Sums by kind, shape `(rows, len(indices))`, in the tensors' order; 0 elsewhere.

    Without a look at a value: nothing here waits for an accelerator.
    """
    device = home(kind[0] for kind in sums)
    if [list(range(size))] == list(indices.values()):
        return next(iter(sums.values()))
    zero = torch.zeros(rows, dtype=wide_dtype(device), device=device)
    columns = [zero] * size
    for kind, those in indices.items():
        moved = sums[kind].to(zero, non_blocking=True)
        for index, column in zip(those, moved.unbind(1), strict=True):
            columns[index] = column
    return torch.stack(columns, dim=1) if columns else zero[:, None][:, :0]


def home(devices: Iterable[torch.device]) -> torch.device:
    """Where sums of several devices come together: an accelerator, if there is one."""
    known = list(devices)
    away = (device for device in known if device.type != "cpu")
    return next(away, torch.device("cpu"))


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest dtype that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64
