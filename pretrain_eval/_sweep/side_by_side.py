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
from torch.optim.lr_scheduler import LRScheduler
from typing_extensions import override

from pretrain_eval._metrics import (
    GradNorm,
    MetricCollection,
    UpdateRatio,
    loader_generators,
    preserved_rng,
    seed_all,
)
from pretrain_eval._runs import Cost, Run, Status
from pretrain_eval._sweep.cell import ApartError, Cell
from pretrain_eval._training import (
    NOTHING,
    Measured,
    Shared,
    Source,
    Strategy,
    Task,
    add_point,
    as_loader,
    build,
    choose_device,
    find_head,
    forward_for,
    measure,
    measure_reported,
    prepare,
    record,
)

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


def stackable(strategy: Strategy) -> Hashable | None:
    """Strategies of one value may train their heads side by side; None trains alone.

    One that trains more than the head, has a loss of its own, or uses any other field
    than those named here trains alone.
    """
    named = (*_FREE, *_EQUAL, "trainable")
    others = [f for f in dataclasses.fields(strategy) if f.name not in named]
    used = any(getattr(strategy, f.name, f.default) != f.default for f in others)
    if strategy.trainable != "head" or used:
        return None
    return tuple(getattr(strategy, name) for name in _EQUAL)


def finetune_stacked(
    cells: Sequence[Cell],
    *,
    device: torch.device | str | None,
    shared: Shared,
    origin: str,
    on_epoch: Callable[[int], None],
) -> list[Run]:
    """The runs of cells that differ in seed and strategy only, equal to `finetune`'s.

    Each head has its own initialisation, order of samples, optimizer and schedule, and
    computes what it computes alone. Done once for all of them are: copying the network,
    the loss and its backward pass, and measuring the steps. The seconds are those of
    all, in equal parts.

    Args:
        cells: Of one model, task and dataset, and of one value of `stackable`.
        device: Where to train.
        shared: Where features, baselines and costs are kept.
        origin: Equal for runs of equal weights, samples and head.
        on_epoch: Called after each epoch.

    Raises:
        ApartError: Features do not suffice, the head is not linear or is large, or an
            optimizer does not move each number by itself.
    """
    start = time.monotonic()
    cell = cells[0]
    task, splits = cell.task, cell.task.datasets[cell.dataset]
    generators = [g for part in splits.parts.values() for g in loader_generators(part)]
    with preserved_rng(*generators):
        # Where seeds draw other weights, the cells are of one seed.
        seed_all(cell.seed, generators=generators)
        network = build(cell.model).to(choose_device(device))
        path = find_head(network, cell.head)
        original = network.get_submodule(path)
        heads = []
        for each in cells:
            network.set_submodule(path, original)
            seed_all(each.seed, generators=generators)
            prepare(network, task, splits, each.strategy, each.head)
            source = Source(network, path, task, splits, shared, origin, each.strategy)
            heads.append(_Head(source, each.strategy, each.seed))
            if heads[0].num_parameters * len(cells) > _MOST_NUMBERS:
                raise ApartError
        _Stack(heads, task).run(on_epoch)
        measured = [head.measured() for head in heads]
    costs = [head.cost(start) for head in heads]
    share = (time.monotonic() - start) / len(cells)
    return [
        record(
            head.source,
            head,
            name=cell.model_name,
            label=cell.dataset,
            strategy=head.strategy,
            seed=head.seed,
            status=head.status,
            measured=scores,
            cost=dataclasses.replace(cost, total_seconds=share),
        )
        for head, scores, cost in zip(heads, measured, costs, strict=True)
    ]


@final
class _Head:
    """One head on its way, and what it leaves."""

    def __init__(self, source: Source, strategy: Strategy, seed: int) -> None:
        self.source, self.strategy, self.seed = source, strategy, seed
        self.layer, self._splits, self._reading = source.to_train()
        self.parameters = list(self.layer.parameters())
        if not isinstance(self.layer, nn.Linear):
            raise ApartError
        self.loader = as_loader(self._splits.train, strategy.batch_size, shuffle=True)
        self.status: Status = "completed"
        self.message = ""
        self.seconds, self.num_samples, self.num_steps = 0.0, 0, 0
        self.curve: dict[str, list[float]] = {"step": []}
        self.history: dict[str, tuple[float, ...]] = {}

    @property
    def num_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters)

    def peak_memory(self) -> int | None:
        """An allocator sees all heads together; what one needs is counted."""
        return None

    def batches(self, epoch: int) -> Iterator[Any]:
        """The batches of one epoch, in an order of their own."""
        seed_all(self.seed, epoch)
        batches = iter(self.loader)
        # All that is random is drawn before the first batch.
        return chain([next(batches)], batches)

    def clip(self) -> None:
        """Clip the gradient, where the strategy says so."""
        if self.strategy.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.strategy.max_grad_norm)

    def validate(self) -> None:
        """Add a point to the curve."""
        task, split = self.source.task, self._splits.valid
        _, values = measure(self.layer, task, split, self.strategy)
        add_point(self.curve, self.num_steps, values)

    def measured(self) -> Measured:
        """The scores on the reported split, if there is a model to score."""
        if self.status != "completed":
            return NOTHING
        task, split = self.source.task, self._splits.reported
        return measure_reported(self.layer, task, split, self.strategy)

    def cost(self, start: float) -> Cost:
        """What it has cost since `start`."""
        return self.source.cost(self, start, self._reading)


