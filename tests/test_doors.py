"""By which doors metrics come in: ours, torchmetrics', by name, and mixed."""

from __future__ import annotations

import io
import math
from types import SimpleNamespace
from typing import Any

import gloo_predictions
import pytest
import torch
import torchmetrics
from processes import together
from torch import Tensor, nn
from torchmetrics import classification, regression, retrieval

import pretrain_eval as pe
from pretrain_eval._metrics import declared

SCORES = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
TARGETS = torch.randint(0, 3, (40,), generator=torch.Generator().manual_seed(1))


def theirs() -> torchmetrics.Metric:
    """A metric of torchmetrics."""
    return classification.MulticlassF1Score(3)


def theirs_together(**options: Any) -> torchmetrics.MetricCollection:
    """Two metrics of torchmetrics that share their state."""
    return torchmetrics.MetricCollection(
        [classification.MulticlassPrecision(3), classification.MulticlassRecall(3)],
        **options,
    )


class Spread(torchmetrics.Metric):
    """A metric that computes a mapping, as ROUGE does."""

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", torch.tensor(0.0), dist_reduce_fx="sum")

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Sum the outputs."""
        self.total = self.total + outputs.sum()

    def compute(self) -> dict[str, Any]:
        """The sum, and each of two more."""
        return {"a": self.total, "b": {"c": self.total * 2, "d": torch.ones(2)}}


@pytest.mark.parametrize(
    ("make", "keys"),
    [
        (lambda: pe.Accuracy(), ["accuracy"]),
        (lambda: [pe.Accuracy(), pe.F1Score()], ["accuracy", "f1"]),
        (lambda: {"top": pe.Accuracy()}, ["top"]),
        (theirs, ["multiclass_f1_score"]),
        (lambda: [theirs()], ["multiclass_f1_score"]),
        (lambda: {"f": theirs()}, ["f"]),
        (theirs_together, ["MulticlassPrecision", "MulticlassRecall"]),
        (
            lambda: theirs_together(prefix="x_"),
            ["x_MulticlassPrecision", "x_MulticlassRecall"],
        ),
        (
            lambda: {"both": theirs_together()},
            ["both/MulticlassPrecision", "both/MulticlassRecall"],
        ),
        (
            lambda: [pe.Accuracy(), {"f": theirs()}, theirs_together()],
            ["accuracy", "f", "MulticlassPrecision", "MulticlassRecall"],
        ),
        (lambda: pe.MetricCollection(pe.Accuracy(), f=theirs()), ["accuracy", "f"]),
        (
            lambda: {"a": pe.MetricCollection(pe.Accuracy()), "b": [pe.Accuracy()]},
            ["a/accuracy", "b/accuracy"],
        ),
        (lambda: {"s": Spread()}, ["s/a", "s/b/c", "s/b/d"]),
        (Spread, ["spread/a", "spread/b/c", "spread/b/d"]),
    ],
)
def test_what_may_be_handed_over(make: Any, keys: list[str]) -> None:
    """Collection and validate take every shape, and give the same values."""
    values = pe.validate(nn.Identity(), [(SCORES, TARGETS)], make())
    assert list(values) == keys
    metrics = pe.MetricCollection(make())
    metrics.update(SCORES, TARGETS)
    assert repr(metrics.compute()) == repr(values)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("accuracy", r"such as pretrain_eval.Accuracy\(\), got 'accuracy'"),
        (["accuracy"], "got 'accuracy'"),
        ({"a": "accuracy"}, "got 'accuracy' for 'a'"),
        ({3: pe.Accuracy()}, "name of a metric is a text, got 3"),
        (7, "got 7"),
        (pe.Accuracy, "objects with update"),
    ],
)
def test_what_is_no_metric_is_refused(given: Any, message: str) -> None:
    """A name instead of an object is one clear error."""
    with pytest.raises(TypeError, match=message):
        pe.validate(nn.Identity(), [(SCORES, TARGETS)], given)


def test_two_members_of_one_value_are_refused() -> None:
    """A value under one key is one member's."""
    metrics = pe.MetricCollection({"s/a": pe.Accuracy(), "s": Spread()})
    metrics.update(SCORES, TARGETS)
    with pytest.raises(ValueError, match=r"two members compute \['s/a'\]"):
        metrics.compute()


