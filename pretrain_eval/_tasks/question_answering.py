"""The stretch of a text that answers a question."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import ExactMatch, TokenF1, exact_match
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.reading import called, parted
from pretrain_eval._tasks.samples import read_each
from pretrain_eval._tasks.sequence_to_sequence import Decode
from pretrain_eval._tasks.splits import Splits

# What collators call the two targets, and the positions where an answer may be.
_ENDS = ("start_positions", "end_positions")
_CONTEXT = "context_mask"


@final
@dataclass(frozen=True)
class ExtractiveQuestionAnswering(TaskKind):
    """The first and the last token of the answer, in the tokens of a text.

    Batches are mappings with `start_positions` and `end_positions`, or any batch whose
    targets are both, `(N, 2)`. The model gives `start_logits` and `end_logits`, each
    `(N, T)`, or `(N, T, 2)`. The loss is the mean of both cross-entropies; a position
    beyond the text, of an answer that was cut off, is not learned and never found. The
    answer is the stretch of the highest sum of both scores whose start is not after its
    end, where `context_mask` of the batch is 1, else where `attention_mask` is. The
    share of exact matches is reported first, then the F1 of tokens, as in SQuAD with
    one reference. Chance is an answer that has nothing in common, 0. Before training
    the model is scored as it is; nothing is, where the head is fresh and so knows
    nothing.

    Args:
        decode: Texts of a batch of token ids, for example a tokenizer's `batch_decode`,
            which are compared after SQuAD's normalisation; by default positions are.
        fresh_head: Give each model a new head of width 2 on its tokens, as a bare
            encoder needs; by default a model keeps its own.

    >>> [metric.key for metric in ExtractiveQuestionAnswering().metrics()]
    ['exact_match', 'token_f1']
    """

    _: KW_ONLY
    decode: Decode | None = None
    fresh_head: bool = False
    place: ClassVar[Place] = "token"

    def __post_init__(self) -> None:
        if self.decode is not None and not callable(self.decode):
            raise TypeError(f"decode must be callable, got {self.decode!r}")

    @property
    def num_outputs(self) -> int | None:  # type: ignore[override] # read only
        """Two scores a token, of a fresh head."""
        return 2 if self.fresh_head else None

    @property
    def before(self) -> Before | None:  # type: ignore[override] # read only
        """The model as it is, unless its head knows nothing."""
        return None if self.fresh_head else "untrained"

    @override
    def metrics(self) -> Metrics:
        return [ExactMatch(normalize="squad"), TokenF1()]

    @override
    def read(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        inputs, targets = _parted(batch)
        named = isinstance(inputs, Mapping)
        inputs = {k: v for k, v in inputs.items() if k != _CONTEXT} if named else inputs
        return self.tensor(called(model, inputs)), targets

    @override
    def tensor(self, outputs: Any) -> Tensor:
        start = getattr(outputs, "start_logits", None)
        if start is not None:
            return torch.stack([start, outputs.end_logits], dim=-1)
        if isinstance(outputs, Mapping) and "start_logits" in outputs:
            return torch.stack([outputs["start_logits"], outputs["end_logits"]], dim=-1)
        scores: Tensor = super().tensor(outputs)
        return scores

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        num_tokens = _num_tokens(outputs)
        ends = [
            F.cross_entropy(
                outputs[..., i],
                targets[:, i].clamp(0, num_tokens),
                ignore_index=num_tokens,
            )
            for i in (0, 1)
        ]
        return (ends[0] + ends[1]) / 2

    @override
    def forward(self, model: Network, batch: Any) -> tuple[list[str], list[str]]:
        outputs, targets = self.read(model, batch)
        num_tokens = _num_tokens(outputs)
        inputs, _ = _parted(batch)
        mask, ids = None, inputs
        if isinstance(inputs, Mapping):
            mask = inputs.get(_CONTEXT, inputs.get("attention_mask"))
            ids = inputs.get("input_ids")
        found = best_spans(outputs[..., 0], outputs[..., 1], mask)
        texts = []
        for spans in (found, targets):
            # An answer that begins beyond the text is empty.
            rows = [list(range(s, min(e + 1, num_tokens))) for s, e in spans.tolist()]
            texts.append(self._texts(rows, ids))
        return texts[0], texts[1]

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            for spans in read_each(split, _spans):
                if spans is None:
                    continue
                if spans.is_floating_point() or spans.shape[-1:] != (2,):
                    raise ValueError(
                        f"{what}: {part}: targets are expected as first and last token,"
                        f" (N, 2), got shape {tuple(spans.shape)} of {spans.dtype}"
                    )
                if bool((spans < 0).any()) or bool(
                    (spans[..., 0] > spans[..., 1]).any()
                ):
                    raise ValueError(
                        f"{what}: {part}: an answer is expected to end at or after its"
                        f" start, and neither below 0, got {spans.tolist()}"
                    )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        return {"exact_match": 0.0, "token_f1": 0.0}

    @override
    def outcomes(self, outputs: list[str], targets: list[str]) -> tuple[str, Tensor]:
        right = [
            exact_match([found], [truth], normalize="squad") == 1
            for found, truth in zip(outputs, targets, strict=True)
        ]
        return "exact_match", torch.tensor(right)

    def _texts(self, rows: list[list[int]], ids: Any) -> list[str]:
        """The text at positions; without a way to decode, the positions themselves."""
        if self.decode is None:
            return [" ".join(map(str, row)) for row in rows]
        if not isinstance(ids, Tensor):
            raise ValueError("decode reads input_ids, which the batch does not hold")
        tokens = [own[row].tolist() for own, row in zip(ids, rows, strict=True)]
        return list(self.decode(tokens))


def best_spans(start: Tensor, end: Tensor, mask: Tensor | None = None) -> Tensor:
    """Argmax over s ≤ e of start_s + end_e, for each row; `(N, 2)`.

    Args:
        start: Scores of the first token, `(N, T)`.
        end: Scores of the last token, `(N, T)`.
        mask: Where a span may begin and end; where it may nowhere, it may anywhere.

    >>> best_spans(torch.tensor([[0.0, 3.0, 1.0]]), torch.tensor([[9.0, 0.0, 1.0]]))
    tensor([[0, 0]])
    """
    if mask is not None:
        kept = mask.bool() | ~mask.bool().any(1, keepdim=True)
        start = start.masked_fill(~kept, -torch.inf)
        end = end.masked_fill(~kept, -torch.inf)
    best, first = start.cummax(1)
    last = (best + end).argmax(1, keepdim=True)
    return torch.cat([first.gather(1, last), last], dim=1)


def _num_tokens(outputs: Tensor) -> int:
    if outputs.ndim != 3 or outputs.shape[-1] != 2:
        raise ValueError(
            "start_logits and end_logits, or scores (N, T, 2), are expected, the model"
            f" gives {tuple(outputs.shape)}; fresh_head=True gives it a head"
        )
    return outputs.shape[1]


def _parted(batch: Any) -> tuple[Any, Tensor]:
    if isinstance(batch, Mapping) and all(name in batch for name in _ENDS):
        inputs = {name: part for name, part in batch.items() if name not in _ENDS}
        return inputs, torch.stack([batch[name].long() for name in _ENDS], dim=1)
    return parted(batch)


def _spans(sample: Any) -> Tensor | None:
    """First and last token of a sample or a batch; None where a collate makes them."""
    if isinstance(sample, Mapping) and all(name in sample for name in _ENDS):
        ends = [torch.as_tensor(sample[name]) for name in _ENDS]
        return torch.stack(ends, dim=-1)
    try:
        return torch.as_tensor(parted(sample)[1])
    except (ValueError, TypeError, RuntimeError):
        return None
