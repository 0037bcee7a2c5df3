"""One fine-tuning, measured."""

from __future__ import annotations

import dataclasses
import inspect
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from pretrain_eval._metrics import gradients_on, preserved_rng
from pretrain_eval._runs import Run
from pretrain_eval._tasks import Task, check_name, check_seed
from pretrain_eval._training.cell import Cell, OnEpoch, Surroundings, check_draws
from pretrain_eval._training.checkpoint import Checkpoint
from pretrain_eval._training.fingerprint import fingerprint, fingerprint_model
from pretrain_eval._training.handed import hand_over
from pretrain_eval._training.loop import Training
from pretrain_eval._training.prepare import built, choose_device
from pretrain_eval._training.prepared import Prepared
from pretrain_eval._training.record import record
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.weights import save_weights
from pretrain_eval.zoo import Model, model_name


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
    on_epoch: Callable[..., None] | None = None,
    on_end: Callable[[nn.Module, Run], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    baseline: bool = True,
    resources: bool = True,
    draws: Literal["cell", "seed"] = "cell",
) -> Run:
    """Fine-tune a fresh copy of `model` once, and record what was measured.

    The head is replaced by a fresh layer of the task's width, where the kind of task
    has one. Before training, a frozen evaluation of the backbone's features gives the
    baseline, such as the nearest class mean or ridge regression; a model that keeps its
    head is scored as it is. Validation is measured before training and after every epoch, the
    gradient norm and the update ratio at every step, the scores once, at the end, on
    the reported split. The last weights are scored; no epoch is selected.

    Where only the head trains, and no sample changes from one reading to the next, the
    frozen backbone reads every sample once; that pass over the training split is part
    of the cost.

    The model, the data and the global random generators are left as they were. The same
    call gives the same run. The head, the order of samples, augmentation, dropout and a
    builder's random weights are drawn from one number, the run's `settings["draw"]`,
    which follows from the names of the task, the dataset and the strategy and from the
    seed, and not from the model: the runs of several models are paired, and those of a
    model on several tasks share no luck.

    Args:
        model: A module (copied); a function of no arguments that builds one; the name
            or weights enum of a torchvision model; a name means default weights; or
            `Pretrained`, which also says how the model reads a raw sample.
        task: What to learn.
        strategy: How.
        seed: From 0 to 2⁶³ − 1.
        dataset: The dataset's label; needed where the task has several.
        name: How the record names the model; by default what `model` is called.
        head: Dotted path of the layer to replace, where it cannot be told; "new" adds
            one to a model that has none, on its pooled features.
        device: Where to train; by default CUDA if there is one, otherwise the CPU.
        on_epoch: Called after each epoch with the number of epochs done and, where it
            takes two arguments, the model. StopIteration ends the run as completed;
            what else it raises ends it without a record.
        on_end: Called with the trained model and its run, for example to keep it.
        checkpoint: A file that is written after every epoch and continued from where it
            exists, to the same bits as without a pause; removed when the run ends.
        baseline: Score the model before any training, which takes a pass over the
            training and the reported split; a sweep does it once for all seeds.
        resources: Count multiply-accumulates and the memory of a step, likewise.
        draws: "seed" draws from the seed alone, as versions before 0.1 did, so that every
            task and strategy of one seed shares its head and its orders.

    Returns:
        The run; `status` is "diverged" where the loss or a weight became NaN or
        infinite, with everything that was measured until then.

    Raises:
        ValueError: The head cannot be told, the dataset is unknown, or the strategy
            trains no parameter; or the checkpoint is of another run.

    >>> from functools import partial
    >>> from torch.utils.data import TensorDataset
    >>> from pretrain_eval import Splits
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
    check_seed("finetune expects seed", seed)
    check_draws(draws)
    if not isinstance(task, Task):
        raise TypeError(f"finetune expects a Task, got {task!r:.200}")
    if not isinstance(strategy, Strategy):
        raise TypeError(f"finetune expects a Strategy, got {strategy!r:.200}")
    if head is not None and not isinstance(head, str):
        raise TypeError(f"finetune expects head as a layer's path, got {head!r}")
    if on_end is not None and not callable(on_end):
        raise TypeError(f"finetune expects on_end to be callable, got {on_end!r}")
    name = model_name(model) if name is None else name
    check_name("finetune: the model", name)
    choose_device(device)  # or an error before work
    cell = Cell(
        model_name=name,
        model=model,
        head=head,
        task=task,
        dataset=choose_dataset(task, dataset),
        strategy=strategy,
        seed=seed,
        draws=draws,
    )
    surroundings = Surroundings(
        device=device,
        on_epoch=_told(on_epoch),
        on_end=on_end,
        baseline=baseline,
        resources=resources,
        checkpoint=None if checkpoint is None else Path(checkpoint),
    )
    return finetune_cell(cell, surroundings)


@gradients_on()
def finetune_cell(cell: Cell, surroundings: Surroundings) -> Run:
    """The run of `finetune`, which shares what equals in its neighbours."""
    # Its samples, as the model reads them, are kept as long as the run, not the sweep.
    cell = dataclasses.replace(cell)
    if cell.strategy.train is not None:
        return hand_over(cell, surroundings)
    start = time.monotonic()
    timeout, path = surroundings.timeout, surroundings.checkpoint
    with preserved_rng(*cell.generators):
        network = built(cell, surroundings.device)
        prepared = Prepared(network, cell, surroundings)
        trained, splits = prepared.to_train()
        checkpoint = Checkpoint(path, _identity(network, cell)) if path else None
        training = Training(
            trained,
            splits,
            cell,
            path=prepared.path,
            checkpoint=checkpoint,
            deadline=None if timeout is None else start + timeout,
            pause_after=surroundings.pause_after,
        )
        course = training.run(surroundings.on_epoch)
        if checkpoint and not course.paused:
            checkpoint.remove()
        cost = prepared.cost(course, start)
        run = record(prepared, course, cost)
        if surroundings.on_end is None and surroundings.weights is None:
            return run
        prepared.network.load_state_dict(_whole(prepared, trained, training))
        keep = surroundings.keep is None or surroundings.keep(run)
        if surroundings.weights is not None and keep and not course.paused:
            path = surroundings.weights
            save_weights(prepared.network, path, cell, prepared.heads)
            run = dataclasses.replace(run, weights=str(path))
        if surroundings.on_end is not None:
            surroundings.on_end(prepared.network, run)
    return run


def _whole(
    prepared: Prepared, trained: nn.Module, training: Training
) -> Mapping[str, Any]:
    """The weights that were scored, as those of the whole network."""
    weights = training.trained.state_dict()
    if trained is prepared.network:
        return weights
    head = {f"{prepared.path}.{name}": value for name, value in weights.items()}
    return {**prepared.network.state_dict(), **head}


def _told(on_epoch: Callable[..., None] | None) -> OnEpoch | None:
    """A function that is told the epoch, and the model where it takes it."""
    if on_epoch is None:
        return None
    if not callable(on_epoch):
        raise TypeError(
            f"finetune expects on_epoch to be a function or None, got {on_epoch!r}"
        )
    try:
        inspect.signature(on_epoch).bind(1, None)
    except TypeError:
        return lambda epoch, _: on_epoch(epoch)
    except ValueError:  # one of C says nothing
        return on_epoch
    return on_epoch


def _identity(network: nn.Module, cell: Cell) -> str:
    """Tells the checkpoints of different runs apart."""
    sizes = [len(split) for split in cell.splits.parts.values()]  # type: ignore[arg-type] # checked to be sized
    configuration = dict(cell.strategy.configuration)
    names = cell.task.name, cell.dataset
    return fingerprint(
        [fingerprint_model(network), *names, sizes, configuration, cell.draw]
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
