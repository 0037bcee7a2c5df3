"""Tensors of several devices and dtypes: made flat, computed by kind, put in order."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

import torch
from torch import Tensor

TensorKind = tuple[torch.device, torch.dtype]


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


def kinds(tensors: Iterable[Tensor | None]) -> dict[TensorKind, list[int]]:
    """Indices of the tensors that are computed together; empty ones have none."""
    indices = defaultdict(list)
    for index, tensor in enumerate(tensors):
        if tensor is not None and tensor.numel():
            indices[tensor.device, tensor.dtype].append(index)
    return dict(indices)


def in_order(
    sums: dict[TensorKind, Tensor],
    indices: dict[TensorKind, list[int]],
    size: int,
    *,
    rows: int,
) -> Tensor:
    """Sums by kind, shape `(rows, len(indices))`, in the tensors' order; 0 elsewhere.

    Without a look at a value: nothing here waits for an accelerator.
    """
    if list(indices.values()) == [list(range(size))]:  # all are of one kind
        return next(iter(sums.values()))
    device = home(device for device, _ in sums)
    zero = torch.zeros(rows, dtype=wide_dtype(device), device=device)
    columns = [zero] * size
    for kind, members in indices.items():
        moved = sums[kind].to(zero, non_blocking=True)
        for index, column in zip(members, moved.unbind(1), strict=True):
            columns[index] = column
    return torch.stack(columns, dim=1) if columns else zero.new_zeros(rows, 0)


def home(devices: Iterable[torch.device]) -> torch.device:
    """Where sums of several devices come together: an accelerator, if there is one."""
    accelerators = (device for device in devices if device.type != "cpu")
    return next(accelerators, torch.device("cpu"))


def wide_dtype(device: torch.device) -> torch.dtype:
    """The widest dtype that the device has."""
    return torch.float32 if device.type == "mps" else torch.float64
