"""A collection is its members, counted once, guarded, merged, kept and summed."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import io
import pickle
from collections.abc import Callable
from typing import Any

import gloo_predictions
import numpy as np
import pytest
import torch
import torchmetrics
from processes import together
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import pretrain_eval as pe
from pretrain_eval._metrics.metric import CountedMetric
from pretrain_eval._metrics.predictions import class_counters
from pretrain_eval._metrics.predictions.class_counters import ClassCounter
from pretrain_eval._metrics.predictions.decided import Decided
from pretrain_eval.integrations import as_torchmetrics


class Count(pe.Metric):
    """One's own metric: three functions."""

    key = "count"

    def __init__(self) -> None:
        self.count = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        """Count one batch."""
        self.count += len(targets)

    def compute(self) -> float:
        """How many samples there were."""
        return float(self.count)

    def reset(self) -> None:
        """Start anew."""
        self.count = 0


def batches(
    num_classes: int = 10, num_batches: int = 4, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """Random scores and targets; the first batch is predicted without a mistake."""
    generator = torch.Generator().manual_seed(seed)
    drawn = []
    for number in range(num_batches):
        scores = torch.randn(16 - number, num_classes, generator=generator)
        targets = torch.randint(0, num_classes, (16 - number,), generator=generator)
        if number == 0:
            targets = scores.argmax(1)
        drawn.append((scores, targets))
    return drawn


def binary(number: int) -> tuple[Tensor, Tensor]:
    """Ten logits and their targets."""
    generator = torch.Generator().manual_seed(number)
    return 3 * torch.randn(10, generator=generator), torch.randint(
        0, 2, (10,), generator=generator
    )


def multiclass_members() -> dict[str, CountedMetric]:
    """Metrics that agree on a perfect first batch and on nothing later."""
    return {
        "top_1": pe.Accuracy(),
        "top_5": pe.Accuracy(top_k=5),
        "kept": pe.Accuracy(ignore_index=3),
        "kept_5": pe.Accuracy(top_k=5, ignore_index=3),
        "precision": pe.Precision(),
        "recall": pe.Recall(average="micro", labels=[1, 2]),
        "f1": pe.F1Score(average="weighted", ignore_index=3),
        "none": pe.F1Score(average="none", absent="drop"),
    }


def test_members_equal_themselves_alone() -> None:
    """A perfect first batch joins nothing that was declared differently."""
    together = pe.MetricCollection(**multiclass_members())
    alone = multiclass_members()
    for scores, targets in batches():
        together.update(scores, targets)
        for metric in alone.values():
            metric.update(scores, targets)
    values = together.compute()
    assert values == {key: metric.compute() for key, metric in alone.items()}
    assert values["top_1"] != values["top_5"] != values["kept_5"]


def test_thresholds_equal_themselves_alone() -> None:
    """Thresholds 0.5 and 0.9 in one collection, with and without dropped rows."""

    def members() -> dict[str, CountedMetric]:
        return {
            f"at_{threshold}_{dropped}": pe.Accuracy(
                task="binary",
                scores="logits",
                threshold=threshold,
                ignore_index=dropped,
            )
            for threshold in (0.5, 0.9)
            for dropped in (None, -1)
        }

    together, alone = pe.MetricCollection(**members()), members()
    for number in range(3):
        logits, targets = binary(number)
        if number == 0:
            logits = torch.where(targets == 1, 9.0, -9.0)
        together.update(logits, targets)
        for metric in alone.values():
            metric.update(logits, targets)
    assert together.compute() == {key: m.compute() for key, m in alone.items()}


def test_equal_declarations_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four metrics of one counter count a batch once and hold one vector."""
    calls: list[int] = []
    count = ClassCounter.count

    def counted(self: ClassCounter, *args: Any) -> Any:
        calls.append(1)
        return count(self, *args)

    monkeypatch.setattr(ClassCounter, "count", counted)
    members = (pe.Accuracy(), pe.Precision(), pe.Recall(), pe.F1Score())
    metrics = pe.MetricCollection(*members)
    for scores, targets in batches(20000, 2):
        metrics.update(scores, targets)
    assert len(calls) == 2
    held = {id(metric.counts) for metric in members}
    assert len(held) == 1
    counts = members[0].counts
    assert isinstance(counts, np.ndarray)
    assert counts.dtype == np.int64
    assert len(counts) == 3 * 20000 + 4


def test_members_stay_their_owners() -> None:
    """A shared vector changes for nobody when one member goes its own way."""
    accuracy, f1 = pe.Accuracy(), pe.F1Score()
    metrics = pe.MetricCollection(accuracy, f1)
    first, second, third, _ = batches()
    metrics.update(*first)
    accuracy.update(*second)
    metrics.update(*third)
    for metric, seen in (
        (pe.Accuracy(), (first, second, third)),
        (pe.F1Score(), (first, third)),
    ):
        for batch in seen:
            metric.update(*batch)
        assert metrics.compute()[metric.key] == metric.compute()
    accuracy.reset()
    assert f1.compute() == metrics["f1"].compute()
    with pytest.raises(RuntimeError, match="accuracy has seen no batch"):
        metrics.compute()


def test_batches_do_not_matter() -> None:
    """Any way to split the samples gives the identical number."""
    scores, targets = (torch.cat(parts) for parts in zip(*batches(), strict=True))
    values = []
    for size in (1, 7, len(targets)):
        metrics = pe.MetricCollection(**multiclass_members())
        for part in zip(scores.split(size), targets.split(size), strict=True):
            metrics.update(*part)
        values.append(metrics.compute())
    assert repr(values[0]) == repr(values[1]) == repr(values[2])


def test_a_hundred_million_samples() -> None:
    """Counts are integers: the last of 1e8 samples is seen in the value."""
    metric = pe.Accuracy(num_classes=2)
    metric.counts = np.array([50_000_001, 0, 0, 50_000_000, 10**8, 0, 0, 0, 0, 0])
    assert metric.compute() == 0.50000001
    metric.update(torch.tensor([0]), torch.tensor([1]))
    assert metric.compute() == 50_000_001 / 100_000_001


SCORES = torch.tensor([[0.1, 0.9], [0.8, 0.2]])
BAD = {
    "label C": (SCORES, torch.tensor([0, 2]), ValueError, "0..1, got 2"),
    "label -1": (SCORES, torch.tensor([-1, 0]), ValueError, "ignore_index=-1"),
    "prediction C": (
        torch.tensor([0, 2]),
        torch.tensor([0, 1]),
        ValueError,
        "predictions must lie in 0..1, got 2",
    ),
    "prediction -1": (
        torch.tensor([0, -1]),
        torch.tensor([0, 1]),
        ValueError,
        "predictions must lie in 0..1, got -1",
    ),
    "shape": (SCORES, torch.tensor([0, 1, 1]), ValueError, "expected outputs"),
    "shape of classes": (
        torch.tensor([0]),
        torch.tensor([0, 1]),
        ValueError,
        "expected outputs",
    ),
    "other classes": (
        torch.zeros(2, 3),
        torch.tensor([0, 1]),
        ValueError,
        "2 classes, got 3",
    ),
    "float targets": (SCORES, torch.tensor([0.0, 1.0]), TypeError, "class indices"),
    "float predictions": (
        torch.tensor([0.2, 0.4]),
        torch.tensor([0, 1]),
        TypeError,
        "class indices",
    ),
    "valid": (SCORES, torch.tensor([1, 0]), None, ""),
    "valid classes": (torch.tensor([1, 0]), torch.tensor([1, 0]), None, ""),
    "valid half": (SCORES.half(), torch.tensor([1, 0]), None, ""),
    "valid overflow": (SCORES * 3e38, torch.tensor([1, 0]), None, ""),
}


@pytest.mark.parametrize("collected", [False, True])
@pytest.mark.parametrize("case", BAD)
def test_bad_batches(case: str, collected: bool) -> None:
    """A batch that cannot be counted raises, leaves no trace, and others go on."""
    outputs, targets, error, message = BAD[case]
    metric = pe.Accuracy(num_classes=2)
    whole = pe.MetricCollection(metric, pe.F1Score(num_classes=2), Count())
    target: Any = whole if collected else metric
    target.update(SCORES, torch.tensor([1, 1]))
    if error is None:
        target.update(outputs, targets)
        assert metric.compute() == 0.75
        return
    with pytest.raises(error, match=message):
        target.update(outputs, targets)
    assert metric.compute() == 0.5
    if collected:
        assert whole.compute()["count"] == 2


@pytest.mark.parametrize("way", ["host", "device"])
@pytest.mark.parametrize("collected", [False, True])
@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
def test_outputs_that_are_not_finite(
    number: float, collected: bool, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that diverged does not stop a loop: its value is NaN, with a warning."""
    if way == "device":
        on_device(monkeypatch)
    metric = pe.Accuracy()
    whole = pe.MetricCollection(metric, pe.F1Score(average="none"))
    target: Any = whole if collected else metric
    scores = SCORES.clone()
    scores[0, 0] = number
    target.update(SCORES, torch.tensor([1, 0]))
    target.update(scores, torch.tensor([1, 0]))
    target.update(SCORES, torch.tensor([1, 0]))
    with pytest.warns(UserWarning, match="is NaN: 1 of the model's outputs"):
        value = target.compute()
    assert repr(value) == (
        "{'accuracy': nan, 'f1': (nan, nan)}" if collected else "nan"
    )
    target.reset()
    target.update(SCORES, torch.tensor([1, 0]))
    assert metric.compute() == 1.0


@pytest.mark.parametrize("collected", [False, True])
def test_nothing_to_compute(collected: bool) -> None:
    """No batch, or no sample in them, is an error and never a number."""
    metric = pe.Precision(ignore_index=1)
    target: Any = pe.MetricCollection(metric) if collected else metric
    with pytest.raises(RuntimeError, match="seen no batch"):
        target.compute()
    target.update(SCORES, torch.tensor([1, 1]))
    with pytest.raises(ValueError, match="counted no sample"):
        target.compute()
    target.reset()
    with pytest.raises(RuntimeError, match="seen no batch"):
        target.compute()
    target.update(SCORES, torch.tensor([0, 1]))
    target.compute()


def on_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count as on an accelerator, where no value is read before `compute`."""
    count = class_counters.count_on_device
    monkeypatch.setattr(class_counters, "count_on_host", count)


@pytest.mark.parametrize("dropped", [None, 0])
@pytest.mark.parametrize("weights", [None, torch.bool, torch.float64])
def test_a_device_counts_as_the_host(
    weights: torch.dtype | None, dropped: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way without waiting gives the same counts."""
    counter = ClassCounter(ignore_index=dropped)
    results = []
    for way in ("host", "device"):
        if way == "device":
            on_device(monkeypatch)
        total = None
        for scores, targets in batches():
            weight = None if weights is None else (targets % 3).to(weights)
            total = counter.add(total, counter.batch(scores, targets, weight))
        assert total is not None
        results.append(np.asarray(total))
    assert results[0].tolist() == results[1].tolist()
    assert results[0].dtype == results[1].dtype


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (torch.tensor([0, 7]), torch.tensor([0, 1]), "1 predictions lie outside 0..1"),
        (torch.tensor([0, 1]), torch.tensor([-1, 9]), "2 targets lie outside 0..1"),
        (torch.tensor([0, 1]), torch.tensor([1, 1]), None),
    ],
)
def test_a_device_gathers_what_is_wrong(
    outputs: Tensor, targets: Tensor, message: str | None
) -> None:
    """Flags wait on the device and raise at compute, whatever came after."""
    metric = pe.Accuracy(num_classes=2)
    batch = class_counters.count_on_device(Decided(outputs, targets, 2))
    metric.counts = metric.counter.add(metric.counts, batch)
    metric.update(torch.tensor([0, 1]), torch.tensor([1, 1]))
    if message is None:
        assert metric.compute() == 0.5
        return
    with pytest.raises(ValueError, match=message):
        metric.compute()