@final
class _Together(Optimizer):
    """Steps several optimizers as one that holds the parameters of all heads."""

    def __init__(self, heads: Sequence[_Head]) -> None:
        super().__init__([p for head in heads for p in head.parameters], {})
        self._optimizers: list[Optimizer] = []
        self._schedules: list[LRScheduler] = []
        by_strategy: dict[str, list[_Head]] = {}
        for head in heads:
            by_strategy.setdefault(head.strategy.name, []).append(head)
        for several in by_strategy.values():
            strategy = several[0].strategy
            optimizer = _stacked_optimizer(strategy, [h.parameters for h in several])
            self._optimizers.append(optimizer)
            if strategy.schedule is not None:
                num_steps = strategy.epochs * len(several[0].loader)
                self._schedules.append(strategy.schedule(optimizer, num_steps))

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
    optimizer = strategy.optimizer(parameters[0])
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

    def __init__(self, heads: Sequence[_Head], task: Task) -> None:
        self._names = {head: str(number) for number, head in enumerate(heads)}
        self._training = list(heads)
        self._optimizer = _Together(heads)
        self._forward = forward_for(task, heads[0].strategy)
        self._losses = _class_losses if task.is_classification else _number_losses
        self._metrics = MetricCollection(GradNorm(per=_owner), UpdateRatio(per=_owner))

    def run(self, on_epoch: Callable[[int], None]) -> None:
        """Train all epochs, each head until it diverges."""
        layers = nn.ModuleDict({name: h.layer for h, name in self._names.items()})
        for head in self._training:
            head.validate()
        with self._metrics.attach(self._optimizer, layers):
            for epoch in range(1, self._training[0].strategy.epochs + 1):
                if self._training:
                    self._train_epoch(epoch)
                for head in self._training:
                    head.validate()
                on_epoch(epoch)
        self._keep_history(self._training)

    def _train_epoch(self, epoch: int) -> None:
        start = time.perf_counter()
        begun = list(self._training)
        batches = {head: head.batches(epoch) for head in begun}
        for _ in range(len(begun[0].loader)):
            if self._training:
                self._step([next(batches[head]) for head in self._training], epoch)
        if begun[0].layer.weight.device.type == "cuda":
            torch.cuda.synchronize(begun[0].layer.weight.device)
        share = (time.perf_counter() - start) / len(begun)
        for head in begun:
            head.seconds += share
        for head in list(self._training):
            if not all(bool(p.isfinite().all()) for p in head.parameters):
                self._end(head, f"a weight was not finite after epoch {epoch}")

    def _step(self, batches: Sequence[Any], epoch: int) -> None:
        """A step of every head whose loss is finite; the others end."""
        heads = list(self._training)
        pairs = [
            self._forward(head.layer, batch)
            for head, batch in zip(heads, batches, strict=True)
        ]
        outputs, targets = (torch.stack(each) for each in zip(*pairs, strict=True))
        losses = self._losses(outputs, targets)
        finite = losses.isfinite()
        for head, fine in zip(heads, finite.tolist(), strict=True):
            if not fine:
                steps = f"{head.num_steps} steps, in epoch {epoch}"
                self._end(head, f"the loss was not finite after {steps}")
        if not self._training:
            return
        self._optimizer.zero_grad()
        torch.autograd.backward(losses[finite].sum())
        for head in self._training:
            head.clip()
        self._optimizer.step()
        self._optimizer.advance()
        for head in self._training:
            head.num_steps += 1
            head.num_samples += targets.shape[1]

    def _end(self, head: _Head, message: str) -> None:
        head.status, head.message = "diverged", message
        self._training.remove(head)
        self._keep_history([head])

    def _keep_history(self, heads: Sequence[_Head]) -> None:
        table = self._metrics.history
        for head in heads:
            columns = {key: table.get(f"{key}/{self._names[head]}") for key in _KEYS}
            columns["step"] = table.get("step")
            head.history = {key: c for key, c in columns.items() if c is not None}


def _owner(name: str) -> str:
    """Which head a parameter is of."""
    return name.partition(".")[0]


def _class_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The cross-entropy of each head, `(num_heads,)`."""
    each = F.cross_entropy(outputs.flatten(0, 1), targets.flatten(), reduction="none")
    return each.view(len(outputs), -1).mean(1)


def _number_losses(outputs: Tensor, targets: Tensor) -> Tensor:
    """The mean squared error of each head, `(num_heads,)`."""
    return F.mse_loss(outputs, targets, reduction="none").flatten(1).mean(1)
