"""A metric of one's own that says what it sums: everything else comes with it."""

from __future__ import annotations

import copy
import io
import math
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import gloo_predictions
import numpy as np
import pytest
import torch
import torchmetrics
from gloo_predictions import Skill
from processes import together
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval.integrations.adapters import as_ignite, as_torchmetrics

OUTPUTS, TARGETS = gloo_predictions.numbers(40)


def skill(outputs: Tensor, targets: Tensor, power: float = 1.0) -> float:
    """The same in numpy, of all samples at once."""
    error, target = outputs.numpy() - targets.numpy(), targets.numpy()
    return float(1 - (np.abs(error) ** power).sum() / (np.abs(target) ** power).sum())


def fed(metric: Any, *sizes: int) -> Any:
    """The metric after the samples, in batches of these sizes."""
    for batch in zip(OUTPUTS.split(sizes), TARGETS.split(sizes), strict=True):
        metric.update(*batch)
    return metric


def close(value: float) -> Any:
    """Equal up to the rounding of float64 sums."""
    return pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("sizes", [(40,), (1, 39), (13, 0, 20, 7), (1,) * 40])
@pytest.mark.parametrize("power", [1.0, 2.0])
def test_batches_do_not_matter(power: float, sizes: tuple[int, ...]) -> None:
    """However samples are split, the value is that of a numpy twin of all of them."""
    metric = fed(Skill(power), *sizes)
    assert metric.compute() == close(skill(OUTPUTS, TARGETS, power))
    metric.reset()
    metric.update(OUTPUTS[:5], TARGETS[:5])
    assert metric.compute() == close(skill(OUTPUTS[:5], TARGETS[:5], power))


def test_halves_merge_to_the_whole() -> None:
    """What two metrics have counted is what one would have."""
    half, rest, empty = Skill(2.0), Skill(2.0), Skill(2.0)
    half.update(OUTPUTS[:11], TARGETS[:11])
    rest.update(OUTPUTS[11:], TARGETS[11:])
    half.merge(rest)
    half.merge(empty)
    assert half.compute() == close(skill(OUTPUTS, TARGETS, 2.0))
    assert rest.compute() == close(skill(OUTPUTS[11:], TARGETS[11:], 2.0))
    empty.merge(half)
    empty.update(OUTPUTS[:1], TARGETS[:1])
    assert half.compute() == close(skill(OUTPUTS, TARGETS, 2.0))


def test_the_state_is_kept() -> None:
    """Saved, loaded, pickled and copied, it goes on where it was, each for itself."""
    first, rest = (OUTPUTS[:9], TARGETS[:9]), (OUTPUTS[9:], TARGETS[9:])
    metric, resumed = Skill(2.0), Skill(2.0)
    metric.update(*first)
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    file.seek(0)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    copies = [resumed, pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric)]
    before = metric.compute()
    for copied in copies:
        assert copied.compute() == before
        copied.update(*rest)
        assert copied.compute() == close(skill(OUTPUTS, TARGETS, 2.0))
    assert metric.compute() == before
    fresh = Skill(2.0)
    fresh.load_state_dict(Skill(2.0).state_dict())
    with pytest.raises(RuntimeError, match="skill has seen no batch"):
        fresh.compute()


def test_two_processes() -> None:
    """Two gloo ranks compute what one process does, also where one has no batch."""
    outputs, targets = gloo_predictions.numbers(21)
    for found in together(gloo_predictions.own_sums, 2):
        assert found["uneven"] == close(skill(outputs, targets, 2.0))
        assert found["one_alone"] == close(skill(outputs, targets))
        assert found["reference"] == pytest.approx(
            float((outputs - targets).square().mean())
        )
        # The lengths are told once; from then on everything is one sum.
        assert found["collectives"] == [2, 1]
        assert found["lengths"] == (
            "length: processes met different numbers of sums, 1 and 2 counters"
        )


