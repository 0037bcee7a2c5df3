"""Random cases of metrics of pixels and boxes, for `test_fuzz.py`."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn import metrics as sk

import pretrain_eval as pe

Array = np.ndarray[Any, np.dtype[Any]]


def pixels(rng: np.random.Generator) -> None:
    """IoU and Dice are scikit-learn's over all pixels, some of them left out."""
    num_classes, length = int(rng.integers(2, 6)), int(rng.integers(1, 5))
    shape = length, int(rng.integers(1, 7)), int(rng.integers(1, 7))
    # Some classes occur seldom, or never.
    truth = np.minimum(rng.integers(0, num_classes, shape), rng.integers(num_classes))
    found = np.where(
        rng.random(shape) < 0.5, truth, rng.integers(0, num_classes, shape)
    )
    truth = np.where(rng.random(shape) < rng.choice([0.0, 0.2]), 255, truth)
    kept = truth != 255
    if not kept.any():
        return
    average = str(rng.choice(["macro", "micro", "weighted", "none"]))
    zero = float(rng.integers(0, 2))
    outputs, told = torch.from_numpy(found), {}
    if rng.random() < 0.5:
        told = {"class_dim": 1}  # which some shapes do not tell
        scores = torch.nn.functional.one_hot(outputs, num_classes).double()
        outputs = scores.movedim(-1, 1) + 0.3 * torch.from_numpy(
            rng.random((length, num_classes, *shape[1:]))
        )
    for make, judge in (
        (pe.MeanIoU, sk.jaccard_score),
        (pe.DiceScore, sk.f1_score),
    ):
        metric: Any = make(
            task="multiclass", num_classes=num_classes, average=average,
            zero_division=zero, ignore_index=255, **told,
        )  # fmt: skip
        cut = int(rng.integers(0, length + 1))
        for part in (slice(cut), slice(cut, length)):
            metric.update(outputs[part], torch.from_numpy(truth[part]))
        expected = judge(
            truth[kept], found[kept], labels=range(num_classes), zero_division=zero,
            average=None if average == "none" else average,
        )  # fmt: skip
        value = metric.compute()
        assert np.allclose(value, expected, rtol=1e-12), (metric, value, expected)


def _overlaps(found: Array, truth: Array) -> Array:
    """IoU of every pair of boxes (x0, y0, x1, y1)."""
    low = np.maximum(found[:, None, :2], truth[None, :, :2])
    high = np.minimum(found[:, None, 2:], truth[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(-1)
    sizes = [(each[:, 2:] - each[:, :2]).prod(-1) for each in (found, truth)]
    return np.asarray(shared / (sizes[0][:, None] + sizes[1][None] - shared))


def _is_right(overlaps: Array, threshold: float) -> list[bool]:
    """Whether each box, the likeliest first, takes one that nobody took before."""
    free, right = np.ones(overlaps.shape[1], bool), []
    for row in overlaps:
        open_ = np.where(free, row, -1.0)
        best = int(open_.argmax()) if len(open_) else -1
        right.append(best >= 0 and bool(open_[best] >= threshold))
        if right[-1]:
            free[best] = False
    return right


def _precision(images: list[Any], label: int, threshold: float) -> float:
    """COCO's average precision of one class: 101 recalls, the envelope of precision."""
    scores, right, count = [], [], 0
    for found, truth in images:
        mine = found["labels"] == label
        order = np.argsort(-found["scores"][mine], kind="stable")[:100]
        there = truth["boxes"][truth["labels"] == label]
        overlaps = _overlaps(found["boxes"][mine][order], there)
        scores += found["scores"][mine][order].tolist()
        right += _is_right(overlaps, threshold)
        count += len(there)
    if not count:
        return np.nan
    ranked = np.asarray(right, bool)[np.argsort(-np.asarray(scores), kind="stable")]
    hits = ranked.cumsum()
    precision = np.append(hits / np.arange(1, len(hits) + 1), 0.0)
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    places = np.searchsorted(hits / count, np.linspace(0, 1, 101), side="left")
    return float(envelope[places].mean())


def _image(rng: np.random.Generator, num_classes: int) -> tuple[Any, Any]:
    """Boxes that are there, and such as were found near some of them or anywhere."""

    def boxes(size: int) -> Array:
        low = rng.random((size, 2)) * 60
        return np.concatenate([low, low + 5 + 40 * rng.random((size, 2))], 1)

    truth = boxes(int(rng.integers(0, 6)))
    near = truth[rng.random(len(truth)) < 0.8]
    found = np.concatenate([near, near[:1], boxes(int(rng.integers(0, 4)))])
    found[:, 2:] += rng.random((len(found), 2)) * 15
    labels = rng.integers(0, num_classes, len(truth))
    guessed = rng.integers(0, num_classes, len(found))
    scores = rng.random(len(found)).astype(np.float32)
    return (
        {"boxes": found.astype(np.float32), "scores": scores, "labels": guessed},
        {"boxes": truth.astype(np.float32), "labels": labels},
    )


def boxes(rng: np.random.Generator) -> None:
    """Mean average precision is that of a twin in numpy, also at .50 and .75."""
    reason = "pip install 'pretrain-eval[detection]'"
    for name in ("torchmetrics", "pycocotools"):
        pytest.importorskip(name, reason=reason)
    num_classes = int(rng.integers(1, 4))
    images = [_image(rng, num_classes) for _ in range(int(rng.integers(1, 5)))]
    if not any(len(truth["boxes"]) for _, truth in images):
        return
    metrics = pe.MetricCollection(pe.MeanAveragePrecision())
    cut = int(rng.integers(0, len(images) + 1))
    for part in (images[:cut], images[cut:]):
        pair = [
            [{k: torch.from_numpy(v) for k, v in image[side].items()} for image in part]
            for side in (0, 1)
        ]
        metrics.update(*pair)
    wide = [
        tuple(side | {"boxes": side["boxes"].astype(float)} for side in image)
        for image in images
    ]
    thresholds = np.linspace(0.5, 0.95, 10)
    table = [
        [_precision(wide, label, threshold) for label in range(num_classes)]
        for threshold in thresholds
    ]
    expected = {
        "map": np.nanmean(table),
        "map_50": np.nanmean(table[0]),
        "map_75": np.nanmean(table[5]),
    }
    assert metrics.compute() == pytest.approx(expected, rel=1e-6, abs=1e-7)
