"""Plain functions of targets and outputs are metrics like any other."""

from __future__ import annotations

import io
import math
from typing import Any

import gloo_predictions
import numpy as np
import pytest
import torch
from processes import together
from sklearn import metrics as sk
from torch import nn

import pretrain_eval as pe
from pretrain_eval._metrics import declared

GENERATOR = torch.Generator().manual_seed(0)
SCORES = torch.randn(40, 3, generator=GENERATOR)
TARGETS = torch.randint(0, 3, (40,), generator=GENERATOR)


def f1(**options: Any) -> pe.FunctionMetric:
    """scikit-learn's macro F1 of decided classes."""
    return pe.FunctionMetric(
        sk.f1_score,
        better="higher",
        bounds=(0, 1),
        key="macro_f1",
        decide=True,
        average="macro",
        **options,
    )


def test_it_is_the_function_of_all_samples() -> None:
    """In a collection and in validate, whatever the batches, beside our own."""
    batches = list(zip(SCORES.split(7), TARGETS.split(7), strict=True))
    values = pe.validate(nn.Identity(), batches, [f1(), pe.F1Score()])
    assert values["macro_f1"] == sk.f1_score(TARGETS, SCORES.argmax(1), average="macro")
    assert values["macro_f1"] == pytest.approx(values["f1"], abs=1e-15)
    assert declared(f1()) == (True, (0.0, 1.0))
    assert pe.FunctionMetric(sk.f1_score, better=None).higher_is_better is None


@pytest.mark.parametrize("shape", [(40,), (40, 3), (40, 2, 2, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int32])
def test_samples_come_back_as_they_were(
    shape: tuple[int, ...], dtype: torch.dtype
) -> None:
    """Shape, order, values and kind of what the function gets are the user's."""
    outputs = (9 * torch.randn(shape, generator=GENERATOR)).to(dtype)
    targets = torch.arange(40)
    seen: list[np.ndarray] = []

    def keep(truth: np.ndarray, found: np.ndarray) -> float:
        seen.extend((truth, found))
        return 1.0

    metric = pe.FunctionMetric(keep, better="lower")
    metric.update(outputs[:9], targets[:9])
    metric.update(outputs[9:], targets[9:])
    metric.update(outputs[:0], targets[:0])
    metric.compute()
    truth, found = seen
    assert truth.dtype == np.int64
    assert found.dtype == (np.int64 if dtype == torch.int32 else np.float64)
    assert np.array_equal(truth, targets.numpy())
    assert np.array_equal(found, outputs.numpy())


def test_it_merges_and_is_kept() -> None:
    """Parts that are merged, saved or loaded are the whole."""
    whole, first, second, third = (f1() for _ in range(4))
    whole.update(SCORES, TARGETS)
    first.update(SCORES[:9], TARGETS[:9])
    second.update(SCORES[9:], TARGETS[9:])
    first.merge(second)
    file = io.BytesIO()
    torch.save(pe.MetricCollection(first).state_dict(), file)
    file.seek(0)
    pe.MetricCollection(third).load_state_dict(torch.load(file, weights_only=True))
    assert third.compute() == first.compute() == whole.compute()


def test_two_processes() -> None:
    """The function sees the samples of all processes, or of one."""
    first, second = together(gloo_predictions.functions, 2)
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(21, 5, generator=generator)
    targets = torch.randint(0, 5, (21,), generator=generator)
    predicted = scores.argmax(1)
    assert (
        first[0]
        == second[0]
        == {
            "f1_score": sk.f1_score(targets, predicted, average="macro"),
            "hinge_loss": pytest.approx(
                sk.hinge_loss(targets, scores.double()), abs=1e-12
            ),
        }
    )
    for found, part in ((first, slice(0, 8)), (second, slice(8, 21))):
        own = sk.f1_score(targets[part], predicted[part], average="macro")
        assert found[1]["f1_score"] == own


@pytest.mark.parametrize("number", [math.nan, math.inf])
def test_outputs_that_are_not_finite(number: float) -> None:
    """A model that diverged has no value, and the function is not asked."""
    scores = SCORES.clone()
    scores[3, 1] = number
    metric = f1()
    metric.update(SCORES, TARGETS)
    metric.update(scores, TARGETS)
    with pytest.warns(UserWarning, match="macro_f1 is NaN: 1 samples have outputs"):
        assert math.isnan(metric.compute())  # type: ignore[arg-type]


def test_a_mask_keeps_samples() -> None:
    """A boolean mask drops samples; weights mean nothing to a function."""
    metric, mask = f1(), TARGETS > 0
    metric.update(SCORES, TARGETS, weights=mask)
    kept = SCORES[mask].argmax(1)
    assert metric.compute() == sk.f1_score(TARGETS[mask], kept, average="macro")
    with pytest.raises(TypeError, match="takes no weights"):
        metric.update(SCORES, TARGETS, weights=torch.ones(40))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pe.FunctionMetric("f1", better=None), TypeError, "a function of"),
        (lambda: pe.FunctionMetric(max, better="up"), ValueError, "'higher', 'lower'"),
        (
            lambda: pe.FunctionMetric(max, better=None, bounds=(1, 0)),
            ValueError,
            "lowest",
        ),
        (
            lambda: pe.FunctionMetric(lambda a, b: 0, better=None),
            ValueError,
            "give key=",
        ),
        (lambda: f1().update(TARGETS, TARGETS), ValueError, "class dimension"),
        (
            lambda: pe.FunctionMetric(max, better=None).update(SCORES, TARGETS[:3]),
            ValueError,
            "as many samples",
        ),
        (
            lambda: pe.FunctionMetric(max, better=None).update(
                SCORES[:, 0], SCORES[:, 0] / 0
            ),
            ValueError,
            "targets of 40 samples",
        ),
        (lambda: pe.FunctionMetric(max, better="lower"), None, ""),
    ],
)
def test_what_does_not_fit(
    make: Any, error: type[Exception] | None, message: str
) -> None:
    """Every wrong argument and batch has a message, and its neighbour works."""
    if error is None:
        make()
        return
    with pytest.raises(error, match=message):
        make()
