"""Mean average precision beside its judge: thresholds, state, and images of nothing."""

from __future__ import annotations

import copy
import io
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import pretrain_eval as pe

pytest.importorskip("pycocotools", reason="pip install 'pretrain-eval[detection]'")
judges = pytest.importorskip(
    "torchmetrics.detection", reason="pip install 'pretrain-eval[detection]'"
)

Image = dict[str, Tensor]


def images(seed: int) -> Iterator[tuple[list[Image], list[Image]]]:
    """Batches of boxes that were found and of those that are there."""
    generator = torch.Generator().manual_seed(seed)
    for size in (1, 3, 2):
        found, truth = [], []
        for _ in range(size):
            corners = 50 * torch.rand(4, 2, generator=generator)
            boxes = torch.cat((corners, corners + 30), 1)
            labels = torch.randint(0, 2, (4,), generator=generator)
            moved = boxes + 8 * torch.rand(4, 4, generator=generator)
            scores = torch.rand(4, generator=generator)
            found.append({"boxes": moved, "scores": scores, "labels": labels})
            truth.append({"boxes": boxes, "labels": labels})
        yield found, truth


@pytest.mark.parametrize("seed", range(5))
def test_thresholds_stand_beside_the_mean(seed: int) -> None:
    """A collection has map_50 and map_75 of the same boxes, under whatever key."""
    judge = judges.MeanAveragePrecision(
        iou_thresholds=np.linspace(0.5, 0.95, 10).tolist(),
        rec_thresholds=np.linspace(0, 1, 101).tolist(),
    )
    metrics = pe.MetricCollection(pe.MeanAveragePrecision())
    named = pe.MetricCollection(boxes=pe.MeanAveragePrecision())
    for batch in images(seed):
        for metric in (judge, metrics, named):
            metric.update(*batch)
    theirs = {
        key: float(value) for key, value in judge.compute().items() if "map" in key
    }
    assert metrics.compute() == {
        key: pytest.approx(theirs[key]) for key in ("map", "map_50", "map_75")
    }
    assert list(named.compute()) == ["boxes", "boxes_50", "boxes_75"]
    assert theirs["map"] < theirs["map_50"]


def test_a_threshold_that_was_not_asked_for_is_not_there() -> None:
    """With one threshold the other one has no value."""
    metrics = pe.MetricCollection(pe.MeanAveragePrecision(iou_threshold=0.5))
    for batch in images(0):
        metrics.update(*batch)
    values = metrics.compute()
    assert list(values) == ["map", "map_50"]
    assert values["map"] == values["map_50"]


def test_validate_reports_them() -> None:
    """The values beside a metric stand in what validate returns."""
    values = pe.validate(
        torch.nn.Identity(),
        list(images(1)),
        pe.MeanAveragePrecision(),
        forward=lambda model, batch: batch,
    )
    assert list(values) == ["map", "map_50", "map_75"]


def test_one_s_own_metric_has_values_beside_it() -> None:
    """By what follows the key, and nothing where nothing was said."""

    class Range(pe.Metric):
        key = "range"

        def reset(self) -> None:
            self.seen: list[float] = []

        def update(self, outputs: Tensor, targets: Tensor) -> None:
            self.seen += outputs.tolist()

        def compute(self) -> float:
            return max(self.seen) - min(self.seen)

        def beside(self) -> dict[str, float]:
            return {"_low": min(self.seen)}

    metrics = pe.MetricCollection(Range(), pe.MeanSquaredError())
    metrics.reset()
    metrics.update(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 3.0]))
    assert metrics.compute() == {"range": 2.0, "range_low": 1.0, "mse": 0.0}
    taken = pe.MetricCollection(Range(), range_low=pe.MeanSquaredError())
    taken.reset()
    taken.update(torch.tensor([1.0]), torch.tensor([1.0]))
    with pytest.raises(ValueError, match=r"two members compute \['range_low'\]"):
        taken.compute()


def test_boxes_are_kept_and_counted_on() -> None:
    """A state saved between two batches goes on where it was, also in a collection."""
    first, *rest = images(2)
    whole, begun, resumed = (
        pe.MetricCollection(pe.MeanAveragePrecision()) for _ in range(3)
    )
    begun.update(*first)
    file = io.BytesIO()
    torch.save(begun.state_dict(), file)
    file.seek(0)
    state = torch.load(file)
    before = copy.deepcopy(state)
    resumed.load_state_dict(state)
    whole.update(*first)
    for batch in rest:
        whole.update(*batch)
        resumed.update(*batch)
    assert resumed.compute() == whole.compute() != begun.compute()
    assert str(state) == str(before)
    resumed.reset()
    with pytest.raises(RuntimeError, match="seen no batch"):
        resumed.compute()


def test_no_box_to_find_is_no_value() -> None:
    """Where no target holds a box, the value is NaN, with a warning, and never −1."""
    nothing: Any = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    found = {**nothing, "scores": torch.zeros(0)}
    metrics = pe.MetricCollection(pe.MeanAveragePrecision())
    metrics.update([found], [nothing])
    with pytest.warns(UserWarning, match="map is undefined: no target has a box"):
        values = metrics.compute()
    assert list(values) == ["map"]
    assert math.isnan(values["map"])  # type: ignore[arg-type]


@pytest.mark.parametrize(("hits", "boxes"), [(3, 5), (3, 10), (7, 10), (1, 20)])
def test_a_recall_on_a_threshold_reaches_it(hits: int, boxes: int) -> None:
    """COCO's thresholds of recall are those of float64: three of five are .60, not .59."""
    corners = torch.arange(boxes)[:, None] * 50.0 * torch.ones(1, 2)
    there = torch.cat((corners, corners + 20), 1)
    labels = torch.zeros(boxes).long()
    metric = pe.MeanAveragePrecision()
    found = {"boxes": there[:hits], "labels": labels[:hits], "scores": torch.ones(hits)}
    metric.update([found], [{"boxes": there, "labels": labels}])
    recalls = np.linspace(0, 1, 101)
    assert metric.compute() == pytest.approx(float((recalls <= hits / boxes).mean()))
