"""Detection metrics, computed by torchmetrics and pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.metric import Metric, Value
from pretrain_eval._optional import needs

Boxes = Sequence[Mapping[str, Tensor]]


@final
class MeanAveragePrecision(Metric):
    """COCO's mean average precision over classes and IoU thresholds .50, .55, … .95.

    Outputs are one mapping an image, with `boxes` `(num_boxes, 4)`, `scores` and
    `labels` `(num_boxes,)`; targets are the same without scores. torchmetrics and
    pycocotools compute it: `pip install "pretrain-eval[detection]"`.

    Args:
        iou_threshold: One threshold, such as 0.5, instead of COCO's ten.
        box_format: "xyxy", "xywh" or "cxcywh".

    Raises:
        ImportError: torchmetrics or pycocotools is not installed.
    """

    key = "map"

    def __init__(
        self,
        *,
        iou_threshold: float | None = None,
        box_format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy",
    ) -> None:
        judge = needs("detection").MeanAveragePrecision
        thresholds = None if iou_threshold is None else [iou_threshold]
        self._judge: Any = judge(box_format, iou_thresholds=thresholds)
        self._num_images = 0

    @override
    def update(  # type: ignore[override] # boxes are no tensor
        self, outputs: Boxes, targets: Boxes
    ) -> None:
        for image, boxes in enumerate((*outputs, *targets)):
            if not all(bool(tensor.isfinite().all()) for tensor in boxes.values()):
                raise ValueError(f"boxes or scores are NaN or infinite in {image}")
        self._judge.update(
            [dict(boxes) for boxes in outputs], [dict(boxes) for boxes in targets]
        )
        self._num_images += len(targets)

    @override
    def compute(self) -> Value:
        if not self._num_images:
            raise RuntimeError(f"{self.key} has seen no batch since its last reset")
        return float(self._judge.compute()["map"])

    @override
    def reset(self) -> None:
        self._judge.reset()
        self._num_images = 0
