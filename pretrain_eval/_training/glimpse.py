"""What one pass of a frozen backbone over the training split shows."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from pretrain_eval._metrics import device_of, evaluating, moved, preserved_rng
from pretrain_eval._tasks import Stream, chosen
from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.feature_files import in_memory
from pretrain_eval._training.head import headless
from pretrain_eval._training.headed import Headed
from pretrain_eval._training.prepare import built, first_batch, locate_head
from pretrain_eval._training.prepared import Prepared

# Of so many samples those that are wanted, in their order; None: all.
Draw = Callable[[int], npt.NDArray[np.int64] | None]
Source = tuple[nn.Module, Tensor, Tensor]

# So many samples go through the head at a time.
_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A model on a dataset, before any training.

    Attributes:
        features: `(num_samples, width)`; None where they were not asked for.
        targets: `(num_samples, ...)`.
        probabilities: Gives those of the classes of the model's own head,
            `(num_samples, num_source_classes)`; None where it has no such head.
        share: How much of the split was read.
        num_parameters: Of the model with the head that the task needs.
        macs: Multiply-accumulates of one sample, where they can be counted.
        seconds: What the pass took.
    """

    features: Tensor | None
    targets: Tensor | None
    probabilities: Callable[[], Tensor] | None
    share: float
    num_parameters: int
    macs: int | None
    seconds: float


def glimpse(cell: Cell, surroundings: Surroundings, draw: Draw | None) -> Glimpse:
    """Read the training split through the backbone, as head-only training does.

    Args:
        cell: Whose strategy trains the head alone.
        surroundings: Where, and with whom features are shared.
        draw: Which samples are wanted; None: no features.
    """
    start = time.monotonic()
    with preserved_rng(*cell.generators):
        network = built(cell, surroundings.device)
        source = _source(network, cell) if draw else None
        prepared = Prepared(network, cell, surroundings)
        rows = targets = chances = None
        share = 0.0
        if draw:
            inputs, targets, share = _read(prepared, cell, draw)
            rows, chances = inputs.flatten(1), _probabilities(source, inputs)
        return Glimpse(
            features=rows,
            targets=targets,
            probabilities=chances,
            share=share,
            num_parameters=sum(p.numel() for p in prepared.network.parameters()),
            macs=prepared.macs(),
            seconds=time.monotonic() - start,
        )


def _read(prepared: Prepared, cell: Cell, draw: Draw) -> tuple[Tensor, Tensor, float]:
    """Features and targets of drawn samples, and the share of the split behind them.

    Of a dataset only these samples are read; the batches of a loader are made, so that
    it is read whole, and features may lie in a file.
    """
    split = cell.splits.train
    if not isinstance(split, DataLoader | Stream):
        number = len(split)  # type: ignore[arg-type] # Splits checked that it is sized
        wanted = draw(number)
        if wanted is not None:
            found = in_memory(prepared.batches(chosen(split, wanted.tolist())))
            return found.inputs, found.targets, len(wanted) / number
    found = prepared.features("train")
    wanted = draw(len(found.targets))
    if wanted is None:
        return found.inputs, found.targets, 1.0
    index = torch.from_numpy(wanted)
    return found.inputs[index], found.targets[index], 1.0


def _source(network: nn.Module, cell: Cell) -> Source | None:
    """The model's own head, with what it reads and gives for two samples."""
    path = locate_head(network, cell)
    if isinstance(network, Headed) or "," in path or not path:
        return None
    batch = moved(first_batch(cell, 2), device_of(network))
    with evaluating(network), torch.no_grad():
        outputs, _ = cell.task.kind.read(network, batch)
        with headless(network, path):
            features, _ = cell.task.kind.read(network, batch)
    is_classes = isinstance(outputs, Tensor) and outputs.ndim == 2
    if not is_classes or outputs.shape[1] < 2:
        return None
    return copy.deepcopy(network.get_submodule(path)), features, outputs


def _probabilities(
    source: Source | None, features: Tensor
) -> Callable[[], Tensor] | None:
    """The head's answer to features, where it is all that follows the features."""
    if source is None:
        return None
    head, read, outputs = source

    def logits(rows: Tensor) -> Tensor:
        with evaluating(head), torch.no_grad():
            found: Tensor = head(rows)
        return found

    first = logits(read)
    if first.shape != outputs.shape or not torch.allclose(
        first.float(), outputs.float(), rtol=1e-3, atol=1e-3
    ):
        return None

    def answers() -> Tensor:
        blocks = [logits(each) for each in torch.split(features, _BLOCK)]
        return torch.cat([each.double().softmax(1) for each in blocks])

    return answers
