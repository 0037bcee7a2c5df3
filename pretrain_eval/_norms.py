"""Sums of squares of many tensors: exact to 1e-6, each byte of memory read once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache, partial
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

# Rows of this length are summed in float32, then in float64. A CPU sums a row in as few
# as 4 lanes; in longer rows of one repeated value the rounding errors of a lane, which
# are all of one sign, would pass 1e-6.
ROW = 512

# Elements that are converted and squared while they lie in a core's cache. For more
# than these torch would start threads of its own inside ours.
WINDOW = 1 << 15

# Elements that are read once, at a time: few calls, since threads meet between them.
_LONG_WINDOW = 1 << 19

# Elements that are worth a thread; Python does not keep more threads busy than these.
_SHARE = 1 << 19
_MAX_THREADS = 8

# Below this sum of squares of a row, squares may have underflowed in float32.
_TINY = 1e-30 * ROW

_vecdot: Any = getattr(np, "vecdot", None)  # since numpy 2

Array = np.ndarray[Any, np.dtype[Any]]
Kind = tuple[torch.device, torch.dtype]
Squares = Callable[[Array, Array], None]
Fill = Callable[..., None]


def square_sums(tensors: Sequence[Tensor | None]) -> Tensor:
    """Σ|x|² of each tensor, float64, shape `(len(tensors),)`; 0 for None."""
    reals = [None if tensor is None else flat(tensor) for tensor in tensors]
    indices = kinds(reals)
    sums = {
        kind: one_kind([reals[index] for index in those])[None]
        for kind, those in indices.items()
    }
    return in_order(sums, indices, len(reals), rows=1)[0]


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

    def fill(rows: Array, squares: Squares, values: Array) -> None:
        squares(values, rows[0])

    return sums_by_rows(fill, tensors)[0]


def sums_by_rows(
    fill: Fill, *tensors: Sequence[Tensor], count: int = 1, window: int = _LONG_WINDOW
) -> Tensor:
    """Sums over each tensor of what is computed row by row, shape `(count, number)`.

    The same to the last bit on any number of threads. Where squares may have under- or
    overflowed in float32, they are taken again in float64.

    Args:
        fill: Writes an array of shape `(count, rows)` from the values of these rows in
            each sequence, by the function that it is given for sums of squares.
        tensors: Flat ones of one dtype, of the same sizes in each sequence.
        count: Sums of each tensor.
        window: Elements that `fill` gets at a time.
    """
    dtype = tensors[0][0].dtype
    converts = dtype not in (torch.float32, torch.float64)
    sizes = tuple(tensor.numel() for tensor in tensors[0])
    layout = Layout.of(sizes, WINDOW if converts else window)
    rows = np.empty((count, layout.num_rows))
    values = tensors if converts else [[t.numpy() for t in each] for each in tensors]

    def work(squares: Squares, windows: Iterable[Window]) -> None:
        with np.errstate(all="ignore"):  # what overflows is taken again
            for index, start, stop, first, last in windows:
                pieces: list[Any] = [each[index][start:stop] for each in values]
                if converts:
                    pieces = [piece.float().numpy() for piece in pieces]
                fill(rows[:, first:last], squares, *pieces)

    in_threads(partial(work, row_squares), layout.windows)
    if dtype is not torch.float64:
        doubtful: Array = np.any(_doubtful(rows), axis=0)
        if doubtful.any():
            again = [w for w in layout.windows if doubtful[w.first : w.last].any()]
            in_threads(partial(work, exact_row_squares), again)
    return torch.from_numpy(np.add.reduceat(rows, layout.starts, axis=1))


def row_squares(values: Array, out: Array) -> None:
    """Write Σx² of each row of the values, the last perhaps short."""
    whole = len(values) // ROW
    if whole:
        out[:whole] = _row_dots(values[: whole * ROW].reshape(whole, ROW))
    if whole < len(out):
        rest = values[whole * ROW :]
        out[whole] = rest.dot(rest)


def exact_row_squares(values: Array, out: Array) -> None:
    """The same, computed in float64 where it was doubtful in float32."""
    # Weights that do not move are common.
    if _doubtful(out).any() and (values.max() or values.min()):
        row_squares(values.astype(np.float64), out)


def _doubtful(rows: Array) -> Array:
    doubtful: Array = ~((rows > _TINY) & (rows < np.inf))
    return doubtful


def _row_dots(rows: Array) -> Array:
    dots: Array = (
        np.einsum("ij,ij->i", rows, rows) if _vecdot is None else _vecdot(rows, rows)
    )
    return dots


class Window(NamedTuple):
    """A piece of one of several tensors: its elements, and its rows among all rows."""

    tensor: int
    start: int
    stop: int
    first: int
    last: int


def in_threads(work: Callable[[Iterable[Window]], None], windows: list[Window]) -> None:
    """Do the work on the windows in as many threads as torch may use.

    Each takes the next window when it is free: torch's own threads keep their cores
    busy for a while after the optimizer's step.
    """
    size = sum(window.stop - window.start for window in windows)
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
    """Rows and windows of flat tensors, each of which begins a row.

    Attributes:
        starts: First row of each tensor.
        num_rows: Of all tensors.
        windows: In order.
    """

    def __init__(self, sizes: tuple[int, ...], window: int) -> None:
        ends = np.cumsum([0, *(-(-size // ROW) for size in sizes)]).tolist()
        self.starts: list[int] = ends[:-1]
        self.num_rows: int = ends[-1]
        self.windows = [
            Window(index, start, stop, first + start // ROW, first + -(-stop // ROW))
            for index, (size, first) in enumerate(zip(sizes, self.starts, strict=True))
            for start in range(0, size, window)
            for stop in [min(start + window, size)]
        ]

    @staticmethod
    @lru_cache(maxsize=32)
    def of(sizes: tuple[int, ...], window: int) -> Layout:
        """The layout of tensors of these sizes, remembered from step to step."""
        return Layout(sizes, window)


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