def test_beside_other_members() -> None:
    """A collection holds it as any other member: reset, merged, saved, copied."""

    def members() -> pe.MetricCollection:
        return pe.MetricCollection(
            pe.MeanSquaredError(), Skill(), squared=Skill(2.0), again=Skill()
        )

    metrics, rest = fed(members(), 7, 33), members()
    expected = {
        "mse": close(float((OUTPUTS - TARGETS).square().mean())),
        "skill": close(skill(OUTPUTS, TARGETS)),
        "squared": close(skill(OUTPUTS, TARGETS, 2.0)),
        "again": close(skill(OUTPUTS, TARGETS)),
    }
    assert metrics.compute() == expected
    rest.load_state_dict(metrics.state_dict())
    assert rest.compute() == expected
    for copied in (copy.deepcopy(metrics), pickle.loads(pickle.dumps(metrics))):
        copied.update(OUTPUTS[:3], TARGETS[:3])
        assert copied.compute() != expected
    assert metrics.compute() == expected
    rest.reset()
    rest.update(OUTPUTS[:3], TARGETS[:3])
    metrics.reset()
    metrics.update(OUTPUTS[3:], TARGETS[3:])
    metrics.merge(rest)
    assert metrics.compute() == expected


def test_members_of_one_class_stay_independent() -> None:
    """Two equal members are two: what one counts or how it is set, only that one does."""
    first, second = Skill(), Skill()
    metrics = pe.MetricCollection(first, second=second)
    metrics.update(OUTPUTS[:9], TARGETS[:9])
    second.power = 2.0
    metrics.update(OUTPUTS[9:], TARGETS[9:])
    first.update(OUTPUTS[:9], TARGETS[:9])
    parts = [(OUTPUTS, TARGETS), (OUTPUTS[:9], TARGETS[:9])]
    twice = [torch.cat(tensors) for tensors in zip(*parts, strict=True)]
    assert first.compute() == close(skill(*twice))
    mixed = Skill(2.0)
    mixed.update(OUTPUTS[9:], TARGETS[9:])
    linear = Skill()
    linear.update(OUTPUTS[:9], TARGETS[:9])
    assert mixed.counts is not None
    assert linear.counts is not None
    assert np.array_equal(second.counts, mixed.counts + linear.counts)


class Reads(TorchDispatchMode):
    """Counts the tensors that are put together for a transfer to the host."""

    def __init__(self) -> None:
        super().__init__()
        self.transfers = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Note what fetches or waits."""
        self.transfers += str(func).startswith("aten.cat")
        assert "_local_scalar_dense" not in str(func)
        return func(*args, **(kwargs or {}))


def test_one_transfer_with_the_others() -> None:
    """All members are fetched together, and no value is read one by one."""
    metrics = fed(pe.MetricCollection(pe.R2Score(), Skill(), two=Skill(2.0)), 40)
    with Reads() as reads:
        metrics.compute()
    assert reads.transfers == 1


def test_an_update_waits_for_nothing() -> None:
    """Counting reads no value, so that a device goes on computing."""
    metric = Skill()
    with Reads():
        metric.update(OUTPUTS, TARGETS)


def test_measured_by_validate_and_validation() -> None:
    """It is a metric like any other of `validate` and of `Validation` in training."""
    model = nn.Linear(1, 1, dtype=torch.float64)
    with torch.no_grad():
        model.weight.fill_(1.0)
        model.bias.zero_()
    loader = DataLoader(TensorDataset(OUTPUTS[:, None], TARGETS[:, None]), 7)
    expected = pytest.approx(skill(OUTPUTS, TARGETS), rel=1e-12)
    assert pe.validate(model, loader, Skill()) == {"skill": expected}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    validation = pe.Validation(model, loader, [Skill(), pe.R2Score()], every=1)
    with validation.attach(optimizer):
        model(OUTPUTS[:2, None]).sum().backward()
        optimizer.step()
    assert validation.compute() == expected
    assert validation.history["valid/skill"] == (expected,)


def test_inside_other_libraries() -> None:
    """Torchmetrics' collections and ignite's engines take it."""
    engines = pytest.importorskip("ignite.engine")
    theirs = torchmetrics.MetricCollection({"skill": as_torchmetrics(Skill())})
    step = theirs(OUTPUTS[:9], TARGETS[:9])
    assert float(step["skill"]) == close(skill(OUTPUTS[:9], TARGETS[:9]))
    theirs.update(OUTPUTS[9:], TARGETS[9:])
    assert float(theirs.compute()["skill"]) == close(skill(OUTPUTS, TARGETS))
    engine = engines.Engine(lambda engine, batch: batch)
    as_ignite(Skill()).attach(engine, "skill")
    for _ in range(2):
        metrics = engine.run(zip(OUTPUTS.split(9), TARGETS.split(9), strict=True))
        assert metrics.metrics["skill"] == close(skill(OUTPUTS, TARGETS))


class Plain(pe.SumMetric):
    """Gives what it is told to give."""

    key = "plain"

    def __init__(self, give: Callable[[Tensor], Any] = torch.atleast_1d) -> None:
        self.give = give

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Whatever."""
        return self.give(outputs)

    def value(self, sums: np.ndarray) -> Any:
        """As many numbers as there are sums."""
        return sums[0] / sums[-1] if len(sums) < 3 else sums


