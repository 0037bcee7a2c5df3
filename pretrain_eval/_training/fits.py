"""Whether models fit tasks, found out before the first training."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import (
    device_of,
    evaluating,
    gradients_on,
    moved,
    preserved_rng,
)
from pretrain_eval._tasks import as_loader, cut
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.loop import check_stopping
from pretrain_eval._training.measure import forward_for, learn_for, metrics_of
from pretrain_eval._training.optimizers import make_optimizer
from pretrain_eval._training.precision import computing
from pretrain_eval._training.prepare import (
    adapted,
    added_head,
    built,
    first_batch,
    prepare,
)
from pretrain_eval._training.schedules import make_schedule


@gradients_on()
def check_fits(cells: Sequence[Cell], device: torch.device | str | None) -> None:
    """Put samples of every dataset through every model, and take a step on a copy.

    Args:
        cells: Those of one model stand together, and in it those of one dataset.
        device: Where they are to be trained.

    Raises:
        ValueError: A model does not fit a dataset, or a strategy neither.
    """
    # Another seed fits as well as the first; a function of one's own is not known.
    cells = [
        cell
        for cell in cells
        if cell.seed == cells[0].seed and cell.strategy.train is None
    ]
    for _, of_model in groupby(cells, lambda cell: (cell.model_name, added_head(cell))):
        network = None
        for cell in of_model:
            with preserved_rng(*cell.generators):
                network = network or built(cell, device)
                _check(copy.deepcopy(network), cell)


def _check(network: nn.Module, cell: Cell) -> None:
    """Do with two samples, which tell the shapes, what the run will do with all."""
    what = f"{cell.task.name}/{cell.dataset}"
    try:
        path = prepare(network, cell)
        outputs, size = _outputs(network, cell)
    except Exception as error:
        raise ValueError(
            f"model {cell.model_name!r} does not fit {what}: {error}"
        ) from error
    wanted = (size, cell.task.kind.num_outputs)
    if cell.task.kind.place == "sample" and wanted[1] and outputs.shape != wanted:
        raise ValueError(
            f"model {cell.model_name!r} gives {tuple(outputs.shape)} for {size} samples"
            f" of {what}, which needs {wanted}"
        )
    try:
        network, path = adapted(network, path, cell)
        _rehearse(network, cell)
    except Exception as error:
        raise ValueError(
            f"strategy {cell.strategy.name!r} fails with {cell.model_name!r} on {what}:"
            f" {error}"
        ) from error


def _outputs(network: nn.Module, cell: Cell) -> tuple[Any, int]:
    """What the network gives for two samples, and how many these are."""
    batch = moved(first_batch(cell, 2), device_of(network))
    with evaluating(network), torch.no_grad():
        model = computing(network, cell.strategy)
        outputs, targets = cell.task.kind.read(model, batch)
    return outputs, len(targets)


def _rehearse(network: nn.Module, cell: Cell) -> None:
    """Take one step, and score two samples of the validation split."""
    kind, strategy = cell.task.kind, cell.strategy
    check_stopping(cell)
    parameters = [p for p in network.parameters() if p.requires_grad]
    optimizer = make_optimizer(strategy, network, parameters)
    make_schedule(strategy, optimizer, total_steps=1)
    loss = strategy.loss or kind.loss
    value = loss(*learn_for(cell)(network, first_batch(cell, 2)))
    if not isinstance(value, Tensor) or value.numel() != 1:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value)
        raise ValueError(f"the loss must be one number, got {shape}")
    torch.autograd.backward(value)
    optimizer.step()
    valid = as_loader(cell.splits.valid, 2, shuffle=False)
    metrics = metrics_of(kind)
    with evaluating(network), torch.no_grad():
        metrics.update(*forward_for(cell)(network, cut(next(iter(valid)), 2)))
