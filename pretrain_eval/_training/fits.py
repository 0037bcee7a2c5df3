"""Whether models fit tasks, found out before the first training."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import torch
from torch import nn

from pretrain_eval._metrics import device_of, evaluating, preserved_rng
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.precision import computed
from pretrain_eval._training.prepare import built, first_inputs, prepare


def check_fits(cells: Sequence[Cell], device: torch.device | str | None) -> None:
    """Put samples of every dataset through every model, as the trainings will.

    Args:
        cells: Those of one model stand together, and in it those of one dataset.
        device: Where they are to be trained.

    Raises:
        ValueError: A model does not fit a dataset.
    """
    # Another seed fits as well as the first.
    cells = [cell for cell in cells if cell.seed == cells[0].seed]
    for _, of_model in groupby(cells, lambda cell: cell.model_name):
        with preserved_rng():
            network = None
            for _, of_dataset in groupby(of_model, lambda c: (c.task.name, c.dataset)):
                alike = list(of_dataset)
                network = network or built(alike[0], device)
                _check_dataset(network, alike)


def _check_dataset(network: nn.Module, cells: Sequence[Cell]) -> None:
    """Put two samples, which tell the shapes, through a network."""
    cell = cells[0]
    what = f"{cell.task.name}/{cell.dataset}"
    kinds = {(c.strategy.amp, c.strategy.channels_last): c.strategy for c in cells}
    try:
        with preserved_rng(*cell.generators):
            for other in cells:
                prepare(network, other)
            inputs = first_inputs(cell, 2).to(device_of(network))
            with evaluating(network), torch.no_grad():
                for strategy in kinds.values():
                    outputs = computed(network, inputs, strategy)
    except Exception as error:
        raise ValueError(
            f"model {cell.model_name!r} does not fit {what}: {error}"
        ) from error
    wanted = (len(inputs), cell.task.output_size)
    if outputs.shape != wanted:
        raise ValueError(
            f"model {cell.model_name!r} gives {tuple(outputs.shape)} for"
            f" {len(inputs)} samples of {what}, which needs {wanted}"
        )