@pytest.mark.parametrize("number", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("collected", [False, True])
def test_sums_that_are_not_finite(number: float, collected: bool) -> None:
    """A model that diverged does not stop a loop: its value is NaN, with a warning."""
    metric, other = Plain(), pe.MeanSquaredError()
    target: Any = pe.MetricCollection(metric, other) if collected else metric
    good = torch.tensor([1.0, 2.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        target.update(good, good)
        target.update(torch.tensor([1.0, number]), good)
        target.update(good, good)
    other.reset()
    other.update(good, good)
    with pytest.warns(UserWarning, match="plain is NaN: 1 batches gave sums that are"):
        value = target.compute()
    assert math.isnan(value["plain"] if collected else value)
    target.reset()
    target.update(good, good)
    assert metric.compute() == 0.5


def test_several_values_and_kinds_of_numbers() -> None:
    """Integers are counted to the last one; an array is a tuple of plain floats."""
    metric = Plain()
    metric.update(torch.tensor([2**52, 1, 0]), torch.zeros(3))
    metric.update(torch.tensor([True, False, True]), torch.zeros(3))
    value = metric.compute()
    assert value == (2.0**52 + 1, 1.0, 1.0)
    assert repr(value) == "(4503599627370497.0, 1.0, 1.0)"
    half = Plain(lambda outputs: outputs.half().sum()[None].repeat(2))
    for _ in range(4096):
        half.update(torch.tensor([1.0]), torch.zeros(1))
    assert np.asarray(half.counts)[:2].tolist() == [4096.0, 4096.0]
    learned = Plain(lambda outputs: outputs * torch.ones(1, requires_grad=True))
    learned.update(torch.ones(2, requires_grad=True), torch.zeros(2))
    assert not torch.as_tensor(learned.counts).requires_grad


ONE = torch.ones(1)


@pytest.mark.parametrize(
    ("act", "error", "message"),
    [
        (lambda m: m.compute(), RuntimeError, "plain has seen no batch since"),
        (lambda m: Plain(lambda x: 3.0).update(ONE, ONE), TypeError, "got float"),
        (
            lambda m: Plain(lambda x: x * 1j).update(ONE, ONE),
            TypeError,
            "real numbers, got torch.complex64",
        ),
        (
            lambda m: Plain(torch.sum).update(ONE, ONE),
            ValueError,
            r"a vector of sums, \(num_sums,\), got shape \(\); torch.stack",
        ),
        (
            lambda m: Plain().update(ONE[None], ONE),
            ValueError,
            r"got shape \(1, 1\)",
        ),
        (lambda m: Plain().update(ONE[:0], ONE), ValueError, r"got shape \(0,\)"),
        (
            lambda m: m.update(ONE, ONE.to("meta")),
            ValueError,
            "outputs are on cpu, targets on meta; move one",
        ),
        (
            lambda m: Plain(lambda x: x.to("meta")).update(ONE, ONE),
            ValueError,
            "Plain.count gave sums on meta of a batch on cpu; sum there",
        ),
        (
            lambda m: (m.update(ONE, ONE), m.update(ONE.repeat(3), ONE)),
            ValueError,
            "other sums than the ones before it: 3 counters after 1",
        ),
        (
            lambda m: m.update(ONE, ONE, weights=ONE),
            TypeError,
            "plain takes no weights",
        ),
        (lambda m: m.update(ONE, ONE), None, ""),
    ],
)
def test_what_cannot_be_counted(
    act: Callable[[Plain], object], error: type[Exception] | None, message: str
) -> None:
    """A count that is no vector of sums is named at once, with the way out."""
    if error is None:
        act(Plain())
        return
    with pytest.raises(error, match=message):
        act(Plain())


def double(outputs: Tensor) -> Tensor:
    """A function with a name."""
    return 2 * outputs


def configured(**settings: Any) -> Plain:
    """A metric with these settings, after one batch."""
    metric = Plain()
    vars(metric).update(settings)
    metric.update(ONE, ONE)
    return metric


ALIKE: dict[str, Callable[[], Any]] = {
    "number": lambda: 0.1,
    "nothing": lambda: None,
    "text": lambda: "sum",
    "type": lambda: torch.float64,
    "tensor": lambda: torch.arange(3).to(torch.bfloat16),
    "array": lambda: np.arange(6).reshape(2, 3).T,
    "containers": lambda: {"a": (1, [torch.ones(2)])},
    "function": lambda: double,
    "built-in": lambda: math.sqrt,
    "of torch": lambda: torch.square,
    "class": lambda: nn.MSELoss,
    "partial": lambda: partial(double, power=torch.ones(1)),
    "module": lambda: seeded(0),
}
UNLIKE: dict[str, tuple[Any, Any]] = {
    "number": (0.1, 0.2),
    "kind": (1, "1"),
    "tensor": (
        torch.arange(2000),
        torch.arange(2000).where(torch.arange(2000) != 9, 0),
    ),
    "precision": (torch.ones(2), torch.ones(2).double()),
    "shape": (torch.ones(2), torch.ones(1, 2)),
    "array": (np.arange(2000), np.arange(2000) % 1999),
    "containers": ({"a": (1, 2)}, {"a": (1, 3)}),
    "function": (double, torch.square),
    "method": (pe.Accuracy().compute, pe.Accuracy().compute),
    "partial": (partial(double, power=1), partial(double, power=2)),
    "lambda": (lambda x: x, lambda x: x + 1),
}


def seeded(seed: int) -> nn.Linear:
    """A module of these weights."""
    layer = nn.Linear(2, 2)
    for parameter in layer.parameters():
        nn.init.constant_(parameter, seed)
    return layer


@pytest.mark.parametrize("kind", ALIKE)
def test_equal_configurations_merge_and_load(kind: str) -> None:
    """A setting that is equal, though another object, is the same configuration."""
    first, second = (configured(setting=ALIKE[kind]()) for _ in range(2))
    first.merge(second)
    second.load_state_dict(first.state_dict())
    assert second.compute() == first.compute() == 1.0
    assert "0x" not in first.state_dict()["counter"]


@pytest.mark.parametrize("kind", [*UNLIKE, "module"])
def test_other_configurations_do_not(kind: str) -> None:
    """A setting that differs in one entry makes another metric."""
    pair = UNLIKE[kind] if kind in UNLIKE else (seeded(0), seeded(1))
    first, second = (configured(setting=setting) for setting in pair)
    with pytest.raises(ValueError, match="plain can merge what was counted alike"):
        first.merge(second)
    with pytest.raises(ValueError, match=r"plain counts Plain\("):
        first.load_state_dict(second.state_dict())


def test_other_classes_do_not_merge() -> None:
    """A subclass counts what it will, also where all its settings are equal."""

    class Other(Skill):
        pass

    with pytest.raises(ValueError, match=r"counted alike, got .*Other\(power=1.0\)"):
        Skill().merge(Other())
    with pytest.raises(ValueError, match="counted alike"):
        Skill().merge(pe.MeanSquaredError())
    with pytest.raises(ValueError, match="counted alike"):
        pe.MeanSquaredError().merge(Skill())
