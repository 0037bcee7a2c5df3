"""A network made ready for a task."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from pretrain_eval._training.head import find_head, replace_head, select_trainable
from pretrain_eval._training.precision import arranged
from pretrain_eval._training.samples import as_loader
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Splits, Task


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device itself; by default CUDA if there is one, otherwise the CPU."""
    if device is not None:
        return torch.device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def prepare(
    network: nn.Module,
    task: Task,
    splits: Splits,
    strategy: Strategy,
    head: str | None = None,
) -> str:
    """Give the network a head for the task, and arrange and freeze it by the strategy.

    Returns:
        The head's dotted path.
    """
    path = find_head(network, head)
    device = next(network.parameters()).device
    inputs = first_inputs(splits, strategy.batch_size).to(device)
    replace_head(network, path, task.output_size, inputs)
    arranged(network, strategy)
    select_trainable(network, path, strategy)
    return path


def first_inputs(splits: Splits, batch_size: int) -> Tensor:
    """The inputs of one batch, as the training reads them."""
    batch = next(iter(as_loader(splits.train, batch_size, shuffle=False)))
    if not (isinstance(batch, list | tuple) and len(batch) == 2):
        raise ValueError(
            "finetune expects batches (inputs, targets), got"
            f" {type(batch).__name__} of length {len(batch)}"
        )
    inputs: Tensor = batch[0]
    return inputs
