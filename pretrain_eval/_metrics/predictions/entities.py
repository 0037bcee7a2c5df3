"""Metrics of predicted spans, such as names, in sequences of tags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.predictions.decided import Mask, argmax
from pretrain_eval._metrics.predictions.shapes import require_integers
from pretrain_eval._metrics.sums import SumMetric

_TAGS = "OBIES"
_ENDING = (_TAGS.index("O"), _TAGS.index("E"), _TAGS.index("S"))
_STARTING = (_TAGS.index("B"), _TAGS.index("S"))


@final
class EntityF1(SumMetric):
    """Harmonic mean of precision and recall of entities, 2 tp / (predicted + actual).

    In [0, 1]; 0 where there are no entities at all. An entity is right where its type,
    its first and its last token are. Entities of all sequences and types are pooled.
    Outputs are scores `(num_sequences, length, num_classes)` or class indices of the
    targets' shape, `(num_sequences, length)`. Tags that no scheme allows are read as
    conlleval and seqeval read them: an I- after another type or after O begins an
    entity.

    Args:
        labels: What each class is called: "O", outside, or "B-", "I-", "E-" or "S-",
            begin, inside, end or single, and a type.
        ignore_index: Positions with this target are taken out of their sequence.

    Raises:
        ValueError: A label is of no such form; shapes do not fit; a target is no class.

    Source: Ramshaw and Marcus, Text Chunking using Transformation-Based Learning, 1995.

    >>> metric = EntityF1(["O", "B-PER", "I-PER"])
    >>> found = torch.tensor([[1, 2, 0, 1], [1, 0, 0, 0]])
    >>> metric.update(found, torch.tensor([[1, 2, 0, 1], [1, 2, 0, -100]]))
    >>> metric.compute()
    0.666...
    """

    key = "entity_f1"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    def __init__(self, labels: Sequence[str], *, ignore_index: int = -100) -> None:
        self.labels: tuple[str, ...] = tuple(labels)
        self.ignore_index: int = ignore_index
        split = [_split(label) for label in self.labels]
        types = sorted({kind for _, kind in split})
        self._tags = torch.tensor([_TAGS.index(tag) for tag, _ in split])
        self._types = torch.tensor([types.index(kind) for _, kind in split])

    @override
    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        require_integers(targets, "targets")
        if targets.ndim != 2:
            raise ValueError(
                "targets are expected as (num_sequences, length), got"
                f" {tuple(targets.shape)}"
            )
        predicted, unknown = self._predicted(outputs, targets)
        keep = (targets != self.ignore_index).reshape(-1)
        actual = targets.reshape(-1)[keep]
        if not bool(((actual >= 0) & (actual < len(self.labels))).all()):
            raise ValueError(
                f"targets lie outside 0..{len(self.labels) - 1}, the labels, and are"
                f" not ignore_index={self.ignore_index}"
            )
        rows = torch.arange(len(targets), device=targets.device)
        sequences = rows.repeat_interleave(targets.shape[1])[keep]
        found = self._spans(predicted.reshape(-1)[keep], sequences)
        wanted = self._spans(actual, sequences)
        right = torch.isin(found, wanted).sum()
        sums = torch.stack([right, right.new_tensor(len(found) + len(wanted))]).double()
        if unknown is not None and bool(unknown.reshape(-1)[keep].any()):
            sums *= torch.nan  # scores that are not finite predict nothing
        return sums

    @override
    def value(self, sums: np.ndarray) -> float:
        right, both = sums
        return 0.0 if both == 0 else float(2 * right / both)

    def _predicted(self, outputs: Tensor, targets: Tensor) -> tuple[Tensor, Mask]:
        """Class indices, and where scores are not finite."""
        if outputs.shape == targets.shape:
            require_integers(outputs, "outputs of the targets' shape")
            return outputs, None
        if outputs.shape != (*targets.shape, len(self.labels)):
            raise ValueError(
                f"expected scores {(*targets.shape, len(self.labels))}, one for each"
                f" token and label, got {tuple(outputs.shape)}"
            )
        predicted, unknown = argmax(outputs, 2)
        return torch.as_tensor(predicted), unknown

    def _spans(self, classes: Tensor, sequences: Tensor) -> Tensor:
        """A number for each entity, equal where type, begin and end are."""
        if not len(classes):
            return classes
        tags = self._tags.to(classes.device)[classes]
        types = self._types.to(classes.device)[classes]
        inside = tags != _TAGS.index("O")
        fresh = torch.ones_like(inside)  # what cannot go on with the token before
        fresh[1:] = (sequences[1:] != sequences[:-1]) | (types[1:] != types[:-1])
        fresh[1:] |= _among(tags[:-1], _ENDING)
        begins = inside & (fresh | _among(tags, _STARTING))
        ends = inside.clone()
        ends[:-1] &= begins[1:] | ~inside[1:]
        first, last = begins.nonzero()[:, 0], ends.nonzero()[:, 0]
        return (first * len(classes) + last) * len(self.labels) + types[first]


def _among(tags: Tensor, wanted: tuple[int, ...]) -> Tensor:
    return torch.isin(tags, torch.tensor(wanted, device=tags.device))


def _split(label: str) -> tuple[str, str]:
    """Tag and type of a label."""
    tag, _, kind = label.partition("-")
    if len(tag) != 1 or tag not in _TAGS or (tag == "O" and kind):
        raise ValueError(
            "labels are expected to be 'O', or 'B-', 'I-', 'E-' or 'S-' and a type, got"
            f" {label!r}"
        )
    return tag, kind
