"""What tensors held at one moment, to be compared with what they hold at another."""

from __future__ import annotations

import sys
from collections.abc import Hashable, Iterable, Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._steps.kinds import flat, in_order, kinds
from pretrain_eval._steps.norms import RowSquares, foreach_square_sums
from pretrain_eval._steps.rows import Array

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]


@final
class Room:
    """Memory of a CPU that the copies of one step after the other lie in.

    New memory costs as much as copying into it, since the system clears it. It is kept
    where it made the process larger than ever before, as where weights dominate. Where
    activations do, copies lie where those were, and are freed.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, list[Tensor]] = {}
        self._raised_peak: set[Hashable] = set()

    def copies(self, tensors: list[Tensor]) -> list[Tensor]:
        """Copies of flat tensors of one device and dtype."""
        form = _form(tensors)
        peak_before = _peak_memory()
        kept = self._kept.pop(form, None)
        copies = kept or [torch.empty_like(tensor) for tensor in tensors]
        torch._foreach_copy_(copies, tensors)
        size = sum(copy.nbytes for copy in copies)
        raised_by = _peak_memory() - peak_before
        if copies[0].device.type == "cpu" and raised_by > size / 2:
            self._raised_peak.add(form)
        return copies

    def give_back(self, copies: list[Tensor]) -> None:
        """They are used no more."""
        form = _form(copies)
        if form in self._raised_peak:
            self._kept[form] = copies


def _form(tensors: list[Tensor]) -> Hashable:
    sizes = tuple(tensor.numel() for tensor in tensors)
    return tensors[0].device, tensors[0].dtype, sizes


def _peak_memory() -> int:
    """Bytes that the process held at most; 0 where the system does not tell."""
    if resource is None:
        return 0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


@final
class Snapshot:
    """Copies of tensors.

    Args:
        tensors: Copied now.
        room: Where memory for the copies may be kept for those of the next step.
    """

    def __init__(self, tensors: Sequence[Tensor], room: Room | None = None) -> None:
        self._room = Room() if room is None else room
        self._strides = [tensor.stride() for tensor in tensors]
        sources = [flat(tensor) for tensor in tensors]
        self._kinds = kinds(sources)
        self._copies = {
            kind: self._room.copies([sources[index] for index in indices])
            for kind, indices in self._kinds.items()
        }

    def differs(self, tensors: Sequence[Tensor]) -> bool:
        """Whether a tensor holds something else than its copy; waits for the device.

        Args:
            tensors: The same ones in the same order.
        """
        now = self._flat(tensors)
        return any(
            not torch.equal(now[index], copy)
            for kind, indices in self._kinds.items()
            for index, copy in zip(indices, self._copies[kind], strict=True)
        )

    def tensors(self, alike: Sequence[Tensor]) -> list[Tensor]:
        """What was copied, each in the shape of one of `alike`, as long as it is kept."""
        copies = list(alike)
        for kind, indices in self._kinds.items():
            for index, kept in zip(indices, self._copies[kind], strict=True):
                copies[index] = _unflat(kept, alike[index], self._strides[index])
        return copies

    def _flat(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return [
            flat(_restrided(tensor, stride))
            for tensor, stride in zip(tensors, self._strides, strict=True)
        ]

    def compare(self, tensors: Sequence[Tensor], *, sizes: bool = True) -> Tensor:
        """Σ|now − then|² and Σ|then|² of each tensor; the copies may be used up.

        Args:
            tensors: The same ones in the same order.
            sizes: False leaves out Σ|then|².

        Returns:
            Shape `(1 + sizes, len(tensors))`, float64.
        """
        now = self._flat(tensors)
        sums = {}
        for kind, indices in self._kinds.items():
            device, _ = kind
            compare = _compare_rows if device.type == "cpu" else _compare_foreach
            new, old = [now[index] for index in indices], self._copies[kind]
            sums[kind] = compare(new, old, sizes=sizes)
            self._room.give_back(old)
        return in_order(sums, self._kinds, len(now), rows=1 + sizes)


def _unflat(kept: Tensor, alike: Tensor, stride: tuple[int, ...]) -> Tensor:
    """A tensor of the shape and dtype of `alike` that holds what `flat` gave."""
    device, dtype = kept.device, alike.dtype
    tensor = torch.empty_strided(alike.shape, stride, dtype=dtype, device=device)
    if flat(tensor).data_ptr() != tensor.data_ptr():  # it has gaps
        tensor = torch.empty(alike.shape, dtype=dtype, device=device)
    flat(tensor).copy_(kept)
    return tensor


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
        differences = (
            new.float().sub_(old) for new, old in zip(now, then, strict=True)
        )
        # One at a time, since together they would take twice the parameters' memory.
        sums = [foreach_square_sums([difference]) for difference in differences]
        updates = torch.cat(sums)
    return torch.stack([updates, *parameters])


def _compare_rows(now: list[Tensor], then: list[Tensor], *, sizes: bool) -> Tensor:
    make = _moved_and_size if sizes else _moved
    return RowSquares(make, now, then, count=1 + sizes).sums()


def _moved(scratch: Array, new: Array, old: Array) -> list[Array]:
    return [np.subtract(new, old, out=scratch)]


def _moved_and_size(scratch: Array, new: Array, old: Array) -> list[Array]:
    return [np.subtract(new, old, out=scratch), old]


def update_ratio(before: Iterable[Tensor], after: Iterable[Tensor]) -> Tensor:
    """Relative size of one update, ‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂.

    Infinite where every parameter was zero and one moved, NaN where none moved.

    >>> update_ratio([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 3.0])])
    tensor(0.2000, dtype=torch.float64)
    """
    sums = Snapshot(list(before)).compare(list(after)).sum(dim=1)
    return (sums[0] / sums[1]).sqrt()
