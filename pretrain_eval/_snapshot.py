"""What tensors held at one moment, to be compared with what they hold at another."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from pretrain_eval._norms import (
    Array,
    Squares,
    flat,
    foreach_square_sums,
    in_order,
    kinds,
    sums_by_rows,
)

# Elements that are subtracted and squared while they lie in a core's cache.
_WINDOW = 1 << 16


@final
class Snapshot:
    """Copies of tensors.

    Args:
        tensors: Copied now.
    """

    def __init__(self, tensors: Sequence[Tensor]) -> None:
        self._strides = [tensor.stride() for tensor in tensors]
        sources = [flat(tensor) for tensor in tensors]
        self._kinds = kinds(sources)
        self._copies = [torch.empty_like(source) for source in sources]
        for indices in self._kinds.values():
            torch._foreach_copy_(
                [self._copies[index] for index in indices],
                [sources[index] for index in indices],
            )

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
            sums[kind] = compare(
                [now[index] for index in indices],
                [self._copies[index] for index in indices],
                sizes=sizes,
            )
        return in_order(sums, self._kinds, len(now), rows=1 + sizes)


def _restrided(tensor: Tensor, stride: tuple[int, ...]) -> Tensor:
    if tensor.stride() == stride:
        return tensor
    copy = torch.empty_strided(
        tensor.shape, stride, dtype=tensor.dtype, device=tensor.device
    )
    return copy.copy_(tensor)


def _compare_foreach(now: list[Tensor], then: list[Tensor], *, sizes: bool) -> Tensor:
    parameters = [foreach_square_sums(then)] if sizes else []
    if then[0].dtype in (torch.float32, torch.float64):
        torch._foreach_sub_(then, now)
        updates = foreach_square_sums(then)
    else:  # half precision would round the difference
        moved = (new.float().sub_(old) for new, old in zip(now, then, strict=True))
        updates = torch.cat([foreach_square_sums([each]) for each in moved])
    return torch.stack([updates, *parameters])


def _compare_rows(now: list[Tensor], then: list[Tensor], *, sizes: bool) -> Tensor:
    return sums_by_rows(_fill, now, then, count=1 + sizes, window=_WINDOW)


def _fill(rows: Array, squares: Squares, new: Array, old: Array) -> None:
    squares(new - old, rows[0])
    if len(rows) > 1:
        squares(old, rows[1])
