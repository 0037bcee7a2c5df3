"""Weights that move before a closure gave its gradient count, in every loop."""

import logging
import warnings

import pytest
import torch
from steps_truth import Truth, batches, collection, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import pretrain_eval as pe


class Decayed(torch.optim.SGD):
    """Decays weights by itself, then lets its parent step."""

    @torch.no_grad()
    def step(self, closure=None):
        """Decay, then step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.mul_(1 - 0.02)
        return super().step(closure)


class DecayedUnseen(torch.optim.SGD):
    """The same through `.data`, which leaves no sign."""

    def step(self, closure=None):
        """Decay, then step."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.data.mul_(1 - 0.02)
        return super().step(closure)


class SAM(torch.optim.SGD):
    """Climbs along the gradient at hand, and steps with that of the place above."""

    @torch.no_grad()
    def step(self, closure=None):
        """Climb, evaluate, climb down, step."""
        parameters = [p for group in self.param_groups for p in group["params"]]
        kept = [parameter.clone() for parameter in parameters]
        for parameter in parameters:
            slope = parameter if parameter.grad is None else parameter.grad
            parameter.add_(slope, alpha=0.05)
        with torch.enable_grad():
            loss = closure()
        for parameter, old in zip(parameters, kept, strict=True):
            parameter.data = old
        super().step()
        return loss


def schedule_free(parameters, lr):
    """The schedule-free optimizer that takes a closure."""
    schedulefree = pytest.importorskip("schedulefree")
    return schedulefree.SGDScheduleFreeClosure(parameters, lr=lr)


KINDS = {
    "decoupled decay": Decayed,
    "decay through data": DecayedUnseen,
    "sharpness-aware": SAM,
    "schedule-free": schedule_free,
}


def watched(optimizer, truth):
    """The optimizer, whose steps tell the truth of what they do."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    step = optimizer.step

    def told(closure=None):
        first = [True]

        def evaluate():
            loss = closure()
            if first.pop() if first else False:
                truth.gradients = torch.cat(
                    [p.grad.double().flatten() for p in parameters]
                )
            return loss

        truth.before(parameters)
        loss = step(evaluate)
        truth.after(parameters)
        return loss

    optimizer.step = told
    return optimizer


def plain(optimizer_of, metrics, truth, _):
    """A loop of torch alone."""
    model = network()
    optimizer = watched(optimizer_of(model.parameters(), lr=0.05), truth)
    with metrics.attach(optimizer):
        for inputs, targets in batches(6):

            def closure(inputs=inputs, targets=targets):
                optimizer.zero_grad()
                loss = cross_entropy(model(inputs), targets)
                loss.backward()
                return loss

            optimizer.step(closure)


def samples():
    """All batches' samples one by one."""
    return [
        (image, label)
        for inputs, targets in batches(6)
        for image, label in zip(inputs, targets, strict=True)
    ]


def lightning(optimizer_of, metrics, truth, folder):
    """Automatic optimization, which always gives a closure."""
    pytest.importorskip("lightning")
    from lightning.pytorch import LightningModule, Trainer

    from pretrain_eval.integrations.lightning import StepMetricsCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(LightningModule):
        def __init__(self):
            super().__init__()
            self.net = network()

        def training_step(self, batch, index):
            return cross_entropy(self.net(batch[0]), batch[1])

        def configure_optimizers(self):
            return watched(optimizer_of(self.parameters(), lr=0.05), truth)

    Trainer(
        max_epochs=1, logger=False, accelerator="cpu", default_root_dir=folder,
        callbacks=[StepMetricsCallback(metrics)], enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    ).fit(Module(), DataLoader(samples(), batch_size=6))  # fmt: skip


def skorch(optimizer_of, metrics, truth, _):
    """A net's own training, which always gives a closure."""
    skorch = pytest.importorskip("skorch")
    net = skorch.NeuralNet(
        network(), nn.CrossEntropyLoss, optimizer=optimizer_of, batch_size=6, verbose=0,
        iterator_train__shuffle=False, max_epochs=1, train_split=None, lr=0.05,
    ).initialize()  # fmt: skip
    watched(net.optimizer_, truth)
    inputs, targets = (torch.cat(parts) for parts in zip(*batches(6), strict=True))
    with metrics.attach(net.optimizer_):
        net.partial_fit(inputs, targets)


