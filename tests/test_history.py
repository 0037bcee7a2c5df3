"""What is kept of many steps: tables of numbers, made when somebody asks."""

from __future__ import annotations

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from steps_truth import batches, network
from torch import nn
from torch.nn.functional import cross_entropy

import pretrain_eval as pe


def trained(metrics: pe.MetricCollection, count: int = 6, **options: int) -> None:
    model = network()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    with metrics.attach(optimizer, model, **options):
        for inputs, targets in batches(count):
            optimizer.zero_grad()
            cross_entropy(model(inputs), targets).backward()
            optimizer.step()


def test_parts_of_many_steps_are_numbers_and_not_objects() -> None:
    """150 columns of 1,000 steps take the bytes of their numbers, and little more."""
    weights = [nn.Parameter(torch.ones(2)) for _ in range(150)]
    named = [(f"layer.{number}.weight", p) for number, p in enumerate(weights)]
    optimizer = torch.optim.SGD(named, lr=0.1)
    for weight in weights:
        weight.grad = torch.ones(2)
    metric = pe.GradNorm(per="parameter")
    with metric.attach(optimizer):
        for _ in range(1000):
            optimizer.step()
    file = io.BytesIO()
    torch.save(metric.state_dict(), file)
    assert file.tell() < 1.1 * 8 * 151 * 1000
    assert metric.history["grad_norm/layer.149.weight"] == (2**0.5,) * 1000
    assert metric.history["grad_norm"] == pytest.approx([300**0.5] * 1000)


class Gradient(pe.StepMetric):
    """A norm of one's own, in total and per part."""

    key = "mine"

    def before_step(self, step: pe.Step) -> None:
        step.keep("gradient")

    def after_step(self, step: pe.Step) -> None:
        self.record_sums(step, torch.sqrt, step.gradient_squares)


def test_a_formula_of_sums_is_asked_for_many_steps_together() -> None:
    """A metric of one's own has the values, parts and statistics of the built-in one."""
    ours, theirs = Gradient(per="module"), pe.GradNorm(per="module")
    metrics = pe.MetricCollection(ours, theirs)
    trained(metrics)
    columns = {key.replace("mine", "grad_norm"): v for key, v in ours.history.items()}
    assert columns == theirs.history
    assert ours.compute() == theirs.compute()


def test_sums_may_be_told_by_name() -> None:
    """The values are those of the tensors; what nobody asked for is an error."""

    class Named(pe.StepMetric):
        key = "mine"

        def before_step(self, step: pe.Step) -> None:
            step.keep("gradient")

        def after_step(self, step: pe.Step) -> None:
            self.record_sums(step, torch.sqrt, "gradient")

    class Wrong(Named):
        def after_step(self, step: pe.Step) -> None:
            self.record_sums(step, torch.sqrt, "update")

    metrics = pe.MetricCollection(
        Named(per="parameter"), theirs=Gradient(per="parameter")
    )
    trained(metrics)
    columns = metrics.history
    for key in columns:
        assert columns[key] == columns[key.replace("mine", "theirs")]
    with pytest.raises(RuntimeError, match="the update was not measured"):
        trained(pe.MetricCollection(Wrong()))


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda metrics: pickle.loads(pickle.dumps(metrics))]
)
def test_a_copy_in_the_middle_holds_what_was_measured(copied) -> None:
    """Also steps whose values nobody had asked for."""
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio(per="module"))
    trained(metrics)
    twin = copied(metrics)
    assert twin.history == metrics.history
    assert twin.compute() == metrics.compute()
    assert len(metrics.history["step"]) == 6


def test_steps_of_several_attachments_are_at_equal_distances() -> None:
    """Steps 1, 1 + n, … of the whole training, wherever one attachment ended."""
    metrics = pe.MetricCollection(pe.GradNorm())
    for count in (4, 1, 5):
        trained(metrics, count, every=3)
    assert metrics.history["step"] == (1, 4, 7, 10)
    resumed = pe.MetricCollection(pe.GradNorm())
    resumed.load_state_dict(metrics.state_dict())
    trained(resumed, 4, every=3)
    assert resumed.history["step"] == (1, 4, 7, 10, 13)


