"""The other member of a pair, found among all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import MedianRank, PairRecall, pair_ranks
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.kind import Before, Network, TaskKind
from pretrain_eval._tasks.reading import LABELS, called
from pretrain_eval._tasks.splits import Splits
from pretrain_eval._tasks.stream import Stream

# What models of two towers call their embeddings.
_NAMES = (("image_embeds", "text_embeds"), ("image_features", "text_features"))


@final
@dataclass(frozen=True)
class Retrieval(TaskKind):
    """Pairs of an image and a text, or of two texts, that find each other.

    A batch is `(first, second)`, with which the model is called, or a mapping with the
    inputs of both towers. The model returns two embeddings `(N, width)`, or an object
    with `image_embeds` and `text_embeds`, and keeps its own heads. The loss is the
    symmetric cross-entropy of the cosines (InfoNCE), times the model's `logit_scale`,
    or its own `logits_per_image` where it gives them. Scores are of the whole reported
    split: the mean recall@k of both ways, that of each way, and the median rank;
    chance is k/N; before training stands the model as it is.

    Args:
        k: How many members are looked at; the first is reported first.
        temperature: Of the loss, where the model has no scale of its own.

    Source: Radford et al., Learning Transferable Visual Models From Natural Language
    Supervision, ICML 2021.

    >>> Retrieval().k
    (1, 5, 10)
    """

    k: tuple[int, ...] = (1, 5, 10)
    _: KW_ONLY
    temperature: float = 0.07
    before: ClassVar[Before | None] = "untrained"
    outcomes_of: ClassVar[Literal["batch", "split"]] = "split"

    def __post_init__(self) -> None:
        if not isinstance(self.k, Sequence) or isinstance(self.k, str):
            raise TypeError(f"Retrieval expects k as several ints, got {self.k!r}")
        for k in self.k:
            check_count("k", k, 1)
        warmth = self.temperature
        if not self.k or not (isinstance(warmth, Real) and warmth > 0):
            raise ValueError(
                "Retrieval expects at least one k and a positive temperature, got"
                f" {self.k!r} and {self.temperature!r}"
            )

    @override
    def metrics(self) -> Metrics:
        named = {f"recall_at_{k}": PairRecall(k=k) for k in self.k}
        k = self.k[0]
        for way in ("first", "second"):
            named[f"recall_at_{k}_of_{way}"] = PairRecall(k=k, way=way)
        return {**named, "median_rank": MedianRank()}

    @override
    def read(self, model: Network, batch: Any) -> tuple[Any, Tensor]:
        if isinstance(batch, Mapping):
            batch = {name: part for name, part in batch.items() if name not in LABELS}
        outputs = called(model, batch)
        first, _ = _embeddings(outputs)
        return outputs, torch.arange(len(first), device=first.device)

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        first, second = _embeddings(self.read(model, batch)[0])
        return F.normalize(first.float(), dim=1), F.normalize(second.float(), dim=1)

    @override
    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        scores = _entry(outputs, "logits_per_image")
        if scores is None:
            first, second = (F.normalize(one, dim=1) for one in _embeddings(outputs))
            scale = _entry(outputs, "logit_scale")
            if scale is None and isinstance(outputs, tuple | list) and len(outputs) > 2:
                scale = outputs[2]
            scores = (
                first @ second.T * (1 / self.temperature if scale is None else scale)
            )
        return (
            F.cross_entropy(scores, targets) + F.cross_entropy(scores.T, targets)
        ) / 2

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            if isinstance(split, DataLoader):
                continue
            # A stream has no places.
            sample = next(iter(split)) if isinstance(split, Stream) else split[0]
            named = isinstance(sample, Mapping) and len(sample) > 1
            if not named and not (
                isinstance(sample, tuple | list) and len(sample) == 2
            ):
                raise ValueError(
                    f"{what}: {part} must hold pairs, (first, second) or a mapping with"
                    f" both, got {type(sample).__name__}"
                )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """Of a random order of N members: k/N, and a median rank of (N + 1)/2."""
        split: Any = splits.reported
        held: Any = split.dataset if isinstance(split, DataLoader) else split
        size = len(held)
        levels = {f"recall_at_{k}": min(k / size, 1.0) for k in self.k}
        k = self.k[0]
        ways = {
            f"recall_at_{k}_of_{way}": min(k / size, 1.0) for way in ("first", "second")
        }
        return {**levels, **ways, "median_rank": (size + 1) / 2}

    @override
    def outcomes(self, outputs: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        ranks = torch.stack(pair_ranks(outputs.double(), targets.double()))
        return f"recall_at_{self.k[0]}", (ranks <= self.k[0]).double().mean(0)


def _embeddings(outputs: Any) -> tuple[Tensor, Tensor]:
    """Both embeddings in what a model returned."""
    for names in _NAMES:
        found = [_entry(outputs, name) for name in names]
        if all(isinstance(one, Tensor) for one in found):
            return found[0], found[1]
    if isinstance(outputs, tuple | list) and len(outputs) > 1:
        first, second = outputs[:2]
        if isinstance(first, Tensor) and isinstance(second, Tensor):
            if first.shape == second.shape and first.ndim == 2:
                return first, second
            raise ValueError(
                "the embeddings of a pair are expected to be (N, width) both, got"
                f" {tuple(first.shape)} and {tuple(second.shape)}"
            )
    raise TypeError(
        "a model of pairs is expected to return two embeddings, or an object with"
        f" image_embeds and text_embeds, got {type(outputs).__name__}"
    )


def _entry(outputs: Any, name: str) -> Any:
    if isinstance(outputs, Mapping):
        return outputs.get(name)
    return getattr(outputs, name, None)