class Syncs(TorchDispatchMode):
    """Counts what would wait for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Note a read of a value, or of a size that depends on values."""
        name = str(func)
        waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal.default")
        if any(word in name for word in waits):
            self.seen.append(name)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("way", ["host", "device"])
def test_updates_wait_for_nothing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No update reads a value from the device, and one compute reads once."""
    if way == "device":
        on_device(monkeypatch)
        monkeypatch.setattr(ClassCounter, "check", lambda self, counts: None)
    metrics = pe.MetricCollection(
        pe.Accuracy(), pe.Precision(), pe.Recall(), pe.F1Score()
    )
    binary_metrics = pe.Accuracy(task="binary", scores="logits")
    with Syncs() as syncs:
        for scores, targets in batches():
            metrics.update(scores, targets)
        binary_metrics.update(*binary(0))
    assert syncs.seen == []


def test_weights_and_masks() -> None:
    """A mask keeps samples, a weight of two is the sample twice."""
    scores, targets = batches()[1]
    mask = targets % 2 == 0
    masked, kept = pe.Accuracy(), pe.Accuracy()
    masked.update(scores, targets, weights=mask)
    kept.update(scores[mask], targets[mask])
    assert masked.compute() == kept.compute()
    assert masked.counts is not None
    assert np.asarray(masked.counts).dtype == np.int64
    weights = 1.0 + mask
    weighted, doubled = (
        pe.MetricCollection(**multiclass_members()),
        pe.MetricCollection(**multiclass_members()),
    )
    weighted.update(scores, targets, weights=weights)
    doubled.update(scores, targets)
    doubled.update(scores[mask], targets[mask])
    for key, value in weighted.compute().items():
        assert value == pytest.approx(doubled.compute()[key], abs=1e-15, nan_ok=True)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (torch.ones(3), "expected weights of shape"),
        (torch.tensor([-1.0, 1.0]), "negative"),
        (torch.tensor([torch.nan, 1.0]), "negative"),
        (torch.tensor([0.0, 1.0]), None),
    ],
)
def test_weights_that_do_not_fit(weights: Tensor, message: str | None) -> None:
    """Weights are one a sample, at least 0."""
    metric = pe.Accuracy()
    if message is None:
        metric.update(SCORES, torch.tensor([9, 0]), weights=weights)
        assert metric.compute() == 1.0
        return
    with pytest.raises(ValueError, match=message):
        metric.update(SCORES, torch.tensor([1, 0]), weights=weights)


def test_members_without_weights_are_named() -> None:
    """Ours are weighted beside a member that knows no weights, and that is said once."""
    metrics = pe.MetricCollection(pe.Accuracy(), Count())
    weights = torch.tensor([3.0, 1.0])
    with pytest.warns(UserWarning, match="count took no weights"):
        metrics.update(SCORES, torch.tensor([1, 1]), weights=weights)
    metrics.update(SCORES, torch.tensor([1, 1]), weights=weights)
    assert metrics.compute() == {"accuracy": 0.75, "count": 4.0}
    metrics.reset()
    metrics.update(SCORES, torch.tensor([1, 1]), weights=torch.tensor([True, False]))
    assert metrics.compute() == {"accuracy": 1.0, "count": 1.0}
    with pytest.raises(TypeError, match="weights mean nothing to count"):
        pe.MetricCollection(Count()).update(SCORES, SCORES, weights=weights)


def test_merging() -> None:
    """Two halves merged are the whole."""
    whole, half, rest = (pe.MetricCollection(**multiclass_members()) for _ in range(3))
    for number, batch in enumerate(batches()):
        whole.update(*batch)
        (half if number < 2 else rest).update(*batch)
    half.merge(rest)
    assert repr(half.compute()) == repr(whole.compute())
    half.merge(pe.MetricCollection(**multiclass_members()))
    assert repr(half.compute()) == repr(whole.compute())


@pytest.mark.parametrize(
    ("merge", "error", "message"),
    [
        (lambda: pe.Accuracy().merge(pe.Accuracy(top_k=2)), ValueError, "alike"),
        (lambda: pe.Accuracy().merge(pe.F1Score()), ValueError, "alike"),
        (
            lambda: pe.MetricCollection(pe.Accuracy()).merge(
                pe.MetricCollection(pe.F1Score())
            ),
            ValueError,
            "expected members",
        ),
        (
            lambda: pe.MetricCollection(Count()).merge(pe.MetricCollection(Count())),
            TypeError,
            "cannot be merged",
        ),
    ],
)
def test_what_cannot_be_merged(
    merge: Callable[[], None], error: type[Exception], message: str
) -> None:
    """What was counted differently is not added up."""
    with pytest.raises(error, match=message):
        merge()


def test_state_is_kept() -> None:
    """A collection saved and loaded goes on where it was."""
    first, second, *_ = batches()
    whole, resumed = (pe.MetricCollection(**multiclass_members()) for _ in range(2))
    whole.update(*first)
    file = io.BytesIO()
    torch.save(whole.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert repr(resumed.compute()) == repr(whole.compute())
    for metrics in (whole, resumed):
        metrics.update(*second)
    assert repr(resumed.compute()) == repr(whole.compute())
    for copied in (copy.deepcopy(whole), pickle.loads(pickle.dumps(whole))):
        copied.update(*second)
        assert len({id(metric.counts) for metric in (copied["top_1"],)}) == 1
        assert copied.compute() != whole.compute()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: pe.MetricCollection(pe.Accuracy(top_k=2)), "counts"),
        (lambda: pe.MetricCollection(pe.F1Score()), "expected the state of"),
    ],
)
def test_a_foreign_state_raises(
    make: Callable[[], pe.MetricCollection], message: str
) -> None:
    """A state of something declared differently is not taken for one's own."""
    metrics = pe.MetricCollection(pe.Accuracy())
    metrics.update(*batches()[0])
    with pytest.raises(ValueError, match=message):
        make().load_state_dict(metrics.state_dict())
    pe.MetricCollection(pe.Accuracy()).load_state_dict(metrics.state_dict())


