"""Small networks and data that several tests share."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all


class Small(nn.Module):
    """A body with batch normalisation and dropout, and a head."""

    def __init__(self, width: int = 8, outputs: int = 7) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4, width), nn.BatchNorm1d(width), nn.ReLU(), nn.Dropout(0.2)
        )
        self.head = nn.Linear(width, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(inputs))
        return scores


def points(num_samples: int, seed: int, num_classes: int = 3) -> TensorDataset:
    """Points in four dimensions whose class is the largest of the first numbers."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 4, generator=generator)
    return TensorDataset(inputs, inputs[:, :num_classes].argmax(1))


def three_classes(name: str = "largest", **sizes: int) -> pe.Task:
    """A task of one dataset, `points`, with 48 training and 40 reported samples."""
    train, valid = sizes.get("train", 48), sizes.get("valid", 40)
    splits = pe.Splits(points(train, 1), points(valid, 2))
    return pe.Task(name, datasets={"points": splits}, num_classes=3)


def draw_of(task: pe.Task, strategy: pe.Strategy, seed: int = 0) -> int:
    """What a run on the task's only dataset draws from, as the docs write it down."""
    (dataset,) = task.datasets
    text = json.dumps([task.name, dataset, strategy.name, seed]).encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    return int.from_bytes(digest[:4], "big")


def train_by_hand(
    model: nn.Module,
    loader: Iterable[Any],
    optimizer: torch.optim.Optimizer,
    loss: Callable[[nn.Module, Any], Tensor],
    epochs: int = 2,
    *,
    draw: int,
) -> None:
    """A plain loop, whose epochs draw what those of a run with this draw do."""
    for epoch in range(1, epochs + 1):
        seed_all(draw, epoch)
        model.train()
        for batch in loader:
            optimizer.zero_grad()
            loss(model, batch).backward()
            optimizer.step()


def equal_weights(first: nn.Module, second: nn.Module) -> bool:
    """Whether all parameters and buffers are equal to the bit."""
    one, other = first.state_dict(), second.state_dict()
    return one.keys() == other.keys() and all(
        torch.equal(value, other[name]) for name, value in one.items()
    )


_BUDGET = pe.Budget(
    parameters=(1.0, 1e12),
    macs=(1.0, 1e12),
    peak_memory=(1.0, 1e12),
    seconds=(1e-6, 1e6),
)
PROTOCOLS = (
    pe.OptimizabilityEvaluator(),
    pe.UsabilityEvaluator(budget=_BUDGET),
    pe.VariabilityEvaluator(),
    pe.ReusabilityEvaluator(),
    pe.PersistenceEvaluator(),
)


def scored(runs: Iterable[pe.Run]) -> list[str]:
    """Which protocols give every model a score."""
    held = list(runs)
    reports = {p.protocol: p.compare(held).reports for p in PROTOCOLS}
    return [
        name
        for name, found in reports.items()
        if all(
            report.score is not None and math.isfinite(report.score) for report in found
        )
    ]
