"""What one pass of a frozen backbone over the training split shows."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import device_of, evaluating, moved, preserved_rng
from pretrain_eval._training.cell import Cell, Surroundings
from pretrain_eval._training.headed import Headed
from pretrain_eval._training.prepare import built, first_batch, locate_head
from pretrain_eval._training.prepared import Prepared

# So many samples go through the head at a time.
_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A model on a dataset, before any training.

    Attributes:
        features: `(num_samples, width)`; None where they were not asked for.
        targets: `(num_samples, ...)`.
        probabilities: Of the classes of the model's own head, by the indices of
            samples, `(num_indices, num_source_classes)`; None where it has no such head.
        num_parameters: Of the model with the head that the task needs.
        macs: Multiply-accumulates of one sample, where they can be counted.
        seconds: What the pass took.
    """

    features: Tensor | None
    targets: Tensor | None
    probabilities: Callable[[Tensor], Tensor] | None
    num_parameters: int
    macs: int | None
    seconds: float


def glimpse(cell: Cell, surroundings: Surroundings, *, read: bool) -> Glimpse:
    """Read the training split through the backbone, as head-only training does.

    Args:
        cell: Whose strategy trains the head alone.
        surroundings: Where, and with whom features are shared.
        read: Whether features are wanted.
    """
    start = time.monotonic()
    with preserved_rng(*cell.generators):
        network = built(cell, surroundings.device)
        source = _source(network, cell) if read else None
        prepared = Prepared(network, cell, surroundings)
        rows = targets = chances = None
        if read:
            found = prepared.features("train")
            rows, targets = found.inputs.flatten(1), found.targets
            chances = _probabilities(source, found.inputs)
        return Glimpse(
            features=rows,
            targets=targets,
            probabilities=chances,
            num_parameters=sum(p.numel() for p in prepared.network.parameters()),
            macs=prepared.macs(),
            seconds=time.monotonic() - start,
        )


def _source(network: nn.Module, cell: Cell) -> tuple[nn.Module, Tensor] | None:
    """The model's own head, and what the model gives for two samples."""
    path = locate_head(network, cell)
    if isinstance(network, Headed) or "," in path or not path:
        return None
    batch = moved(first_batch(cell, 2), device_of(network))
    with evaluating(network), torch.no_grad():
        outputs, _ = cell.task.kind.read(network, batch)
    is_classes = isinstance(outputs, Tensor) and outputs.ndim == 2
    if not is_classes or outputs.shape[1] < 2:
        return None
    return copy.deepcopy(network.get_submodule(path)), outputs


def _probabilities(
    source: tuple[nn.Module, Tensor] | None, features: Tensor
) -> Callable[[Tensor], Tensor] | None:
    """The head's answer to features, where it is all that follows the features.

    Asked for by samples, since of all of them it may be larger than memory.
    """
    if source is None:
        return None
    head, outputs = source

    def logits(rows: Tensor) -> Tensor:
        with evaluating(head), torch.no_grad():
            found: Tensor = head(rows)
        return found

    first = logits(features[: len(outputs)])
    if first.shape != outputs.shape or not torch.allclose(
        first.float(), outputs.float(), rtol=1e-3, atol=1e-3
    ):
        return None

    def answers(indices: Tensor) -> Tensor:
        blocks = [logits(features[each]) for each in torch.split(indices, _BLOCK)]
        return torch.cat([each.double().softmax(1) for each in blocks])

    return answers
