"""Boxes in an image, each of a class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import MeanAveragePrecision
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.kind import Before, Network, TaskKind
from pretrain_eval._tasks.samples import each_target
from pretrain_eval._tasks.splits import Splits

_FOUND = ("boxes", "scores", "labels")
# Targets of a split that are looked at before any work; a detector sees the others.
_MOST_IMAGES = 1000


@final
@dataclass(frozen=True)
class Detection(TaskKind):
    """Boxes in an image, each of one of C classes, by torchvision's conventions.

    A sample is an image `(3, H, W)` of any size and a mapping with `boxes` `(n, 4)`, the
    corners x1, y1, x2, y2 in pixels, and `labels` `(n,)`, class indices; a batch is a
    list of images and a list of these, which is how samples are collated. In train mode
    the model is called with both and returns its losses by name, which are summed; in
    eval mode it is called with images and returns boxes, scores and labels of each.
    The mean average precision over IoU .50, .55, … .95 is reported first, then that at
    .50 and at .75; torchmetrics and pycocotools compute it. Before training stands the
    model as it is.

    The model keeps its own head, so its builder makes it for C classes, as in
    `fasterrcnn_resnet50_fpn(weights_backbone="DEFAULT", num_classes=C)`; what trains is
    said by names, as in `trainable=["roi_heads"]`.

    Args:
        num_classes: As many as the detector has, at least 2. Where it takes class 0 for
            the background, as Faster R-CNN and SSD do, no box is labelled 0.

    Raises:
        ImportError: torchmetrics or pycocotools is not installed.

    >>> Detection(3).before
    'untrained'
    """

    num_classes: int
    before: ClassVar[Before | None] = "untrained"

    def __post_init__(self) -> None:
        check_count("num_classes", self.num_classes, 2)
        MeanAveragePrecision()  # which says what is not installed

    @override
    def metrics(self) -> Metrics:
        return [MeanAveragePrecision()]

    @override
    @staticmethod
    def collate(samples: list[Any]) -> Any:
        images, targets = zip(*samples, strict=True)
        return list(images), list(targets)

    @override
    def read(self, model: Network, batch: Any) -> tuple[Any, list[Any]]:
        images, targets = batch
        return model(list(images)), list(targets)

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Any, list[Any]]:
        images, targets = map(list, batch)
        losses = model(images, targets)
        if not isinstance(losses, Mapping):
            raise TypeError(
                "a detector is expected to return its losses by name when it is called"
                f" with images and targets in train mode, got {type(losses).__name__}"
            )
        return losses, targets

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Any, list[Any]]:
        outputs, targets = self.read(model, batch)
        return [{name: found[name] for name in _FOUND} for found in outputs], targets

    @override
    def loss(self, outputs: Mapping[str, Tensor], targets: Any) -> Tensor:
        losses = iter(outputs.values())
        return sum(losses, start=next(losses))

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            where = f"{what}: {part}"
            if not any(each_target(split, partial(self._check, where), _MOST_IMAGES)):
                raise ValueError(f"{where} has no box in any image")

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """0 at every threshold, that of finding nothing."""
        return {"map": 0.0, "map_50": 0.0, "map_75": 0.0}

    def _check(self, where: str, target: Any) -> int:
        """How many boxes an image has, if they are boxes and have labels."""
        if not isinstance(target, Mapping) or not {"boxes", "labels"} <= set(target):
            came = (
                list(target) if isinstance(target, Mapping) else type(target).__name__
            )
            raise ValueError(
                f"{where} must have a mapping with 'boxes' and 'labels' as each image's"
                f" target, got {came}"
            )
        boxes, labels = map(torch.as_tensor, (target["boxes"], target["labels"]))
        if boxes.shape != (len(labels), 4) or labels.ndim != 1:
            raise ValueError(
                f"{where} must have boxes (n, 4) and labels (n,), got"
                f" {tuple(boxes.shape)} and {tuple(labels.shape)}; an image without boxes"
                " has boxes (0, 4)"
            )
        if not bool((boxes[:, 2:] > boxes[:, :2]).all()):
            raise ValueError(
                f"{where} holds a box whose second corner is not right of and below its"
                " first one; boxes are x1, y1, x2, y2"
            )
        wrong = labels[(labels < 0) | (labels >= self.num_classes)]
        if labels.is_floating_point() or len(wrong):
            raise ValueError(
                f"{where} holds the label {(wrong if len(wrong) else labels)[0].item()};"
                f" num_classes={self.num_classes} allows the integers"
                f" 0..{self.num_classes - 1}"
            )
        return len(labels)
