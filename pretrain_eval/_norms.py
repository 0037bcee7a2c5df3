"""Sums of squares of many tensors: exact to 1e-6, each byte of memory read once."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

# Rows of this length are summed in float32, then in float64. A CPU sums a row in as few
# as 4 lanes; in longer rows of one repeated value the rounding errors of a lane, which
# are all of one sign, would pass 1e-6.
ROW = 512

# Elements that are converted, or subtracted, and squared at a time: buffers of this
# length stay in a core's cache.
WINDOW = 1 << 17

# Below this mean square, squares underflow in float32.
_TINY = 1e-30

_vecdot: Any = getattr(np, "vecdot", None)  # since numpy 2

Array = np.ndarray[Any, np.dtype[Any]]
Kind = tuple[torch.device, torch.dtype]


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
    with np.errstate(all="ignore"):  # what overflows is summed again
        return row_square_sums(given)


def foreach_square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """On an accelerator: one launch for many tensors, accumulated in float64."""
    wide = wide_dtype(tensors[0].device)
    norms = torch._foreach_norm(list(tensors), 2, dtype=wide)
    return torch.stack(norms).square_()


def row_square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """On the CPU: rows in float32, their sums in float64."""
    layout = Layout.of(tuple(tensor.numel() for tensor in tensors))
    dtype = row_dtype(tensors[0].dtype)
    rows = torch.empty(layout.num_rows, dtype=dtype)
    squares = rows.numpy()
    for tensor, (first, _) in zip(tensors, layout.rows, strict=True):
        if tensor.dtype is dtype:
            row_squares(tensor, squares, first)
            continue
        # What must be converted first is converted while it lies in the cache.
        for number, piece in enumerate(pieces(tensor)):
            row_squares(piece.to(dtype), squares, first + number * (WINDOW // ROW))
    return exact_where_doubtful(
        layout.sums(rows), layout, lambda index: _double_sum(tensors[index])
    )


def row_squares(tensor: Tensor, out: Array, first: int) -> None:
    """Σx² of the flat tensor's rows, the last perhaps short, from out[first]."""
    values = tensor.numpy()
    whole, rest = divmod(values.size, ROW)
    end = first + whole
    if whole and (_vecdot is None or torch.get_num_threads() > 1):
        rows = tensor[: whole * ROW].view(whole, ROW)
        torch.linalg.vector_norm(rows, dim=1, out=torch.from_numpy(out[first:end]))
        np.square(out[first:end], out=out[first:end])
    elif whole:
        # On one thread BLAS is faster than torch's reduction, and rounds less.
        view = values[: whole * ROW].reshape(whole, ROW)
        _vecdot(view, view, out=out[first:end])
    if rest:
        out[end] = np.dot(values[whole * ROW :], values[whole * ROW :])


def _double_sum(tensor: Tensor) -> Tensor:
    if not tensor.any().numpy():
        return torch.zeros((), dtype=torch.float64)
    wide = (piece.double() for piece in pieces(tensor))
    return torch.stack([piece.dot(piece) for piece in wide]).sum()


def pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The flat tensor in pieces that stay in a cache."""
    for start in range(0, tensor.numel(), WINDOW):
        yield tensor[start : start + WINDOW]


def exact_where_doubtful(
    sums: Tensor, layout: Layout, exactly: Callable[[int], Tensor]
) -> Tensor:
    """The sums, taken in float64 where float32 may have over- or underflowed.

    Args:
        sums: On the CPU, where looking at values waits for nothing; the last
            dimension counts the tensors.
        layout: Of the tensors.
        exactly: One tensor's sums by its index.
    """
    values = sums.view(-1, sums.shape[-1]).numpy()
    doubtful = ~np.isfinite(values) | (values < _TINY * np.array(layout.sizes))
    for index in np.flatnonzero(doubtful.any(axis=0)).tolist():
        sums[..., index] = exactly(index)
    return sums


@final
class Layout:
    """Where flat tensors lie in one buffer in which each fills whole rows.

    Attributes:
        sizes: Elements of each tensor.
        rows: First row of each tensor and the first after it.
        num_rows: Of the whole buffer.
        windows: The pieces of tensors in each window of the buffer: the tensor's
            index, where the piece starts in it, its length, where it starts in the
            buffer.
        has_gaps: Whether the pieces leave elements of the window to nobody.
    """

    def __init__(self, sizes: tuple[int, ...]) -> None:
        self.sizes = sizes
        counts = [-(-size // ROW) for size in sizes]
        ends = np.cumsum([0, *counts]).tolist()
        self.rows = list(itertools.pairwise(ends))
        self.num_rows: int = ends[-1]
        self._owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(counts))
        pieces = defaultdict(list)
        for index, (size, (first, _)) in enumerate(zip(sizes, self.rows, strict=True)):
            start = 0
            while start < size:
                place = first * ROW + start
                length = min(size - start, WINDOW - place % WINDOW)
                pieces[place // WINDOW].append((index, start, length, place))
                start += length
        self.windows = list(pieces.values())
        lengths = [sum(length for _, _, length, _ in each) for each in self.windows]
        self.has_gaps = [length < WINDOW for length in lengths]

    @staticmethod
    @lru_cache(maxsize=32)
    def of(sizes: tuple[int, ...]) -> Layout:
        """The layout of tensors of these sizes, remembered from step to step."""
        return Layout(sizes)

    def sums(self, squares: Tensor) -> Tensor:
        """Each tensor's Σ|x|² from those of all rows, shape `(..., num_rows)`."""
        sums = torch.zeros(*squares.shape[:-1], len(self.sizes), dtype=torch.float64)
        return sums.index_add_(-1, self._owner, squares.double())


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


def row_dtype(dtype: torch.dtype) -> torch.dtype:
    """What rows of this dtype are summed in."""
    return torch.float64 if dtype is torch.float64 else torch.float32
