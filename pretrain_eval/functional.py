"""Formulas on tensors, without state: what each metric computes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor

from pretrain_eval import _norms
from pretrain_eval._snapshot import Snapshot


def square_sums(tensors: Sequence[Tensor]) -> Tensor:
    """Σ|x|² of each tensor, shape `(len(tensors),)`, float64.

    Exact to 1e-6 relative whatever the size, and mostly to 1e-8; half precision does
    not overflow, a sparse tensor's repeated entries are summed first, a complex
    number counts with its absolute value.

    >>> import torch
    >>> square_sums([torch.tensor([3.0, 4.0]), torch.full((2,), 3e4).half()])
    tensor([2.5000e+01, 1.8000e+09], dtype=torch.float64)
    """
    return _norms.square_sums(tensors)


def norm(tensors: Iterable[Tensor]) -> Tensor:
    """‖x‖₂ = √Σ|x|² over all entries of all tensors, a float64 scalar.

    >>> import torch
    >>> norm([torch.tensor([3.0]), torch.tensor([4.0])])
    tensor(5., dtype=torch.float64)
    """
    return square_sums(list(tensors)).sum().sqrt()


def update_ratio(before: Iterable[Tensor], after: Iterable[Tensor]) -> Tensor:
    """Relative size of one update, ‖θ_{t+1} − θ_t‖₂ / ‖θ_t‖₂.

    Infinite where every parameter was zero and one moved, NaN where none moved.

    >>> import torch
    >>> update_ratio([torch.tensor([3.0, 4.0])], [torch.tensor([3.0, 3.0])])
    tensor(0.2000, dtype=torch.float64)
    """
    sums = Snapshot(list(before)).compare(list(after)).sum(dim=1)
    return (sums[0] / sums[1]).sqrt()
