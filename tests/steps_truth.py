"""Models, loops and float64 truth that the tests of step metrics share."""

from __future__ import annotations

import torch
from torch import nn

import pretrain_eval as pe


def network(*, seed=0):
    """A small network with weights of all kinds of shapes, one bias at zero."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(144, 20),
        nn.Linear(20, 3),
    )
    nn.init.zeros_(model[4].bias)
    return model


def batches(count=4, *, size=6, seed=1):
    """Inputs and targets of `network`."""
    generator = torch.Generator().manual_seed(seed)
    return [
        (
            torch.randn(size, 1, 8, 8, generator=generator),
            torch.randint(3, (size,), generator=generator),
        )
        for _ in range(count)
    ]


def collection():
    """All that is measured of gradients, updates and parameters."""
    return pe.MetricCollection(
        pe.GradNorm(),
        pe.UpdateRatio(),
        pe.UpdateNorm(),
        pe.ParameterNorm(),
        pe.ZeroGradShare(),
        pe.GradParameterCosine(),
    )


def wide(tensors):
    """All entries of the tensors in one float64 vector, taken apart from them."""
    parts = []
    for tensor in tensors:
        dense = tensor.detach()
        dense = dense.to_dense() if dense.layout is not torch.strided else dense
        dense = torch.view_as_real(dense) if dense.is_complex() else dense
        parts.append(dense.reshape(-1).to(torch.float64, copy=True))
    return torch.cat(parts)


class Truth:
    """The values that a loop itself would take, step by step, from float64 clones."""

    def __init__(self):
        self.rows = []

    def before(self, parameters):
        """Gradients are ready and weights have not moved."""
        self.gradients = wide(
            torch.zeros_like(p) if p.grad is None else p.grad for p in parameters
        )
        self.weights = wide(parameters)

    def after(self, parameters):
        """Weights have moved."""
        update = (wide(parameters) - self.weights).norm()
        sizes = self.gradients.norm() * self.weights.norm()
        self.rows.append(
            {
                "grad_norm": float(self.gradients.norm()),
                "update_ratio": float(update / self.weights.norm()),
                "update_norm": float(update),
                "param_norm": float(self.weights.norm()),
                "zero_grad_share": float((self.gradients == 0).double().mean()),
                "grad_param_cosine": float(self.gradients @ self.weights / sizes),
            }
        )

    @property
    def table(self):
        """Columns by key, with the numbers of the steps."""
        columns = {key: [row[key] for row in self.rows] for key in self.rows[0]}
        return columns | {"step": list(range(1, len(self.rows) + 1))}
