"""Formulas on tensors, without state: what each metric computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

# Rows of this length are summed in the tensor's own precision (or float32), then in
# float64: as accurate as float64 throughout, at the cost of reading the memory once.
_ROW = 4096


def square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """Σ|x|² of each tensor, shape `(len(tensors),)`, float64.

    Exact to about 1e-8 whatever the size; half precision does not overflow, a sparse
    tensor's repeated entries are summed first.

    >>> square_sums([torch.tensor([3.0, 4.0]), torch.full((2,), 3e4).half()])
    tensor([2.5000e+01, 1.8000e+09], dtype=torch.float64)
    """
    if not tensors:
        return torch.zeros(0, dtype=torch.float64)
    return torch.stack([_square_sum(tensor.detach()) for tensor in tensors])


def _square_sum(tensor: Tensor) -> Tensor:
    if tensor.layout is not torch.strided:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor)
    flat = tensor.reshape(-1)
    if flat.dtype is not torch.float64:
        flat = flat.float()
    whole = flat.numel() // _ROW * _ROW
    rows = torch.linalg.vector_norm(flat[:whole].view(-1, _ROW), dim=1).double()
    rest = torch.linalg.vector_norm(flat[whole:]).double()
    total: Tensor = rows.square().sum() + rest.square()
    return total


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """‖x‖₂ = √Σ|x|² over all entries of all tensors, a float64 scalar.

    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5., dtype=torch.float64)
    """
    return square_sums(list(tensors)).sum().sqrt()


def update_ratio(before: Iterable[Tensor], after: Iterable[Tensor]) -> Tensor:
    """Relative size of one update, ‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂.

    Infinite where every parameter was zero and one moved, NaN where none moved.

    >>> update_ratio([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 3.0])])
    tensor(0.2000, dtype=torch.float64)
    """
    before, after = list(before), list(after)
    moved = [
        new.detach() - old.detach() for old, new in zip(before, after, strict=True)
    ]
    return norm(moved) / norm(before)