def test_names_that_change_have_gaps_after_thinning(monkeypatch) -> None:
    """Rows of other names stand in tables of their own, and keep their order."""
    from pretrain_eval._steps import log

    monkeypatch.setattr(log, "CAPACITY", 10)
    monkeypatch.setattr(log, "_FOLD", 3)
    first, second = (nn.Parameter(torch.ones(1)) for _ in range(2))
    optimizer = torch.optim.SGD([first], lr=0.5)
    rate = pe.LearningRate()
    with rate.attach(optimizer):
        for number in range(16):
            if number == 6:
                optimizer.add_param_group({"params": [second], "lr": 0.25})
            optimizer.step()
    history = rate.history
    assert history["step"] == tuple(range(1, 17, 2))
    assert history["learning_rate"] == (0.5,) * 8
    late = history["learning_rate/group 1"]
    assert [value == 0.25 for value in late] == [False] * 3 + [True] * 5


@pytest.mark.parametrize(
    "dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64]
)
def test_small_tensors_of_every_precision_are_exact(dtype: torch.dtype) -> None:
    """Together with others of another one, a parameter without gradient among them."""
    generator = torch.Generator().manual_seed(0)
    given = [torch.randn(n, generator=generator) for n in (3, 40, 7)]
    weights = [nn.Parameter(each.to(dtype)) for each in given]
    weights.append(nn.Parameter(torch.randn(5, generator=generator)))
    for weight in weights[1:]:
        weight.grad = torch.randn(weight.shape, generator=generator).to(weight)
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateNorm(), pe.ParameterNorm())
    before = torch.cat([weight.detach().double() for weight in weights])
    optimizer = torch.optim.SGD(weights, lr=0.5)
    with metrics.attach(optimizer):
        optimizer.step()
    after = torch.cat([weight.detach().double() for weight in weights])
    gradient = torch.cat([weight.grad.double() for weight in weights[1:]])
    truth = {
        "grad_norm": float(gradient.norm()),
        "update_norm": float((after - before).norm()),
        "param_norm": float(before.norm()),
    }
    assert metrics.compute() == pytest.approx(truth, rel=1e-14)


@pytest.mark.parametrize("count", [5, 700])
def test_a_spread_is_that_of_all_steps_of_the_window(count: int) -> None:
    """As numpy's, whatever was folded together, near a large offset too."""
    weight = nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    generator = torch.Generator().manual_seed(count)
    values = 1e6 + torch.rand(count, dtype=torch.float64, generator=generator)
    metric = pe.GradNorm(statistic="std")
    with metric.attach(optimizer):
        for value in values:
            weight.grad = value.reshape(1)
            optimizer.step()
    assert metric.compute() == pytest.approx(float(np.std(values.numpy())), rel=1e-9)


def test_skipped_steps_have_no_part_in_a_spread() -> None:
    """Two steps of 3 and 5, and between them one that was skipped."""
    weight = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.1, fused=True)
    metric = pe.GradNorm(statistic="std")
    with metric.attach(optimizer):
        for value, found in ((3.0, 0.0), (torch.inf, 1.0), (5.0, 0.0)):
            weight.grad = torch.full((1,), value)
            optimizer.grad_scale = torch.ones(1)
            optimizer.found_inf = torch.full((1,), found)
            optimizer.step()
    assert metric.compute() == pytest.approx(1.0)


def test_a_history_is_a_data_frame() -> None:
    """A row a step, whose number is the index; no row before the first step."""
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio())
    assert metrics.to_pandas().empty
    trained(metrics)
    frame = metrics.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.index) == [1, 2, 3, 4, 5, 6]
    for key in ("grad_norm", "update_ratio"):
        assert tuple(frame[key]) == metrics.history[key]


