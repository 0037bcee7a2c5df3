"""What one pass of a frozen backbone over the training split shows."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
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
from pretrain_eval._training.trainable import blocks_of

# Of so many samples those that are wanted, in their order; None: all.
Draw = Callable[[int], npt.NDArray[np.int64] | None]
Source = tuple[nn.Module, Tensor, Tensor]

# So many samples go through the head at a time.
_BLOCK = 4096


@dataclass(frozen=True, kw_only=True)
class Glimpse:
    """A model on a dataset, before any training.

    Attributes:
        features: By layer, `(num_samples, width)`; "" is what the head reads, and the
            last; none where they were not asked for.
        targets: `(num_samples, ...)`.
        probabilities: Gives those of the classes of the model's own head,
            `(num_samples, num_source_classes)`; None where it has no such head.
        share: How much of the split was read.
        num_parameters: Of the model with the head that the task needs.
        macs: Multiply-accumulates of one sample, where they can be counted.
        seconds: What the pass took.
    """

    features: Mapping[str, Tensor]
    targets: Tensor | None
    probabilities: Callable[[], Tensor] | None
    share: float
    num_parameters: int
    macs: int | None
    seconds: float


def glimpse(
    cell: Cell,
    surroundings: Surroundings,
    draw: Draw | None,
    layers: tuple[str, ...] | None = (),
) -> Glimpse:
    """Read the training split through the backbone, as head-only training does.

    Args:
        cell: Whose strategy trains the head alone.
        surroundings: Where, and with whom features are shared.
        draw: Which samples are wanted; None: no features.
        layers: Inner ones, by dotted paths; None: the blocks of the backbone that give
            a row a sample.

    Raises:
        ValueError: A layer is not there, or gives no row a sample.
    """
    start = time.monotonic()
    with preserved_rng(*cell.generators):
        network = built(cell, surroundings.device)
        source = _source(network, cell) if draw else None
        prepared = Prepared(network, cell, surroundings)
        rows: dict[str, Tensor] = {}
        targets = chances = None
        share = 0.0
        if draw:
            names, widths = _layers(prepared, cell, layers)
            inputs, targets, share = _read(prepared, cell, draw, names)
            chances = _probabilities(source, inputs, sum(widths[:-1]))
            parts = torch.split(inputs.flatten(1), widths, 1) if names else [inputs]
            parts = [part.flatten(1) for part in parts]
            rows = dict(zip([*names, ""], parts, strict=True))
        return Glimpse(
            features=rows,
            targets=targets,
            probabilities=chances,
            share=share,
            num_parameters=sum(p.numel() for p in prepared.network.parameters()),
            macs=prepared.macs(),
            seconds=time.monotonic() - start,
        )


def _layers(
    prepared: Prepared, cell: Cell, layers: tuple[str, ...] | None
) -> tuple[tuple[str, ...], list[int]]:
    """Inner layers that are read, and the widths of them and of what the head reads."""
    if layers == ():
        return (), [0]
    batch = moved(first_batch(cell, 2), device_of(prepared.network))
    if layers is not None:
        return layers, prepared.backbone(layers).widths(batch)
    blocks = []
    for name in blocks_of(prepared.network, prepared.path):
        with suppress(ValueError):
            prepared.backbone((name,)).widths(batch)
            blocks.append(name)
    return tuple(blocks), prepared.backbone(tuple(blocks)).widths(batch)


def _read(
    prepared: Prepared, cell: Cell, draw: Draw, layers: tuple[str, ...]
) -> tuple[Tensor, Tensor, float]:
    """Features and targets of drawn samples, and the share of the split behind them.

    Of a dataset only these samples are read; the batches of a loader are made, so that
    it is read whole, and features may lie in a file.
    """
    split = cell.splits.train
    if not isinstance(split, DataLoader | Stream):
        number = len(split)  # type: ignore[arg-type] # Splits checked that it is sized
        wanted = draw(number)
        if wanted is not None:
            found = in_memory(
                prepared.backbone(layers).batches(chosen(split, wanted.tolist()))
            )
            return found.inputs, found.targets, len(wanted) / number
    found = prepared.features("train", layers)
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
    source: Source | None, features: Tensor, start: int
) -> Callable[[], Tensor] | None:
    """The head's answer to features, where it is all that follows the features.

    Args:
        source: The head, with features and answers of two samples.
        features: Of all samples.
        start: The column where they begin, after those of inner layers.
    """
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
        rows = features[:, start:] if start else features
        blocks = [logits(each) for each in torch.split(rows, _BLOCK)]
        return torch.cat([each.double().softmax(1) for each in blocks])

    return answers
