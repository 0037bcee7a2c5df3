"""A network prepared for a task: what is known before training, and the record after."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Mapping
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from pretrain_eval._computing import arranged
from pretrain_eval._cost import count_macs, step_memory
from pretrain_eval._feature_files import Features
from pretrain_eval._features import Shared, as_splits, features_suffice, read_features
from pretrain_eval._head import find_head, replace_head, select_trainable
from pretrain_eval._measure import Measured, measure_baseline
from pretrain_eval._metrics.metric import Value
from pretrain_eval._runs.run import Cost, Run, Status
from pretrain_eval._samples import as_loader
from pretrain_eval._task import Splits, Strategy, Task
from pretrain_eval._training import as_number
from pretrain_eval._version import __version__

T = TypeVar("T")
log = logging.getLogger("pretrain_eval")


class Trained(Protocol):
    """What a training leaves to be recorded.

    Attributes:
        curve: Columns of the validation curve.
        message: Why it ended early.
        seconds: What its epochs took.
        num_samples: How many were learned from.
    """

    curve: dict[str, list[float]]
    message: str
    seconds: float
    num_samples: int

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """Columns of the step metrics."""

    @property
    def num_parameters(self) -> int:
        """How many numbers were trained."""

    def peak_memory(self) -> int | None:
        """The bytes that it reached, where they were measured."""


class Source:
    """What a prepared network and its samples tell before any training."""

    def __init__(
        self,
        network: nn.Module,
        path: str,
        task: Task,
        splits: Splits,
        shared: Shared,
        origin: str,
        strategy: Strategy,
    ) -> None:
        self._network, self.path = network, path
        self.task, self._splits = task, splits
        self._shared, self._strategy = shared, strategy
        # How features are computed decides their last bits.
        self._origin = (origin, strategy.amp, strategy.channels_last)

    def to_train(self) -> tuple[nn.Module, Splits, float]:
        """What is trained, on what, and the seconds that this saves later."""
        if self._strategy.trainable != "head" or not self._suffice():
            self.baseline()  # before the weights change
            return self._network, self._splits, 0.0
        features = {part: self._features(part) for part in self._splits.parts}
        head = self._network.get_submodule(self.path)
        return head, as_splits(features), features["train"].seconds

    def baseline(self) -> dict[str, Value]:
        """Scores of a frozen evaluation."""
        reported = "valid" if self._splits.test is None else "test"
        return self._once(
            "baseline",
            lambda: measure_baseline(
                self._features("train"), self._features(reported), self.task
            ),
        )

    def cost(self, training: Trained, start: float, reading: float) -> Cost:
        """What the run has cost since `start`, `reading` of features included."""
        return Cost(
            num_parameters=sum(p.numel() for p in self._network.parameters()),
            num_trainable_parameters=training.num_parameters,
            macs=self.macs(),
            seconds=reading + training.seconds,
            peak_memory=training.peak_memory() or self.step_memory(),
            num_samples=training.num_samples,
            total_seconds=time.monotonic() - start,
        )

    def macs(self) -> int | None:
        """Multiply-accumulates of one sample."""
        return self._once(
            "macs", lambda: _counted(lambda: count_macs(self._network, self._inputs(1)))
        )

    def step_memory(self) -> int | None:
        """Bytes of one training step, in full precision."""
        strategy = self._strategy
        return self._once(
            f"memory {dict(strategy.configuration)}",
            lambda: _counted(
                lambda: step_memory(
                    self._network,
                    self._inputs(strategy.batch_size),
                    strategy.optimizer,
                )
            ),
        )

    def _inputs(self, batch_size: int) -> Tensor:
        return first_inputs(self._splits, batch_size)[:batch_size]

    def _features(self, part: str) -> Features:
        split = self._splits.parts[part]
        files = self._shared.files
        return self._once(
            f"features of {part}",
            lambda: read_features(
                self._network, self.path, part, split, self._strategy, files
            ),
        )

    def _suffice(self) -> bool:
        return self._once(
            "suffice",
            lambda: features_suffice(
                self._network, self.path, self._splits, self._strategy
            ),
        )

    def _once(self, what: str, compute: Callable[[], T]) -> T:
        return self._shared.once((self._origin, what), compute)


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device itself; by default CUDA if there is one, otherwise the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(
    network: nn.Module,
    task: Task,
    splits: Splits,
    strategy: Strategy,
    head: str | None = None,
) -> str:
    """Give the network a head for the task, and arrange and freeze it by the strategy.

    Returns:
        The head's dotted path.
    """
    path = find_head(network, head)
    device = next(network.parameters()).device
    inputs = first_inputs(splits, strategy.batch_size).to(device)
    replace_head(network, path, task.output_size, inputs)
    arranged(network, strategy)
    select_trainable(network, path, strategy)
    return path


def first_inputs(splits: Splits, batch_size: int) -> Tensor:
    """The inputs of one batch, as the training reads them."""
    batch = next(iter(as_loader(splits.train, batch_size, shuffle=False)))
    if not (isinstance(batch, list | tuple) and len(batch) == 2):
        raise ValueError(
            "finetune expects batches (inputs, targets), got"
            f" {type(batch).__name__} of length {len(batch)}"
        )
    inputs: Tensor = batch[0]
    return inputs


def record(
    source: Source,
    trained: Trained,
    *,
    name: str,
    label: str,
    strategy: Strategy,
    seed: int,
    status: Status,
    measured: Measured,
    cost: Cost,
) -> Run:
    """The run that has ended.

    Args:
        source: What was trained.
        trained: What came of it.
        name: The model's.
        label: The dataset's.
        strategy: How.
        seed: The run's.
        status: How it ended.
        measured: On the reported split.
        cost: What it has cost.
    """
    return Run(
        model=name,
        task=source.task.name,
        dataset=label,
        strategy=strategy.name,
        seed=seed,
        status=status,
        message=trained.message,
        scores=_finite(measured.scores),
        baseline=_finite(source.baseline()),
        chance=source.task.chance[label],
        num_examples=measured.num_examples,
        confusion=measured.confusion,
        curve={key: tuple(column) for key, column in trained.curve.items()},
        history=trained.history,
        cost=cost,
        settings={
            **strategy.configuration,
            "head": source.path,
            "num_classes": source.task.num_classes,
        },
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {
        "pretrain_eval": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


def _counted(count: Callable[[], int]) -> int | None:
    try:
        return count()
    except Exception as error:  # a forward that reads values cannot run on meta
        log.warning("the cost could not be counted: %s", error)
        return None


def _finite(scores: Mapping[str, Value]) -> dict[str, float]:
    """The scores that are defined; a record leaves out the others."""
    numbers = {key: as_number(value) for key, value in scores.items()}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
