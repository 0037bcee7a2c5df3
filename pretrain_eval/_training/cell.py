"""One run to be, and what surrounds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from pretrain_eval._metrics import loader_generators
from pretrain_eval._runs import run_name
from pretrain_eval._tasks import Splits, Task
from pretrain_eval._training.feature_files import FeatureFiles
from pretrain_eval._training.features import Shared
from pretrain_eval._training.strategy import Strategy
from pretrain_eval.zoo import Model


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run to be: all that decides its result.

    Attributes:
        model_name: How records name the model.
        model: As `finetune` takes it.
        head: Dotted path of the layer to replace, where it cannot be told.
        task: What to learn.
        dataset: The label of one of the task's datasets.
        strategy: How.
        seed: At least 0.
    """

    model_name: str
    model: Model
    head: str | None
    task: Task
    dataset: str
    strategy: Strategy
    seed: int

    @property
    def names(self) -> dict[str, Any]:
        """The fields of a `Run` that say which it is."""
        return {
            "model": self.model_name,
            "task": self.task.name,
            "dataset": self.dataset,
            "strategy": self.strategy.name,
            "seed": self.seed,
        }

    @property
    def name(self) -> str:
        """What messages and bars call it."""
        return run_name(**self.names)

    @property
    def splits(self) -> Splits:
        """What it is trained and measured on."""
        return self.task.datasets[self.dataset]

    @property
    def generators(self) -> list[torch.Generator]:
        """Those that its samples are drawn from instead of the global ones."""
        parts = self.splits.parts.values()
        return [generator for part in parts for generator in loader_generators(part)]


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a cell is run, for how long, and what it shares with its neighbours.

    Attributes:
        device: Where it trains; by default CUDA if there is one, otherwise the CPU.
        timeout: Seconds after which the training raises TimeoutError.
        shared: Where features, baselines and costs are kept.
        origin: Equal for runs of equal weights, samples and head.
        files: Where features may lie on disk.
        on_epoch: Called after each epoch with the number of epochs done.
        checkpoint: Written after every epoch, continued from where it exists.
    """

    device: torch.device | str | None = None
    timeout: float | None = None
    shared: Shared = field(default_factory=Shared)
    origin: str = ""
    files: FeatureFiles | None = None
    on_epoch: Callable[[int], None] | None = None
    checkpoint: Path | None = None
