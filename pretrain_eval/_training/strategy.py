"""Ways to fine-tune."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from numbers import Real
from typing import Any, Literal, get_args

from torch import Tensor, nn
from torch.optim import Optimizer

from pretrain_eval._runs import FrozenDict, Plain
from pretrain_eval._tasks import check_count, check_name
from pretrain_eval._training.describe import describe
from pretrain_eval._training.named import check_named, optimizer_named

Rule = Callable[[str, nn.Parameter], bool]
# What trains at a time: all, the head, the head and the last so many blocks, the head
# and what lies under these names, or what a function says.
Choice = Literal["all", "head"] | int | Sequence[str] | Rule
Trainable = Choice | Mapping[int, Choice]
Precision = Literal["bfloat16", "float16"]
# Fields that a strategy without a function of its own needs, and those that one with a
# function does not know.
_NEEDED = ("optimizer", "epochs")

# What an optimizer that is named is made with, and a configuration tells of it.
_OF_NAMED = ("lr", "momentum", "weight_decay")

# Told in a configuration only where they differ from their default, so that a run
# without them has the key that it had before they existed.
_LATER = (
    "amp",
    "compile",
    "channels_last",
    "prepare",
    "accumulate",
    "ema",
    "patience",
    "penalty",
    "train",
)


@dataclass(frozen=True)
class Strategy:
    """A way to fine-tune.

    Args:
        name: How records name it.
        optimizer: Called with the trainable parameters, for example
            `partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-4)`. Where
            its first argument is called `named_parameters`, it gets pairs of name and
            parameter; where `model` or `model_or_params`, the whole network. It must
            hold each trainable parameter. Or its name in `torch.optim`, such as "adamw",
            in any case of letters.
        lr: Of an optimizer that is named; None leaves torch's default, as with the next
            two. Other arguments are given by a partial.
        momentum: Of an optimizer that is named.
        weight_decay: Of an optimizer that is named.
        epochs: Passes over the training split, at least 1.
        batch_size: Samples a step; a split given as a DataLoader keeps its own.
        trainable: "all"; "head", which freezes the backbone, buffers included; names of
            modules or parameters, such as `["layer4", "fc"]`; a number of last blocks;
            or a function of a parameter's name and the parameter that says whether it
            trains. The head trains with names and with blocks. A mapping from the
            number of epochs done, beginning with 0, to one of these unfreezes in
            stages.
        schedule: Called with the optimizer and the number of steps of the whole
            training, for example `torch.optim.lr_scheduler.CosineAnnealingLR`; stepped
            after every optimizer step. One of timm's must count steps
            (`step_on_epochs=False`); without one, layer decay of timm's is refused,
            since nothing else applies it.
        loss: Called with outputs and targets; by default that of the task's kind.
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
        prepare: Called with the network and its new head before training, returns what
            is trained in its place, for example `partial(get_peft_model,
            peft_config=...)`. With trainable="all" trains what it left trainable, and
            the head.
        accumulate: Batches whose gradients make one step, their mean loss.
        ema: Measure an average of the weights that keeps this share of itself at each
            step, such as 0.999; buffers are averaged too.
        patience: Stop after so many epochs without a better first score on the
            validation split, which then must not be the reported one. The last weights
            are scored.
        penalty: Called with the network and its parameters before training by name, is
            added to the loss, for example the squared distance from them.
        train: The whole training as a function of one's own, which needs no optimizer
            and no epochs: called with a fresh copy of the pretrained model, the task,
            the dataset's label, the seed and a `Trial`, which has the splits, the
            frozen features and the scoring; returns the scores by metric, or a `Run`,
            whose names and seed are set.

    Raises:
        TypeError: A callable or a switch is none.
        ValueError: A number is out of range, or something is missing.

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
    >>> named = Strategy("probe", optimizer="sgd", lr=0.1, epochs=5, trainable="head")
    >>> named.configuration == probe.configuration
    True
    """

    name: str
    _: KW_ONLY
    optimizer: Callable[..., Optimizer] | str | None = None
    lr: float | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    epochs: int | None = None
    batch_size: int = 32
    trainable: Trainable = "all"
    schedule: Callable[[Optimizer, int], Any] | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    max_grad_norm: float | None = None
    amp: Precision | None = None
    compile: bool = False
    channels_last: bool = False
    prepare: Callable[[Any], nn.Module] | None = None
    accumulate: int = 1
    ema: float | None = None
    patience: int | None = None
    penalty: Callable[[nn.Module, Mapping[str, Tensor]], Tensor] | None = None
    train: Callable[..., Any] | None = None

    def __post_init__(self) -> None:
        check_name("Strategy", self.name)
        what = f"strategy {self.name!r}"
        self._check_callables(what)
        if self.train is not None:
            self._check_alone(what)
            return
        check_count(f"{what}: epochs", self.epochs, 1)
        check_count(f"{what}: batch_size", self.batch_size, 1)
        check_count(f"{what}: accumulate", self.accumulate, 1)
        if self.patience is not None:
            check_count(f"{what}: patience", self.patience, 1)
        object.__setattr__(self, "trainable", _checked(what, self.trainable))
        clip = self.max_grad_norm
        if clip is not None and not (
            isinstance(clip, Real) and clip > 0 and math.isfinite(clip)
        ):
            raise ValueError(f"{what}: max_grad_norm must be positive, got {clip!r}")
        if self.ema is not None and not (
            isinstance(self.ema, Real) and 0 < self.ema < 1
        ):
            raise ValueError(
                f"{what}: ema must lie between 0 and 1, for example 0.999, got"
                f" {self.ema!r}"
            )
        if self.amp is not None and self.amp not in get_args(Precision):
            raise ValueError(
                f"{what}: amp must be 'bfloat16', 'float16' or None, got {self.amp!r}"
            )
        for name in ("compile", "channels_last"):
            value = getattr(self, name)
            if type(value) is not bool:
                raise TypeError(f"{what}: {name} must be True or False, got {value!r}")

    @property
    def _settings(self) -> dict[str, float | None]:
        return {name: getattr(self, name) for name in _OF_NAMED}

    @property
    def makes_optimizer(self) -> Callable[..., Optimizer] | None:
        """What is called with the parameters: `optimizer`, or what its name means."""
        if isinstance(self.optimizer, str):
            return optimizer_named(self.optimizer, self._settings)
        return self.optimizer

    def _check_optimizer(self, what: str) -> None:
        if isinstance(self.optimizer, str):
            check_named(what, self.optimizer, self._settings)
            return
        given = [name for name, value in self._settings.items() if value is not None]
        if given and self.train is None:
            raise ValueError(
                f"{what}: {given[0]}= goes with an optimizer's name, such as"
                f" optimizer='adamw'; one that is made takes it itself, as in"
                f" functools.partial(torch.optim.SGD, {given[0]}=...)"
            )
        made = isinstance(self.optimizer, Optimizer)
        if made or not (callable(self.optimizer) or self.train is not None):
            raise TypeError(
                f"{what}: optimizer must make a new optimizer from parameters, for"
                " example functools.partial(torch.optim.SGD, lr=0.1), or be the name of"
                f" one, such as 'adamw', got {type(self.optimizer).__name__}"
            )

    def _check_callables(self, what: str) -> None:
        self._check_optimizer(what)
        for name in ("schedule", "loss", "prepare", "penalty", "train"):
            value = getattr(self, name)
            if value is not None and not callable(value):
                raise TypeError(f"{what}: {name} must be callable, got {value!r}")

    def _check_alone(self, what: str) -> None:
        """A function of one's own reads no other field."""
        given = [
            f.name
            for f in fields(self)
            if f.name not in ("name", "train") and getattr(self, f.name) != f.default
        ]
        if given:
            raise ValueError(
                f"{what}: train=... does the whole training, so that {given} mean"
                " nothing; give them to the function, for example by functools.partial"
            )

    @property
    def trains_head_alone(self) -> bool:
        """Whether the backbone is frozen as a whole, buffers included."""
        return self.trainable == "head" and self.train is None

    def trained_at(self, epoch: int) -> Choice:
        """What trains after so many epochs."""
        if not isinstance(self.trainable, Mapping):
            return self.trainable
        return self.trainable[max(begin for begin in self.trainable if begin <= epoch)]

    @property
    def configuration(self) -> Mapping[str, Plain]:
        """All that decides a result, except the name, in plain values."""
        default = {f.name: f.default for f in fields(self)}
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        values["optimizer"] = self.makes_optimizer
        for name in ("name", *_OF_NAMED):
            del values[name]
        if self.train is not None:
            return FrozenDict({"train": describe(self.train)})
        return FrozenDict(
            {
                name: value
                if isinstance(value, int | float | str | None)
                else describe(value)
                for name, value in values.items()
                if value != default[name] or name not in _LATER
            }
        )


