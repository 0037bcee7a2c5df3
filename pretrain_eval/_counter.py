"""What is counted of a batch, and how counts add up over batches and processes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

# Counts of batches on the CPU are numpy's: for a batch of 128 its reductions and
# `bincount` cost a fraction of torch's. Counts on a device stay there.
Array = np.ndarray | Tensor

# The last entries of every count: how many targets, predictions and scores were bad.
FLAGS = 3


class Counter(ABC):
    """The declared configuration of what is counted.

    Metrics whose counters are equal are counted once in a collection, so equality is
    that of the configuration; members are frozen dataclasses. Counts are vectors that
    are never changed in place: metrics may hold the same one.
    """

    @abstractmethod
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        """The counts of one batch, a vector that ends with `FLAGS` flags."""

    @property
    @abstractmethod
    def size(self) -> int | None:
        """The length of the counts, None where the first batch decides it."""

    @abstractmethod
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        """What to say where a flag is raised: targets, predictions, scores."""

    def batch(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Array:
        """The counts of one batch, checked where that needs no wait for a device."""
        if outputs.device != targets.device:
            raise ValueError(
                f"outputs are on {outputs.device}, targets on {targets.device}; move"
                " one of them"
            )
        counts = self.count(outputs, targets, weights)
        # Counts in numpy were checked on the way.
        if isinstance(counts, Tensor) and counts.is_cpu:
            self.check(counts)
        return counts

    def add(self, counts: Array | None, batch: Array) -> Array:
        """The counts with those of one more batch."""
        if counts is None:
            return batch
        if len(counts) != len(batch):
            raise ValueError(
                f"this batch has other classes than the ones before it:"
                f" {len(batch)} counters after {len(counts)}"
            )
        if type(counts) is np.ndarray and type(batch) is np.ndarray:
            return counts + batch
        if isinstance(batch, Tensor):
            return as_tensor(counts).to(batch.device) + batch
        return as_tensor(counts).cpu().numpy() + batch

    def check(self, counts: Array) -> None:
        """Raise what the flags of fetched counts tell."""
        if isinstance(counts, Tensor):
            counts = counts.numpy()
        flags = counts[-FLAGS:]
        if flags.any():
            words = self.complaints(counts)
            raised = [word for word, flag in zip(words, flags, strict=True) if flag]
            raise ValueError("; ".join(raised))


def as_tensor(counts: Array) -> Tensor:
    """The counts as a tensor, without a copy."""
    return counts if isinstance(counts, Tensor) else torch.from_numpy(counts)


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The tensors on the host in float64, in one transfer a device."""
    fetched: list[np.ndarray] = [np.empty(0)] * len(tensors)
    for device in dict.fromkeys(tensor.device for tensor in tensors):
        places = [i for i, tensor in enumerate(tensors) if tensor.device == device]
        flat = _flat([tensors[i] for i in places]).cpu().numpy()
        ends = np.cumsum([tensors[i].numel() for i in places])
        for i, part in zip(places, np.split(flat, ends[:-1]), strict=True):
            fetched[i] = part.reshape(tuple(tensors[i].shape))
    return fetched


def fetch_sums(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """Each tensor's sum over the processes, in float64: one all_reduce for all.

    Counts below 2^53 are exact in float64.
    """
    device = _collective_device()
    flat = _flat([tensor.to(device) for tensor in tensors])
    dist.all_reduce(flat)
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    return list(np.split(flat.cpu().numpy(), ends[:-1]))


def agree_on_sizes(sizes: Sequence[int]) -> list[int]:
    """Every process's sizes, which must be equal; one without a batch has 0."""
    bounds = [*sizes, *(-size or -(2**62) for size in sizes)]
    own = torch.tensor(bounds, dtype=torch.int64, device=_collective_device())
    dist.all_reduce(own, op=dist.ReduceOp.MAX)
    agreed: list[int] = own.tolist()
    largest, smallest = agreed[: len(sizes)], agreed[len(sizes) :]
    for high, low in zip(largest, smallest, strict=True):
        if high and high != -low:
            raise ValueError(
                f"processes met different numbers of classes: {-low} and {high} counters"
            )
    return largest


def num_processes() -> int:
    """How many processes compute together: 1 unless torch.distributed was started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def _collective_device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
