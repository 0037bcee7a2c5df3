"""Ways to fine-tune: what trains, by which optimizer, and what is measured."""

import dataclasses
import math
from functools import partial

import pytest
import torch
from networks import Small, points, three_classes
from torch import nn
from torch.nn import functional as F

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all
from pretrain_eval._tasks import as_loader

SGD = partial(torch.optim.SGD, lr=0.1)


class Blocks(nn.Module):
    """A stem, three blocks in a list, and a head."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Linear(4, 8)
        self.layers = nn.ModuleList([nn.Linear(8, 8) for _ in range(3)])
        self.head = nn.Linear(8, 5)

    def forward(self, inputs):
        hidden = self.stem(inputs)
        for layer in self.layers:
            hidden = hidden + layer(hidden).relu()
        return self.head(hidden)


def strategy(**changes):
    return pe.Strategy("s", **{"optimizer": SGD, "epochs": 2, **changes})


def trained(model=None, task=None, **changes):
    """The run and the trained model."""
    kept = []
    run = pe.finetune(
        model or Blocks(),
        task or three_classes(),
        strategy(**changes),
        on_end=lambda network, run: kept.append(network),
        device="cpu",
    )
    return run, kept[0]


def moved(model, network):
    """Names of the backbone's parameters that training has moved."""
    before = dict(model.named_parameters())
    return {
        name
        for name, p in network.named_parameters()
        if not name.startswith("head") and not torch.equal(p, before[name])
    }


@pytest.mark.parametrize(
    ("trainable", "parts"),
    [
        ("all", {"stem", "layers.0", "layers.1", "layers.2"}),
        ("head", set()),
        (0, set()),
        (1, {"layers.2"}),
        (2, {"layers.1", "layers.2"}),
        (99, {"stem", "layers.0", "layers.1", "layers.2"}),
        (["layers.0", "absent"], {"layers.0"}),
        (["layers"], {"layers.0", "layers.1", "layers.2"}),
        ({0: "head", 1: 1}, {"layers.2"}),
        ({0: ["stem"], 1: "head"}, {"stem"}),
        ({0: "head", 5: "all"}, set()),
    ],
)
def test_what_is_said_to_train_trains_and_nothing_else(trainable, parts):
    """Names, numbers of last blocks, and stages; the head always trains."""
    model = Blocks()
    run, network = trained(model, trainable=trainable)
    assert run.status == "completed"
    names = {name.rpartition(".")[0] for name in moved(model, network)}
    assert names == parts
    assert network.head.out_features == 3


@pytest.mark.parametrize(
    ("trainable", "message"),
    [
        ("last", "must be 'all', 'head'"),
        (-1, "must be 'all', 'head'"),
        ([], "must be 'all', 'head'"),
        ({1: "all"}, "from 0"),
        ({}, "from 0"),
        ({0: "some"}, "must be 'all', 'head'"),
    ],
)
def test_what_cannot_train_is_refused(trainable, message):
    """A wrong word, a negative number, stages that do not begin."""
    with pytest.raises(ValueError, match=message):
        strategy(trainable=trainable)


def test_names_that_no_parameter_has_are_refused_with_those_that_exist():
    """A sweep over several architectures names the parts of each; one needs one."""
    with pytest.raises(ValueError, match=r"\['layer4'\].*'layers', 'stem'"):
        trained(trainable=["layer4"])


def test_an_optimizer_of_the_callers_own_model_is_refused():
    """It would move the caller's weights and leave the run's where they were."""
    model = Blocks()
    wrong = lambda parameters: torch.optim.SGD(model.parameters(), lr=0.1)  # noqa: E731
    with pytest.raises(ValueError, match="lacks 10 of the 10 parameters"):
        trained(model, optimizer=wrong)
    with pytest.raises(ValueError, match="lacks 10 of the 10"):
        pe.sweep({"m": model}, [three_classes()], [strategy(optimizer=wrong)])


def test_an_optimizer_that_forgets_a_part_is_refused():
    """Half of the weights would stay where they were."""
    with pytest.raises(ValueError, match=r"lacks 2 of the 10.*'head.weight'"):
        trained(optimizer=lambda params: torch.optim.SGD(list(params)[:-2], lr=0.1))


def test_what_is_no_optimizer_is_refused():
    """A function that returns something else."""
    with pytest.raises(TypeError, match="must return a torch optimizer, got list"):
        trained(optimizer=list)


