"""One fine-tuning, measured: the only training loop in the house."""

from __future__ import annotations

import logging
import math
import platform
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from pretrain_eval._cost import count_macs, step_memory
from pretrain_eval._head import find_head, replace_head, select_trainable
from pretrain_eval._measure import forward_for, measure, measure_baseline
from pretrain_eval._metric import MetricCollection, Value
from pretrain_eval._metrics.optimization import GradNorm, UpdateRatio
from pretrain_eval._models import Model, build, model_name
from pretrain_eval._records import Cost, Run
from pretrain_eval._rng import preserved_rng, seed_all
from pretrain_eval._samples import as_loader, own_generators
from pretrain_eval._task import Splits, Strategy, Task
from pretrain_eval._version import __version__

log = logging.getLogger("pretrain_eval")

# Part of a run's key: change it when the same call would train another model.
TRAINING_SEMANTICS = 1


def finetune(
    model: Model,
    task: Task,
    strategy: Strategy,
    *,
    seed: int = 0,
    dataset: str | None = None,
    name: str | None = None,
    head: str | None = None,
    device: torch.device | str | None = None,
    on_epoch: Callable[[int], None] | None = None,
) -> Run:
    """Fine-tune a fresh copy of `model` once, and record what was measured.

    The head is replaced by a fresh layer of the task's width. Before training, a frozen
    evaluation of the backbone's features gives the baseline: the nearest class mean, or
    ridge regression. Validation is measured before training and after every epoch, the
    gradient norm and the update ratio at every step, the scores once, at the end, on
    the reported split. The last weights are scored; no epoch is selected.

    The model, the data and the global random generators are left as they were. The same
    call gives the same run: `seed` decides the head, the order of samples, augmentation
    and dropout, and a builder's random weights.

    Args:
        model: A module (copied); a function of no arguments that builds one; or the
            name or weights enum of a torchvision model; a name means default weights.
        task: What to learn.
        strategy: How.
        seed: At least 0.
        dataset: The dataset's label; needed where the task has several.
        name: How the record names the model; by default what `model` is called.
        head: Dotted path of the layer to replace, where it cannot be told.
        device: Where to train; by default CUDA if there is one, otherwise the CPU.
        on_epoch: Called after each epoch with the number of epochs done.

    Returns:
        The run; `status` is "diverged" where the loss or a weight became NaN or
        infinite, with everything that was measured until then.

    Raises:
        ValueError: The head cannot be told, the dataset is unknown, or the strategy
            trains no parameter.

    >>> from functools import partial
    >>> from torch.utils.data import TensorDataset
    >>> def points(n):
    ...     x = torch.randn(n, 4, generator=torch.Generator().manual_seed(n))
    ...     return TensorDataset(x, (x.sum(1) > 0).long())
    >>> class Net(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 5)
    ...
    ...     def forward(self, inputs):
    ...         return self.head(self.body(inputs).relu())
    >>> splits = Splits(points(64), points(65))
    >>> task = Task("sign", datasets={"sum": splits}, num_classes=2)
    >>> full = Strategy("full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=3)
    >>> run = finetune(Net, task, full)
    >>> run.status, len(run.curve["accuracy"]), len(run.history["grad_norm"])
    ('completed', 4, 6)
    """
    label = choose_dataset(task, dataset)
    splits = task.datasets[label]
    generators = [g for part in splits.parts.values() for g in own_generators(part)]
    with preserved_rng(*generators):
        seed_all(seed, generators=generators)
        network = build(model).to(choose_device(device))
        path = prepare(network, task, splits, strategy, head)
        baseline = measure_baseline(network, path, task, splits, strategy)
        training = _Training(network, task, splits, strategy, seed)
        status = training.run(on_epoch)
        num_examples, scores = (
            measure(network, task, splits.reported, strategy)
            if status == "completed"
            else (None, {})
        )
    return Run(
        model=name or model_name(model),
        task=task.name,
        dataset=label,
        strategy=strategy.name,
        seed=seed,
        status=status,
        message=training.message,
        scores=_finite(scores),
        baseline=_finite(baseline),
        chance=task.chance[label],
        num_examples=num_examples,
        curve={key: tuple(column) for key, column in training.curve.items()},
        history=training.metrics.history,
        cost=training.cost(),
        settings={
            **strategy.configuration,
            "head": path,
            "num_classes": task.num_classes,
        },
        versions={
            "pretrain_eval": __version__,
            "torch": str(torch.__version__),
            "python": platform.python_version(),
        },
    )


def choose_dataset(task: Task, label: str | None) -> str:
    """The label itself, or the only one that the task has."""
    labels = list(task.datasets)
    if label is None and len(labels) == 1:
        return labels[0]
    if label is None or label not in task.datasets:
        raise ValueError(
            f"task {task.name!r} has the datasets {labels}; choose one with"
            f" dataset=..., got {label!r}"
        )
    return label


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
    """Give the network a head for the task and freeze what the strategy freezes.

    Returns:
        The head's dotted path.
    """
    path = find_head(network, head)
    device = next(network.parameters()).device
    replace_head(
        network, path, task.output_size, first_inputs(splits, strategy).to(device)
    )
    select_trainable(network, path, strategy)
    return path


