"""One run to be, and what surrounds it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn
from torch.utils.data import DataLoader

from pretrain_eval._metrics import loader_generators
from pretrain_eval._runs import Run, run_name
from pretrain_eval._tasks import Split, Splits, Stream, Task, View
from pretrain_eval._training.feature_files import FeatureFiles
from pretrain_eval._training.features import Shared
from pretrain_eval._training.strategy import Strategy
from pretrain_eval.zoo import Model, Pretrained

# Called after each epoch with the number of epochs done and the model.
OnEpoch = Callable[[int, nn.Module], None]

Drawn = Literal["cell", "seed"]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run to be: all that decides its result.

    Attributes:
        model_name: How records name the model.
        model: As `finetune` takes it.
        head: Dotted path of the layer to replace, where it cannot be told; "new" adds
            one.
        task: What to learn.
        dataset: The label of one of the task's datasets.
        strategy: How.
        seed: At least 0.
        draws: What its draws come from: the whole cell, or the seed alone.
    """

    model_name: str
    model: Model
    head: str | None
    task: Task
    dataset: str
    strategy: Strategy
    seed: int
    draws: Drawn = "cell"

    @cached_property
    def draw(self) -> int:
        """What every generator of the run starts from, below 2³².

        The first four bytes, big-endian, of BLAKE2b over the JSON of task, dataset,
        strategy and seed. The model is not in it: the runs of all models in one cell
        draw alike, while the cells of a model share no draw.
        """
        if self.draws == "seed":
            return self.seed
        place = [self.task.name, self.dataset, self.strategy.name, self.seed]
        digest = hashlib.blake2b(json.dumps(place).encode(), digest_size=16).digest()
        return int.from_bytes(digest[:4], "big")

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
    def head_path(self) -> str | None:
        """Where the head is, as said with the cell or with the model."""
        own = self.model.head if isinstance(self.model, Pretrained) else None
        return own if self.head is None else self.head

    @property
    def raw_splits(self) -> Splits:
        """The samples as the task has them.

        Raises:
            ValueError: The task has none.
        """
        splits = self.task.datasets[self.dataset]
        if splits is None:
            raise ValueError(
                f"{self.task.name}/{self.dataset} has no samples; only a strategy with a"
                " train=... of its own can do without"
            )
        return splits

    @cached_property
    def splits(self) -> Splits:
        """What it is trained and measured on: the samples as the model reads them."""
        kind = self.task.kind
        splits, collate = kind.posed(self.raw_splits), kind.collate
        parts = {
            name: self._viewed(name, part, collate)
            for name, part in splits.parts.items()
        }
        if all(part is splits.parts[name] for name, part in parts.items()):
            return splits
        # That no part shares samples with another was checked on the samples.
        return Splits(
            parts["train"], parts["valid"], parts.get("test"), allow_overlap=True
        )

    def _viewed(
        self, name: str, part: Split, collate: Callable[[list[Any]], Any] | None
    ) -> Split:
        """A part as the model reads it, or as the kind of task collates it."""
        model, transform = self.model, None
        own = isinstance(model, Pretrained) and (model.transform or model.collate)
        if isinstance(model, Pretrained):
            transform, collate = model.transform, model.collate or collate
        if isinstance(part, DataLoader) and own:
            raise ValueError(
                f"{self.model_name} reads samples in a way of its own, so that"
                f" {self.task.name}/{self.dataset}: {name} must hold samples, not be a"
                " DataLoader, whose batches are made"
            )
        if isinstance(part, Stream):
            return part.changed(transform=transform, collate=collate)
        if isinstance(part, DataLoader) or (transform is None and collate is None):
            return part
        return View(part, transform=transform, collate=collate)

    @property
    def generators(self) -> list[torch.Generator]:
        """Those that its samples are drawn from instead of the global ones."""
        splits = self.task.datasets[self.dataset]
        parts = splits.parts.values() if splits is not None else ()
        return [generator for part in parts for generator in loader_generators(part)]


def check_draws(draws: object) -> None:
    """Raise ValueError where `draws=` is none of its values."""
    if draws not in get_args(Drawn):
        raise ValueError(f'draws= expects "cell" or "seed", got {draws!r}')


@dataclass(frozen=True, kw_only=True)
class Surroundings:
    """Where a cell is run, for how long, and what it shares with its neighbours.

    Attributes:
        device: Where it trains; by default CUDA if there is one, otherwise the CPU.
        timeout: Seconds after which the training raises TimeoutError.
        shared: Where features, baselines and costs are kept.
        origin: Equal for runs of equal weights, samples and head.
        files: Where features may lie on disk.
        on_epoch: Called after each epoch with the number of epochs done and the model.
        on_end: Called at the end with the model and its run.
        baseline: Whether scores before any training are measured.
        resources: Whether MACs and memory are counted.
        weights: The file where the trained weights are kept.
        keep: Whether those of a finished run are; None: of all.
        pause_after: Epochs after which it is left, as "pruned", with its checkpoint.
        checkpoint: Written after every epoch, continued from where it exists.
    """

    device: torch.device | str | None = None
    timeout: float | None = None
    shared: Shared = field(default_factory=Shared)
    origin: str = ""
    files: FeatureFiles | None = None
    on_epoch: OnEpoch | None = None
    on_end: Callable[[nn.Module, Run], None] | None = None
    baseline: bool = True
    resources: bool = True
    weights: Path | None = None
    keep: Callable[[Run], bool] | None = None
    pause_after: int | None = None
    checkpoint: Path | None = None
