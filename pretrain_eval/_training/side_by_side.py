"""Heads of one frozen backbone, trained side by side: what they share is done once."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Hashable, Iterator, Sequence
from itertools import chain
from typing import Any, final

import torch
from torch import Tensor, nn, optim
from torch.nn import functional as F
from torch.optim import Optimizer
from typing_extensions import override

from pretrain_eval._metrics import (
    GradNorm,
    MetricCollection,
    UpdateRatio,
    device_of,
    gradients_on,
    preserved_rng,
    seed_all,
)
from pretrain_eval._runs import Run
from pretrain_eval._tasks import Task
from pretrain_eval._training.cell import Cell, OnEpoch, Surroundings
from pretrain_eval._training.course import Course
from pretrain_eval._training.measure import learn_for
from pretrain_eval._training.optimizers import make_optimizer, takes
from pretrain_eval._training.prepare import built, locate_head
from pretrain_eval._training.prepared import Prepared
from pretrain_eval._training.record import record
from pretrain_eval._training.schedules import Schedule, make_schedule
from pretrain_eval._training.strategy import Strategy

# Numbers that all heads of a stack hold at most. Larger heads keep a processor busy one
# by one, and an optimizer holds several copies of them.
_MOST_NUMBERS = 2**25

# Fields of a strategy in which heads that train side by side may differ, and may not.
_FREE = ("name", "optimizer", "schedule", "max_grad_norm")
_EQUAL = ("epochs", "batch_size")

# Optimizers that move each number by its own gradient and past alone, whatever other
# numbers there are, and that draw no random ones.
_ELEMENTWISE = (
    optim.ASGD,
    optim.Adadelta,
    optim.Adam,
    optim.AdamW,
    optim.Adamax,
    optim.NAdam,
    optim.RAdam,
    optim.RMSprop,
    optim.Rprop,
    optim.SGD,
)

_KEYS = (GradNorm.key, UpdateRatio.key)


class ApartError(Exception):
    """These heads cannot train side by side; each can alone."""


def stackable(strategy: Strategy) -> Hashable | None:
    """Strategies of one value may train their heads side by side; None trains alone.

    One that trains more than the head, has a loss of its own, or uses any other field
    than those named here trains alone.
    """
    named = (*_FREE, *_EQUAL, "trainable")
    others = [f for f in dataclasses.fields(strategy) if f.name not in named]
    used = any(getattr(strategy, f.name, f.default) != f.default for f in others)
    if used or not strategy.trains_head_alone or takes(strategy) != "parameters":
        return None
    return tuple(getattr(strategy, name) for name in _EQUAL)


@gradients_on()
def finetune_side_by_side(
    cells: Sequence[Cell], surroundings: Surroundings
) -> list[Run]:
    """The runs of cells that differ in seed and strategy only, equal to `finetune`'s.

    Each head has its own initialisation, order of samples, optimizer and schedule, and
    computes what it computes alone. Done once for all of them are: copying the network,
    the loss and its backward pass, and measuring the steps. The seconds are those of
    all, in equal parts.

    Args:
        cells: Of one model, task and dataset, and of one value of `stackable`.
        surroundings: Of all; a timeout or a checkpoint would be of one run.

    Raises:
        ApartError: Features do not suffice, the head is not linear or is large, or an
            optimizer does not move each number by itself.
    """
    start = time.monotonic()
    runs: list[tuple[Prepared, Course]] = []
    with preserved_rng(*cells[0].generators):
        # Where seeds draw other weights, the cells are of one seed.
        network = built(cells[0], surroundings.device)
        path = locate_head(network, cells[0])
        if "," in path:
            raise ApartError
        original = network.get_submodule(path)
        for cell in cells:
            network.set_submodule(path, original)
            prepared = Prepared(network, cell, surroundings)
            head = Course(*prepared.to_train(), cell)
            if not isinstance(head.model, nn.Linear):
                raise ApartError
            if head.num_parameters * len(cells) > _MOST_NUMBERS:
                raise ApartError
            runs.append((prepared, head))
        _Stack([head for _, head in runs]).run(surroundings.on_epoch)
        costs = [prepared.cost(head, start) for prepared, head in runs]
    share = (time.monotonic() - start) / len(cells)
    return [
        record(prepared, head, dataclasses.replace(cost, total_seconds=share))
        for (prepared, head), cost in zip(runs, costs, strict=True)
    ]


@final
class _Together(Optimizer):
    """Steps several optimizers as one that holds the parameters of all heads."""

    def __init__(self, heads: Sequence[Course]) -> None:
        super().__init__([p for head in heads for p in head.parameters], {})
        self._optimizers: list[Optimizer] = []
        self._schedules: list[Schedule] = []
        by_strategy: dict[str, list[Course]] = {}
        for head in heads:
            by_strategy.setdefault(head.cell.strategy.name, []).append(head)
        for alike in by_strategy.values():
            strategy = alike[0].cell.strategy
            parameters = [head.parameters for head in alike]
            optimizer = _stacked_optimizer(strategy, parameters)
            self._optimizers.append(optimizer)
            schedule = make_schedule(strategy, optimizer, alike[0].total_steps)
            if schedule is not None:
                self._schedules.append(schedule)

    @override
    def zero_grad(self, set_to_none: bool = False) -> None:
        for optimizer in self._optimizers:
            optimizer.zero_grad(set_to_none=False)

    @override
    def step(self, closure: object = None) -> None:  # type: ignore[override]
        for optimizer in self._optimizers:
            optimizer.step()

    def advance(self) -> None:
        """Move the schedules on."""
        for schedule in self._schedules:
            schedule.step()


def _stacked_optimizer(
    strategy: Strategy, parameters: Sequence[Sequence[nn.Parameter]]
) -> Optimizer:
    """One optimizer of the equal parameters of several heads, which become its slices.

    The strategy makes it of the parameters of one head, so that it may tell them apart
    as it does alone.

    Args:
        strategy: Of all heads.
        parameters: Those of each head.
    """
    head = nn.ParameterList(parameters[0])
    optimizer = make_optimizer(strategy, head, parameters[0])
    if type(optimizer) not in _ELEMENTWISE:
        raise ApartError
    stacks = {}
    for equal in zip(*parameters, strict=True):
        stack = nn.Parameter(torch.stack([p.detach() for p in equal]))
        stack.grad = torch.zeros_like(stack)
        slices = zip(equal, stack.detach(), stack.grad, strict=True)
        for parameter, value, gradient in slices:
            parameter.data, parameter.grad = value, gradient
        stacks[equal[0]] = stack
    for group in optimizer.param_groups:
        group["params"] = [stacks[p] for p in group["params"]]
    return optimizer


@final
class _Stack:
    """The training of several heads, step by step together."""

    def __init__(self, heads: Sequence[Course]) -> None:
        cell = heads[0].cell
        self._names = {head: str(number) for number, head in enumerate(heads)}
        self._training = list(heads)  # those that have not diverged
        self._epochs = cell.strategy.epochs or 0
        self._optimizer = _Together(heads)
        self._learn = learn_for(cell)
        self._losses = _losses_of(cell.task)
        self._metrics = MetricCollection(GradNorm(per=_owner), UpdateRatio(per=_owner))

    def run(self, on_epoch: OnEpoch | None) -> None:
        """Train all epochs, each head until it diverges."""
        layers = nn.ModuleDict({name: h.model for h, name in self._names.items()})
        for head in self._training:
            head.validate()
        with self._metrics.attach(self._optimizer, layers):
            for epoch in range(1, self._epochs + 1):
                if self._training:
                    self._train_epoch(epoch)
                for head in self._training:
                    head.num_epochs = epoch
                    head.validate()
                if on_epoch:
                    on_epoch(epoch, layers)
        self._keep_history(self._training)
        for head in self._training:
            head.report()

    def _train_epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        begun = list(self._training)
        batches = {head: _batches(head, epoch) for head in begun}
        for _ in range(len(begun[0].loader)):
            if self._training:
                self._step([next(batches[head]) for head in self._training], epoch)
        device = device_of(begun[0].model)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        share = (time.perf_counter() - start) / len(begun)
        for head in begun:
            head.seconds += share
        for head in self._training:
            head.check_weights(epoch)
        self._drop_diverged()

    def _step(self, batches: Sequence[Any], epoch: int) -> None:
        """A step of every head whose loss is finite; the others end."""
        pairs = [
            self._learn(head.model, batch)
            for head, batch in zip(self._training, batches, strict=True)
        ]
        outputs, targets = map(torch.stack, zip(*pairs, strict=True))
        losses = self._losses(outputs, targets)
        finite = losses.isfinite()
        for head, fine in zip(self._training, finite.tolist(), strict=True):
            if not fine:
                head.diverge(epoch)
        self._drop_diverged()
        if not self._training:
            return
        self._optimizer.zero_grad()
        torch.autograd.backward(losses[finite].sum())
        for head in self._training:
            head.clip()
        self._optimizer.step()
        self._optimizer.advance()
        for head in self._training:
            head.add_step(targets.shape[1])

    def _drop_diverged(self) -> None:
        diverged = [head for head in self._training if head.message]
        if diverged:
            self._keep_history(diverged)
            self._training = [h for h in self._training if h not in diverged]

    def _keep_history(self, heads: Sequence[Course]) -> None:
        table = self._metrics.history
        for head in heads:
            columns = {key: table.get(f"{key}/{self._names[head]}") for key in _KEYS}
            columns["step"] = table.get("step")
            head.history = {
                key: column for key, column in columns.items() if column is not None
            }


def _batches(head: Course, epoch: int) -> Iterator[Any]:
    """The batches of one epoch, in an order of the head's own."""
    seed_all(head.cell.draw, epoch)
    batches = iter(head.loader)
    # All that is random is drawn before the first batch.
    return chain([next(batches)], batches)


def _owner(name: str) -> str:
    """Which head a parameter is of."""
    return name.partition(".")[0]


def _losses_of(task: Task) -> Callable[[Tensor, Tensor], Tensor]:
    """The losses of all heads at once, or of one after the other."""
    if not task.is_named:
        loss = task.kind.loss
        return lambda outputs, targets: torch.stack(
            [loss(*pair) for pair in zip(outputs, targets, strict=True)]
        )
    return _number_losses if task.num_classes is None else _class_losses


def _class_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each head, `(num_heads,)`."""
    scores = outputs.flatten(0, 1)
    losses = F.cross_entropy(scores, targets.flatten(), reduction="none")
    return losses.view(len(outputs), -1).mean(1)


def _number_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of each head, `(num_heads,)`."""
    return F.mse_loss(outputs, targets, reduction="none").flatten(1).mean(1)