def first_inputs(splits: Splits, strategy: Strategy) -> Tensor:
    """The inputs of one batch, as the training reads them."""
    batch = next(iter(as_loader(splits.train, strategy.batch_size, shuffle=False)))
    if not (isinstance(batch, list | tuple) and len(batch) == 2):
        raise ValueError(
            "finetune expects batches (inputs, targets), got"
            f" {type(batch).__name__} of length {len(batch)}"
        )
    inputs: Tensor = batch[0]
    return inputs


def default_loss(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """Cross-entropy for classes, the mean squared error for numbers."""
    return F.cross_entropy if task.is_classification else F.mse_loss


class _Training:
    """The loop, and what it has measured so far."""

    def __init__(
        self,
        network: nn.Module,
        task: Task,
        splits: Splits,
        strategy: Strategy,
        seed: int,
    ) -> None:
        self._network, self._task = network, task
        self._splits, self._strategy, self._seed = splits, strategy, seed
        self._loader = as_loader(splits.train, strategy.batch_size, shuffle=True)
        self._parameters = [p for p in network.parameters() if p.requires_grad]
        self._optimizer = strategy.optimizer(self._parameters)
        self._schedule = (
            strategy.schedule(self._optimizer, strategy.epochs * len(self._loader))
            if strategy.schedule
            else None
        )
        self._loss = strategy.loss or default_loss(task)
        self._forward = forward_for(task)
        self._device = self._parameters[0].device
        self._seconds, self._num_steps, self._num_samples = 0.0, 0, 0
        self.metrics = MetricCollection(GradNorm(), UpdateRatio())
        self.curve: dict[str, list[float]] = {"step": []}
        self.message = ""

    def run(
        self, on_epoch: Callable[[int], None] | None
    ) -> Literal["completed", "diverged"]:
        """Train all epochs, or until the loss or a weight is no longer finite."""
        generators = own_generators(self._loader)
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
        self._validate()
        with self.metrics.attach(self._optimizer, self._network):
            for epoch in range(1, self._strategy.epochs + 1):
                # Every epoch draws from a seed of its own, so that one can be resumed.
                seed_all(self._seed, epoch, generators=generators)
                self._train_epoch(epoch)
                if self.message:
                    return "diverged"
                self._validate()
                if on_epoch:
                    on_epoch(epoch)
        return "completed"

    def _train_epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        finite = all(self._step(batch) for batch in self._loader)
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)
        self._seconds += time.perf_counter() - start
        if not finite:
            self.message = (
                f"the loss was not finite after {self._num_steps} steps,"
                f" in epoch {epoch}"
            )
        elif not all(bool(p.isfinite().all()) for p in self._parameters):
            self.message = f"a weight was not finite after epoch {epoch}"

    def _step(self, batch: Any) -> bool:
        """Take one step, unless the loss is no longer finite."""
        outputs, targets = self._forward(self._network, batch)
        loss = self._loss(outputs, targets)
        if not bool(loss.isfinite().all()):
            return False
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        if self._strategy.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._strategy.max_grad_norm)
        self._optimizer.step()
        if self._schedule is not None:
            self._schedule.step()
        self._num_steps += 1
        self._num_samples += len(targets)
        return True

    def _validate(self) -> None:
        _, values = measure(
            self._network, self._task, self._splits.valid, self._strategy
        )
        self.curve["step"].append(self._num_steps)
        for key, value in values.items():
            self.curve.setdefault(key, []).append(_number(value))

    def cost(self) -> Cost:
        """What the training has cost so far."""
        inputs = first_inputs(self._splits, self._strategy)
        return Cost(
            num_parameters=sum(p.numel() for p in self._network.parameters()),
            num_trainable_parameters=sum(p.numel() for p in self._parameters),
            macs=_counted(lambda: count_macs(self._network, inputs[:1])),
            seconds=self._seconds,
            peak_memory=self._peak_memory(inputs),
            num_samples=self._num_samples,
        )

    def _peak_memory(self, inputs: Tensor) -> int | None:
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device)
        return _counted(
            lambda: step_memory(self._network, inputs, self._strategy.optimizer)
        )


def _counted(count: Callable[[], int]) -> int | None:
    try:
        return count()
    except Exception as error:  # a forward that reads values cannot run on meta
        log.warning("the cost could not be counted: %s", error)
        return None


def _number(value: Value) -> float:
    if not isinstance(value, float | int):
        raise TypeError(f"a run's scores are numbers, got {value!r}")
    return float(value)


def _finite(scores: Mapping[str, Value]) -> dict[str, float]:
    """The scores that are defined; a record leaves out the others."""
    numbers = {key: _number(value) for key, value in scores.items()}
    return {key: value for key, value in numbers.items() if math.isfinite(value)}
