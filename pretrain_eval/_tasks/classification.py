"""One class a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import Accuracy, F1Score, Precision, Recall
from pretrain_eval._runs import majority_levels
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.frozen import nearest_class_mean
from pretrain_eval._tasks.kind import Before, Network, TaskKind
from pretrain_eval._tasks.samples import read_targets
from pretrain_eval._tasks.splits import Split, Splits


@final
@dataclass(frozen=True)
class Classification(TaskKind):
    """One of C classes a sample.

    Targets are class indices, `(N,)`, or while training also shares of classes,
    `(N, C)`, as mixup and cutmix give. The loss is the cross-entropy; accuracy is
    reported first, with macro precision, recall and F1; before training stands the
    nearest class mean of the frozen features.

    Args:
        num_classes: At least 2.
        one_logit: Of two classes, learn the log-odds of class 1 by a head of one
            output, with the binary cross-entropy.

    >>> Classification(10).num_outputs
    10
    """

    num_classes: int
    _: KW_ONLY
    one_logit: bool = False
    before: ClassVar[Before | None] = "frozen"

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes, 2)
        if self.one_logit and self.num_classes != 2:
            raise ValueError(
                f"one_logit tells two classes apart, got num_classes={self.num_classes}"
            )

    @property
    def num_outputs(self) -> int:  # type: ignore[override] # read only
        """A logit a class, or one for two."""
        return 1 if self.one_logit else self.num_classes

    @override
    def metrics(self) -> Metrics:
        return [Accuracy(), Precision(), Recall(), F1Score()]

    @override
    def read(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        """What the model returns, and classes as torch's losses take them."""
        outputs, targets = super().read(model, batch)
        targets = torch.as_tensor(targets, device=outputs.device)
        return outputs, targets if targets.is_floating_point() else targets.long()

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        outputs, targets = self.read(model, batch)
        if self.one_logit:
            return outputs.reshape(len(outputs)), targets.to(outputs.dtype)
        return outputs, targets

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        outputs, targets = self.read(model, batch)
        if self.one_logit:
            logit = outputs.reshape(len(outputs))
            outputs = torch.stack([torch.zeros_like(logit), logit], dim=1)
        return outputs, targets

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.one_logit:
            return F.binary_cross_entropy_with_logits(outputs, targets)
        return F.cross_entropy(outputs, targets)

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            counts = self._counts(f"{what}: {part}", split)
            if part == "train" and int((counts > 0).sum()) < 2:
                raise ValueError(
                    f"{what}: the training split holds a single class; a classifier"
                    " needs samples of at least two"
                )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """The majority class of the reported split, of share π.

        Accuracy π, macro recall 1/C, macro precision π/C, macro F1 2π/(1+π)/C.
        """
        counts = self._counts("reported", splits.reported)
        # Rounded to float32, as in the runs of every store that there is.
        share = float(counts.max() / counts.sum())
        return majority_levels(share, self.num_classes)

    @override
    def rows(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        if targets.is_floating_point():
            raise ValueError("training samples share classes, so none has a mean")
        return features.flatten(1).float(), targets

    @override
    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        def nearest(features: Tensor) -> Tensor:
            queries = features.flatten(1).float()
            classes = nearest_class_mean(rows, targets, queries, self.num_classes)
            if self.one_logit:
                return 2.0 * classes - 1
            return F.one_hot(classes, self.num_classes).float()

        return nearest

    @override
    def outcomes(self, outputs: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        return "accuracy", outputs.argmax(1) == targets

    @override
    def classes(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return outputs.argmax(1)  # of ties the first

    def _counts(self, what: str, split: Split) -> Tensor:
        """How many samples each class has."""
        targets = read_targets(split)
        if targets.is_floating_point() and targets.shape[1:] == (self.num_classes,):
            targets = targets.argmax(1)  # shares of classes
        if targets.is_floating_point() or targets.ndim != 1:
            raise ValueError(
                f"{what} must have integer class targets, one a sample, got shape"
                f" {tuple(targets.shape)} of {targets.dtype}; for regression give"
                " num_outputs instead of num_classes, for several labels a sample"
                " kind=MultiLabel(...)"
            )
        targets = targets.long()  # torch has no least of some integers
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= self.num_classes:
            raise ValueError(
                f"{what} holds the label {low if low < 0 else high}; num_classes="
                f"{self.num_classes} allows 0..{self.num_classes - 1}"
            )
        return targets.bincount(minlength=self.num_classes)
