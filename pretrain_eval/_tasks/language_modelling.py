"""The next token of a text, or tokens that are masked in it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metric, Metrics
from pretrain_eval._metrics.predictions import Accuracy, BitsPerByte, Perplexity
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.reading import called
from pretrain_eval._tasks.samples import read_each
from pretrain_eval._tasks.splits import Split, Splits
from pretrain_eval._tasks.text_bytes import NUM_BYTES, byte_entropy, metrics_of_texts
from pretrain_eval._tasks.tokens import IGNORED, token_loss


@final
@dataclass(frozen=True)
class LanguageModelling(TaskKind):
    """The next token at each position, by a model that keeps its own head.

    Batches are mappings with `input_ids`, `(N, T)`, and where there is padding
    `attention_mask`; or ids alone. `labels` are the ids themselves, padding left out,
    unless they are given, with -100 where nothing is counted; the kind shifts them, so
    that outputs at a position, `(N, T, V)`, are scored by the next token. The loss is
    the cross-entropy, the mean over tokens, as of transformers' causal models.
    Perplexity is reported first; lower is better. It is per token: models with
    tokenizers of their own are compared by bits per byte, which `by_byte` reports
    first. Then batches also say, under `num_bytes`, `(N,)`, how many UTF-8 bytes the
    scored tokens of each text spell, as those of `zoo.transformers` do; a byte of the
    first token, which nothing predicts, is not among them, nor is one that was cut off. Before training the model is scored
    as it is. Chance is a predictor that knows how often each token stands in the
    reported split, and nothing else; where samples are text, of bits per byte one that
    knows how often each byte stands there.

    Args:
        masked: Predict tokens where they stand, which `labels` name, as BERT does.
        bytes_per_token: UTF-8 bytes of the reported text by scored token, for bits per
            byte, which is left out where it is not known. One number for all models,
            so it is right for one tokenizer.
        by_byte: Report bits per byte first, of the bytes that batches name.

    Raises:
        ValueError: `bytes_per_token` is not positive, or is given beside `by_byte`.

    >>> list(LanguageModelling(bytes_per_token=4.2).metrics())
    ['perplexity', 'bits_per_byte', 'token_accuracy']
    """

    _: KW_ONLY
    masked: bool = False
    bytes_per_token: float | None = None
    by_byte: bool = False
    place: ClassVar[Place] = "token"
    before: ClassVar[Before | None] = "untrained"

    def __post_init__(self) -> None:
        if self.bytes_per_token is not None:
            BitsPerByte(bytes_per_token=self.bytes_per_token)  # which checks it
            if self.by_byte:
                raise ValueError(
                    "LanguageModelling expects bytes_per_token, one number for all"
                    " models, or by_byte=True, which reads them of batches; got both"
                )

    @override
    def metrics(self) -> Metrics:
        if self.by_byte:
            return metrics_of_texts()
        metrics: dict[str, Metric] = {"perplexity": Perplexity(class_dim=-1)}
        if self.bytes_per_token is not None:
            metrics["bits_per_byte"] = BitsPerByte(bytes_per_token=self.bytes_per_token)
        right = Accuracy(ignore_index=IGNORED, class_dim=-1)
        return {**metrics, "token_accuracy": right}

    @override
    def read(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        inputs, ids, mask, labels = _entries(batch)
        targets = self._targets(ids, mask, labels)
        outputs = self.tensor(called(model, inputs))
        if outputs.shape[:-1] != targets.shape:
            raise ValueError(
                f"scores of each token are expected, {(*targets.shape, 'V')}, the model"
                f" gives {tuple(outputs.shape)}"
            )
        return outputs, targets

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Any, Tensor]:
        outputs, targets = self.read(model, batch)
        if not self.by_byte:
            return outputs, targets
        if not isinstance(batch, Mapping) or NUM_BYTES not in batch:
            raise ValueError(
                "by_byte needs batches that say under 'num_bytes' how many bytes of text"
                " the scored tokens of each sample spell; zoo.transformers counts them"
                " of samples that are texts, where its tokenizer is a fast one"
            )
        return {"scores": outputs, NUM_BYTES: batch[NUM_BYTES]}, targets

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return token_loss(outputs.float(), targets)

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            try:
                found = self._scored(split)
            except ValueError as error:
                raise ValueError(f"{what}: {part}: {error}") from error
            if found is not None and not len(found):
                raise ValueError(f"{what}: {part} has no token to predict")

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """Perplexity exp(H), where H is the entropy of the reported split's tokens."""
        scored = self._scored(splits.reported)
        if scored is None:
            texts = read_each(splits.reported, lambda sample: sample)
            whole = self.by_byte and all(isinstance(each, str) for each in texts)
            return {"bits_per_byte": byte_entropy(texts)} if whole else {}
        shares = scored.bincount().double() / len(scored)
        shares = shares[shares > 0]
        nats = float(-(shares * shares.log()).sum())
        levels = {"perplexity": math.exp(nats), "token_accuracy": float(shares.max())}
        if self.bytes_per_token is not None:
            levels["bits_per_byte"] = nats / math.log(2) / self.bytes_per_token
        return levels

    def _scored(self, split: Split) -> Tensor | None:
        """The tokens that are predicted in it; None where a model's collate makes them."""

        def tokens(sample: Any) -> Tensor | None:
            _, ids, mask, labels = _entries(sample)
            if ids is None:
                return None
            targets = self._targets(ids, mask, labels)
            return targets[targets != IGNORED]

        found = read_each(split, tokens)
        known = [each for each in found if each is not None]
        return torch.cat(known) if len(known) == len(found) else None

    def _targets(self, ids: Any, mask: Any, labels: Any) -> Tensor:
        """What is right at each position, of a sample or a batch."""
        if self.masked and labels is None:
            raise ValueError(
                "masked tokens are named by labels, -100 elsewhere, got none; mask with"
                " a collate function such as DataCollatorForLanguageModeling"
            )
        given = torch.as_tensor(ids if labels is None else labels)
        if given.is_floating_point() or given.dtype == torch.bool:
            raise ValueError(f"ids of tokens are expected, got {given.dtype}")
        if given.shape != torch.as_tensor(ids).shape:
            raise ValueError(
                f"labels are expected as input_ids are, {tuple(torch.as_tensor(ids).shape)},"
                f" got {tuple(given.shape)}"
            )
        if self.masked:
            return given
        if labels is None and mask is not None:
            given = given.masked_fill(torch.as_tensor(mask) == 0, IGNORED)
        return F.pad(given, (0, 1), value=IGNORED)[..., 1:]


def _entries(batch: Any) -> tuple[Any, Any, Any, Any]:
    """What a model is called with, and ids, mask and labels, None where there are none.

    Of a batch or a sample.
    """
    if isinstance(batch, Mapping):
        apart = "labels", NUM_BYTES
        inputs = {name: part for name, part in batch.items() if name not in apart}
        names = "input_ids", "attention_mask", "labels"
        ids, mask, labels = (batch.get(name) for name in names)
        return inputs, ids, mask, labels
    if isinstance(batch, str | bytes):
        return batch, None, None, None
    labels = None
    if isinstance(batch, tuple | list) and isinstance(batch[0], Tensor):
        batch, labels = batch[0], (batch[1] if len(batch) > 1 else None)
    return batch, batch, None, labels
