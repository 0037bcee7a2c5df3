"""What a training of the user's own may use of this library's."""

from __future__ import annotations

import copy
import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from pretrain_eval._runs import Cost, Run
from pretrain_eval._tasks import Split, Splits, as_loader
from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.course import Course, as_number
from pretrain_eval._training.measure import measure
from pretrain_eval._training.prepare import built
from pretrain_eval._training.prepared import Prepared
from pretrain_eval._training.record import record


@final
@dataclass(frozen=True)
class Trial:
    """One training that a function of the user's does, as its last argument.

    Whatever is not asked for is not computed. Features and the scores before any
    training are shared with the other runs of a sweep.

    Attributes:
        cell: What is to be run.
        surroundings: Where, and with what others have computed.
        device: Where it is to train.
        deadline: When, by `time.monotonic()`, it should have ended; None: whenever.
    """

    cell: Cell
    surroundings: Surroundings
    device: torch.device
    deadline: float | None = None

    @property
    def draw(self) -> int:
        """What the run's draws come from; seed with it what draws by itself.

        The global generators of Python, numpy and torch start from it already. The
        seed alone would give all tasks and strategies the same draws.
        """
        return self.cell.draw

    @property
    def splits(self) -> Splits:
        """The parts of the dataset, as the model reads them."""
        return self.cell.splits

    @cached_property
    def network(self) -> nn.Module:
        """A fresh copy of the pretrained model with the head that the task needs."""
        self._prepared.baseline()  # before the weights change
        return self._prepared.network

    def features(self, part: str) -> tuple[Tensor, Tensor]:
        """What the head would read of each sample of a split, and the targets.

        Args:
            part: "train", "valid" or "test".

        Returns:
            `(num_samples, ...)` each, on the device.
        """
        self._part(part)
        found = self._prepared.features(part)
        return found.inputs, found.targets

    def rows(self, part: str) -> tuple[Tensor, Tensor]:
        """Features as rows, each with its target: of a sample, or of a token.

        Args:
            part: "train", "valid" or "test".

        Returns:
            `(num_rows, width)` and `(num_rows, ...)`, on the device.
        """
        kind = self.cell.task.kind
        if kind.place == "sample":
            return self.features(part)
        batches = self._prepared.backbone().batches(self._part(part))
        rows, targets = zip(*(kind.rows(*batch) for batch in batches), strict=True)
        return torch.cat(rows), torch.cat(targets)

    def loader(self, part: str, batch_size: int, *, shuffle: bool = False) -> Any:
        """Batches of a split, as the model reads them.

        Args:
            part: "train", "valid" or "test".
            batch_size: Samples a batch; a split given as a DataLoader keeps its own.
            shuffle: In an order that torch's global generator draws.
        """
        return as_loader(self._part(part), batch_size, shuffle=shuffle)

    def validate(self, model: Callable[..., Any]) -> dict[str, float]:
        """The scores on the validation split, for a curve; leaves no trace.

        Args:
            model: A network that reads the samples.
        """
        values = measure(_module(model), self.splits.valid, self.cell)
        return {key: as_number(value) for key, value in values.items()}

    def check_time(self) -> None:
        """Raise TimeoutError where it is too late, for a sweep with a timeout."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise TimeoutError("not done in time")

    def report(self, model: Callable[..., Any]) -> Run:
        """The record of a trained model: its scores on the reported split.

        Args:
            model: A network that reads the samples, such as `network` when it is
                trained; it is measured in eval mode.
        """
        return self._record(_module(model), self.splits)

    def report_on_features(self, predictor: Callable[[Tensor], Tensor]) -> Run:
        """The record of a predictor from frozen features.

        Args:
            predictor: Called with features, gives outputs as the head would.
        """
        part = "valid" if self.splits.test is None else "test"
        reported = TensorDataset(*self.features(part))
        splits = Splits(reported, reported, allow_overlap=True)
        run = self._record(_Called(predictor), splits)
        settings = {**run.settings, "trainable": "head"}
        return dataclasses.replace(run, settings=settings)

    def report_on_rows(self, predictor: Callable[[Tensor], Tensor]) -> Run:
        """The record of a predictor from rows of features, as `rows` gives them.

        Args:
            predictor: Called with `(num_rows, width)`, gives outputs of each row.
        """
        if self.cell.task.kind.place == "sample":
            return self.report_on_features(predictor)
        network = copy.deepcopy(self._prepared.network)
        network.set_submodule(self._prepared.path, _Called(_each_row(predictor)))
        run = self.report(network)
        return dataclasses.replace(run, settings={**run.settings, "trainable": "head"})

    def _part(self, part: str) -> Split:
        if part not in self.splits.parts:
            raise ValueError(f"the splits are {list(self.splits.parts)}, got {part!r}")
        return self.splits.parts[part]

    @cached_property
    def _prepared(self) -> Prepared:
        return Prepared(built(self.cell, self.device), self.cell, self.surroundings)

    def _record(self, model: nn.Module, splits: Splits) -> Run:
        course = Course(model, splits, self.cell)
        course.report()
        parameters = self._prepared.network.parameters()
        num_parameters = sum(p.numel() for p in parameters)
        cost = Cost(num_parameters=num_parameters, macs=self._prepared.macs())
        return record(self._prepared, course, cost)


def _module(model: Callable[..., Any]) -> nn.Module:
    return model if isinstance(model, nn.Module) else _Called(model)


def _each_row(predictor: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """A predictor of rows as one of features of any shape, `(..., width)`."""

    def predict(features: Tensor) -> Tensor:
        outputs = predictor(features.flatten(0, -2))
        return outputs.reshape(*features.shape[:-1], -1)

    return predict


class _Called(nn.Module):
    """A function in a network's place."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__()
        self._function = function

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self._function(*args, **kwargs)