@pytest.mark.parametrize("loop", [plain, lightning, skorch])
@pytest.mark.parametrize("kind", KINDS)
def test_what_moves_before_the_closure_counts(kind, loop, tmp_path):
    """Every value of every step is that of float64 clones, from the first step on."""
    metrics, truth = collection(), Truth()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # frameworks warn of their own changes
        warnings.filterwarnings("error", message="movement and weights")
        loop(KINDS[kind], metrics, truth, tmp_path)
    assert len(truth.rows) == 6
    for key, values in truth.table.items():
        rounding = 1e-6 if key == "grad_param_cosine" else 0
        assert metrics.history[key] == pytest.approx(values, 1e-6, rounding), key


class Late(Decayed):
    """Begins to move weights first when nobody expects it."""

    steps = 0

    def step(self, closure=None):
        """Decay from the sixth step on."""
        self.steps += 1
        if self.steps <= 5:
            return torch.optim.SGD.step(self, closure)
        return super().step(closure)


def test_a_movement_that_was_not_expected_is_nan():
    """Where no copy was taken in time the step has NaN, one warning, and a gradient."""
    weight = nn.Parameter(torch.ones(3))
    optimizer = Late([weight], lr=0.1)
    metrics = pe.MetricCollection(
        pe.GradNorm(), pe.UpdateNorm(), pe.ParameterNorm(), pe.GradParameterCosine()
    )

    def closure():
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    with metrics.attach(optimizer):
        for _ in range(5):
            optimizer.step(closure)
        with pytest.warns(UserWarning, match="step 6 are NaN: Late moved") as caught:
            optimizer.step(closure)
        assert caught[0].filename == __file__
        before = weight.detach().clone()
        optimizer.step(closure)
    for key in ("update_norm", "param_norm", "grad_param_cosine"):
        unknown = [value != value for value in metrics.history[key]]
        assert unknown == [False] * 5 + [True, False], key
    assert all(value == value for value in metrics.history["grad_norm"])
    assert metrics.history["param_norm"][6] == pytest.approx(float(before.norm()))
    assert metrics.history["update_norm"][6] == pytest.approx(
        float((weight.detach() - before).norm()), rel=1e-6
    )


def test_a_closure_that_moves_weights_itself():
    """What the closure moves is no movement of the optimizer, as in a plain loop."""
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizer = torch.optim.SGD([weight], lr=0.1)

    def closure():
        with torch.no_grad():
            weight.clamp_(max=2.0)
        optimizer.zero_grad()
        loss = weight.square().sum()
        loss.backward()
        return loss

    with (metric := pe.UpdateRatio()).attach(optimizer):
        optimizer.step(closure)
    assert metric.compute() == pytest.approx(0.2)


@pytest.mark.parametrize("large", [False, True])
def test_one_weight_in_two_optimizers_counts_once(large):
    """Its movement is that of both, and its gradient the one that the first reads."""
    size = 10_000 if large else 2
    shared, own = nn.Parameter(torch.ones(size)), nn.Parameter(torch.ones(size))
    optimizers = [
        torch.optim.SGD([shared], lr=0.1),
        torch.optim.SGD([own, shared], lr=0.3, momentum=0.9),
    ]
    metrics, truth = collection(), Truth()
    with metrics.attach(optimizers):
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
            (shared.square().sum() + 2 * own.sum()).backward()
            truth.before([shared, own])
            for optimizer in optimizers:
                optimizer.step()
            truth.after([shared, own])
    for key, values in truth.table.items():
        assert metrics.history[key] == pytest.approx(values, rel=1e-6), key


def test_two_optimizers_of_the_same_weights():
    """The second adds its movement and nothing else."""
    weight = nn.Parameter(torch.tensor([3.0, 4.0]))
    optimizers = [torch.optim.SGD([weight], lr=0.1) for _ in range(2)]
    with (metrics := collection()).attach(optimizers):
        weight.square().sum().backward()
        for optimizer in optimizers:
            optimizer.step()
    values = metrics.compute()
    assert values["grad_norm"] == pytest.approx(10)
    assert values["update_norm"] == pytest.approx(2)
    assert values["param_norm"] == pytest.approx(5)