def test_keywords_reach_who_declares_them() -> None:
    """Retrieval metrics hear of queries, and ours of weights, beside each other."""
    outputs, targets = SCORES.reshape(-1), (SCORES.flip(0) > 0).reshape(-1).long()
    indexes = torch.arange(6).repeat_interleave(20)
    weights = torch.arange(120.0)
    metrics = pe.MetricCollection(
        pe.AUROC(task="binary"),
        retrieval.RetrievalMAP(),
        {"each": torchmetrics.MetricCollection([retrieval.RetrievalMRR()])},
    )
    with pytest.warns(UserWarning, match="retrieval_map, each took no weights"):
        metrics.update(outputs, targets, indexes=indexes, weights=weights)
    judge = retrieval.RetrievalMAP()
    judge.update(outputs, targets, indexes=indexes)
    alone = pe.AUROC(task="binary")
    alone.update(outputs, targets, weights=weights)
    values = metrics.compute()
    assert values["retrieval_map"] == float(judge.compute())
    assert values["auroc"] == alone.compute()
    assert list(values)[2] == "each/RetrievalMRR"
    with pytest.raises(TypeError, match="none of accuracy takes indexes= in its"):
        pe.MetricCollection(pe.Accuracy()).update(SCORES, TARGETS, indexes=TARGETS)


@pytest.mark.parametrize(
    "wrap", [lambda x: SimpleNamespace(logits=x), lambda x: {"logits": x, "loss": 0.0}]
)
def test_logits_are_found_in_what_a_model_returns(wrap: Any) -> None:
    """An output with logits is its logits, in a collection and in a metric alone."""
    metrics, alone = pe.MetricCollection(pe.Accuracy(), f=theirs()), pe.Accuracy()
    plain = pe.MetricCollection(pe.Accuracy(), f=theirs())
    metrics.update(wrap(SCORES), TARGETS)
    alone.update(wrap(SCORES), TARGETS)
    plain.update(SCORES, TARGETS)
    assert metrics.compute() == plain.compute()
    assert alone.compute() == plain.compute()["accuracy"]


def members() -> pe.MetricCollection:
    """Ours, torchmetrics' with sums and with lists, and a group that shares states."""
    return pe.MetricCollection(
        pe.Accuracy(),
        theirs(),
        theirs_together(),
        {"auroc": classification.MulticlassAUROC(3)},
        {"best": torchmetrics.MinMaxMetric(classification.MulticlassAccuracy(3))},
        steps=pe.GradNorm(),
    )


def test_a_state_in_the_middle_of_an_epoch_is_no_pause() -> None:
    """Saved and loaded, every member goes on as if nothing had happened."""
    whole, resumed = members(), members()
    for part in range(4):
        batch = SCORES[part::4], TARGETS[part::4]
        whole.update(*batch)
        resumed.update(*batch)
        file = io.BytesIO()
        torch.save(resumed.state_dict(), file)
        file.seek(0)
        resumed = members()
        resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.compute() == whole.compute()
    assert len(whole.compute()) == 8


def test_a_saved_state_is_a_copy() -> None:
    """What is counted later does not reach what was saved."""
    metrics = members()
    metrics.update(SCORES, TARGETS)
    state, before = metrics.state_dict(), metrics.compute()
    metrics.update(SCORES.flip(0), TARGETS)
    resumed = members()
    resumed.load_state_dict(state)
    assert resumed.compute() == before
    with pytest.raises(ValueError, match="f keeps the states"):
        pe.MetricCollection(f=theirs()).load_state_dict(
            pe.MetricCollection(f=regression.MeanSquaredError()).state_dict()
        )


