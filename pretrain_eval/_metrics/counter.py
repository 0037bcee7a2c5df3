"""What is counted of a batch, and how counts of batches add up."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

# Counts of batches on the CPU are numpy's: for a batch of 128 its reductions and
# `bincount` cost a fraction of torch's. Counts on a device stay there.
Array = np.ndarray | Tensor

# What a metric holds: sums, or the rows that it has seen, in pieces.
Held = Array | tuple[Tensor, ...]


class Flags(NamedTuple):
    """Where entries of a batch are wrong, a mask for each way to be so.

    How many are stands behind the sums of a batch, in this order. None is nowhere.

    Attributes:
        targets: Out of range.
        predictions: Out of range.
        probabilities: Scores that were declared as probabilities and are none.
        outputs: NaN or infinite.
    """

    targets: Tensor | None = None
    predictions: Tensor | None = None
    probabilities: Tensor | None = None
    outputs: Tensor | None = None

    def behind(self, sums: Tensor, keep: Tensor) -> Tensor:
        """The sums, flat, and behind them how many of the kept entries are wrong."""
        zero = torch.zeros_like(keep.sum())
        wrong = [
            zero if mask is None else (keep & mask.reshape(keep.shape)).sum()
            for mask in self
        ]
        return torch.cat((sums.reshape(-1), torch.stack(wrong).to(sums.dtype)))


FLAGS = len(Flags._fields)


class Words(NamedTuple):
    """What to say of each of the `Flags`, after how many there are."""

    targets: str = "targets are out of range"
    predictions: str = "predictions are out of range"
    probabilities: str = "scores were declared as probabilities and are none"
    outputs: str = "of the model's outputs are NaN or infinite"


DROPS = "; a value that marks rows to drop is given by ignore_index=..."


class Counter(ABC):
    """The declared configuration of what is counted.

    Metrics whose counters are equal are counted once in a collection, so equality is
    that of the configuration; members are frozen dataclasses. What is held is never
    changed in place: several metrics may hold the same.
    """

    #: What batches with counts of other lengths differ in.
    entries: ClassVar[str] = "classes"
    #: How many of the counts are no counters but say what is wrong.
    num_flags: ClassVar[int] = FLAGS
    #: What to say of what is wrong.
    said: ClassVar[Words] = Words()

    @abstractmethod
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Array:
        """The counts of one batch."""

    @property
    def size(self) -> int | None:
        """The length of what is held, None where batches decide it."""
        return None

    @abstractmethod
    def batch(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Held:
        """The same to be held, checked where that needs no wait for a device."""

    @abstractmethod
    def add(self, counts: Held | None, batch: Held) -> Held:
        """What is held after one more batch."""

    def merges(self, other: Counter) -> bool:
        """Whether what the other one has counted may be added."""
        return self == other

    @abstractmethod
    def whole(self, counts: Held) -> Tensor:
        """What is held as one tensor."""

    @abstractmethod
    def kept(self, whole: Tensor) -> Held:
        """What is held, from one tensor: the inverse of `whole`."""

    @abstractmethod
    def check(self, counts: np.ndarray) -> None:
        """Raise what can only be told once the counts were fetched."""

    @abstractmethod
    def num_unknown(self, counts: np.ndarray) -> int:
        """How many outputs were NaN or infinite, so that no value can be known."""

    def words(self, counts: np.ndarray) -> Words:
        """What to say of what is wrong in the counts."""
        return self.said

    def unflagged(self, counts: np.ndarray) -> np.ndarray:
        """What a value is made of."""
        return counts


class SumCounter(Counter):
    """Counts a vector that ends with `Flags`; vectors of batches add up."""

    @override
    def batch(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Held:
        require_one_device(outputs, targets)
        counts = self.count(outputs, targets, weights)
        # Counts in numpy were checked on the way.
        if isinstance(counts, Tensor) and counts.is_cpu:
            self.check(counts.numpy())
        return counts

    @override
    def add(self, counts: Held | None, batch: Held) -> Held:
        if counts is None:
            return batch
        if len(counts) != len(batch):
            raise ValueError(
                f"this batch has other {self.entries} than the ones before it:"
                f" {len(batch) - FLAGS} counters after {len(counts) - FLAGS}"
            )
        if isinstance(counts, np.ndarray) and isinstance(batch, np.ndarray):
            total: np.ndarray = counts + batch
            return total
        own, new = self.whole(counts), self.whole(batch)
        return own.to(new.device) + new

    @override
    def whole(self, counts: Held) -> Tensor:
        (only,) = _tensors(counts)
        return only

    @override
    def kept(self, whole: Tensor) -> Held:
        return whole.numpy() if whole.is_cpu else whole

    @override
    def check(self, counts: np.ndarray) -> None:
        flags = counts[-FLAGS:-1]
        if flags.any():
            said = zip(flags.astype(int), self.words(counts), strict=False)
            raise ValueError("; ".join(f"{n} {words}" for n, words in said if n))

    @override
    def num_unknown(self, counts: np.ndarray) -> int:
        return int(counts[-1])

    @override
    def unflagged(self, counts: np.ndarray) -> np.ndarray:
        return counts[:-FLAGS]


class RowCounter(Counter):
    """Keeps every sample as a row, for values that no sum can tell.

    Rows are held in pieces that double in size, so that a million batches cost little
    more to append than to hold. NaN stands for a score that is not finite, infinity
    for a target or a probability out of range.
    """

    @override
    def batch(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Held:
        require_one_device(outputs, targets)
        (rows,) = _tensors(self.count(outputs, targets, weights))
        if rows.is_cpu:
            self.check(rows.numpy())
        return (rows,)

    @override
    def add(self, counts: Held | None, batch: Held) -> Held:
        pieces = [] if counts is None else _tensors(counts)
        for piece in _tensors(batch):
            if pieces and pieces[0].shape[1] != piece.shape[1]:
                raise ValueError(
                    f"this batch has other {self.entries} than the ones before it:"
                    f" {piece.shape[1]} columns after {pieces[0].shape[1]}"
                )
            pieces.append(piece)
            while len(pieces) > 1 and len(pieces[-2]) <= len(pieces[-1]):
                last = pieces.pop()
                pieces[-1] = torch.cat((pieces[-1].to(last.device), last))
        return tuple(pieces)

    @override
    def whole(self, counts: Held) -> Tensor:
        pieces = _tensors(counts)
        if len(pieces) == 1:
            return pieces[0]
        return torch.cat([piece.to(pieces[-1].device) for piece in pieces])

    @override
    def kept(self, whole: Tensor) -> Held:
        return (whole,)

    @override
    def check(self, counts: np.ndarray) -> None:
        bad = np.isinf(counts).any(1)
        if bad.any():
            raise ValueError(
                f"{bad.sum()} rows hold targets out of range, or scores that were"
                " declared as probabilities and are none"
            )

    @override
    def num_unknown(self, counts: np.ndarray) -> int:
        return int(np.isnan(counts).any(1).sum())


class OneRowCounter(RowCounter):
    """Keeps one row a process, which `add` merges; a row of zeros merges as nothing.

    For what merges but does not add up, such as means. Processes send each a row in a
    place of its own, in one sum with all other counts.
    """


def require_one_device(outputs: Tensor, targets: Tensor) -> None:
    """Nothing is moved between devices behind the user's back, or made a tensor."""
    for name, given in (("outputs", outputs), ("targets", targets)):
        if not isinstance(given, Tensor):
            raise TypeError(
                f"{name} must be a tensor, got {type(given).__name__};"
                " torch.as_tensor(...) makes one"
            )
    if outputs.device != targets.device:
        raise ValueError(
            f"outputs are on {outputs.device}, targets on {targets.device}; move one"
        )


def _tensors(counts: Held) -> list[Tensor]:
    if isinstance(counts, tuple):
        return list(counts)
    return [counts if isinstance(counts, Tensor) else torch.from_numpy(counts)]
