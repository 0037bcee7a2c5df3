"""The only training loop in the house, which can be left and continued by epochs."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain_eval._metrics import (
    GradNorm,
    MetricCollection,
    UpdateRatio,
    Value,
    loader_generators,
    seed_all,
)
from pretrain_eval._training.measure import forward_for, measure
from pretrain_eval._training.precision import compiled, loss_scaler
from pretrain_eval._training.samples import as_loader
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Splits, Task

# Below it, gradients of float16 overflow at any scale; torch's first is 2**16.
_LEAST_SCALE = 2.0**-16


class Training:
    """The loop, and what it has measured so far.

    Args:
        network: Trained in place; where only a head is, it may be the head alone.
        task: Says the default loss and what is measured.
        splits: Trained and validated on.
        strategy: How.
        seed: Decides the order of samples, augmentation and dropout.
        checkpoint: Written after every epoch, read where it exists.
        name: Refuses the checkpoint of another run.
        deadline: When, by `time.monotonic()`, it raises TimeoutError.

    Attributes:
        model: What is called: the network, compiled where the strategy says so.
    """

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        splits: Splits,
        strategy: Strategy,
        seed: int,
        *,
        checkpoint: Path | None = None,
        name: str = "",
        deadline: float | None = None,
    ) -> None:
        self._network, self._task = network, task
        self.model = compiled(network, strategy)
        self._splits, self._strategy, self._seed = splits, strategy, seed
        self._checkpoint, self._name = checkpoint, name
        self._deadline = deadline
        self._loader = as_loader(splits.train, strategy.batch_size, shuffle=True)
        self._generators = loader_generators(splits.train)
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = strategy.optimizer(self._parameters)
        self._schedule = (
            strategy.schedule(self._optimizer, strategy.epochs * len(self._loader))
            if strategy.schedule
            else None
        )
        self._loss = strategy.loss or default_loss(task)
        self._forward = forward_for(task, strategy)
        self._device = self._parameters[0].device
        self._scaler = loss_scaler(strategy, self._device)
        self._metrics = MetricCollection(GradNorm(), UpdateRatio())
        self._num_steps, self._epoch = 0, 0
        self.seconds, self.num_samples = 0.0, 0
        self.curve: dict[str, list[float]] = {"step": []}
        self.message = ""

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self._parameters)

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """The step metrics of every step, those before a pause included."""
        return self._metrics.history

    def peak_memory(self) -> int | None:
        """The bytes that CUDA's allocator reached; None elsewhere."""
        if self._device.type != "cuda":
            return None
        return torch.cuda.max_memory_allocated(self._device)

    def run(
        self, on_epoch: Callable[[int], None] | None
    ) -> Literal["completed", "diverged"]:
        """Train all epochs, or until the loss or a weight is no longer finite."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        if self._checkpoint is not None and self._checkpoint.exists():
            self._restore(self._checkpoint)
        else:
            self._validate()
        with self._metrics.attach(self._optimizer, self._network):
            while self._epoch < self._strategy.epochs:
                self._epoch += 1
                # Every epoch draws from a seed of its own, so that it can be resumed.
                seed_all(self._seed, self._epoch, generators=self._generators)
                self._train_epoch()
                if self.message:
                    return "diverged"
                self._validate()
                if self._checkpoint is not None:
                    self._save(self._checkpoint)
                if on_epoch:
                    on_epoch(self._epoch)
        return "completed"

    def _train_epoch(self) -> None:
        start = time.perf_counter()
        finite = all(self._step(batch) for batch in self._loader)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self.seconds += time.perf_counter() - start
        if not finite:
            self.message = (
                f"the loss was not finite after {self._num_steps} steps,"
                f" in epoch {self._epoch}"
            )
        elif not all(bool(p.isfinite().all()) for p in self._parameters):
            self.message = f"a weight was not finite after epoch {self._epoch}"
        elif self._scaler.get_scale() < _LEAST_SCALE:
            self.message = f"gradients were not finite in epoch {self._epoch}"

    def _step(self, batch: Any) -> bool:
        """Take one step, unless the loss is no longer finite."""
        if self._deadline is not None and time.monotonic() > self._deadline:
            raise TimeoutError(
                f"not done in time; {self._num_steps} steps were taken, in epoch"
                f" {self._epoch} of {self._strategy.epochs}"
            )
        outputs, targets = self._forward(self.model, batch)
        loss = self._loss(outputs, targets)
        if not bool(loss.isfinite().all()):
            return False
        self._optimizer.zero_grad()
        torch.autograd.backward(self._scaler.scale(loss))
        # Clipping and metrics read the gradients themselves.
        self._scaler.unscale_(self._optimizer)
        if self._strategy.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._strategy.max_grad_norm)
        scale = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        overflowed = self._scaler.get_scale() < scale  # then the weights did not move
        if self._schedule is not None and not overflowed:
            self._schedule.step()
        self._num_steps += 1
        self.num_samples += len(targets)
        return True

    def _validate(self) -> None:
        _, values = measure(self.model, self._task, self._splits.valid, self._strategy)
        add_point(self.curve, self._num_steps, values)

    def _save(self, path: Path) -> None:
        state = {
            "name": self._name,
            "network": self._network.state_dict(),
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict() if self._schedule else None,
            "epoch": self._epoch,
            "num_steps": self._num_steps,
            "num_samples": self.num_samples,
            "seconds": self.seconds,
            "curve": self.curve,
            "metrics": self._metrics.state_dict(),
            "scaler": self._scaler.state_dict(),
        }
        partial = path.with_name(f"{path.name}.partial")
        torch.save(state, partial)
        partial.replace(path)

    def _restore(self, path: Path) -> None:
        try:
            # Tensors and plain values only: a checkpoint runs no code.
            state = torch.load(path, map_location=self._device, weights_only=True)
            name = state["name"]
        except Exception as error:
            raise ValueError(f"{path} is no checkpoint of a run: {error}") from error
        if name != self._name:
            raise ValueError(
                f"{path} is the checkpoint of another run; name another file, or"
                " delete it to start this run anew"
            )
        self._network.load_state_dict(state["network"])
        self._optimizer.load_state_dict(state["optimizer"])
        if self._schedule is not None:
            self._schedule.load_state_dict(state["schedule"])
        self._epoch, self._num_steps = state["epoch"], state["num_steps"]
        self.num_samples, self.seconds = state["num_samples"], state["seconds"]
        self.curve = state["curve"]
        self._metrics.load_state_dict(state["metrics"])
        self._scaler.load_state_dict(state["scaler"])


def default_loss(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy for classes, the mean squared error for numbers."""
    return F.cross_entropy if task.is_classification else F.mse_loss


def add_point(
    curve: dict[str, list[float]], step: int, values: Mapping[str, Value]
) -> None:
    """Add what was measured after so many steps to the columns of a curve."""
    curve["step"].append(step)
    for key, value in values.items():
        curve.setdefault(key, []).append(as_number(value))


def as_number(value: Value) -> float:
    """The value of a metric that is one number.

    Raises:
        TypeError: It is several.
    """
    if not isinstance(value, float | int):
        raise TypeError(f"a run's scores are numbers, got {value!r}")
    return float(value)
