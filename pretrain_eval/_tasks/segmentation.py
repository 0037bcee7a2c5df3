"""One class a pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metrics, logits
from pretrain_eval._metrics.predictions import Accuracy, DiceScore, MeanIoU
from pretrain_eval._tasks.checks import check_classes, check_count
from pretrain_eval._tasks.frozen import class_means, nearest
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.reading import called, parted
from pretrain_eval._tasks.samples import each_target
from pretrain_eval._tasks.splits import Split, Splits

# Of one image, for the means before training: neighbours tell nothing new.
_MOST_PIXELS = 256
# Masks of a split that are looked at before any work; a loss sees the others.
_MOST_MASKS = 1000


@final
@dataclass(frozen=True)
class Segmentation(TaskKind):
    """One of C classes for each pixel of an image.

    Targets are class indices, `(N, H, W)`, where `ignore_index` is neither learned nor
    counted. Outputs are scores `(N, C, h, w)`, or a mapping with these as "out" and, in
    training, those of an auxiliary head as "aux"; scores of another size than the
    targets are interpolated bilinearly. The loss is the cross-entropy, the mean over
    pixels, plus `aux_weight` times that of "aux". The mean IoU is reported first, then
    the Dice score, both of pooled pixels and over the classes that occur, and the share
    of pixels that are right. Before training stands the nearest class mean of what the
    head reads, at its size: of each image at most 256 pixels, evenly spread, make the
    means.

    Args:
        num_classes: At least 2, the background among them.
        ignore_index: The target of pixels that are of no class.
        aux_weight: What the loss of an auxiliary head counts; torchvision's own
            training scripts say 0.5.

    >>> Segmentation(21).num_outputs
    21
    """

    num_classes: int
    _: KW_ONLY
    ignore_index: int = 255
    aux_weight: float = 0.4
    before: ClassVar[Before | None] = "frozen"
    place: ClassVar[Place] = "pixel"

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes, 2)
        weight = self.aux_weight
        if type(weight) not in (int, float) or not 0 <= weight < math.inf:
            raise ValueError(f"aux_weight must be a number from 0, got {weight!r}")
        if 0 <= self.ignore_index < self.num_classes:
            raise ValueError(
                f"ignore_index must be none of the classes 0..{self.num_classes - 1},"
                f" got {self.ignore_index}"
            )

    @property
    def num_outputs(self) -> int:  # type: ignore[override] # read only
        """A logit a class, for each pixel."""
        return self.num_classes

    @override
    def metrics(self) -> Metrics:
        num_classes, ignored = self.num_classes, self.ignore_index
        regions = {
            metric.key: metric(
                num_classes=num_classes,
                ignore_index=ignored,
                class_dim=1,
                absent="drop",
            )
            for metric in (MeanIoU, DiceScore)
        }
        pixels = Accuracy(num_classes=num_classes, ignore_index=ignored, class_dim=1)
        # Of its own name: what is called accuracy is what evaluators read unasked.
        return {**regions, "pixel_accuracy": pixels}

    @override
    def tensor(self, outputs: Any) -> Tensor:
        if isinstance(outputs, Mapping) and "out" in outputs:
            outputs = outputs["out"]
        return logits(outputs)

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Any, Tensor]:
        inputs, targets = parted(batch)
        outputs = called(model, inputs)
        scores = self._sized(self.tensor(outputs), targets)
        if not isinstance(outputs, Mapping) or outputs.get("aux") is None:
            return scores, targets.long()
        return {"out": scores, "aux": self._sized(outputs["aux"], targets)}, (
            targets.long()
        )

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        outputs, targets = self.read(model, batch)
        return self._sized(outputs, targets), targets.long()

    @override
    def loss(self, outputs: Any, targets: Tensor) -> Tensor:
        if not isinstance(outputs, Mapping):
            return F.cross_entropy(outputs, targets, ignore_index=self.ignore_index)
        main, aux = (self.loss(outputs[name], targets) for name in ("out", "aux"))
        return main + self.aux_weight * aux

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            counts = self._counts(f"{what}: {part}", split, _MOST_MASKS)
            check_classes(f"{what}: {part} holds pixels", part, counts)

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """The majority class of the reported split, of share π of its pixels.

        Pixel accuracy π, mean IoU π/C and Dice 2π/(1+π)/C, of the C classes that occur.
        """
        counts = self._counts("reported", splits.reported)
        share, occurring = float(counts.max() / counts.sum()), int((counts > 0).sum())
        return {
            "miou": share / occurring,
            "dice": 2 * share / (1 + share) / occurring,
            "pixel_accuracy": share,
        }

    @override
    def rows(self, features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        # The class at the middle of what each position of the map stands for.
        masks = targets[:, None].double()
        small = F.interpolate(masks, features.shape[-2:], mode="nearest-exact").long()
        rows, classes = [], []
        for image, mask in zip(features.flatten(2), small.flatten(1), strict=True):
            kept = (mask != self.ignore_index).nonzero()[:, 0]
            most = min(len(kept), _MOST_PIXELS)
            chosen = kept[
                torch.arange(most, device=kept.device) * len(kept) // max(most, 1)
            ]
            rows.append(image[:, chosen].T.float())
            classes.append(mask[chosen])
        return torch.cat(rows), torch.cat(classes)

    @override
    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        means = class_means(rows, targets, self.num_classes)

        def predict(features: Tensor) -> Tensor:
            size = (len(features), *features.shape[-2:])
            queries = features.flatten(2).mT.flatten(0, 1).float()
            classes = nearest(means, queries).view(size)
            return F.one_hot(classes, self.num_classes).movedim(-1, 1).float()

        return predict

    def _sized(self, scores: Tensor, targets: Tensor) -> Tensor:
        """Scores of each pixel of the targets."""
        wanted = (len(targets), self.num_classes)
        if scores.ndim != 4 or targets.ndim != 3 or scores.shape[:2] != wanted:
            raise ValueError(
                f"scores {(*wanted, 'h', 'w')} and targets (N, H, W) are expected, got"
                f" {tuple(scores.shape)} and {tuple(targets.shape)}"
            )
        if scores.shape[2:] == targets.shape[1:]:
            return scores
        return F.interpolate(scores, targets.shape[1:], mode="bilinear")

    def _counts(self, what: str, split: Split, most: int | None = None) -> Tensor:
        """How many pixels each class has."""

        def count(target: Any) -> Tensor:
            mask = target if isinstance(target, Tensor) else np.asarray(target)
            classes = torch.as_tensor(mask)
            if classes.is_floating_point() or classes.ndim != 2:
                raise ValueError(
                    f"{what} must have integer class targets, one a pixel, (H, W), got"
                    f" shape {tuple(classes.shape)} of {classes.dtype}"
                )
            classes = classes[classes != self.ignore_index].long()
            wrong = classes[(classes < 0) | (classes >= self.num_classes)]
            if len(wrong):
                raise ValueError(
                    f"{what} holds the label {int(wrong[0])}; num_classes="
                    f"{self.num_classes} allows 0..{self.num_classes - 1}, and"
                    f" ignore_index={self.ignore_index} for no class"
                )
            return classes.bincount(minlength=self.num_classes)

        return torch.stack(each_target(split, count, most)).sum(0)
