"""What is counted of each text and its references, and metrics of these counts."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, final

import numpy as np
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, Array, Held, SumCounter
from pretrain_eval._metrics.metric import CountedMetric

# What a text may be right by: the one reference, or any of several.
References = tuple[str, ...]


class TextCounter(SumCounter):
    """Sums counts of each text over samples; in front of them, how many samples."""

    #: How many numbers are counted of a text.
    num_counts: ClassVar[int] = 1
    #: Whether a text has one reference, and never several.
    one_reference: ClassVar[bool] = False

    @abstractmethod
    def counts_of(self, found: str, references: References) -> tuple[float, ...]:
        """What is counted of one text."""

    @property
    @final
    @override
    def size(self) -> int:
        return 1 + self.num_counts + FLAGS

    @final
    @override
    def batch(self, outputs: Any, targets: Any, weights: Tensor | None) -> Held:
        return self.count(outputs, targets, weights)

    @final
    @override
    def count(self, outputs: Any, targets: Any, weights: Tensor | None) -> Array:
        pairs = list(self._pairs(outputs, targets))
        shares = _weights(weights, len(pairs))
        sums = np.zeros(self.size)
        for pair, weight in zip(pairs, shares, strict=True):
            if weight:
                counts = np.array((1.0, *self.counts_of(*pair)))
                sums[:-FLAGS] += weight * counts
        return sums

    def _pairs(self, outputs: Any, targets: Any) -> Iterator[tuple[str, References]]:
        """Each text and its references."""
        _require_sequence(outputs, "outputs")
        _require_sequence(targets, "targets")
        if len(outputs) != len(targets):
            raise ValueError(
                f"expected a reference, or several, for each text, got {len(outputs)}"
                f" texts and {len(targets)} entries of references"
            )
        for place, (found, target) in enumerate(zip(outputs, targets, strict=True)):
            if not isinstance(found, str):
                raise TypeError(
                    f"outputs are expected as strings, got {type(found).__name__} at"
                    f" {place}"
                )
            yield found, self._references(target, place)

    def _references(self, target: Any, place: int) -> References:
        references = (target,) if isinstance(target, str) else target
        if (
            not isinstance(references, Sequence)
            or not references
            or not all(isinstance(each, str) for each in references)
        ):
            raise TypeError(
                "targets are expected as a string a text, or a sequence of strings,"
                f" got {target!r} at {place}"
            )
        if self.one_reference and len(references) > 1:
            raise ValueError(
                f"expected one reference a text, got {len(references)} at {place}"
            )
        return tuple(references)


class TextMetric(CountedMetric):
    """A metric of counts of texts."""

    @final
    @override
    def update(  # type: ignore[override] # texts are no tensors
        self,
        outputs: Sequence[str],
        targets: Sequence[str | Sequence[str]],
        *,
        weights: Tensor | None = None,
    ) -> None:
        """Count one batch.

        Args:
            outputs: The texts that the model gave.
            targets: What is right.
            weights: One a text; a boolean mask keeps texts, exactly.

        Raises:
            TypeError: What was given are no texts.
            ValueError: There are not as many references as texts.
        """
        batch = self.counter.batch(outputs, targets, weights)  # type: ignore[arg-type]
        self.counts = self.counter.add(self.counts, batch)


def _require_sequence(texts: object, name: str) -> None:
    if isinstance(texts, Tensor):
        raise TypeError(
            f"{name} are expected as strings, got a tensor of {tuple(texts.shape)};"
            " decode tokens first, such as by tokenizer.batch_decode"
        )
    if isinstance(texts, str) or not isinstance(texts, Sequence):
        raise TypeError(
            f"{name} are expected as a list of strings, one a sample, got"
            f" {type(texts).__name__}"
        )


def _weights(weights: Tensor | None, num_texts: int) -> list[float]:
    if weights is None:
        return [1.0] * num_texts
    if weights.shape != (num_texts,):
        raise ValueError(
            f"expected weights of shape ({num_texts},), got {tuple(weights.shape)}"
        )
    each: list[float] = weights.detach().double().tolist()
    if not all(weight >= 0 for weight in each):
        raise ValueError("expected weights of at least 0, got negative ones or NaN")
    return each