def test_others_metrics_are_members() -> None:
    """Torchmetrics' objects and one's own trio count beside ours."""
    metrics = pe.MetricCollection(
        pe.Accuracy(),
        Count(),
        theirs=torchmetrics.classification.MulticlassAccuracy(10, average="micro"),
        each=torchmetrics.classification.MulticlassF1Score(10, average="none"),
    )
    for batch in batches():
        metrics.update(*batch)
    values = metrics.compute()
    assert values["theirs"] == pytest.approx(values["accuracy"], abs=1e-7)
    assert values["count"] == 16 + 15 + 14 + 13
    each = values["each"]
    assert isinstance(each, tuple)
    assert len(each) == 10


class Told(Count):
    """One's own metric that counts over processes."""

    key = "told"

    def compute(self, *, sync: bool = True) -> float:
        """How many samples there were, twice where all processes are asked."""
        return float(self.count * (1 + sync))


def test_who_takes_sync_is_told() -> None:
    """A `compute` without `sync` is one's own value; one with it hears what is asked."""
    metrics = pe.MetricCollection(Told(), Count(), pe.Accuracy())
    metrics.update(SCORES, torch.tensor([1, 0]))
    everything = {"told": 4.0, "count": 2.0, "accuracy": 1.0}
    assert metrics.compute() == everything
    assert metrics.compute(sync=False) == everything | {"told": 2.0}
    for metric, value in ((Told(), 2.0), (Count(), 2.0), (pe.Accuracy(), 1.0)):
        adapted = as_torchmetrics(metric)
        assert adapted(SCORES, torch.tensor([1, 0])) == value
        assert adapted.compute() == everything[metric.key]


