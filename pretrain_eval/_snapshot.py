"""What tensors held at one moment, to be compared with what they hold at another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._norms import (
    ROW,
    WINDOW,
    Kind,
    Layout,
    exact_where_doubtful,
    flat,
    foreach_square_sums,
    in_order,
    kinds,
    pieces,
    row_dtype,
    row_squares,
)

_LINE = 64

Memory = dict[Kind, tuple[Layout, Tensor]]


@final
class Snapshot:
    """Copies of tensors.

    Args:
        tensors: Copied now.
        memory: Buffers to copy into, which the caller keeps from step to step; without
            it memory is taken now and freed with the snapshot.
    """

    def __init__(self, tensors: Sequence[Tensor], memory: Memory | None = None) -> None:
        self._strides = [tensor.stride() for tensor in tensors]
        sources = [flat(tensor) for tensor in tensors]
        self._kinds = kinds(sources)
        self._memory: Memory = {} if memory is None else memory
        for kind, indices in self._kinds.items():
            given = [sources[index] for index in indices]
            torch._foreach_copy_(self._copies(kind, given), given)

    def _copies(self, kind: Kind, tensors: Sequence[Tensor]) -> list[Tensor]:
        layout = Layout.of(tuple(tensor.numel() for tensor in tensors))
        if kind not in self._memory or self._memory[kind][0] is not layout:
            self._memory[kind] = layout, _buffer(layout, kind)
        return _views(*self._memory[kind])

    def compare(self, tensors: Sequence[Tensor], *, sizes: bool = True) -> Tensor:
        """Σ|now − then|² and Σ|then|² of each tensor; the copies may be used up.

        Args:
            tensors: The same ones in the same order.
            sizes: False leaves out Σ|then|².

        Returns:
            Shape `(1 + sizes, len(tensors))`, float64.
        """
        now = [
            flat(_restrided(tensor, stride))
            for tensor, stride in zip(tensors, self._strides, strict=True)
        ]
        sums = {}
        for kind, indices in self._kinds.items():
            compare = _compare_rows if kind[0].type == "cpu" else _compare_foreach
            given = [now[index] for index in indices]
            with np.errstate(all="ignore"):  # what overflows is summed again
                sums[kind] = compare(given, *self._memory[kind], sizes=sizes)
        return in_order(sums, self._kinds, len(now), rows=1 + sizes)


def _restrided(tensor: Tensor, stride: tuple[int, ...]) -> Tensor:
    if tensor.stride() == stride:
        return tensor
    copy = torch.empty_strided(
        tensor.shape, stride, dtype=tensor.dtype, device=tensor.device
    )
    return copy.copy_(tensor)


def _buffer(layout: Layout, kind: Kind) -> Tensor:
    device, dtype = kind
    size = layout.num_rows * ROW
    if device.type == "cpu":
        # numpy asks the system for huge pages, which are faulted in ten times faster;
        # copies are faster where they begin with a line of the cache.
        memory = np.empty(size * dtype.itemsize + _LINE, np.uint8)
        start = -memory.ctypes.data % _LINE
        buffer = torch.from_numpy(memory[start : len(memory) + start - _LINE]).view(
            dtype
        )
    else:
        buffer = torch.empty(size, dtype=dtype, device=device)
    for size, (first, end) in zip(layout.sizes, layout.rows, strict=True):
        buffer[first * ROW + size : end * ROW].zero_()
    return buffer


def _views(layout: Layout, buffer: Tensor) -> list[Tensor]:
    return [
        buffer[first * ROW : first * ROW + size]
        for size, (first, _) in zip(layout.sizes, layout.rows, strict=True)
    ]


def _compare_foreach(
    now: list[Tensor], layout: Layout, buffer: Tensor, *, sizes: bool
) -> Tensor:
    then = _views(layout, buffer)
    parameters = [foreach_square_sums(then)] if sizes else []
    dtype = row_dtype(buffer.dtype)
    if dtype is buffer.dtype:
        torch._foreach_sub_(then, now)
        updates = foreach_square_sums(then)
    else:  # half precision would round the difference
        moved = (new.to(dtype).sub_(old) for new, old in zip(now, then, strict=True))
        updates = torch.cat([foreach_square_sums([each]) for each in moved])
    return torch.stack([updates, *parameters])


def _compare_rows(
    now: list[Tensor], layout: Layout, buffer: Tensor, *, sizes: bool
) -> Tensor:
    """Window by window: subtracted and squared while it lies in the cache."""
    dtype = row_dtype(buffer.dtype)
    squares = torch.zeros(WINDOW, dtype=dtype)
    rows = torch.empty(1 + sizes, layout.num_rows, dtype=dtype)
    for window, parts in enumerate(layout.windows):
        start = window * WINDOW
        then = buffer[start : start + WINDOW].to(dtype)
        used = squares[: len(then)]
        if layout.has_gaps[window]:
            used.zero_()
        for index, first, length, place in parts:
            offset = place - start
            new = now[index][first : first + length].to(dtype)
            old, out = then[offset : offset + length], used[offset : offset + length]
            torch.ops.aten.mse_loss.out(new, old, 0, out=out)  # (new − old)², at once
        row = start // ROW
        torch.sum(used.view(-1, ROW), dim=1, out=rows[0, row : row + len(then) // ROW])
        if sizes:
            row_squares(then, rows[1].numpy(), row)
    views = _views(layout, buffer)
    return exact_where_doubtful(
        layout.sums(rows),
        layout,
        lambda index: _double_sums(now[index], views[index])[: 1 + sizes],
    )


def _double_sums(now: Tensor, then: Tensor) -> Tensor:
    sums = torch.zeros(2, dtype=torch.float64)
    for new, old in zip(pieces(now), pieces(then), strict=True):
        wide = old.double()
        sums[1] += wide.dot(wide)
        if (new != old).any().numpy():
            moved = new.double().sub_(wide)
            sums[0] += moved.dot(moved)
    return sums
