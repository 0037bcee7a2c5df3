"""One class a token."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import Accuracy, EntityF1, F1Score
from pretrain_eval._tasks.checks import check_classes, check_count
from pretrain_eval._tasks.frozen import class_means, nearest
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.samples import each_target
from pretrain_eval._tasks.splits import Split, Splits
from pretrain_eval._tasks.tokens import IGNORED, token_loss


@final
@dataclass(frozen=True)
class TokenClassification(TaskKind):
    """One of C classes for each token of a sequence, as in named-entity recognition.

    Targets are class indices, `(N, T)`, where -100 is neither learned nor counted;
    outputs are scores `(N, T, C)`. Raw samples may be of any length, where a collate
    function fills them up. The loss is the cross-entropy, the mean over tokens. The F1
    of entities is reported first where `labels` name the classes' tags, then the share
    of tokens that are right and the macro F1 over tokens; before training stands the
    nearest class mean over the frozen features of tokens.

    Args:
        num_classes: At least 2.
        labels: What each class is called: "O", or "B-", "I-", "E-" or "S-" and a type.

    >>> kind = TokenClassification(3, labels=["O", "B-PER", "I-PER"])
    >>> list(kind.metrics())
    ['entity_f1', 'token_accuracy', 'f1']
    """

    num_classes: int
    labels: Sequence[str] | None = None
    before: ClassVar[Before | None] = "frozen"
    place: ClassVar[Place] = "token"

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes, 2)
        if self.labels is None:
            return
        object.__setattr__(self, "labels", tuple(self.labels))
        if len(self.labels) != self.num_classes:
            raise ValueError(
                f"labels are expected to name {self.num_classes} classes, got"
                f" {len(self.labels)}: {list(self.labels)}"
            )
        EntityF1(self.labels)  # which checks their form

    @property
    def num_outputs(self) -> int:  # type: ignore[override] # read only
        """A logit a class, for each token."""
        return self.num_classes

    @override
    def metrics(self) -> Metrics:
        num_classes = self.num_classes
        # Of its own name: what is called accuracy is what evaluators read unasked.
        tokens = {
            "token_accuracy": Accuracy(
                num_classes=num_classes, ignore_index=IGNORED, class_dim=-1
            ),
            "f1": F1Score(num_classes=num_classes, ignore_index=IGNORED, class_dim=-1),
        }
        if self.labels is None:
            return tokens
        return {"entity_f1": EntityF1(self.labels), **tokens}

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        outputs, targets = self.read(model, batch)
        targets = targets.long()
        if outputs.shape != (*targets.shape, self.num_classes):
            raise ValueError(
                f"a score is expected for each token and class,"
                f" {(*targets.shape, self.num_classes)}, the model gives"
                f" {tuple(outputs.shape)}"
            )
        return outputs, targets

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return token_loss(outputs, targets)

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            counts = self._counts(f"{what}: {part}", split)
            check_classes(f"{what}: {part} holds tokens", part, counts)

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """The majority class of the reported split, of share π of its tokens.

        Token accuracy π, macro F1 2π/(1+π)/C, entity F1 0, that of no entity.
        """
        counts = self._counts("reported", splits.reported)
        share = float(counts.max() / counts.sum())
        levels = {
            "token_accuracy": share,
            "f1": 2 * share / (1 + share) / self.num_classes,
        }
        return levels if self.labels is None else {"entity_f1": 0.0, **levels}

    @override
    def rows(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if features.shape[:2] != targets.shape:
            raise ValueError(
                f"features of each token are expected, {(*targets.shape, '...')}, the"
                f" model gives {tuple(features.shape)}"
            )
        kept = targets != IGNORED
        return features[kept].float(), targets[kept]

    @override
    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        means = class_means(rows, targets, self.num_classes)

        def predict(features: Tensor) -> Tensor:
            classes = nearest(means, features.flatten(0, 1).float())
            return F.one_hot(classes.view(features.shape[:2]), self.num_classes).float()

        return predict

    def _counts(self, what: str, split: Split) -> Tensor:
        """How many tokens each class has."""

        def count(target: Any) -> Tensor:
            classes = torch.as_tensor(target)
            if classes.is_floating_point() or classes.ndim != 1:
                raise ValueError(
                    f"{what} must have integer class targets, one a token, (T,), got"
                    f" shape {tuple(classes.shape)} of {classes.dtype}; for one class a"
                    " sample give num_classes"
                )
            classes = classes[classes != IGNORED]
            wrong = classes[(classes < 0) | (classes >= self.num_classes)]
            if len(wrong):
                raise ValueError(
                    f"{what} holds the label {int(wrong[0])}; num_classes="
                    f"{self.num_classes} allows 0..{self.num_classes - 1}, and -100 for"
                    " what is no token"
                )
            return classes.long().bincount(minlength=self.num_classes)

        return torch.stack(each_target(split, count)).sum(0)
