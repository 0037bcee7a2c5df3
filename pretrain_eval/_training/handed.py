"""A training that a function of the user's does as a whole."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

from torch import nn

from pretrain_eval._metrics import gradients_on, preserved_rng, seed_all
from pretrain_eval._runs import Cost, Run
from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.prepare import choose_device
from pretrain_eval._training.record import drawn, scales_of, versions
from pretrain_eval._training.trial import Trial
from pretrain_eval.zoo import build


@gradients_on()
def hand_over(cell: Cell, surroundings: Surroundings) -> Run:
    """The run that the strategy's function makes of a fresh model.

    Args:
        cell: Whose strategy has a function.
        surroundings: Of the run.

    Raises:
        TypeError: The function returns neither scores nor a run.
    """
    start, device = time.monotonic(), choose_device(surroundings.device)
    deadline = None if surroundings.timeout is None else start + surroundings.timeout
    trial = Trial(cell, surroundings, device, deadline)
    train = cell.strategy.train
    assert train is not None  # why it was called
    with preserved_rng(*cell.generators):
        seed_all(cell.draw, generators=cell.generators)
        model = build(cell.model, module=False)
        if isinstance(model, nn.Module):
            model.to(device)
        result = train(model, cell.task, cell.dataset, cell.seed, trial)
    run = _completed(_as_run(result, cell), cell, model, time.monotonic() - start)
    trained = vars(trial).get("network", model)  # the one that it has asked for
    if surroundings.on_end is not None and isinstance(trained, nn.Module):
        surroundings.on_end(trained, run)
    return run


def _as_run(result: Any, cell: Cell) -> Run:
    if isinstance(result, Run):
        return result
    if isinstance(result, Mapping) and result:
        return Run(**cell.names, scores=dict(result))
    raise TypeError(
        f"strategy {cell.strategy.name!r}: train must return scores by metric or a Run,"
        f" got {result!r}"
    )


def _completed(run: Run, cell: Cell, model: Any, seconds: float) -> Run:
    """The run with what the function did not say."""
    cost = dataclasses.replace(
        run.cost,
        seconds=seconds if run.cost.seconds is None else run.cost.seconds,
        total_seconds=seconds,
    )
    return dataclasses.replace(
        run,
        **cell.names,
        chance={**cell.task.chance[cell.dataset], **run.chance},
        cost=cost if run.cost.num_parameters else _with_size(cost, model),
        settings={**cell.strategy.configuration, **drawn(cell), **run.settings},
        scales={**scales_of(cell.task, run.scores), **run.scales},
        versions={**versions(), **run.versions},
    )


def _with_size(cost: Cost, model: Any) -> Cost:
    if not isinstance(model, nn.Module):
        return cost
    parameters = list(model.parameters())
    return dataclasses.replace(
        cost,
        num_parameters=sum(p.numel() for p in parameters),
        num_trainable_parameters=sum(p.numel() for p in parameters if p.requires_grad),
    )
