"""The training loop of one run, which can be left and continued by epochs."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pretrain_eval._metrics import (
    GradNorm,
    MetricCollection,
    UpdateRatio,
    device_of,
    loader_generators,
    seed_all,
)
from pretrain_eval._tasks import Splits
from pretrain_eval._training.cell import Cell, OnEpoch
from pretrain_eval._training.checkpoint import Checkpoint
from pretrain_eval._training.course import Course, first_scale
from pretrain_eval._training.measure import learn_for
from pretrain_eval._training.optimizers import make_optimizer
from pretrain_eval._training.precision import compiled, loss_scaler
from pretrain_eval._training.schedules import make_schedule
from pretrain_eval._training.trainable import select_trainable, union_trainable

# Below it, gradients of float16 overflow at any scale; torch's first is 2**16.
_LEAST_SCALE = 2.0**-16


class Training:
    """The loop, and how far it has come.

    Args:
        network: Trained in place; where only a head is, it may be the head alone.
        splits: What it reads: the cell's own, or features in place of their samples.
        cell: The run to be.
        path: Of the network's head.
        checkpoint: Written after every epoch, read where it exists.
        deadline: When, by `time.monotonic()`, it raises TimeoutError.
        pause_after: Epochs after which it is left, to be continued.
    """

    def __init__(
        self,
        network: nn.Module,
        splits: Splits,
        cell: Cell,
        *,
        path: str = "",
        checkpoint: Checkpoint | None = None,
        deadline: float | None = None,
        pause_after: int | None = None,
    ) -> None:
        strategy = cell.strategy
        check_stopping(cell)
        self._pause_after = pause_after
        self._network, self._strategy, self._path = network, strategy, path
        self._draw, self._checkpoint, self._deadline = cell.draw, checkpoint, deadline
        self._staged = isinstance(strategy.trainable, Mapping)
        if self._staged:
            union_trainable(network, path, strategy)  # what the optimizer must hold
        self._course = Course(compiled(network, strategy), splits, cell)
        self._generators = loader_generators(splits.train)
        self._optimizer = make_optimizer(strategy, network, self._course.parameters)
        if self._staged:
            select_trainable(network, path, strategy)
        steps = self._course.total_steps
        self._schedule = make_schedule(strategy, self._optimizer, steps)
        self._loss = strategy.loss or cell.task.kind.loss
        self._learn = learn_for(cell)
        self._device = device_of(network)
        self._scaler = loss_scaler(strategy, self._device)
        self._metrics = MetricCollection(GradNorm(), UpdateRatio())
        self._average = _average(network, strategy.ema)
        if self._average is not None:
            self._course.measured = self._average.module
        self._begun: dict[str, Tensor] = {}
        if strategy.penalty is not None:
            named = network.named_parameters()
            self._begun = {name: p.detach().clone() for name, p in named}
        self._epoch = 0

    @property
    def trained(self) -> nn.Module:
        """What was measured: the network, or the average of its weights."""
        return self._network if self._average is None else self._average.module

    def run(self, on_epoch: OnEpoch | None) -> Course:
        """Train all epochs, or until the loss or a weight is no longer finite.

        `on_epoch` may end it, as completed, by raising StopIteration.
        """
        course, on_cuda = self._course, self._device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        if not self._resumed():
            course.validate()
        attached = self._metrics.attach(self._optimizer, self._network)
        with attached, suppress(StopIteration):
            while self._goes_on():
                self._run_epoch(on_epoch)
        course.num_epochs = self._epoch
        # Of a paused training nothing of the reported split is read.
        if not course.paused and not course.message:
            course.report()
        course.history = self._metrics.history
        if on_cuda:
            course.peak_memory = torch.cuda.max_memory_allocated(self._device)
        return course

    def _goes_on(self) -> bool:
        course = self._course
        is_over = self._epoch >= (self._strategy.epochs or 0)
        if is_over or course.message or course.is_stale:
            return False
        course.paused = self._epoch == self._pause_after
        return not course.paused

    def _run_epoch(self, on_epoch: OnEpoch | None) -> None:
        if self._staged:
            select_trainable(self._network, self._path, self._strategy, self._epoch)
        self._epoch += 1
        # Every epoch draws from a seed of its own, so that it can be resumed.
        seed_all(self._draw, self._epoch, generators=self._generators)
        self._train_epoch()
        if self._course.message:
            return
        self._course.validate()
        if self._checkpoint is not None:
            self._checkpoint.save(self._state())
        if on_epoch:
            on_epoch(self._epoch, self.trained)

    def _train_epoch(self) -> None:
        course, start = self._course, time.perf_counter()
        groups = _grouped(course.loader, self._strategy.accumulate)
        finite = all(self._step(group) for group in groups)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        course.seconds += time.perf_counter() - start
        if not finite:
            course.diverge(self._epoch)
            return
        course.check_weights(self._epoch)
        if not course.message and self._scaler.get_scale() < _LEAST_SCALE:
            course.message = f"gradients were not finite in epoch {self._epoch}"

    def _step(self, batches: list[Any]) -> bool:
        """Take one step, unless the loss is no longer finite."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError(
                f"not done in time; {self._course.num_steps} steps were taken, in epoch"
                f" {self._epoch} of {self._strategy.epochs}"
            )
        num_samples = 0
        for number, batch in enumerate(batches):
            outputs, targets = self._learn(self._course.model, batch)
            loss = self._of_a_step(self._loss(outputs, targets), len(batches))
            if not bool(loss.isfinite().all()):
                return False
            if number == 0:
                self._optimizer.zero_grad()
            torch.autograd.backward(self._scaler.scale(loss))
            num_samples += len(targets)
        self._move()
        self._course.add_step(num_samples)
        return True

    def _of_a_step(self, loss: Tensor, num_batches: int) -> Tensor:
        """A batch's part in the loss of its step."""
        if self._strategy.penalty is not None:
            loss = loss + self._strategy.penalty(self._network, self._begun)
        return loss if num_batches == 1 else loss / num_batches

    def _move(self) -> None:
        """Move the weights by their gradients."""
        # Clipping and metrics read the gradients themselves.
        self._scaler.unscale_(self._optimizer)
        self._course.clip()
        scale = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        if self._scaler.get_scale() < scale:
            return  # gradients overflowed, and the weights did not move
        if self._schedule is not None:
            self._schedule.step()
        if self._average is not None:
            self._average.update_parameters(self._network)

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        parts = {
            "network": self._network,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "metrics": self._metrics,
            "scaler": self._scaler,
            "average": self._average,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _state(self) -> dict[str, Any]:
        own = {"epoch": self._epoch, "begun": self._begun}
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return {**own, **self._course.state_dict(), **states}

    def _resumed(self) -> bool:
        """Whether there was a checkpoint to go on from."""
        state = self._checkpoint.load(self._device) if self._checkpoint else None
        if state is None:
            return False
        self._epoch, self._begun = state["epoch"], state.get("begun", {})
        self._course.load_state_dict(state)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        return True


def check_stopping(cell: Cell) -> None:
    """Raise ValueError where patience would select on the reported split."""
    if cell.strategy.patience is None:
        return
    first_scale(cell)
    if cell.raw_splits.test is None:
        raise ValueError(
            f"strategy {cell.strategy.name!r} stops by the validation split, which"
            f" {cell.task.name}/{cell.dataset} reports; give Splits a test split"
        )


def _average(network: nn.Module, decay: float | None) -> AveragedModel | None:
    if decay is None:
        return None
    average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call] # torch's
    return AveragedModel(network, multi_avg_fn=average, use_buffers=True)


def _grouped(batches: Iterable[Any], size: int) -> Iterator[list[Any]]:
    """The batches, so many at a time."""
    left = iter(batches)
    while group := list(itertools.islice(left, size)):
        yield group
