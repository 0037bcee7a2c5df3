"""Features of a frozen backbone: read once, shared by all that need them."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from pretrain_eval._computing import computed
from pretrain_eval._head import headless
from pretrain_eval._rng import loader_generators, preserved_rng, seed_all
from pretrain_eval._samples import as_loader, reads_alike
from pretrain_eval._task import Split, Splits, Strategy
from pretrain_eval._validate import device_of, evaluating

T = TypeVar("T")

# Samples at a time; one number for all strategies, so that they share features to the
# bit.
_BATCH_SIZE = 128


class Shared:
    """Values that several runs need, the latest of them kept.

    Args:
        size: How many values are kept; a grid's neighbours in order share theirs.
    """

    def __init__(self, size: int = 16) -> None:
        self._size = size
        self._kept: OrderedDict[Hashable, Any] = OrderedDict()

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The value under `key`, computed where it is not kept."""
        if key not in self._kept:
            self._kept[key] = compute()
            if len(self._kept) > self._size:
                self._kept.popitem(last=False)
        self._kept.move_to_end(key)
        value: T = self._kept[key]
        return value


@dataclass(frozen=True)
class Features:
    """What the head reads of each sample of one split.

    Attributes:
        inputs: As the backbone gives them, `(num_samples, ...)`.
        targets: `(num_samples, ...)`.
        seconds: What reading them took.
    """

    inputs: Tensor
    targets: Tensor
    seconds: float


def read_features(
    network: nn.Module, path: str, split: Split, strategy: Strategy
) -> Features:
    """One pass of the backbone over a split; the head at `path` reads its outputs."""
    device = device_of(network)
    start = time.perf_counter()
    features, targets = [], []
    generators = loader_generators(split)
    with preserved_rng(*generators), evaluating(network), headless(network, path):
        # Random augmentation is read with one randomness, whoever asks.
        seed_all(0, generators=generators)
        with torch.no_grad():
            for inputs, target in as_loader(split, _BATCH_SIZE, shuffle=False):
                features.append(computed(network, inputs.to(device), strategy))
                targets.append(target.to(device))
    inputs = torch.cat(features)
    return Features(inputs, torch.cat(targets), time.perf_counter() - start)


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
