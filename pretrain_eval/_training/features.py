"""Features of a frozen backbone: read once, shared by all that need them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar, final

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pretrain_eval._metrics import (
    device_of,
    evaluating,
    loader_generators,
    moved,
    preserved_rng,
    seed_all,
)
from pretrain_eval._tasks import Split, Splits, TaskKind, as_loader, cut, reads_alike
from pretrain_eval._training.feature_files import (
    Batches,
    FeatureFiles,
    Features,
    in_memory,
)
from pretrain_eval._training.head import headless, overheard
from pretrain_eval._training.layers import heard
from pretrain_eval._training.precision import computing
from pretrain_eval._training.strategy import Strategy

T = TypeVar("T")

# Samples at a time; one number for all strategies, so that they share features to the
# bit.
_BATCH_SIZE = 128
_FEW = 16  # images whose pixels are read


class Shared:
    """Values that several runs need, the latest of them kept.

    Args:
        size: How many values are kept; a grid's neighbours in order share theirs.
    """

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._values: OrderedDict[Hashable, Any] = OrderedDict()

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value under `key`, computed where it is not kept."""
        if key not in self._values:
            self._values[key] = compute()
            if len(self._values) > self._size:
                self._values.popitem(last=False)
        self._values.move_to_end(key)
        value: T = self._values[key]
        return value


@final
@dataclass(frozen=True)
class Backbone:
    """All of a network but its head.

    Attributes:
        network: Which is not changed.
        path: Of its head.
        kind: Says how a batch is read.
        strategy: Says how it computes.
        layers: Whose outputs are given too, before what the head reads, in one row.
    """

    network: nn.Module
    path: str
    kind: TaskKind
    strategy: Strategy
    layers: tuple[str, ...] = ()

    def features(
        self, part: str, split: Split, files: FeatureFiles | None = None
    ) -> Features:
        """What the head reads of a split, in memory or in files, where some are given.

        Args:
            part: The split's name.
            split: What is read.
            files: Where the features may be kept.
        """
        compute = partial(self.batches, split)
        if files is None:
            return in_memory(compute())
        dataset: Any = split.dataset if isinstance(split, DataLoader) else split
        # How they are computed decides their last bits.
        part = f"{part} {self.strategy.amp} {self.strategy.channels_last}"
        part += "".join(f" {name}" for name in self.layers)
        return files.features(part, len(dataset), device_of(self.network), compute)

    def batches(self, split: Split) -> Batches:
        """Features and targets, batch by batch, of one pass over a split."""
        network, device = self.network, device_of(self.network)
        generators = loader_generators(split)
        size = _FEW if self.kind.place == "pixel" else _BATCH_SIZE
        with preserved_rng(*generators), evaluating(network):
            # Random augmentation is read with one randomness, whoever asks.
            seed_all(0, generators=generators)
            with torch.no_grad():
                for batch in as_loader(split, size, shuffle=False):
                    yield self._read(moved(batch, device))

    def _read(self, batch: Any) -> tuple[Any, Any]:
        """Features and targets of a batch."""
        network = self.network
        if self.kind.place == "pixel":
            # At the size at which the head reads them, which an image's may exceed by
            # far, and where two heads read maps of two sizes.
            with overheard(network, self.path) as found:
                _, targets = self.kind.read(computing(network, self.strategy), batch)
            return found[0], targets
        with headless(network, self.path), heard(network, self.layers) as inner:
            features, targets = self.kind.read(computing(network, self.strategy), batch)
        if not self.layers:
            return features, targets
        rows = [inner[name] for name in self.layers]
        return torch.cat([*rows, features.flatten(1)], dim=1), targets

    def widths(self, batch: Any) -> list[int]:
        """Of the rows of each layer, and of what the head reads, in their order.

        Raises:
            ValueError: A layer gives no row a sample.
        """
        network = self.network
        with (
            preserved_rng(),
            evaluating(network),
            torch.no_grad(),
            headless(network, self.path),
            heard(network, self.layers) as inner,
        ):
            features, _ = self.kind.read(computing(network, self.strategy), batch)
        for name in self.layers:
            if name not in inner or len(inner[name]) != len(features):
                raise ValueError(f"layer {name!r} gives no row a sample")
        rows = [*(inner[name] for name in self.layers), features.flatten(1)]
        return [row.shape[1] for row in rows]

    def suffices(self, splits: Splits) -> bool:
        """Whether training the head alone may read features instead of samples.

        Not where a split is a `DataLoader`, where its samples are drawn anew each time
        they are read, or where the network computes more from the head's outputs.
        """
        if isinstance(splits.train, DataLoader):
            return False
        network, strategy = self.network, self.strategy
        if "," in self.path or self.kind.place != "sample":
            return False
        batch = next(iter(as_loader(splits.train, _BATCH_SIZE, shuffle=False)))
        batch = moved(cut(batch, 2), device_of(network))
        head = computing(network.get_submodule(self.path), strategy)
        with preserved_rng(), evaluating(network), torch.no_grad():
            model = computing(network, strategy)
            outputs, _ = self.kind.read(model, batch)
            try:
                with headless(network, self.path):
                    features = self.kind.read(model, batch)
                again, _ = self.kind.read(head, features)
            except (RuntimeError, TypeError):  # no tensor, or one that is reshaped
                return False
        if again.shape != outputs.shape or not torch.equal(again, outputs):
            return False
        return all(reads_alike(split) for split in splits.parts.values())


def as_splits(parts: Mapping[str, Features]) -> Splits:
    """The features in place of the samples."""
    sets = {
        name: TensorDataset(features.inputs, features.targets)
        for name, features in parts.items()
    }
    # That no part shares samples with another was checked on the samples themselves.
    return Splits(sets["train"], sets["valid"], sets.get("test"), allow_overlap=True)