def layered(named_parameters):
    """A learning rate a part, which only names can tell."""
    groups = {}
    for name, parameter in named_parameters:
        groups.setdefault(name.partition(".")[0], []).append(parameter)
    rates = {"stem": 0.0, "layers": 0.0, "head": 0.1}
    return torch.optim.SGD(
        [{"params": group, "lr": rates[part]} for part, group in groups.items()]
    )


def of_model(model):
    """The same, made of the network itself."""
    return layered(model.named_parameters())


@pytest.mark.parametrize("optimizer", [layered, of_model])
def test_an_optimizer_may_be_made_of_names_or_of_the_network(optimizer):
    """The name of its first argument says what it gets."""
    model = Blocks()
    run, network = trained(model, optimizer=optimizer)
    assert run.status == "completed"
    assert moved(model, network) == set()
    assert run.cost.peak_memory > 0


def test_accumulated_batches_make_the_step_of_a_large_one():
    """Two halves of a batch, whose mean loss is that of the whole."""
    model = Blocks()
    whole, _ = trained(model, batch_size=16)
    halves, _ = trained(model, batch_size=8, accumulate=2)
    assert halves.history["step"] == whole.history["step"]
    assert halves.history["grad_norm"] == pytest.approx(
        whole.history["grad_norm"], rel=1e-4
    )
    assert halves.cost.num_samples == whole.cost.num_samples


def test_a_rest_of_batches_is_a_step_of_its_own():
    """48 samples in batches of 10 and steps of 3 batches: 2 steps an epoch."""
    run, _ = trained(batch_size=10, accumulate=3)
    assert run.history["step"] == (1, 2, 3, 4)


def test_an_average_of_weights_is_what_is_measured():
    """The average that a hand-written loop keeps, to the bit."""
    model, kept = Blocks(), []
    run, network = trained(model, ema=0.9, epochs=1)
    trained(model, epochs=1, optimizer=lambda params: _Watched(list(params), kept))
    average = [p.clone() for p in kept[0]]
    for weights in kept[1:]:
        for mean, now in zip(average, weights, strict=True):
            mean.lerp_(now, 1 - 0.9)
    for own, mean in zip(network.parameters(), average, strict=True):
        assert torch.allclose(own, mean, atol=1e-7)
    inputs, targets = points(40, 2).tensors
    with torch.no_grad():
        right = (network.eval()(inputs).argmax(1) == targets).double().mean()
    assert run.scores["accuracy"] == float(right)


class _Watched(torch.optim.SGD):
    """Keeps the weights after each step that is no rehearsal on the meta device."""

    def __init__(self, parameters, kept):
        super().__init__(parameters, lr=0.1)
        self.own, self.kept = parameters, kept

    def step(self, closure=None):
        super().step(closure)
        if not self.own[0].is_meta:
            self.kept.append([p.detach().clone() for p in self.own])


def halves():
    """A task with a validation split beside the reported one."""
    splits = pe.Splits(points(48, 1), points(40, 2), points(41, 3))
    return pe.Task("t", datasets={"d": splits}, num_classes=3)


def test_patience_stops_when_nothing_gets_better():
    """A learning rate of 0 improves nothing: patience epochs, then the end."""
    still = partial(torch.optim.SGD, lr=0.0)
    run, _ = trained(task=halves(), optimizer=still, epochs=9, patience=2)
    assert run.status == "completed"
    assert len(run.curve["accuracy"]) == 3  # before training, and two epochs
    assert (run.settings["epochs"], run.settings["stopped_after"]) == (9, 2)


def test_patience_does_not_watch_the_reported_split():
    """Nothing is selected on what is reported."""
    with pytest.raises(ValueError, match="give Splits a test split"):
        trained(patience=2)


def test_a_penalty_is_added_to_the_loss():
    """The squared distance from the start, weighed heavily, holds the weights there."""

    def distance(network, start):
        return sum((p - start[n]).square().sum() for n, p in network.named_parameters())

    model = Blocks()
    _, held = trained(model, epochs=30, penalty=lambda n, s: 4 * distance(n, s))
    _, free = trained(model, epochs=30)
    start = dict(model.named_parameters())
    gaps = [
        sum(
            (p.detach() - start[name].detach()).square().sum().item()
            for name, p in network.named_parameters()
            if not name.startswith("head")
        )
        for network in (held, free)
    ]
    assert gaps[0] < 0.1 * gaps[1]


