"""What is read of gradients besides their squares: zeros, magnitudes, products."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from pretrain_eval._steps.kinds import flat, home, wide_dtype

# Elements that are multiplied at a time: on an accelerator they bound the memory that is
# taken; a CPU adds more of them in another order for each number of threads.
_CACHED = 1 << 15
_LAUNCHED = 1 << 24

# Below this mean product, products underflow in float32.
_TINY = 1e-30


def nonzero_counts(gradients: Sequence[Tensor | None]) -> Tensor:
    """How many entries of each are not zero, float64; 0 for None."""
    return _stacked(
        [
            None if gradient is None else torch.count_nonzero(_entries(gradient))
            for gradient in gradients
        ]
    )


def magnitudes(gradients: Sequence[Tensor | None]) -> Tensor:
    """Σ|g| of each, float64; 0 for None."""
    return _stacked(
        [None if gradient is None else _magnitude(gradient) for gradient in gradients]
    )


def _magnitude(gradient: Tensor) -> Tensor:
    entries = _entries(gradient)
    if entries.is_complex():
        entries = entries.abs()
    wide = wide_dtype(entries.device)
    magnitude: Tensor = torch.linalg.vector_norm(entries, 1, dtype=wide)
    return magnitude


def products(
    gradients: Sequence[Tensor | None], parameters: Sequence[Tensor]
) -> Tensor:
    """Σg·θ of each gradient and parameter, float64; 0 for None.

    Of complex numbers the real part of the product with the conjugate, as if real and
    imaginary part were parameters.
    """
    return _stacked(
        [
            None if gradient is None else _product(*_alike(gradient, parameter))
            for gradient, parameter in zip(gradients, parameters, strict=True)
        ]
    )


def _entries(gradient: Tensor) -> Tensor:
    """What a gradient holds; of a sparse one, repeated entries summed first."""
    dense = gradient.layout is torch.strided
    return gradient if dense else gradient.coalesce().values()


def _alike(gradient: Tensor, parameter: Tensor) -> tuple[Tensor, Tensor]:
    """The entries of both that belong together, in one dimension."""
    if gradient.layout is not torch.strided:
        gradient = gradient.coalesce()
        parameter = parameter[tuple(gradient.indices())]
        gradient = gradient.values()
    if gradient.stride() != parameter.stride():
        gradient, parameter = gradient.contiguous(), parameter.contiguous()
    return flat(gradient), flat(parameter)


def _product(first: Tensor, second: Tensor) -> Tensor:
    if first.device.type != "cpu":
        return _wide_product(first, second)
    product = _narrow_product(first, second)
    # Nothing waits for a CPU: what may have over- or underflowed is taken again.
    size = abs(float(product.numpy()))
    is_exact = _TINY * len(first) <= size < float("inf")
    return product if is_exact else _wide_product(first, second)


def _narrow_product(first: Tensor, second: Tensor) -> Tensor:
    """Products in float32, their sum in float64."""
    converts = first.dtype not in (torch.float32, torch.float64)
    sums = [
        torch.sum((one.float() if converts else one) * other, dtype=torch.float64)
        for one, other in _pairs(first, second, _CACHED)
    ]
    return torch.stack(sums).sum()


def _wide_product(first: Tensor, second: Tensor) -> Tensor:
    """Both in float64."""
    wide = wide_dtype(first.device)
    size = _CACHED if first.device.type == "cpu" else _LAUNCHED
    pairs = _pairs(first, second, size)
    return torch.stack([one.to(wide).dot(other.to(wide)) for one, other in pairs]).sum()


def _pairs(first: Tensor, second: Tensor, size: int) -> Iterator[tuple[Tensor, Tensor]]:
    return zip(torch.split(first, size), torch.split(second, size), strict=True)


def _stacked(values: Sequence[Tensor | None]) -> Tensor:
    """One float64 vector, where an accelerator is, if any is in use; 0 for None."""
    device = home(value.device for value in values if value is not None)
    zero = torch.zeros((), dtype=wide_dtype(device), device=device)
    moved = [
        zero if value is None else value.to(zero, non_blocking=True) for value in values
    ]
    return torch.stack([zero, *moved])[1:]
