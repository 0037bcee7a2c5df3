"""A text for a text: translation, summaries, answers in free words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics import Metric, Metrics
from pretrain_eval._metrics.predictions import BLEU, ExactMatch, RougeL
from pretrain_eval._runs import FrozenDict
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.reading import LABELS, called, parted
from pretrain_eval._tasks.samples import read_each
from pretrain_eval._tasks.splits import Splits
from pretrain_eval._tasks.tokens import IGNORED, token_loss

Decode = Callable[[Sequence[Sequence[int]]], Sequence[str]]

_METRICS: Mapping[str, Callable[[], Metric]] = {
    "rouge_l": RougeL,
    "bleu": BLEU,
    "exact_match": ExactMatch,
}


@final
@dataclass(frozen=True)
class SequenceToSequence(TaskKind):
    """A text that answers a text, by a model that keeps its own head.

    Batches are mappings of what the model takes by name, with `labels`, `(N, S)`, -100
    where there is padding. While it learns, the model is called with its labels, of
    which it makes the decoder's inputs, and the loss is the cross-entropy, the mean
    over tokens. For the scores it generates, and both texts are decoded. Before
    training the model is scored as it is. Chance is an empty answer, of score 0.

    Args:
        metric: What is reported first; ROUGE-L and exact match follow, where it is
            another one. BLEU needs the package sacrebleu.
        decode: Texts of a batch of token ids, lists of ints, for example
            `partial(tokenizer.batch_decode, skip_special_tokens=True)`.
        generate: Arguments of the model's `generate`, such as `{"num_beams": 4}`; those
            of its own generation apply else, also whether it draws.

    Raises:
        ValueError: The metric is none of the three.
        TypeError: `decode` cannot be called.

    >>> kind = SequenceToSequence(
    ...     "exact_match", decode=lambda rows: list(map(str, rows))
    ... )
    >>> [metric.key for metric in kind.metrics()]
    ['exact_match', 'rouge_l']
    """

    metric: Literal["rouge_l", "bleu", "exact_match"] = "rouge_l"
    _: KW_ONLY
    decode: Decode
    generate: Mapping[str, Any] = field(default_factory=dict)
    place: ClassVar[Place] = "token"
    before: ClassVar[Before | None] = "untrained"

    def __post_init__(self) -> None:
        if not callable(self.decode):
            raise TypeError(f"decode must be callable, got {self.decode!r}")
        if self.metric not in _METRICS:
            raise ValueError(
                f"metric must be one of {list(_METRICS)}, got {self.metric!r}"
            )
        object.__setattr__(self, "generate", FrozenDict(self.generate))

    @override
    def metrics(self) -> Metrics:
        names = dict.fromkeys((self.metric, "rouge_l", "exact_match"))
        return [_METRICS[name]() for name in names]

    @override
    def read(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        inputs, labels = _parted(batch)
        return self.tensor(called(model, {**inputs, "labels": labels})), labels

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return token_loss(outputs, targets)

    @override
    def forward(self, model: Any, batch: Any) -> tuple[list[str], list[str]]:
        inputs, labels = _parted(batch)
        found = model.generate(**inputs, **self.generate)
        truth = [row[row != IGNORED].tolist() for row in labels]
        return self._decoded(found.tolist()), self._decoded(truth)

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            dtypes = {each for each in read_each(split, _dtype) if each is not None}
            if wrong := [each for each in dtypes if each.is_floating_point]:
                raise ValueError(
                    f"{what}: {part}: labels are expected as ids of tokens, got"
                    f" {wrong[0]}"
                )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        return dict.fromkeys((self.metric, "rouge_l", "exact_match"), 0.0)

    @override
    def outcomes(
        self, outputs: list[str], targets: list[str]
    ) -> tuple[str, Tensor] | None:
        pairs = zip(outputs, targets, strict=True)
        return "exact_match", torch.tensor([found == truth for found, truth in pairs])

    def _decoded(self, rows: Sequence[Sequence[int]]) -> list[str]:
        texts = list(self.decode(rows))
        if len(texts) != len(rows) or not all(isinstance(t, str) for t in texts):
            raise ValueError(
                f"decode is expected to give a text a sample, {len(rows)}, got"
                f" {texts[:3]!r}"
            )
        return texts


def _parted(batch: Any) -> tuple[dict[str, Any], Tensor]:
    inputs, labels = parted(batch)
    if not isinstance(inputs, Mapping) or not isinstance(labels, Tensor):
        raise ValueError(
            "a batch is expected by name, with labels of one length, -100 where they"
            " are filled up; give Pretrained a collate=... such as"
            " DataCollatorForSeq2Seq"
        )
    return dict(inputs), labels


def _dtype(sample: Any) -> torch.dtype | None:
    """That of the labels of a sample; None where a collate function makes them."""
    found = [name for name in LABELS if isinstance(sample, Mapping) and name in sample]
    return torch.as_tensor(sample[found[0]]).dtype if found else None
