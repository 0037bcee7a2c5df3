"""Ways to fine-tune."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, fields
from typing import Literal, get_args

from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from pretrain_eval._runs import FrozenDict, Plain
from pretrain_eval._tasks import check_count, check_name
from pretrain_eval._training.describe import describe

Trainable = Literal["all", "head"] | Callable[[str, nn.Parameter], bool]
Precision = Literal["bfloat16", "float16"]

# Told in a configuration only where they are on, so that a run without them has the
# key that it had before they existed.
_SWITCHES = ("amp", "compile", "channels_last")


@dataclass(frozen=True)
class Strategy:
    """A way to fine-tune.

    Args:
        name: How records name it.
        optimizer: Called with the trainable parameters, for example
            `partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4)`.
        epochs: Passes over the training split, at least 1.
        batch_size: Samples a step; a split given as a DataLoader keeps its own.
        trainable: "all"; "head", which freezes the backbone, buffers included; or a
            function of a parameter's name and the parameter that says whether it
            trains.
        schedule: Called with the optimizer and the number of steps of the whole
            training, for example `torch.optim.lr_scheduler.CosineAnnealingLR`; stepped
            after every optimizer step.
        loss: Called with outputs and targets; by default cross-entropy for classes,
            the mean squared error for regression.
        max_grad_norm: Clip the gradient to this norm before every step.
        amp: Compute in "bfloat16" or "float16" where torch's autocast allows it, in
            training and in all that is measured; weights, loss and scores stay float32.
            With "float16" the loss is scaled, so that gradients do not vanish; a step
            whose gradients overflow is skipped, by the schedule too.
        compile: Train and measure through `torch.compile`, which wants a C++ compiler
            on a CPU. Its time is part of the run's; each shape of a batch is compiled
            once. Features of a frozen backbone are read without it.
        channels_last: Keep the weights and inputs of images as `(N, H, W, C)` in
            memory, which helps convolutions on many devices, most with `amp`.

    Raises:
        TypeError: A callable or a switch is none.
        ValueError: A number is out of range.

    >>> from functools import partial
    >>> import torch
    >>> probe = Strategy(
    ...     "probe",
    ...     optimizer=partial(torch.optim.SGD, lr=0.1),
    ...     epochs=5,
    ...     trainable="head",
    ... )
    >>> probe.configuration["optimizer"]
    'torch.optim.sgd.SGD(lr=0.1)'
    """

    name: str
    _: KW_ONLY
    optimizer: Callable[[Iterable[nn.Parameter]], Optimizer]
    epochs: int
    batch_size: int = 32
    trainable: Trainable = "all"
    schedule: Callable[[Optimizer, int], LRScheduler] | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    max_grad_norm: float | None = None
    amp: Precision | None = None
    compile: bool = False
    channels_last: bool = False

    def __post_init__(self) -> None:
        check_name("Strategy", self.name)
        what = f"strategy {self.name!r}"
        check_count(f"{what}: epochs", self.epochs, 1)
        check_count(f"{what}: batch_size", self.batch_size, 1)
        if isinstance(self.optimizer, Optimizer) or not callable(self.optimizer):
            raise TypeError(
                f"{what}: optimizer must make a new optimizer from parameters, for"
                " example functools.partial(torch.optim.SGD, lr=0.1), got"
                f" {type(self.optimizer).__name__}"
            )
        if not callable(self.trainable) and self.trainable not in ("all", "head"):
            raise ValueError(
                f"{what}: trainable must be 'all', 'head' or a function of name and"
                f" parameter, got {self.trainable!r}"
            )
        for name in ("schedule", "loss"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{what}: {name} must be callable, got {value!r}")
        clip = self.max_grad_norm
        if clip is not None and not (clip > 0 and math.isfinite(clip)):
            raise ValueError(f"{what}: max_grad_norm must be positive, got {clip!r}")
        if self.amp is not None and self.amp not in get_args(Precision):
            raise ValueError(
                f"{what}: amp must be 'bfloat16', 'float16' or None, got {self.amp!r}"
            )
        for name in ("compile", "channels_last"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise TypeError(f"{what}: {name} must be True or False, got {value!r}")

    @property
    def trains_head_alone(self) -> bool:
        """Whether the backbone is frozen as a whole, buffers included."""
        return self.trainable == "head"

    @property
    def configuration(self) -> Mapping[str, Plain]:
        """All that decides a result, except the name, in plain values."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        del values["name"]
        return FrozenDict(
            {
                name: value
                if isinstance(value, int | float | str | None)
                else describe(value)
                for name, value in values.items()
                if value or name not in _SWITCHES
            }
        )