def _checked(what: str, trainable: Trainable) -> Trainable:
    """What trains, its collections such that they cannot be changed."""
    if not isinstance(trainable, Mapping):
        return _checked_choice(what, trainable)
    stages = {
        begin: _checked_choice(what, choice)
        for begin, choice in sorted(trainable.items())
    }
    if any(type(begin) is not int for begin in stages) or min(stages, default=1) != 0:
        raise ValueError(
            f"{what}: trainable by stages needs the number of epochs done before each,"
            f" from 0, for example {{0: 'head', 3: 'all'}}, got {dict(trainable)!r}"
        )
    return FrozenDict(stages)


def _checked_choice(what: str, choice: Choice) -> Choice:
    if callable(choice) or choice in ("all", "head"):
        return choice
    if type(choice) is int and choice >= 0:
        return choice
    named = isinstance(choice, Sequence) and not isinstance(choice, str)
    if named and choice and all(isinstance(name, str) for name in choice):  # type: ignore[union-attr] # a sequence
        return tuple(choice)  # type: ignore[arg-type] # a sequence
    raise ValueError(
        f"{what}: trainable must be 'all', 'head' or a function of name and parameter,"
        " names such as ['layer4', 'fc'], a number of last blocks, or a mapping from"
        f" epochs done to one of these, got {choice!r}"
    )
