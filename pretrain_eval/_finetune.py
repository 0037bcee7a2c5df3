"""One fine-tuning, measured."""

from __future__ import annotations

import logging
import math
import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from pretrain_eval._cost import count_macs, step_memory
from pretrain_eval._features import (
    Features,
    Shared,
    as_splits,
    features_suffice,
    read_features,
)
from pretrain_eval._fingerprint import fingerprint, fingerprint_model
from pretrain_eval._head import find_head, replace_head, select_trainable
from pretrain_eval._measure import measure_baseline, measure_reported
from pretrain_eval._metric import Value
from pretrain_eval._models import Model, build, model_name
from pretrain_eval._records import Cost, Run
from pretrain_eval._rng import preserved_rng, seed_all
from pretrain_eval._samples import as_loader, own_generators
from pretrain_eval._task import Splits, Strategy, Task
from pretrain_eval._training import Training, as_number
from pretrain_eval._version import __version__

T = TypeVar("T")
log = logging.getLogger("pretrain_eval")

# Part of a run's key: change it when the same call would train another model.
TRAINING_SEMANTICS = 2


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
    checkpoint: str | os.PathLike[str] | None = None,
) -> Run:
    """Fine-tune a fresh copy of `model` once, and record what was measured.

    The head is replaced by a fresh layer of the task's width. Before training, a frozen
    evaluation of the backbone's features gives the baseline: the nearest class mean, or
    ridge regression. Validation is measured before training and after every epoch, the
    gradient norm and the update ratio at every step, the scores once, at the end, on
    the reported split. The last weights are scored; no epoch is selected.

    Where only the head trains, and no sample changes from one reading to the next, the
    frozen backbone reads every sample once; that pass over the training split is part
    of the cost.

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
        on_epoch: Called after each epoch with the number of epochs done; what it raises
            ends the run.
        checkpoint: A file that is written after every epoch and continued from where it
            exists, to the same bits as without a pause; removed when the run ends.

    Returns:
        The run; `status` is "diverged" where the loss or a weight became NaN or
        infinite, with everything that was measured until then.

    Raises:
        ValueError: The head cannot be told, the dataset is unknown, or the strategy
            trains no parameter; or the checkpoint is of another run.

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
    if type(seed) is not int or seed < 0:
        raise ValueError(f"finetune expects seed as an int of at least 0, got {seed!r}")
    return finetune_sharing(
        model,
        task,
        strategy,
        seed=seed,
        label=choose_dataset(task, dataset),
        name=name or model_name(model),
        head=head,
        device=device,
        on_epoch=on_epoch,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        shared=Shared(),
        origin="",
        timeout=None,
    )


def finetune_sharing(
    model: Model,
    task: Task,
    strategy: Strategy,
    *,
    seed: int,
    label: str,
    name: str,
    head: str | None,
    device: torch.device | str | None,
    on_epoch: Callable[[int], None] | None,
    checkpoint: Path | None,
    shared: Shared,
    origin: str,
    timeout: float | None,
) -> Run:
    """The run of `finetune`, which takes from `shared` what equals in its neighbours.

    Args:
        model: As in `finetune`, like all that follows.
        task: What to learn.
        strategy: How.
        seed: At least 0.
        label: The dataset's.
        name: The model's.
        head: Path of the layer to replace.
        device: Where to train.
        on_epoch: Called after each epoch.
        checkpoint: A file to continue from.
        shared: Where features, baselines and costs are kept.
        origin: Equal for runs of equal weights, samples and head.
        timeout: Seconds after which the training raises TimeoutError.
    """
    start = time.monotonic()
    splits = task.datasets[label]
    generators = [g for part in splits.parts.values() for g in own_generators(part)]
    with preserved_rng(*generators):
        seed_all(seed, generators=generators)
        network = build(model).to(choose_device(device))
        # A new head is the same however the model was made.
        seed_all(seed, generators=generators)
        path = prepare(network, task, splits, strategy, head)
        source = _Source(network, path, task, splits, shared, origin)
        trained, data, reading = source.to_train(strategy)
        identity = _identity(network, task, label, strategy, seed) if checkpoint else ""
        training = Training(
            trained,
            task,
            data,
            strategy,
            seed,
            checkpoint=checkpoint,
            name=identity,
            deadline=None if timeout is None else start + timeout,
        )
        status = training.run(on_epoch)
        num_examples, scores, confusion = (
            measure_reported(trained, task, data.reported, strategy)
            if status == "completed"
            else (None, {}, ())
        )
        if checkpoint is not None:
            checkpoint.unlink(missing_ok=True)
        cost = source.cost(training, strategy, start, reading)
    return Run(
        model=name,
        task=task.name,
        dataset=label,
        strategy=strategy.name,
        seed=seed,
        status=status,
        message=training.message,
        scores=_finite(scores),
        baseline=_finite(source.baseline()),
        chance=task.chance[label],
        num_examples=num_examples,
        confusion=confusion,
        curve={key: tuple(column) for key, column in training.curve.items()},
        history=training.history,
        cost=cost,
        settings={
            **strategy.configuration,
            "head": path,
            "num_classes": task.num_classes,
        },
        versions=_versions(),
    )


def _versions() -> dict[str, str]:
    return {
        "pretrain_eval": __version__,
        "torch": str(torch.__version__),
        "python": platform.python_version(),
    }


class _Source:
    """What a prepared network and its samples tell before any training."""

    def __init__(
        self,
        network: nn.Module,
        path: str,
        task: Task,
        splits: Splits,
        shared: Shared,
        origin: str,
    ) -> None:
        self._network, self._path = network, path
        self._task, self._splits = task, splits
        self._shared, self._origin = shared, origin

    def to_train(self, strategy: Strategy) -> tuple[nn.Module, Splits, float]:
        """What is trained, on what, and the seconds that this saves later."""
        if strategy.trainable != "head" or not self._suffice():
            self.baseline()  # before the weights change
            return self._network, self._splits, 0.0
        features = {part: self._features(part) for part in self._splits.parts}
        head = self._network.get_submodule(self._path)
        return head, as_splits(features), features["train"].seconds

    def baseline(self) -> dict[str, Value]:
        """Scores of a frozen evaluation."""
        reported = "valid" if self._splits.test is None else "test"
        return self._once(
            "baseline",
            lambda: measure_baseline(
                self._features("train"), self._features(reported), self._task
            ),
        )

    def cost(
        self, training: Training, strategy: Strategy, start: float, reading: float
    ) -> Cost:
        """What the run has cost since `start`, `reading` of features included."""
        return Cost(
            num_parameters=sum(p.numel() for p in self._network.parameters()),
            num_trainable_parameters=training.num_parameters,
            macs=self.macs(),
            seconds=reading + training.seconds,
            peak_memory=training.peak_memory() or self.step_memory(strategy),
            num_samples=training.num_samples,
            total_seconds=time.monotonic() - start,
        )

    def macs(self) -> int | None:
        """Multiply-accumulates of one sample."""
        return self._once(
            "macs", lambda: _counted(lambda: count_macs(self._network, self._inputs(1)))
        )

    def step_memory(self, strategy: Strategy) -> int | None:
        """Bytes of one training step."""
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
        return self._once(
            f"features of {part}",
            lambda: read_features(self._network, self._path, split),
        )

    def _suffice(self) -> bool:
        return self._once(
            "suffice",
            lambda: features_suffice(self._network, self._path, self._splits),
        )

    def _once(self, what: str, compute: Callable[[], T]) -> T:
        return self._shared.once((self._origin, what), compute)


def _identity(
    network: nn.Module, task: Task, label: str, strategy: Strategy, seed: int
) -> str:
    """Tells the checkpoints of different runs apart."""
    sizes = [len(split) for split in task.datasets[label].parts.values()]  # type: ignore[arg-type] # checked to be sized
    configuration = dict(strategy.configuration)
    parts = [fingerprint_model(network), task.name, label, sizes, configuration, seed]
    return fingerprint(parts)


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
    inputs = first_inputs(splits, strategy.batch_size).to(device)
    replace_head(network, path, task.output_size, inputs)
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
