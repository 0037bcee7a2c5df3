"""A network made ready for a task."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import nn

from pretrain_eval._metrics import (
    device_of,
    moved,
    named_device,
    preserved_rng,
    seed_all,
)
from pretrain_eval._tasks import Place, as_loader, cut
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.head import check_last, find_head, replace_head
from pretrain_eval._training.headed import Headed
from pretrain_eval._training.precision import arranged
from pretrain_eval._training.trainable import select_trainable
from pretrain_eval.zoo import build

# What a cell says where a model gets a head of its own.
NEW = "new"


def choose_device(device: torch.device | str | None) -> torch.device:
    """The device itself; by default CUDA if there is one, otherwise the CPU."""
    if device is not None:
        return named_device(device)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def built(cell: Cell, device: torch.device | str | None) -> nn.Module:
    """A fresh network; a builder that draws its weights does so from the cell's draw."""
    seed_all(cell.draw, generators=cell.generators)
    network: nn.Module = build(cell.model)
    place = added_head(cell)
    if place is not None:
        network = Headed(network, place)
    return network.to(choose_device(device))


def added_head(cell: Cell) -> Place | None:
    """What a row of outputs is of, where the model gets a head that it has not."""
    kind = cell.task.kind
    return kind.place if cell.head_path == NEW and kind.num_outputs else None


def locate_head(network: nn.Module, cell: Cell) -> str:
    """The dotted path of the head to replace; empty where a model keeps its own."""
    if cell.task.kind.num_outputs is None:
        return ""
    if isinstance(network, Headed):
        return "head"
    path = find_head(network, cell.head_path)
    if cell.head_path is not None:
        with preserved_rng(*cell.generators):
            batch = first_batch(cell, cell.strategy.batch_size)
            check_last(network, path, partial(_run, cell=cell, batch=batch))
    return path


def prepare(network: nn.Module, cell: Cell) -> str:
    """Give the network the cell's head, and arrange and freeze it by the strategy.

    The head's weights are those that the cell draws first, however the network
    was made.

    Returns:
        The head's dotted path.
    """
    seed_all(cell.draw, generators=cell.generators)
    # To open a loader draws of the generator, and the head comes after that.
    batch = first_batch(cell, cell.strategy.batch_size)
    path = locate_head(network, cell)
    width = cell.task.kind.num_outputs
    if width is not None:
        run = partial(_run, cell=cell, batch=batch)
        replace_head(network, path, width, run)
    arranged(network, cell.strategy)
    if cell.strategy.prepare is None:
        select_trainable(network, path, cell.strategy)
    return path


def adapted(network: nn.Module, path: str, cell: Cell) -> tuple[nn.Module, str]:
    """What the strategy makes of a network that is prepared, and where its head is.

    Raises:
        TypeError: It makes no module.
    """
    if cell.strategy.prepare is None:
        return network, path
    heads = [network.get_submodule(one) for one in path.split(",") if one]
    made = cell.strategy.prepare(network)
    if not isinstance(made, nn.Module):
        raise TypeError(
            f"strategy {cell.strategy.name!r}: prepare must return a torch module, got"
            f" {type(made).__name__}"
        )
    made.to(device_of(network))
    names = {id(module): name for name, module in made.named_modules()}
    # One that keeps the head to itself, and trains a copy, has said what trains.
    found = [names.get(id(head), "") for head in heads]
    path = ",".join(name for name in found if not name.endswith("original_module"))
    select_trainable(made, path, cell.strategy)
    return made, path


def first_batch(cell: Cell, num_samples: int) -> Any:
    """So many samples of the first batch, or all, as the training reads them."""
    loader = as_loader(cell.splits.train, num_samples, shuffle=False)
    return cut(next(iter(loader)), num_samples)


def _run(network: nn.Module, *, cell: Cell, batch: Any) -> Any:
    """Put a batch through."""
    return cell.task.kind.read(network, moved(batch, device_of(network)))
