"""Features of a frozen backbone: read once, shared by all that need them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from functools import partial
from typing import Any, TypeVar

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from pretrain_eval._metrics import (
    device_of,
    evaluating,
    loader_generators,
    preserved_rng,
    seed_all,
)
from pretrain_eval._training.feature_files import (
    Batches,
    FeatureFiles,
    Features,
    in_memory,
)
from pretrain_eval._training.head import headless
from pretrain_eval._training.precision import computed
from pretrain_eval._training.samples import as_loader, reads_alike
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Split, Splits

T = TypeVar("T")

# Samples at a time; one number for all strategies, so that they share features to the
# bit.
_BATCH_SIZE = 128


class Shared:
    """Values that several runs need, the latest of them kept.

    Args:
        size: How many values are kept; a grid's neighbours in order share theirs.

    Attributes:
        files: Where the features of what runs now may be kept.
    """

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()
        self.files: FeatureFiles | None = None

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value under `key`, computed where it is not kept."""
        if key not in self._kept:
            self._kept[key] = compute()
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        value: T = self._kept[key]
        return value


def feature_batches(
    network: nn.Module, path: str, split: Split, strategy: Strategy
) -> Batches:
    """One pass of the backbone over a split; the head at `path` reads its outputs."""
    device = device_of(network)
    generators = loader_generators(split)
    with preserved_rng(*generators), evaluating(network), headless(network, path):
        # Random augmentation is read with one randomness, whoever asks.
        seed_all(0, generators=generators)
        with torch.no_grad():
            for inputs, target in as_loader(split, _BATCH_SIZE, shuffle=False):
                outputs = computed(network, inputs.to(device), strategy)
                yield outputs, target.to(device)


def read_features(
    network: nn.Module,
    path: str,
    part: str,
    split: Split,
    strategy: Strategy,
    files: FeatureFiles | None,
) -> Features:
    """The features of a split, in memory or in files, where some are given.

    Args:
        network: Its backbone reads the samples.
        path: Of its head.
        part: The split's name.
        split: What is read.
        strategy: How the backbone computes.
        files: Where the features may be kept.
    """
    compute = partial(feature_batches, network, path, split, strategy)
    if files is None:
        return in_memory(compute())
    dataset: Any = split.dataset if isinstance(split, DataLoader) else split
    # How they are computed decides their last bits.
    part = f"{part} {strategy.amp} {strategy.channels_last}"
    return files.features(part, len(dataset), device_of(network), compute)


def features_suffice(
    network: nn.Module, path: str, splits: Splits, strategy: Strategy
) -> bool:
    """Whether training the head alone may read features instead of samples.

    Not where a split is a `DataLoader`, where its samples are drawn anew each time they
    are read, or where the network computes more from the head's outputs.
    """
    if isinstance(splits.train, DataLoader):
        return False
    inputs, _ = next(iter(as_loader(splits.train, _BATCH_SIZE, shuffle=False)))
    inputs = inputs[:2].to(device_of(network))
    head = network.get_submodule(path)
    with preserved_rng(), evaluating(network), torch.no_grad():
        outputs = computed(network, inputs, strategy)
        try:
            with headless(network, path):
                features = computed(network, inputs, strategy)
            again = computed(head, features, strategy)
        except (RuntimeError, TypeError):  # no tensor, or one that is reshaped
            return False
    if again.shape != outputs.shape or not torch.equal(again, outputs):
        return False
    return all(reads_alike(split) for split in splits.parts.values())


def as_splits(parts: Mapping[str, Features]) -> Splits:
    """The features in place of the samples."""
    sets = {
        name: TensorDataset(each.inputs, each.targets) for name, each in parts.items()
    }
    # That no part shares samples with another was checked on the samples themselves.
    return Splits(sets["train"], sets["valid"], sets.get("test"), allow_overlap=True)
