"""A network made ready for a task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import device_of, seed_all
from pretrain_eval._tasks import as_loader
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.head import find_head, replace_head, select_trainable
from pretrain_eval._training.precision import arranged
from pretrain_eval.zoo import build


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device itself; by default CUDA if there is one, otherwise the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def built(cell: Cell, device: torch.device | str | None) -> nn.Module:
    """A fresh network; a builder that draws its weights does so by the cell's seed."""
    seed_all(cell.seed, generators=cell.generators)
    return build(cell.model).to(choose_device(device))


def prepare(network: nn.Module, cell: Cell) -> str:
    """Give the network the cell's head, and arrange and freeze it by the strategy.

    The head's weights are those that the cell's seed draws first, however the network
    was made.

    Returns:
        The head's dotted path.
    """
    seed_all(cell.seed, generators=cell.generators)
    path = find_head(network, cell.head)
    inputs = first_inputs(cell, cell.strategy.batch_size).to(device_of(network))
    replace_head(network, path, cell.task.output_size, inputs)
    arranged(network, cell.strategy)
    select_trainable(network, path, cell.strategy)
    return path


def first_inputs(cell: Cell, num_samples: int) -> Tensor:
    """So many inputs of the first batch, or all, as the training reads them."""
    loader = as_loader(cell.splits.train, num_samples, shuffle=False)
    batch = next(iter(loader))
    if not (isinstance(batch, list | tuple) and len(batch) == 2):
        raise ValueError(
            "finetune expects batches (inputs, targets), got"
            f" {type(batch).__name__} of length {len(batch)}"
        )
    inputs: Tensor = batch[0]
    return inputs[:num_samples]