def test_every_metric_of_the_library_takes_sync() -> None:
    """Nobody needs to know of what kind a metric is to ask for its own value."""
    metrics = [value for value in vars(pe).values() if inspect.isclass(value)]
    metrics = [metric for metric in metrics if issubclass(metric, pe.Metric)]
    takes = {m for m in metrics if "sync" in inspect.signature(m.compute).parameters}
    assert set(metrics) - takes == {pe.Metric}
    weight = torch.nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], lr=0.0)
    with (steps := pe.GradNorm()).attach(optimizer):
        weight.square().sum().backward()
        optimizer.step()
    assert steps.compute(sync=False) == steps.compute() == 10.0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pe.MetricCollection(), ValueError, "at least one"),
        (lambda: pe.MetricCollection(pe.Accuracy), TypeError, "objects with update"),
        (lambda: pe.MetricCollection(x=3), TypeError, "objects with update"),
        (
            lambda: pe.MetricCollection(pe.Accuracy(), pe.Accuracy(top_k=2)),
            ValueError,
            "two metrics have the key 'accuracy'",
        ),
        (
            lambda: pe.MetricCollection(*[pe.Accuracy()], b=pe.Accuracy()),
            None,
            "",
        ),
    ],
)
def test_members_that_do_not_fit(
    make: Callable[[], object], error: type[Exception] | None, message: str
) -> None:
    """A collection is told at once what it cannot hold."""
    if error is None:
        make()
        return
    with pytest.raises(error, match=message):
        make()