def test_a_run_ends_as_completed_where_its_observer_has_seen_enough():
    """StopIteration ends the training, and the record is whole."""

    def stop(epoch, model):
        assert isinstance(model, nn.Module)
        if epoch == 2:
            raise StopIteration

    run = pe.finetune(Blocks(), three_classes(), strategy(epochs=9), on_epoch=stop)
    assert (run.status, len(run.curve["step"])) == ("completed", 3)
    assert run.settings["stopped_after"] == 2


class LowRank(nn.Module):
    """A linear layer that is frozen, and a correction of rank 1 that trains."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, 1, bias=False)
        self.up = nn.Linear(1, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)

    def forward(self, inputs):
        return self.layer(inputs) + self.up(self.down(inputs))


def low_rank(network):
    """Every layer of the list, adapted; the rest frozen."""
    network.requires_grad_(False)
    for place, layer in enumerate(network.layers):
        network.layers[place] = LowRank(layer)
    return network


def test_a_strategy_may_prepare_the_network():
    """Adapters and the head train, the rest does not, and nothing else changes."""
    model = Blocks()
    run, network = trained(model, prepare=low_rank)
    plain, _ = trained(model)
    assert run.cost.num_trainable_parameters == 3 * (8 + 8) + 8 * 3 + 3
    assert run.baseline == plain.baseline
    assert run.curve["accuracy"][0] == plain.curve["accuracy"][0]
    assert torch.equal(network.stem.weight, model.stem.weight)
    assert not torch.equal(
        network.layers[0].up.weight, torch.zeros_like(network.layers[0].up.weight)
    )
    assert "test_ways.low_rank" in run.settings["prepare"]


def test_what_prepare_returns_must_be_a_module():
    """A function that forgets its return."""
    with pytest.raises(TypeError, match="prepare must return a torch module"):
        trained(prepare=lambda network: None)


def test_a_staged_run_pauses_and_goes_on_to_the_same_bits(tmp_path):
    """Stages, average, penalty and accumulation are all in the checkpoint."""
    options = {
        "epochs": 4,
        "trainable": {0: "head", 1: 1, 2: "all"},
        "ema": 0.8,
        "accumulate": 2,
        "penalty": lambda n, s: sum(
            (p - s[k]).abs().sum() for k, p in n.named_parameters()
        ),
        "batch_size": 8,
    }
    model, task = Blocks(), three_classes()
    whole = pe.finetune(model, task, strategy(**options))

    class PauseError(Exception):
        pass

    def pause(epoch):
        if epoch == 2:
            raise PauseError

    file = tmp_path / "run.pt"
    with pytest.raises(PauseError):
        pe.finetune(model, task, strategy(**options), on_epoch=pause, checkpoint=file)
    again = pe.finetune(model, task, strategy(**options), checkpoint=file)
    assert again.scores == whole.scores
    assert again.history == whole.history


def test_the_weights_are_those_of_a_plain_loop_to_the_bit():
    """Order, head and steps of one seed, written down by hand."""
    model, task = Small(), three_classes()
    run, network = trained(model, task, batch_size=16, epochs=2)
    draw = run.settings["draw"]
    twin = Small()
    twin.load_state_dict(model.state_dict())
    seed_all(draw)
    torch.empty((), dtype=torch.int64).random_()  # a loader that is opened draws
    twin.head = nn.Linear(8, 3)
    loader = as_loader(task.datasets["points"].train, 16, shuffle=True)
    optimizer = SGD(twin.parameters())
    for epoch in (1, 2):
        seed_all(draw, epoch)
        for inputs, targets in loader:
            loss = F.cross_entropy(twin.train()(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for own, other in zip(
        network.state_dict().values(), twin.state_dict().values(), strict=True
    ):
        assert torch.equal(own, other)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"accumulate": 0}, ValueError, "accumulate must be an int of at least 1"),
        ({"ema": 1.0}, ValueError, "between 0 and 1"),
        ({"patience": 0}, ValueError, "patience must be an int"),
        ({"penalty": 3}, TypeError, "penalty must be callable"),
        ({"prepare": "lora"}, TypeError, "prepare must be callable"),
        ({"train": 3}, TypeError, "train must be callable"),
        ({"train": print}, ValueError, r"\['optimizer', 'epochs'\] mean nothing"),
        ({"epochs": None}, ValueError, "epochs must be an int"),
        ({"optimizer": None}, TypeError, "optimizer must make a new optimizer"),
    ],
)
def test_wrong_fields_are_refused(changes, error, message):
    """Each says what was expected."""
    with pytest.raises(error, match=message):
        strategy(**changes)


def test_a_sweep_rehearses_each_strategy_before_the_first_run():
    """A wrong keyword, schedule or loss shows in seconds, with names."""
    cases = {
        "unexpected keyword": {"optimizer": partial(torch.optim.SGD, rate=1)},
        "must return a scheduler": {"schedule": lambda optimizer, steps: None},
        "missing 1 required": {"schedule": lambda optimizer, steps, more: None},
        "must be one number": {"loss": lambda outputs, targets: outputs.sum(1)},
    }
    for message, changes in cases.items():
        with pytest.raises(ValueError, match=f"'s' fails with 'm' on .*{message}"):
            pe.sweep({"m": Blocks()}, [three_classes()], [strategy(**changes)])
    runs = pe.sweep(
        {"m": Blocks()},
        [three_classes()],
        [
            strategy(loss=lambda o, t: o.sum(1)),
            pe.Strategy("t", optimizer=SGD, epochs=1),
        ],
        strict=False,
        progress=False,
    )
    assert [run.status for run in runs] == ["error", "completed"]


def test_a_metric_of_unknown_direction_cannot_stop_a_run():
    """Patience asks instead of guessing."""

    class Odd(pe.SumMetric):
        key = "odd"

        def count(self, outputs, targets):
            return torch.tensor([outputs.sum(), 1.0])

        def value(self, sums):
            return float(sums[0])

    splits = halves().datasets["d"]
    task = pe.Task("t", datasets={"d": splits}, num_classes=3, metrics=Odd())
    with pytest.raises(ValueError, match="does not say whether higher"):
        trained(task=task, patience=1)
    run, _ = trained(task=task)
    assert math.isfinite(run.scores["odd"])
    assert run.scales == {}


# --- optimizers by name

MADE = {
    "sgd": partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=1e-3),
    "AdamW": partial(torch.optim.AdamW, lr=0.01),
    "nadam": torch.optim.NAdam,
}
NAMED = {
    "sgd": {"weight_decay": 1e-3, "lr": 0.1, "momentum": 0.9},
    "AdamW": {"lr": 0.01},
    "nadam": {},
}


@pytest.mark.parametrize("name", MADE)
def test_a_name_stands_for_the_class_of_torch(name):
    """Key, weights and scores are those of the partial, and replacing keeps the name."""
    named = strategy(optimizer=name, **NAMED[name])
    assert named.configuration == strategy(optimizer=MADE[name]).configuration
    model = Blocks()
    ours, theirs = (
        trained(model, optimizer=name, **NAMED[name]),
        trained(model, optimizer=MADE[name]),
    )
    assert ours[0].scores == theirs[0].scores
    assert ours[0].settings == theirs[0].settings
    for mine, other in zip(ours[1].parameters(), theirs[1].parameters(), strict=True):
        assert torch.equal(mine, other)
    again = dataclasses.replace(named, lr=0.5)
    assert again.configuration["optimizer"].count("lr=0.5") == 1


def test_every_optimizer_of_torch_but_the_one_of_closures_has_a_name():
    """Names and classes agree, for whichever torch is installed."""
    classes = {
        name
        for name in torch.optim.__all__
        if isinstance(getattr(torch.optim, name), type) and name != "Optimizer"
    }
    for name in classes - {"LBFGS"}:
        made = strategy(optimizer=name.upper()).makes_optimizer
        assert made is getattr(torch.optim, name)
    with pytest.raises(ValueError, match="optimizer is one of"):
        strategy(optimizer="lbfgs")


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        (
            {"optimizer": "adamww"},
            ValueError,
            r"got 'adamww'; did you mean 'adamw'\?",
        ),
        ({"optimizer": "adamw", "momentum": 0.9}, TypeError, "AdamW takes no momentum"),
        ({"optimizer": "sgd", "lr": "0.1"}, ValueError, "lr must be a finite number"),
        ({"optimizer": "sgd", "lr": -0.1}, ValueError, "of at least 0, got -0.1"),
        ({"optimizer": "sgd", "lr": math.nan}, ValueError, "got nan"),
        ({"optimizer": "sgd", "lr": True}, ValueError, "got True"),
        ({"lr": 0.1}, ValueError, r"lr= goes with an optimizer's name"),
        (
            {"optimizer": None, "epochs": None, "train": len, "lr": 0.1},
            ValueError,
            "lr",
        ),
    ],
)
def test_a_name_or_a_setting_that_torch_does_not_know_is_refused(given, error, message):
    """The sentence says what there is."""
    with pytest.raises(error, match=message):
        strategy(**given)
