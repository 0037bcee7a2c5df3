"""A network prepared for a cell: what is known before its training, and its cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from functools import partial
from typing import TypeVar, final

from torch import Tensor, nn

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Cost
from pretrain_eval._tasks import Splits
from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.cost import count_macs, step_memory
from pretrain_eval._training.course import Course
from pretrain_eval._training.feature_files import Features
from pretrain_eval._training.features import Backbone, as_splits
from pretrain_eval._training.measure import measure_baseline
from pretrain_eval._training.prepare import first_inputs, prepare

T = TypeVar("T")
log = logging.getLogger("pretrain_eval")


@final
class Prepared:
    """A network with a cell's head, and what it tells before any training.

    Args:
        network: Changed in place.
        cell: What it is prepared for.
        surroundings: Shared with others.

    Attributes:
        path: Of the head.
        seconds: What reading the features took that are trained on.
    """

    def __init__(
        self, network: nn.Module, cell: Cell, surroundings: Surroundings
    ) -> None:
        self.cell, self.path, self.seconds = cell, prepare(network, cell), 0.0
        self._network, self._surroundings = network, surroundings
        self._backbone = Backbone(network, self.path, cell.strategy)

    def to_train(self) -> tuple[nn.Module, Splits]:
        """What is trained, and on what: the head on features, where these suffice."""
        splits = self.cell.splits
        if not self.cell.strategy.trains_head_alone or not self._features_suffice():
            self.baseline()  # before the weights change
            return self._network, splits
        features = {part: self._features(part) for part in splits.parts}
        self.seconds = features["train"].seconds
        return self._network.get_submodule(self.path), as_splits(features)

    def baseline(self) -> dict[str, Value]:
        """Scores of a frozen evaluation."""
        reported = "valid" if self.cell.splits.test is None else "test"

        def measured() -> dict[str, Value]:
            features = self._features("train"), self._features(reported)
            return measure_baseline(*features, self.cell.task)

        return self._once("baseline", measured)

    def cost(self, course: Course, start: float) -> Cost:
        """What the run has cost since `start`."""
        return Cost(
            num_parameters=sum(p.numel() for p in self._network.parameters()),
            num_trainable_parameters=course.num_parameters,
            macs=self._macs(),
            seconds=self.seconds + course.seconds,
            peak_memory=course.peak_memory or self._step_memory(),
            num_samples=course.num_samples,
            total_seconds=time.monotonic() - start,
        )

    def _macs(self) -> int | None:
        """Multiply-accumulates of one sample."""
        return self._counted("macs", 1, count_macs)

    def _step_memory(self) -> int | None:
        """Bytes of one training step, in full precision."""
        strategy = self.cell.strategy
        count = partial(step_memory, make_optimizer=strategy.optimizer)
        what = f"memory {dict(strategy.configuration)}"
        return self._counted(what, strategy.batch_size, count)

    def _counted(
        self, what: str, num_samples: int, count: Callable[[nn.Module, Tensor], int]
    ) -> int | None:
        def counted() -> int | None:
            try:
                return count(self._network, first_inputs(self.cell, num_samples))
            except Exception as error:  # a forward that reads values has no meta twin
                log.warning("the cost could not be counted: %s", error)
                return None

        return self._once(what, counted)

    def _features(self, part: str) -> Features:
        split, files = self.cell.splits.parts[part], self._surroundings.files
        return self._once(
            f"features of {part}", lambda: self._backbone.features(part, split, files)
        )

    def _features_suffice(self) -> bool:
        return self._once("suffice", lambda: self._backbone.suffices(self.cell.splits))

    def _once(self, what: str, compute: Callable[[], T]) -> T:
        strategy = self.cell.strategy
        # How features are computed decides their last bits.
        origin = self._surroundings.origin, strategy.amp, strategy.channels_last
        return self._surroundings.shared.once((origin, what), compute)
