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
)

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

    def compare(self, tensors: Sequence[Tensor]) -> Tensor:
        """Σ|now − then|² and Σ|then|² of each tensor; the copies may be used up.

        Args:
            tensors: The same ones in the same order.

        Returns:
            Shape `(2, len(tensors))`, float64.
        """
        now = [
            flat(_restrided(tensor, stride))
            for tensor, stride in zip(tensors, self._strides, strict=True)
        ]
        sums = {}
        for kind, indices in self._kinds.items():
            compare = _compare_rows if kind[0].type == "cpu" else _compare_foreach
            sums[kind] = compare([now[i] for i in indices], *self._memory[kind])
        return in_order(sums, self._kinds, len(now), rows=2)


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
        # numpy asks the system for huge pages, which are faulted in ten times faster.
        memory = np.empty(size * dtype.itemsize, np.uint8)
        buffer = torch.from_numpy(memory).view(dtype)
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


def _compare_foreach(now: list[Tensor], layout: Layout, buffer: Tensor) -> Tensor:
    then = _views(layout, buffer)
    parameters = foreach_square_sums(then)
    if row_dtype(buffer.dtype) is buffer.dtype:
        torch._foreach_sub_(then, now)
        return torch.stack([foreach_square_sums(then), parameters])
    # Half precision would round the difference.
    dtype = row_dtype(buffer.dtype)
    updates = [
        foreach_square_sums([new.to(dtype).sub_(old)])
        for new, old in zip(now, then, strict=True)
    ]
    return torch.stack([torch.cat(updates), parameters])


def _compare_rows(now: list[Tensor], layout: Layout, buffer: Tensor) -> Tensor:
    """Window by window: subtracted and squared while it lies in the cache."""
    dtype = row_dtype(buffer.dtype)
    delta = torch.zeros(WINDOW, dtype=dtype)
    norms = torch.empty(2, layout.num_rows, dtype=dtype)
    update_norms, parameter_norms = norms
    num_windows = len(layout.windows)
    for window, parts in enumerate(layout.windows):
        start = window * WINDOW
        then = buffer[start : start + WINDOW].to(dtype)
        if window == num_windows - 1 or len(parts) > 1:
            delta.zero_()  # between the tensors are gaps, up to a row each
        for index, first, length, place in parts:
            offset = place - start
            out = delta[offset : offset + length]
            new = now[index][first : first + length].to(dtype)
            torch.sub(new, then[offset : offset + length], out=out)
        rows = slice(start // ROW, start // ROW + len(then) // ROW)
        square = (len(then) // ROW, ROW)
        torch.linalg.vector_norm(
            delta[: len(then)].view(square), dim=1, out=update_norms[rows]
        )
        torch.linalg.vector_norm(then.view(square), dim=1, out=parameter_norms[rows])
    views = _views(layout, buffer)
    return exact_where_doubtful(
        layout.sums(norms), layout, lambda i: _double_sums(now[i], views[i])
    )


def _double_sums(now: Tensor, then: Tensor) -> list[Tensor]:
    sums = torch.zeros(2, dtype=torch.float64)
    for new, old in zip(pieces(now), pieces(then), strict=True):
        wide = old.double()
        sums[1] += wide.dot(wide)
        if (new != old).any().numpy():
            moved = new.double().sub_(wide)
            sums[0] += moved.dot(moved)
    return list(sums)