class Count(pe.Metric):
    """One's own metric without a state to keep."""

    key = "count"
    count = 0.0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count samples."""
        self.count += len(targets)

    def compute(self) -> float:
        """How many."""
        return self.count

    def reset(self) -> None:
        """Start anew."""
        self.count = 0.0


def test_what_cannot_be_kept_is_said() -> None:
    """A member without a state_dict is named when its collection is saved."""
    metrics = pe.MetricCollection(pe.Accuracy(), Count())
    metrics.update(SCORES, TARGETS)
    with pytest.warns(UserWarning, match="count is not kept: Count has no state_dict"):
        state = metrics.state_dict()
    pe.MetricCollection(pe.Accuracy(), Count()).load_state_dict(state)


def test_a_member_that_raises_leaves_ours_uncounted() -> None:
    """A batch that torchmetrics refuses is counted by none of ours."""
    metrics = pe.MetricCollection(
        pe.Accuracy(), pe.F1Score(), f=classification.MulticlassF1Score(3)
    )
    metrics.update(SCORES, TARGETS.clamp(max=1))
    before = metrics.compute()
    narrow = pe.MetricCollection(
        metrics["accuracy"], metrics["f1"], f=classification.MulticlassF1Score(2)
    )
    with pytest.raises((ValueError, RuntimeError), match=r"num_classes|classes"):
        narrow.update(SCORES, TARGETS)
    assert metrics.compute() == before
    alone = pe.MetricCollection(pe.Accuracy(), pe.R2Score(), Count())
    with pytest.raises(TypeError):
        alone.update(torch.zeros(4, 3), torch.zeros(4))
    with pytest.raises(RuntimeError, match="no batch"):
        alone.compute()


def test_one_process_alone_does_not_sync_theirs() -> None:
    """`sync=False` is of one process for members of torchmetrics, too."""
    first, second = together(gloo_predictions.foreign, 2)
    outputs, targets = gloo_predictions.numbers(21)
    keys = ["mse", "pearson_corr_coef", "MeanAbsoluteError"]
    for found, part in ((first, slice(0, 8)), (second, slice(8, 21))):
        whole, alone, again = found
        assert list(whole) == keys
        assert whole == again == first[0]
        for values, rows in ((whole, slice(None)), (alone, part)):
            pair = torch.stack((outputs[rows], targets[rows]))
            truth = float(torch.corrcoef(pair)[0, 1])
            assert values["pearson_corr_coef"] == pytest.approx(truth, abs=1e-6)
            mae = float((pair[0] - pair[1]).abs().mean())
            assert values["MeanAbsoluteError"] == pytest.approx(mae, abs=1e-6)
        assert whole != alone


def test_a_mixed_collection_gives_what_it_has() -> None:
    """Before the first step predictions are computed, and the other way round."""
    metrics = pe.MetricCollection(pe.GradNorm(), pe.Accuracy())
    with pytest.raises(RuntimeError, match=r"no optimizer step|no batch"):
        metrics.compute()
    metrics.update(SCORES, TARGETS)
    assert list(metrics.compute()) == ["accuracy"]
    metrics.reset()
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with metrics.attach(optimizer):
        weight.sum().backward()
        optimizer.step()
    assert list(metrics.compute()) == ["grad_norm"]
    metrics.update(SCORES, TARGETS)
    assert list(metrics.compute()) == ["grad_norm", "accuracy"]


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (pe.Accuracy(), (True, (0.0, 1.0))),
        (pe.LogLoss(scores="logits"), (False, (0.0, math.inf))),
        (theirs(), (True, (0.0, 1.0))),
        (regression.MeanSquaredError(), (False, (0.0, math.inf))),
        (regression.R2Score(), (True, (-math.inf, math.inf))),
        (classification.BinaryMatthewsCorrCoef(), (True, (-math.inf, math.inf))),
        (regression.PearsonCorrCoef(), (None, (-1.0, 1.0))),
        (torchmetrics.text.WordErrorRate(), (False, (-math.inf, math.inf))),
        (theirs_together(), (None, (-math.inf, math.inf))),
        (Spread(), (None, (-math.inf, math.inf))),
        (SimpleNamespace(higher_is_better=False), (False, (-math.inf, math.inf))),
    ],
)
def test_directions_and_ranges_are_those_that_are_stated(
    metric: Any, expected: tuple[bool | None, tuple[float, float]]
) -> None:
    """What another library draws its axes with is no range, and nothing is guessed."""
    assert declared(metric) == expected
