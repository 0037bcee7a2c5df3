"""A network prepared for a cell: what is known before its training, and its cost."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar, final

import torch
from torch import nn

from pretrain_eval._metrics import Value
from pretrain_eval._runs import Cost
from pretrain_eval._tasks import Splits
from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.cost import count_macs, step_memory
from pretrain_eval._training.course import Course
from pretrain_eval._training.feature_files import Features
from pretrain_eval._training.features import Backbone, as_splits
from pretrain_eval._training.measure import measure, measure_frozen
from pretrain_eval._training.optimizers import make_optimizer
from pretrain_eval._training.prepare import adapted, first_batch, prepare
from pretrain_eval._training.weights import heads_of

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
        network: What is trained.
        path: Of the head.
        heads: What the head was made of, before the strategy prepared the network.
        seconds: What reading the features took that are trained on.
    """

    def __init__(
        self, network: nn.Module, cell: Cell, surroundings: Surroundings
    ) -> None:
        self.cell, self.path, self.seconds = cell, prepare(network, cell), 0.0
        self.network, self._surroundings = network, surroundings
        self.heads = heads_of(network, self.path)
        kind = cell.task.kind
        self._backbone = Backbone(network, self.path, kind, cell.strategy)
        if cell.strategy.prepare is not None:
            self.baseline()  # of the pretrained model, before it is adapted
            self.network, self.path = adapted(network, self.path, cell)

    def to_train(self) -> tuple[nn.Module, Splits]:
        """What is trained, and on what: the head on features, where these suffice."""
        splits, strategy = self.cell.splits, self.cell.strategy
        may = strategy.trains_head_alone and strategy.prepare is None
        if not may or not self._features_suffice():
            self.baseline()  # before the weights change
            return self.network, splits
        features = {part: self.features(part) for part in splits.parts}
        self.seconds = features["train"].seconds
        return self.network.get_submodule(self.path), as_splits(features)

    def baseline(self) -> dict[str, Value]:
        """Scores before any training; none where the kind of task knows none."""
        measured = {"frozen": self._frozen, "untrained": self._untrained}
        before = self.cell.task.kind.before
        if before is None or not self._surroundings.baseline:
            return {}
        return self._once("baseline", measured[before])

    def cost(self, course: Course, start: float) -> Cost:
        """What the run has cost since `start`."""
        return Cost(
            num_parameters=sum(p.numel() for p in self.network.parameters()),
            num_trainable_parameters=course.num_parameters,
            macs=self.macs(),
            seconds=self.seconds + course.seconds,
            peak_memory=course.peak_memory or self._step_memory(),
            num_samples=course.num_samples,
            total_seconds=time.monotonic() - start,
        )

    def _untrained(self) -> dict[str, Value]:
        return measure(self.network, self.cell.splits.reported, self.cell)

    def _frozen(self) -> dict[str, Value]:
        """Scores of a predictor from frozen features."""
        kind, splits = self.cell.task.kind, self.cell.splits
        reported = "valid" if splits.test is None else "test"
        if kind.place == "sample":
            batches = [self.features("train")], [self.features(reported)]
            train, test = ([(f.inputs, f.targets) for f in part] for part in batches)
        else:  # as many features as there are tokens or pixels are not kept
            train = self._backbone.batches(splits.train)  # type: ignore[assignment]
            test = self._backbone.batches(splits.reported)  # type: ignore[assignment]
        try:
            rows, targets = zip(*(kind.rows(*batch) for batch in train), strict=True)
        except ValueError as error:
            log.warning("%s: no score before training: %s", self.cell.name, error)
            return {}
        return measure_frozen(kind, torch.cat(rows), torch.cat(targets), test)

    def macs(self) -> int | None:
        """Multiply-accumulates of one sample."""
        kind = self.cell.task.kind

        def count(batch: Any) -> int:
            return count_macs(
                self.network, batch, call=lambda model, b: kind.read(model, b)[0]
            )

        return self._counted("macs", 1, count)

    def _step_memory(self) -> int | None:
        """Bytes of one training step, in full precision."""
        strategy, kind = self.cell.strategy, self.cell.task.kind

        def count(batch: Any) -> int:
            return step_memory(
                self.network,
                batch,
                partial(make_optimizer, strategy),
                call=lambda model, b: kind.learn(model, b)[0],
            )

        what = f"memory {dict(strategy.configuration)}"
        return self._counted(what, strategy.batch_size, count)

    def _counted(
        self, what: str, num_samples: int, count: Callable[[Any], int]
    ) -> int | None:
        if not self._surroundings.resources:
            return None

        def counted() -> int | None:
            try:
                return count(first_batch(self.cell, num_samples))
            except Exception as error:
                log.warning("%s: %s not counted: %s", self.cell.name, what, error)
                return None

        return self._once(what, counted)

    def features(self, part: str, layers: tuple[str, ...] = ()) -> Features:
        """What the head reads of a split, after what inner layers give."""
        split, files = self.cell.splits.parts[part], self._surroundings.files
        backbone = self.backbone(layers)
        return self._once(
            " ".join([f"features of {part}", *layers]),
            lambda: backbone.features(part, split, files),
        )

    def backbone(self, layers: tuple[str, ...] = ()) -> Backbone:
        """What gives the features of the head, and of inner layers."""
        return replace(self._backbone, layers=layers)

    def _features_suffice(self) -> bool:
        return self._once("suffice", lambda: self._backbone.suffices(self.cell.splits))

    def _once(self, what: str, compute: Callable[[], T]) -> T:
        strategy = self.cell.strategy
        # How features are computed decides their last bits.
        origin = self._surroundings.origin, strategy.amp, strategy.channels_last
        return self._surroundings.shared.once((origin, what), compute)
