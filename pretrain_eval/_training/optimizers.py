"""The optimizer that a strategy makes, and what it must hold."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer

from pretrain_eval._training.strategy import Strategy

Takes = Literal["parameters", "named_parameters", "model"]


def takes(strategy: Strategy) -> Takes:
    """What the strategy's optimizer is made of, by the name of its first argument."""
    try:
        parameters = inspect.signature(strategy.makes_optimizer).parameters  # type: ignore[arg-type] # a signature of None raises
    except (TypeError, ValueError):  # one of C says nothing
        return "parameters"
    first = next(iter(parameters), "")
    if first in ("model", "model_or_params"):
        return "model"
    return "named_parameters" if first == "named_parameters" else "parameters"


def make_optimizer(
    strategy: Strategy, network: Any, parameters: Iterable[nn.Parameter]
) -> Optimizer:
    """A new optimizer of the parameters that train.

    Args:
        strategy: Makes it.
        network: Has them; a module, or what has its parameters by name.
        parameters: Those that train, now or at a later stage.

    Raises:
        TypeError: What is made is no optimizer.
        ValueError: It lacks a parameter that trains.
    """
    wanted, kind = list(parameters), takes(strategy)
    ids = {id(p) for p in wanted}
    named = [(name, p) for name, p in network.named_parameters() if id(p) in ids]
    given = {"model": network, "named_parameters": named, "parameters": wanted}[kind]
    make = strategy.makes_optimizer
    assert make is not None  # else its function does the training
    made = make(given)
    what = f"strategy {strategy.name!r}"
    if not isinstance(made, Optimizer):
        raise TypeError(
            f"{what}: optimizer must return a torch optimizer, got"
            f" {type(made).__name__}"
        )
    held = {id(p) for group in made.param_groups for p in group["params"]}
    missing = [name for name, p in named if id(p) not in held]
    if missing:
        raise ValueError(
            f"{what}: the optimizer lacks {len(missing)} of the {len(wanted)} parameters"
            f" that train, such as {missing[0]!r}; make it of what it is called with:"
            " the parameters, or by an argument of the name model the network that"
            " trains, which is a copy of yours"
        )
    return made
