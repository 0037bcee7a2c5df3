"""What users of torchmetrics type, and what is seen of a metric when it is printed."""

import copy
import pickle

import pytest
import torch
from torch import nn

import pretrain_eval as pe
from pretrain_eval.integrations import as_torchmetrics


def batches(number: int = 3):
    generator = torch.Generator().manual_seed(0)
    for _ in range(number):
        yield (
            torch.randn(20, 3, generator=generator),
            torch.randint(3, (20,), generator=generator),
        )


def test_a_call_gives_the_batch_and_counts_it() -> None:
    """As torchmetrics' metrics do, with its values."""
    torchmetrics = pytest.importorskip(
        "torchmetrics", reason="pip install torchmetrics"
    )
    ours, theirs = (
        pe.Accuracy(),
        torchmetrics.Accuracy(task="multiclass", num_classes=3, average="micro"),
    )
    both = pe.MetricCollection(
        pe.Accuracy(), pe.GradNorm(), f=pe.F1Score(num_classes=3)
    )
    for outputs, targets in batches():
        value = float(theirs(outputs.softmax(1), targets))
        assert ours(outputs, targets) == pytest.approx(value)
        found = both(outputs, targets)
        assert set(found) == {"accuracy", "f"}
        assert found["accuracy"] == pytest.approx(value)
    assert ours.compute() == pytest.approx(float(theirs.compute()))
    assert both.compute()["accuracy"] == ours.compute()


def test_a_step_metric_is_not_called_with_batches() -> None:
    """Nor is a collection of such."""
    outputs, targets = next(batches())
    with pytest.raises(TypeError, match="reads steps, not batches"):
        pe.GradNorm()(outputs, targets)
    with pytest.raises(TypeError, match="grad_norm read steps"):
        pe.MetricCollection(pe.GradNorm())(outputs, targets)


def test_a_clone_counts_by_itself() -> None:
    """With what was counted so far."""
    outputs, targets = next(batches())
    metrics = pe.MetricCollection(pe.Accuracy())
    metrics.update(outputs, targets)
    twin = metrics.clone()
    before = metrics.compute()
    twin.update(outputs, (targets + 1) % 3)
    assert metrics.compute() == before
    assert twin.compute() != before
    assert list(metrics.keys()) == ["accuracy"]
    assert dict(metrics.items()) == dict(zip(metrics, metrics.values(), strict=True))


@pytest.mark.parametrize(
    ("made", "printed"),
    [
        (pe.Accuracy(), "Accuracy()"),
        (pe.Accuracy(top_k=2), "Accuracy(top_k=2)"),
        (pe.GradNorm(statistic="max"), "GradNorm(statistic='max')"),
        (
            pe.MetricCollection(pe.Accuracy(), pe.GradNorm(per="module")),
            "MetricCollection(Accuracy(), GradNorm(per='module'))",
        ),
    ],
)
def test_what_is_printed_can_be_typed(made: object, printed: str) -> None:
    """The arguments that differ from their defaults."""
    assert repr(made) == printed


def test_a_handle_says_what_it_has_seen() -> None:
    """Open or closed, and of which optimizer."""
    weight = nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([weight], lr=0.1)
    with pe.GradNorm().attach(optimizer) as steps:
        weight.sum().backward()
        optimizer.step()
        assert repr(steps) == "Attachment(SGD: 1 steps seen)"
    assert repr(steps) == "Attachment(SGD: closed)"


def adapted_after(number: int):
    metric = as_torchmetrics(pe.Accuracy())
    for outputs, targets in batches(number):
        metric.update(outputs, targets)
    return metric


def test_an_adapted_metric_has_a_state() -> None:
    """Saved with weights only, loaded, copied and pickled, it goes on as it was."""
    pytest.importorskip("torchmetrics", reason="pip install torchmetrics")
    metric = adapted_after(2)
    whole = adapted_after(3).compute()
    *_, (outputs, targets) = batches(3)
    fresh = as_torchmetrics(pe.Accuracy())
    fresh.load_state_dict(metric.state_dict())
    for twin in (
        fresh,
        pickle.loads(pickle.dumps(metric)),
        copy.deepcopy(metric),
        metric.clone(),
    ):
        assert twin.compute() == metric.compute()
        twin.update(outputs, targets)
        assert twin.compute() == whole
        assert twin.update_count == 3
    assert metric.update_count == 2
    assert metric.metric_state
    assert repr(metric) == "as_torchmetrics(Accuracy())"


def test_an_adapted_metric_lies_in_a_checkpoint(tmp_path) -> None:
    """As a part of a module, through torch.save with weights only."""
    pytest.importorskip("torchmetrics", reason="pip install torchmetrics")

    class Module(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 2)
            self.metric = as_torchmetrics(pe.Accuracy())

    module = Module()
    for outputs, targets in batches():
        module.metric.update(outputs, targets)
    torch.save(module.state_dict(), tmp_path / "module.pt")
    again = Module()
    again.load_state_dict(torch.load(tmp_path / "module.pt", weights_only=True))
    assert again.metric.compute() == module.metric.compute()


@pytest.mark.parametrize(("make", "better"), [(pe.Accuracy, True), (pe.Loss, False)])
def test_a_tracker_knows_the_direction(make, better: bool) -> None:
    """Torchmetrics' MetricTracker finds the best epoch by itself."""
    torchmetrics = pytest.importorskip(
        "torchmetrics", reason="pip install torchmetrics"
    )
    metric = make() if make is pe.Accuracy else pe.Loss(nn.functional.cross_entropy)
    adapted = as_torchmetrics(metric)
    assert adapted.higher_is_better is better
    tracker = torchmetrics.MetricTracker(adapted, maximize=None)
    values = []
    for outputs, targets in batches(4):
        tracker.increment()
        tracker.update(outputs, targets)
        values.append(float(tracker.compute()))
    best, step = tracker.best_metric(return_step=True)
    assert best == pytest.approx(max(values) if better else min(values))
    assert values[step] == pytest.approx(best)


@pytest.mark.parametrize("metric", [pe.F1Score, pe.Precision, pe.Recall, pe.MeanIoU])
def test_no_average_is_a_value_a_class(metric) -> None:
    """None means per class, as in scikit-learn; the default stays the mean."""
    outputs, targets = next(batches())
    none, word, default = (
        metric(**given) for given in ({"average": None}, {"average": "none"}, {})
    )
    for each in (none, word, default):
        each.update(outputs, targets)
    assert none.compute() == word.compute()
    assert len(none.compute()) == 3
    assert default.compute() == pytest.approx(sum(none.compute()) / 3)