def test_the_same_object_twice_raises() -> None:
    """An object under two keys would count every batch twice."""
    metric = pe.Accuracy()
    with pytest.raises(ValueError, match="given twice"):
        pe.MetricCollection(metric, again=metric)


def test_a_class_tells_its_own_arguments() -> None:
    """To `help` and to editors, whatever is kept of them when one is made."""

    class Mine(pe.Metric):
        def __init__(self, first: int, *, second: int = 2) -> None:
            """Nothing to do."""

    @dataclasses.dataclass
    class Late(pe.Metric):
        third: float = 3.0

    class Plain(pe.Metric):
        """Takes nothing."""

    assert list(inspect.signature(Mine).parameters) == ["first", "second"]
    assert list(inspect.signature(Late).parameters) == ["third"]
    assert list(inspect.signature(pe.MedianRank).parameters) == ["way"]
    assert not inspect.signature(Plain).parameters


def test_two_processes() -> None:
    """Two gloo ranks compute what one process does, in one collective."""
    found, _ = together(gloo_predictions.everything, 2)
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(21, 5, generator=generator)
    targets = torch.randint(0, 5, (21,), generator=generator)
    single = pe.MetricCollection(
        pe.Accuracy(), pe.Precision(), pe.Recall(), pe.F1Score()
    )
    single.update(inputs, targets)
    expected = single.compute()
    assert found["sampled"] == expected
    assert found["collectives"] == 1
    assert found["uneven"] == found["again"] == found["alone"] == expected
    assert found["collectives_again"] == 1
    ranking = pe.MetricCollection(
        one=pe.AUROC(task="multiclass", scores="logits"),
        two=pe.AveragePrecision(task="multiclass", scores="logits"),
        hits=pe.Accuracy(),
    )
    ranking.update(inputs, targets)
    binary_ranking = pe.AUROC(task="binary")
    binary_ranking.update(inputs[:, 0], targets % 2)
    assert found["ranking"] == pytest.approx(
        {**ranking.compute(), "all_on_one": binary_ranking.compute()}, abs=1e-15
    )
    assert found["collectives_ranking"] == 2