def test_collections_become_one() -> None:
    """Side by side, by name or by their members; a key alone is told what to do."""
    first, second = (
        pe.MetricCollection(each) for each in (pe.Accuracy(), pe.GradNorm())
    )
    for both in (
        pe.MetricCollection(first, second),
        pe.MetricCollection(**first, **second),
        pe.MetricCollection(*first.values(), *second.values()),
    ):
        assert dict(both.items()) == {**first, **second}
    with pytest.raises(TypeError, match=r"MetricCollection\(first, second\)"):
        pe.MetricCollection(*first, *second)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [3, 1100])
def test_sums_of_very_many_parameters_are_not_kept(count: int) -> None:
    """A value stands for them at once; it is the same one."""
    weights = [nn.Parameter(torch.ones(1)) for _ in range(count)]
    optimizer = torch.optim.SGD(weights, lr=0.1)
    metric = pe.GradNorm()
    with metric.attach(optimizer):
        for weight in weights:
            weight.grad = torch.full((1,), 2.0)
        optimizer.step()
    row = metric.log.newest
    assert row is not None
    assert isinstance(row.made, torch.Tensor) is (count > 1024)
    assert metric.history["grad_norm"] == pytest.approx([2 * count**0.5])


def counted(count: int = 6, **options: int) -> pe.MetricCollection:
    """A training whose batches are counted, and computed after 2 and after all."""
    metrics = pe.MetricCollection(pe.GradNorm(), pe.Accuracy())
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    with metrics.attach(optimizer, **options):
        for number, (inputs, targets) in enumerate(batches(count), start=1):
            optimizer.zero_grad()
            outputs = model(inputs)
            cross_entropy(outputs, targets).backward()
            optimizer.step()
            metrics.update(outputs.detach(), targets)
            if number in (2, count):
                metrics.compute()
                metrics.reset()
    return metrics


@pytest.mark.parametrize("every", [1, 4])
def test_a_history_holds_what_was_computed_of_batches(every: int) -> None:
    """At the step that was measured last; a pause keeps it, and no step has a gap."""
    metrics = counted(every=every)
    history = metrics.history
    at = {1: (2, 6), 4: (1, 5)}[every]
    known = zip(history["step"], history["accuracy"], strict=True)
    assert tuple(step for step, value in known if value == value) == at
    assert not np.isnan(history["grad_norm"]).any()
    file = io.BytesIO()
    torch.save(metrics.state_dict(), file)
    file.seek(0)
    resumed = pe.MetricCollection(pe.GradNorm(), pe.Accuracy())
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert repr(resumed.history) == repr(history)
    assert list(metrics.to_pandas()["accuracy"].dropna()) == [
        value for value in history["accuracy"] if value == value
    ]


def test_batches_alone_are_numbered_by_what_was_computed() -> None:
    """Without steps there are computations 1, 2, …; what is no number is left out."""
    metrics = pe.MetricCollection(pe.Accuracy(), pe.ConfusionMatrix(num_classes=2))
    for right in (1, 0, 1):
        metrics.update(torch.tensor([[0.1, 0.9]]), torch.tensor([right]))
        metrics.compute()
        metrics.reset()
    assert metrics.history == {"accuracy": (1.0, 0.0, 1.0), "step": (1, 2, 3)}
    with pytest.raises(ValueError, match="the key 'history' is of the collection"):
        pe.MetricCollection(history=pe.Accuracy())


def test_a_collection_draws_its_history() -> None:
    """As `plot.history` does, where it is told to."""
    mpl = pytest.importorskip("matplotlib", reason="pip install matplotlib")
    mpl.use("Agg")
    from matplotlib import pyplot

    _, ax = pyplot.subplots()
    assert counted().plot(ax=ax) is ax
    labels = {line.get_label() for each in ax.figure.axes for line in each.lines}
    assert labels == {"grad_norm", "accuracy"}
    pyplot.close("all")
