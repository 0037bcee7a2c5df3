"""The training loop of one run, which can be left and continued by epochs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain_eval._metrics import (
    GradNorm,
    MetricCollection,
    UpdateRatio,
    device_of,
    loader_generators,
    seed_all,
)
from pretrain_eval._tasks import Splits, Task
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.checkpoint import Checkpoint
from pretrain_eval._training.course import Course
from pretrain_eval._training.measure import forward_for
from pretrain_eval._training.precision import compiled, loss_scaler

# Below it, gradients of float16 overflow at any scale; torch's first is 2**16.
_LEAST_SCALE = 2.0**-16


class Training:
    """The loop, and how far it has come.

    Args:
        network: Trained in place; where only a head is, it may be the head alone.
        splits: What it reads: the cell's own, or features in place of their samples.
        cell: The run to be.
        checkpoint: Written after every epoch, read where it exists.
        deadline: When, by `time.monotonic()`, it raises TimeoutError.
    """

    def __init__(
        self,
        network: nn.Module,
        splits: Splits,
        cell: Cell,
        *,
        checkpoint: Checkpoint | None = None,
        deadline: float | None = None,
    ) -> None:
        strategy = cell.strategy
        self._network, self._strategy, self._seed = network, strategy, cell.seed
        self._checkpoint, self._deadline = checkpoint, deadline
        self._course = Course(compiled(network, strategy), splits, cell)
        self._generators = loader_generators(splits.train)
        self._optimizer = strategy.optimizer(self._course.parameters)
        self._schedule = (
            strategy.schedule(self._optimizer, self._course.total_steps)
            if strategy.schedule
            else None
        )
        self._loss = strategy.loss or default_loss(cell.task)
        self._forward = forward_for(cell)
        self._device = device_of(network)
        self._scaler = loss_scaler(strategy, self._device)
        self._metrics = MetricCollection(GradNorm(), UpdateRatio())
        self._epoch = 0

    def run(self, on_epoch: Callable[[int], None] | None) -> Course:
        """Train all epochs, or until the loss or a weight is no longer finite."""
        course, on_cuda = self._course, self._device.type == "cuda"
        if on_cuda:
            torch.cuda.reset_peak_memory_stats(self._device)
        if not self._resumed():
            course.validate()
        with self._metrics.attach(self._optimizer, self._network):
            while self._epoch < self._strategy.epochs and not course.message:
                self._run_epoch(on_epoch)
        if not course.message:
            course.report()
        course.history = self._metrics.history
        if on_cuda:
            course.peak_memory = torch.cuda.max_memory_allocated(self._device)
        return course

    def _run_epoch(self, on_epoch: Callable[[int], None] | None) -> None:
        self._epoch += 1
        # Every epoch draws from a seed of its own, so that it can be resumed.
        seed_all(self._seed, self._epoch, generators=self._generators)
        self._train_epoch()
        if self._course.message:
            return
        self._course.validate()
        if self._checkpoint is not None:
            self._checkpoint.save(self._state())
        if on_epoch:
            on_epoch(self._epoch)

    def _train_epoch(self) -> None:
        course, start = self._course, time.perf_counter()
        finite = all(self._step(batch) for batch in course.loader)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        course.seconds += time.perf_counter() - start
        if not finite:
            course.diverge(self._epoch)
            return
        course.check_weights(self._epoch)
        if not course.message and self._scaler.get_scale() < _LEAST_SCALE:
            course.message = f"gradients were not finite in epoch {self._epoch}"

    def _step(self, batch: Any) -> bool:
        """Take one step, unless the loss is no longer finite."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError(
                f"not done in time; {self._course.num_steps} steps were taken, in epoch"
                f" {self._epoch} of {self._strategy.epochs}"
            )
        outputs, targets = self._forward(self._course.model, batch)
        loss = self._loss(outputs, targets)
        if not bool(loss.isfinite().all()):
            return False
        self._optimizer.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        # Clipping and metrics read the gradients themselves.
        self._scaler.unscale_(self._optimizer)
        self._course.clip()
        scale = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        overflowed = self._scaler.get_scale() < scale  # then the weights did not move
        if self._schedule is not None and not overflowed:
            self._schedule.step()
        self._course.add_step(len(targets))
        return True

    def _parts(self) -> dict[str, Any]:
        """What has a state of its own, by its name in a checkpoint."""
        parts = {
            "network": self._network,
            "optimizer": self._optimizer,
            "schedule": self._schedule,
            "metrics": self._metrics,
            "scaler": self._scaler,
        }
        return {name: part for name, part in parts.items() if part is not None}

    def _state(self) -> dict[str, Any]:
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return {"epoch": self._epoch, **self._course.state_dict(), **states}

    def _resumed(self) -> bool:
        """Whether there was a checkpoint to go on from."""
        state = self._checkpoint.load(self._device) if self._checkpoint else None
        if state is None:
            return False
        self._epoch = state["epoch"]
        self._course.load_state_dict(state)
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        return True


def default_loss(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy for classes, the mean squared error for numbers."""
    return F.cross_entropy if task.is_classification else F.mse_loss
