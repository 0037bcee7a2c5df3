"""A network prepared for a task: what is known before training, and the record after."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Protocol, TypeVar

from torch import Tensor, nn

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Cost
from pretrain_eval._training.cost import count_macs, step_memory
from pretrain_eval._training.feature_files import Features
from pretrain_eval._training.features import (
    Shared,
    as_splits,
    features_suffice,
    read_features,
)
from pretrain_eval._training.measure import measure_baseline
from pretrain_eval._training.prepare import first_inputs
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Splits, Task

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


def _counted(count: Callable[[], int]) -> int | None:
    try:
        return count()
    except Exception as error:  # a forward that reads values cannot run on meta
        log.warning("the cost could not be counted: %s", error)
        return None
