"""Detection metrics, computed by torchmetrics and pycocotools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, final

import numpy as np
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.foreign import kept_state, load_kept_state
from pretrain_eval._metrics.metric import Metric, Value
from pretrain_eval._metrics.predictions.formulas import undefined
from pretrain_eval._metrics.sync import num_processes
from pretrain_eval._optional import needs

Boxes = Sequence[Mapping[str, Tensor]]


@final
class MeanAveragePrecision(Metric):
    """COCO's mean average precision over classes and IoU thresholds .50, .55, … .95.

    Outputs are one mapping an image, with `boxes` `(num_boxes, 4)`, `scores` and
    `labels` `(num_boxes,)`; targets are the same without scores. Of an image the 100
    likeliest boxes count. torchmetrics and pycocotools compute it:
    `pip install "pretrain-eval[detection]"`. A collection has the values at .50 and .75
    beside it, as `map_50` and `map_75`.

    Args:
        iou_threshold: One threshold, such as 0.5, instead of COCO's ten.
        box_format: "xyxy", "xywh" or "cxcywh".

    Raises:
        ImportError: torchmetrics or pycocotools is not installed.

    >>> import torch
    >>> box, label = torch.tensor([[10.0, 10.0, 50.0, 50.0]]), torch.tensor([0])
    >>> metric = MeanAveragePrecision()
    >>> found = {"boxes": box, "scores": torch.tensor([0.9]), "labels": label}
    >>> metric.update([found], [{"boxes": box, "labels": label}])
    >>> round(metric.compute(), 6)
    1.0
    """

    key = "map"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    def __init__(
        self,
        *,
        iou_threshold: float | None = None,
        box_format: Literal["xyxy", "xywh", "cxcywh"] = "xyxy",
    ) -> None:
        judge = needs("detection").MeanAveragePrecision
        one = None if iou_threshold is None else [iou_threshold]
        # As pycocotools has them. The judge's own are of float32, which moves a recall
        # of 3/5 below the threshold .6: one point in 101.
        self._judge: Any = judge(
            box_format,
            iou_thresholds=one or np.linspace(0.5, 0.95, 10).tolist(),
            rec_thresholds=np.linspace(0.0, 1.0, 101).tolist(),
            # The value of one process is no value of all, whichever is asked first.
            compute_with_cache=False,
            distributed_available_fn=self._is_summed,
        )
        # That only the 100 likeliest boxes of an image count is COCO's score itself.
        self._judge.warn_on_many_detections = False
        self._sync = True
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

    def _is_summed(self) -> bool:
        return self._sync and num_processes() > 1

    @override
    def compute(self, *, sync: bool = True) -> Value:
        """The value of everything since the last reset.

        NaN, with a warning, where no image holds a box that is to be found.

        Args:
            sync: Of the images of all processes of torch.distributed, where it was
                started; every process must then call this.
        """
        if not self._num_images:
            raise RuntimeError(f"{self.key} has seen no batch since its last reset")
        self._sync = sync
        self._found = self._judge.compute()
        value = float(self._found["map"])
        # The judge says −1 of what it cannot say.
        return value if value >= 0 else undefined(self.key, "no target has a box")

    @override
    def beside(self) -> Mapping[str, float]:
        """At the thresholds .50 and .75 alone, where these are among those used."""
        at = {name: float(self._found[f"map_{name}"]) for name in ("50", "75")}
        return {f"_{name}": value for name, value in at.items() if value >= 0}

    @override
    def reset(self) -> None:
        self._judge.reset()
        self._num_images = 0

    def state_dict(self) -> dict[str, Any]:
        """All boxes that were counted; for `torch.save` and `load_state_dict`."""
        return {"num_images": self._num_images, "boxes": kept_state(self._judge)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        load_kept_state(self._judge, state["boxes"], self.key)
        self._num_images = state["num_images"]
