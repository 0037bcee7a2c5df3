"""Regression metrics against scikit-learn, and what they refuse."""

from __future__ import annotations

import math
from fractions import Fraction

import gloo_predictions
import numpy as np
import pytest
import torch
from processes import together
from scipy import stats
from sklearn import metrics as sk
from torch import Tensor

import pretrain_eval as pe


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_values(dtype: torch.dtype, offset: float) -> None:
    """MSE, MAE and R² over uneven batches are scikit-learn's, also with weights."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(50, generator=generator) + offset
    outputs = (targets + torch.randn(50, generator=generator)).to(dtype)
    weights = torch.rand(50, generator=generator).double()
    for weight in (None, weights):
        metrics = pe.MetricCollection(
            pe.MeanSquaredError(), pe.MeanAbsoluteError(), pe.R2Score()
        )
        for start in range(0, 50, 16):
            part = slice(start, start + 16)
            batch = outputs[part], targets[part]
            metrics.update(*batch, weights=None if weight is None else weight[part])
        pair = targets.double().numpy(), outputs.double().numpy()
        assert metrics.compute() == pytest.approx(
            {
                "mse": sk.mean_squared_error(*pair, sample_weight=weight),
                "mae": sk.mean_absolute_error(*pair, sample_weight=weight),
                "r2": sk.r2_score(*pair, sample_weight=weight),
            },
            rel=1e-9,
        )


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e8])
@pytest.mark.parametrize("case", range(40))
def test_outputs_are_averaged_at_any_offset(case: int, offset: float) -> None:
    """Scores of several outputs are scikit-learn's and scipy's, however far from 0."""
    rng = np.random.default_rng(case)
    targets = rng.normal(size=(31, 3)) * [1.0, 10.0, 100.0] + offset
    outputs = targets + rng.normal(size=(31, 3))
    metrics = pe.MetricCollection(
        pe.R2Score(),
        pe.RootMeanSquaredError(),
        pe.MeanAbsolutePercentageError(),
        pe.PearsonCorrCoef(),
        pe.SpearmanCorrCoef(),
        pooled=pe.R2Score(average="pooled"),
        each=pe.R2Score(average="none"),
    )
    for part in np.array_split(np.arange(31), 3):
        metrics.update(torch.tensor(outputs[part]), torch.tensor(targets[part]))
    columns = list(zip(outputs.T, targets.T, strict=True))
    flat = targets.ravel(), outputs.ravel()
    values = metrics.compute()
    each = sk.r2_score(targets, outputs, multioutput="raw_values")
    assert values.pop("each") == pytest.approx(tuple(each), rel=1e-7, abs=1e-8)
    assert values == pytest.approx(
        {
            "r2": sk.r2_score(targets, outputs),
            "rmse": sk.root_mean_squared_error(targets, outputs),
            "mape": sk.mean_absolute_percentage_error(targets, outputs),
            "pearson": np.mean([stats.pearsonr(*pair)[0] for pair in columns]),
            "spearman": np.mean([stats.spearmanr(*pair)[0] for pair in columns]),
            "pooled": sk.r2_score(*flat),
        },
        rel=1e-7,
        abs=1e-8,
    )


@pytest.mark.parametrize("constant", [0.0, 0.1, 1e8])
def test_constant_targets(constant: float) -> None:
    """Rounding of constant targets is not taken for their spread."""
    metric = pe.R2Score()
    metric.update(torch.arange(10.0), torch.full((10,), constant))
    with pytest.warns(UserWarning, match="targets are constant"):
        assert math.isnan(float(metric.compute()))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("outputs", "targets", "error", "message"),
    [
        (torch.ones(2), torch.ones(2, 1), ValueError, "one shape"),
        (
            torch.ones(2),
            torch.tensor([torch.nan, 1.0]),
            ValueError,
            "1 targets are NaN",
        ),
        (torch.ones(2) * 1j, torch.ones(2), TypeError, "real numbers"),
        (torch.ones(2), torch.ones(2), None, ""),
        (torch.ones(2), torch.ones(2).long(), None, ""),
    ],
)
def test_bad_batches(
    outputs: Tensor, targets: Tensor, error: type[Exception] | None, message: str
) -> None:
    """What is no number raises and leaves no trace."""
    metric = pe.MeanSquaredError()
    with pytest.raises(RuntimeError, match="seen no batch"):
        metric.compute()
    metric.update(torch.ones(2), torch.ones(2))
    if error is not None:
        with pytest.raises(error, match=message):
            metric.update(outputs, targets)
    else:
        metric.update(outputs, targets)
    assert metric.compute() == 0.0


@pytest.mark.parametrize("number", [torch.nan, torch.inf])
def test_outputs_that_are_not_finite(number: float) -> None:
    """A model that diverged has no error that could be averaged."""
    metrics = pe.MetricCollection(pe.MeanSquaredError(), pe.R2Score())
    metrics.update(torch.tensor([1.0, number]), torch.tensor([1.0, 2.0]))
    metrics.update(torch.tensor([1.0, 3.0]), torch.tensor([1.0, 2.0]))
    with pytest.warns(UserWarning, match="NaN: 1 of the model's outputs"):
        assert np.isnan(list(metrics.compute().values())).all()


def test_nothing_counted() -> None:
    """Batches without an entry are no score, and dropped entries may be NaN."""
    metric = pe.MeanSquaredError()
    metric.update(torch.ones(0), torch.ones(0))
    with pytest.raises(ValueError, match="counted no sample"):
        metric.compute()
    mask = torch.tensor([True, False])
    metric.update(
        torch.tensor([1.0, torch.nan]), torch.tensor([3.0, 1.0]), weights=mask
    )
    assert metric.compute() == 4.0


def test_two_processes() -> None:
    """Moments and texts of both are those of all, in one collective once they agreed."""
    outputs, targets = gloo_predictions.columns(21)
    metrics, texts = gloo_predictions.of_moments(), gloo_predictions.of_texts()
    metrics.update(outputs, targets)
    texts.update(*gloo_predictions.SPOKEN)
    expected = metrics.compute()
    assert expected["r2"] == pytest.approx(sk.r2_score(targets, outputs), rel=1e-9)
    for found, part in zip(
        together(gloo_predictions.everywhere, 2), (slice(8), slice(8, 21)), strict=True
    ):
        assert found["moments"].keys() == expected.keys()
        for key, value in expected.items():
            assert found["moments"][key] == pytest.approx(value, rel=1e-12)
        assert found["texts"] == pytest.approx(texts.compute(), rel=1e-15)
        # The number of outputs is told once; texts have nothing to tell.
        assert found["collectives"] == [2, 1, 1, 1]
        own = sk.r2_score(targets[part], outputs[part])
        assert found["own"] == pytest.approx(own, rel=1e-9)
        assert found["other"] == (
            "r2 has other outputs than the processes have agreed on, 11 numbers for 20;"
            " a new metric counts these"
        )
        assert found["uneven"] == (
            "r2: processes met different numbers of outputs, 9 and 18 counters"
        )


def test_squares_that_overflow() -> None:
    """Beyond the largest number a value is infinite or NaN, never one that looks right."""
    outputs = torch.tensor([1e200, -2e200, 1.0], dtype=torch.float64)
    targets = torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64)
    metrics = pe.MetricCollection(
        pe.MeanSquaredError(), pe.MeanAbsoluteError(), pe.RootMeanSquaredError()
    )
    metrics.update(outputs, targets)
    assert metrics.compute() == {
        "mse": math.inf,
        "mae": pytest.approx(1e200),
        "rmse": math.inf,
    }
    assert pe.functional.r2_score(outputs, targets) == -math.inf
    for one, other in ((outputs, targets), (targets, outputs), (outputs, outputs)):
        with pytest.warns(UserWarning, match="pearson is undefined: .* overflow"):
            assert math.isnan(pe.functional.pearson_corrcoef(one, other))
    with pytest.warns(UserWarning, match="r2 is undefined: .* overflow"):
        assert math.isnan(pe.functional.r2_score(targets, outputs))


def test_an_empty_batch_of_several_outputs_has_as_many() -> None:
    """A last batch of no samples is one of the same outputs."""
    metrics = pe.MetricCollection(pe.SpearmanCorrCoef(), pe.PearsonCorrCoef())
    outputs, targets = gloo_predictions.columns(9)
    metrics.update(outputs[:0], targets[:0])
    metrics.update(outputs, targets)
    metrics.update(outputs[:0], targets[:0])
    expected = [
        stats.spearmanr(*pair)[0] for pair in zip(outputs.T, targets.T, strict=True)
    ]
    assert metrics.compute()["spearman"] == pytest.approx(np.mean(expected))


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("cuts", [[], [0], [1, 5], [3, 3, 9]])
def test_a_far_offset_costs_no_digits(cuts: list[int], masked: bool) -> None:
    """A thousandth around 10⁸, in batches, is as exact as fractions are."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=12) * 1e-3 + 1e8
    found = truth + rng.normal(size=12) * 1e-3
    kept = rng.random(12) < 0.6 if masked else np.ones(12, bool)
    kept[:2] = [not masked, True]
    metrics = pe.MetricCollection(pe.PearsonCorrCoef(), pe.R2Score())
    for start, end in zip([0, *cuts], [*cuts, 12], strict=True):
        part = slice(start, end)
        pair = torch.from_numpy(found[part]), torch.from_numpy(truth[part])
        weights = torch.from_numpy(kept[part]) if masked else None
        metrics.update(*pair, weights=weights)
    x, y = ([Fraction(v) for v in values[kept].tolist()] for values in (found, truth))
    x, y = ([v - sum(values) / len(values) for v in values] for values in (x, y))
    residual = sum(
        (a - b) ** 2
        for a, b in zip(found[kept].tolist(), truth[kept].tolist(), strict=True)
    )
    spreads = [float(sum(v * v for v in values)) for values in (x, y)]
    both = float(sum(a * b for a, b in zip(x, y, strict=True)))
    assert metrics.compute() == {
        "pearson": pytest.approx(both / math.sqrt(spreads[0] * spreads[1]), rel=1e-9),
        "r2": pytest.approx(1 - residual / spreads[1], rel=1e-9),
    }
