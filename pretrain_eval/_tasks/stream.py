"""Samples that come one after the other, for training alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, final

import torch
from torch.utils.data import IterableDataset
from typing_extensions import Self, override

from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.reading import parted
from pretrain_eval._tasks.views import Target, retargeted


@final
@dataclass(frozen=True, eq=False)
class Stream(IterableDataset[Any]):
    """A training split that is too large to be read by index, or whose end is far.

    An epoch reads the first `num_samples` samples from the start, in an order that a
    buffer mixes: each sample that leaves the buffer is drawn of those in it. With a
    buffer as large as `num_samples` every order is equally likely.

    What is not read beforehand cannot be known: whether the stream shares samples with
    a measured split is not checked, and its content is `version`, which you change when
    the samples change.

    Args:
        source: An iterable that starts anew each time, such as a torch
            `IterableDataset`, a `datasets.IterableDataset`, or a function of no
            arguments that gives an iterator.
        num_samples: How many make an epoch; the source must have as many.
        version: Names the content, in place of reading it for a run's key.
        buffer: How many samples are held to be mixed; 1 keeps the order.
        target: Which entry of a sample is its target, as in `Splits`.
        transform: What becomes of a sample's inputs.
        collate: What makes a batch of a list of samples, where torch's own does not.

    Raises:
        TypeError: The source is no iterable, or one that can be read only once.
        ValueError: A number is below 1, or the version is empty.

    >>> rows = Stream(lambda: iter([(0.5, 1), (1.5, 0), (2.5, 1)]), 2, version="1")
    >>> list(rows), len(rows)
    ([(0.5, 1), (1.5, 0)], 2)
    """

    source: Iterable[Any] | Callable[[], Iterator[Any]]
    num_samples: int
    _: KW_ONLY
    version: str
    buffer: int = 1000
    target: Target | None = None
    transform: Callable[[Any], Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None

    def __post_init__(self) -> None:
        check_count("Stream: num_samples", self.num_samples, 1)
        check_count("Stream: buffer", self.buffer, 1)
        if not isinstance(self.version, str) or not self.version:
            raise ValueError(
                "Stream expects version as a text that names the content, which is not"
                f" read for a run's key, got {self.version!r}"
            )
        if callable(self.source):
            return
        if not isinstance(self.source, Iterable):
            raise TypeError(
                "Stream expects an iterable, or a function that gives an iterator, got"
                f" {type(self.source).__name__}"
            )
        if isinstance(self.source, Iterator):
            raise TypeError(
                f"Stream expects what starts anew each time, got a"
                f" {type(self.source).__name__}, which can be read only once; give the"
                " function that makes it"
            )

    def __len__(self) -> int:
        return self.num_samples

    @override
    def __iter__(self) -> Iterator[Any]:
        samples = self.source() if callable(self.source) else iter(self.source)
        number = 0
        for sample in itertools.islice(samples, self.num_samples):
            number += 1
            yield self._viewed(sample)
        if number < self.num_samples:
            raise ValueError(
                f"the stream {self.version!r} ended after {number} samples, num_samples"
                f" says {self.num_samples}"
            )

    def _viewed(self, sample: Any) -> Any:
        sample = retargeted(sample, self.target)
        if self.transform is None:
            return sample
        inputs, target = parted(sample)
        return self.transform(inputs), target

    def changed(self, **fields: Any) -> Self:
        """The same stream, read in another way."""
        return replace(self, **fields)

    def mixed(self) -> IterableDataset[Any]:
        """The samples in an order that torch's global generator draws."""
        return Mixed(self)


@final
@dataclass(frozen=True, eq=False)
class Mixed(IterableDataset[Any]):
    """A stream behind a buffer.

    Attributes:
        stream: Whose samples they are.
    """

    stream: Stream

    def __len__(self) -> int:
        return len(self.stream)

    @override
    def __iter__(self) -> Iterator[Any]:
        held: list[Any] = []
        for sample in self.stream:
            if len(held) < self.stream.buffer:
                held.append(sample)
                continue
            place = int(torch.randint(len(held), ()))
            yield held[place]
            held[place] = sample
        for place in torch.randperm(len(held)).tolist():
            yield held[place]
