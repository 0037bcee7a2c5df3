"""What was said, of sound: connectionist temporal classification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence, pad_sequence
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import CharErrorRate, WordErrorRate
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.reading import called, parted
from pretrain_eval._tasks.samples import read_each
from pretrain_eval._tasks.splits import Splits

# What fills up targets of different lengths.
FILLED = -100
Outputs = tuple[Tensor, Tensor]


@final
@dataclass(frozen=True)
class SpeechRecognition(TaskKind):
    """The text that was spoken, by scores of characters at each moment.

    Batches are one of: a mapping of what the model takes by name, with `labels`;
    `(inputs, targets)`, where inputs may be a `PackedSequence`; `(inputs, lengths,
    targets, target_lengths)`, whose model is called with inputs and lengths. Targets are
    classes `(N, S)`, filled up with -100 or ended by their lengths, or a list of
    tensors. The model gives logits `(N, T, V)`; or these with their lengths; or a
    `PackedSequence`. Lengths that it does not give are those that its
    `_get_feat_extract_output_lengths` makes of the attention mask, as in wav2vec2;
    those of the inputs, where outputs are as many; all, where inputs have none.

    The loss is CTC's, each sample's divided by the length of its target, then the mean;
    a target that is too long for its input costs nothing. The most likely class of each
    moment is read, repeats once and blanks not at all. The word error rate is reported
    first, then that of characters; lower is better. Chance is an empty answer, of which
    every word is missing: 1. Before training the model is scored as it is; nothing is,
    where the head is fresh.

    Args:
        vocabulary: What each class stands for: characters, " " between words.
        blank: The class that stands for nothing.
        fresh_head: Give each model a new head of V outputs on its moments, as a bare
            encoder needs; by default a model keeps its own.

    Raises:
        ValueError: The blank is no class, or there is nothing beside it.

    Source: Graves et al., Connectionist Temporal Classification, ICML 2006.

    >>> SpeechRecognition("_ab ").text([0, 1, 1, 0, 1, 3, 2])
    'aa b'
    """

    vocabulary: Sequence[str]
    blank: int = 0
    _: KW_ONLY
    fresh_head: bool = False
    place: ClassVar[Place] = "token"

    def __post_init__(self) -> None:
        if not isinstance(self.vocabulary, Sequence):
            raise TypeError(
                "vocabulary is expected to be a sequence of characters, got"
                f" {self.vocabulary!r}"
            )
        check_count("blank", self.blank, 0)
        object.__setattr__(self, "vocabulary", tuple(self.vocabulary))
        size = len(self.vocabulary)
        if size < 2 or not 0 <= self.blank < size:
            raise ValueError(
                f"vocabulary is expected to hold a class beside the blank, {self.blank},"
                f" got {size}: {list(self.vocabulary)}"
            )

    @property
    def num_outputs(self) -> int | None:  # type: ignore[override] # read only
        """A score a class, of a fresh head."""
        return len(self.vocabulary) if self.fresh_head else None

    @property
    def before(self) -> Before | None:  # type: ignore[override] # read only
        """The model as it is, unless its head knows nothing."""
        return None if self.fresh_head else "untrained"

    @override
    def metrics(self) -> Metrics:
        return [WordErrorRate(), CharErrorRate()]

    @override
    def read(self, model: Any, batch: Any) -> tuple[Outputs, Tensor]:
        inputs, targets = _parted(batch)
        scores, lengths = _scores(called(model, inputs))
        if lengths is None:
            lengths = _lengths(model, inputs, scores)
        if scores.ndim != 3:
            raise ValueError(
                "scores of each moment are expected, (N, T, V), the model gives"
                f" {tuple(scores.shape)}"
            )
        return (scores, lengths), targets

    @override
    def loss(self, outputs: Outputs, targets: Tensor) -> Tensor:
        scores, lengths = outputs
        kept = targets != FILLED
        log_p = scores.log_softmax(-1, dtype=torch.float32).transpose(0, 1)
        # The only kernel that gives the same bits twice on CUDA.
        with torch.backends.cudnn.flags(enabled=False):
            return F.ctc_loss(
                log_p,
                targets[kept],
                lengths,
                kept.sum(1),
                blank=self.blank,
                zero_infinity=True,
            )

    @override
    def forward(self, model: Network, batch: Any) -> tuple[list[str], list[str]]:
        (scores, lengths), targets = self.read(model, batch)
        best = scores.argmax(-1)
        ends = zip(best.tolist(), lengths.tolist(), strict=True)
        truth = [self._joined(row[row != FILLED].tolist()) for row in targets]
        return [self.text(row[:end]) for row, end in ends], truth

    def text(self, classes: Sequence[int]) -> str:
        """What the classes of successive moments say: repeats once, blanks not at all."""
        pairs = zip(classes, [self.blank, *classes], strict=False)
        return self._joined([c for c, last in pairs if c not in (last, self.blank)])

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            for found in read_each(split, _classes):
                if found is None:
                    continue
                wrong = found.is_floating_point() or bool((found == self.blank).any())
                if wrong or not bool(((found >= 0) & (found < self._size)).all()):
                    raise ValueError(
                        f"{what}: {part}: targets are expected as classes of 0.."
                        f"{self._size - 1} other than the blank, {self.blank}, got"
                        f" {found.tolist()}"
                    )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        return {"wer": 1.0, "cer": 1.0}

    @property
    def _size(self) -> int:
        return len(self.vocabulary)

    def _joined(self, classes: Sequence[int]) -> str:
        return "".join(self.vocabulary[c] for c in classes)


def _parted(batch: Any) -> tuple[Any, Tensor]:
    """What the model is called with, and targets filled up with -100."""
    if isinstance(batch, tuple | list) and len(batch) == 4:
        inputs, lengths, targets, target_lengths = batch
        ends = torch.as_tensor(target_lengths, device=targets.device)[:, None]
        places = torch.arange(targets.shape[1], device=targets.device)
        return (inputs, lengths), targets.masked_fill(places >= ends, FILLED)
    inputs, targets = parted(batch)
    if isinstance(targets, Tensor):
        return inputs, targets.masked_fill(targets < 0, FILLED)
    return inputs, pad_sequence(list(targets), True, FILLED)


def _classes(sample: Any) -> Tensor | None:
    """The target of a sample, or those of a batch; None where a collate makes them."""
    try:
        if isinstance(sample, tuple | list) and len(sample) == 4:
            _, _, target, length = sample
            if getattr(length, "ndim", 0) == 0:
                return torch.as_tensor(target)[: int(length)]
            target = _parted(sample)[1]
        else:
            target = parted(sample)[1]
        if isinstance(target, list | tuple) and isinstance(target[0], Tensor):
            target = torch.cat(list(target))
        found = torch.as_tensor(target)
    except (ValueError, TypeError, RuntimeError):
        return None
    return found[found != FILLED]


def _scores(found: Any) -> tuple[Tensor, Tensor | None]:
    """Logits, and their lengths where the model gives them."""
    if isinstance(found, PackedSequence):
        return pad_packed_sequence(found, batch_first=True)
    if type(found) in (tuple, list) and len(found) == 2:
        scores, lengths = found
        return scores, lengths.long()
    if isinstance(found, Mapping):
        found = found["logits"]
    scores = getattr(found, "logits", found)
    return scores, None


def _lengths(model: Any, inputs: Any, scores: Tensor) -> Tensor:
    """How many moments of each sample's scores count."""
    num_samples, num_moments = scores.shape[:2]
    given: Tensor | None = None
    if isinstance(inputs, Mapping) and inputs.get("attention_mask") is not None:
        given = inputs["attention_mask"].sum(-1).long()
    elif isinstance(inputs, tuple) and not isinstance(inputs, PackedSequence):
        given = inputs[1].long()
    # A backbone with a head that was added says it itself.
    whole = getattr(model, "body", model)
    shorten = getattr(whole, "_get_feat_extract_output_lengths", None)
    if given is not None and shorten is not None:
        return torch.as_tensor(shorten(given)).long()
    if given is None or bool((given == given[0]).all()):
        return torch.full((num_samples,), num_moments, device=scores.device)
    if int(given.max()) == num_moments:
        return given
    raise ValueError(
        f"inputs of {given.tolist()} moments became {num_moments} moments of scores, and"
        " the model does not say how many of them count; return (logits, lengths)"
    )
