"""One fine-tuning: what it measures, and what it leaves alone."""

import copy
import random
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision
from networks import Small, points, three_classes
from sklearn.metrics import accuracy_score, f1_score, precision_score, recall_score
from sklearn.neighbors import NearestCentroid
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe

FULL = pe.Strategy("full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=3)
PROBE = pe.Strategy(
    "probe", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=3, trainable="head"
)


def finetune(
    model: Any = Small, strategy: pe.Strategy = FULL, **options: Any
) -> pe.Run:
    task = options.pop("task", None) or three_classes()
    return pe.finetune(model, task, strategy, device="cpu", **options)


def strategy(**changes: Any) -> pe.Strategy:
    given = {"optimizer": FULL.optimizer, "epochs": 3}
    return pe.Strategy("changed", **given | changes)


def test_a_run_is_a_complete_record() -> None:
    """Names, scores, curve, history and cost of a small training, counted by hand."""
    run = finetune(seed=4, name="small")
    assert (run.model, run.task, run.dataset) == ("small", "largest", "points")
    assert (run.strategy, run.seed, run.status) == ("full", 4, "completed")
    assert set(run.scores) == set(run.baseline) == set(run.chance)
    # 48 samples in batches of 32 are 2 steps an epoch.
    assert run.curve["step"] == (0, 2, 4, 6)
    assert len(run.curve["accuracy"]) == 4
    assert run.history["step"] == (1, 2, 3, 4, 5, 6)
    assert all(value > 0 for value in run.history["update_ratio"])
    assert run.num_examples == 40
    # 4·8 + 8 weights and biases, 2·8 of the normalisation, 8·3 + 3 of the new head.
    assert run.cost.num_parameters == run.cost.num_trainable_parameters == 83
    assert run.cost.macs == 4 * 8 + 8 * 3
    assert run.cost.num_samples == 3 * 48
    assert run.cost.seconds is not None
    assert run.cost.seconds > 0
    assert run.cost.peak_memory is not None
    assert pe.Run.from_json(run.to_json()) == run


def test_the_model_that_was_passed_in_is_never_changed() -> None:
    """Weights, buffers, modes and gradients of the caller's module stay."""
    model = Small()
    model.body[1].eval()
    before = copy.deepcopy(model.state_dict())
    modes = [m.training for m in model.modules()]
    finetune(model)
    after = model.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert [m.training for m in model.modules()] == modes
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_a_builder_that_hands_out_one_module_is_copied() -> None:
    """Every run starts from the same weights, whatever the builder shares."""
    shared = Small()
    first, second = (finetune(lambda: shared).scores for _ in range(2))
    assert first == second


def test_global_randomness_is_given_back() -> None:
    """torch's, numpy's and Python's generators go on as if nothing had happened."""

    def draw() -> tuple[float, float, float]:
        return torch.rand(()).item(), np.random.random(), random.random()

    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    expected = draw()
    torch.manual_seed(0), np.random.seed(0), random.seed(0)
    finetune()
    assert draw() == expected


def test_the_same_seed_gives_the_same_run_and_another_does_not() -> None:
    """The seed decides everything that is random, whatever was drawn before."""
    first = finetune(seed=1)
    torch.rand(3)
    again, other = finetune(seed=1), finetune(seed=2)
    assert (first.scores, first.curve, first.history) == (
        again.scores,
        again.curve,
        again.history,
    )
    assert first.history != other.history


def test_a_loader_with_its_own_generator_repeats_and_is_given_back() -> None:
    """A run does not depend on what the caller's generator drew before."""
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(points(48, 1), 16, shuffle=True, generator=generator)
    state = generator.get_state()
    splits = pe.Splits(loader, DataLoader(points(40, 2), 40))
    task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    first = finetune(task=task)
    assert torch.equal(generator.get_state(), state)
    torch.rand((), generator=generator)
    assert finetune(task=task).history == first.history
    # The loader's own batches of 16 count, not the strategy's.
    assert first.curve["step"][-1] == 9


class RandomBatches:
    """A batch sampler of one's own: whole batches in a random order."""

    def __init__(self, num_batches: int, seed: int) -> None:
        self.num_batches = num_batches
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[list[int]]:
        order = torch.randperm(self.num_batches, generator=self.generator).tolist()
        return iter([[3 * batch, 3 * batch + 1, 3 * batch + 2] for batch in order])


def test_a_batch_sampler_with_a_generator_repeats_and_is_given_back() -> None:
    """A custom batch sampler is seeded for the run, and goes on as if there was none."""
    train, valid = RandomBatches(16, 3), RandomBatches(4, 4)
    splits = pe.Splits(
        DataLoader(points(48, 1), batch_sampler=train),
        DataLoader(points(12, 2), batch_sampler=valid),
    )
    task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    states = [each.generator.get_state() for each in (train, valid)]
    first = finetune(task=task)
    for each, state in zip((train, valid), states, strict=True):
        assert torch.equal(each.generator.get_state(), state)
    torch.rand((), generator=train.generator)
    assert finetune(task=task).history == first.history
    assert finetune(task=task, seed=1).history != first.history


class Watched(Small):
    """Remembers the module that was trained."""

    last: "Watched"

    def __deepcopy__(self, memo: dict[int, Any]) -> "Watched":
        made = copy.copy(self)
        made.__dict__ = copy.deepcopy(self.__dict__, memo)
        Watched.last = made
        return made


def test_a_frozen_backbone_is_frozen_to_the_bit() -> None:
    """Head-only training moves no weight and no buffer of the body."""
    model = Watched()
    before = copy.deepcopy(model.body.state_dict())
    finetune(model, PROBE)
    after = Watched.last.body.state_dict()
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert not torch.equal(Watched.last.head.weight, model.head.weight[:3])


def test_before_is_the_nearest_class_mean_on_the_features() -> None:
    """The baseline equals scikit-learn's NearestCentroid on the frozen features."""
    model = Small().eval()
    train, valid = points(48, 1), points(40, 2)
    with torch.no_grad():
        features, queries = (model.body(d.tensors[0]).numpy() for d in (train, valid))
    targets, expected = (d.tensors[1].numpy() for d in (train, valid))
    found = NearestCentroid().fit(features, targets).predict(queries)
    baseline = finetune(model).baseline
    assert baseline == pytest.approx(
        {
            "accuracy": accuracy_score(expected, found),
            "precision": precision_score(expected, found, average="macro"),
            "recall": recall_score(expected, found, average="macro"),
            "f1": f1_score(expected, found, average="macro"),
        },
        abs=1e-12,
    )


def test_scores_are_those_of_the_last_weights_on_the_reported_split() -> None:
    """They equal scikit-learn's on the trained network's own predictions."""
    model = Watched()
    test = points(30, 9)
    splits = pe.Splits(points(48, 1), points(40, 2), test)
    run = finetune(model, task=pe.Task("t", datasets={"d": splits}, num_classes=3))
    with torch.no_grad():
        found = Watched.last.eval()(test.tensors[0]).argmax(1).numpy()
    assert run.scores["accuracy"] == accuracy_score(test.tensors[1].numpy(), found)
    assert run.num_examples == 30


def test_confusions_are_counted_on_the_reported_split() -> None:
    """Their diagonal is the accuracy, their rows the classes, for either strategy."""
    task = three_classes()
    classes = [int(target) for _, target in task.datasets["points"].reported]
    for chosen in (FULL, PROBE):
        run = finetune(strategy=chosen, task=task)
        hits = sum(n for target, output, n in run.confusion if target == output)
        assert hits / len(classes) == pytest.approx(run.scores["accuracy"], abs=1e-12)
        for label in range(3):
            row = sum(n for target, _, n in run.confusion if target == label)
            assert row == classes.count(label)


def test_confusions_are_unknown_where_nothing_is_predicted() -> None:
    """Neither a regression nor a diverged run has any."""
    fast = strategy(optimizer=partial(torch.optim.SGD, lr=1e30))
    diverged = finetune(strategy=fast)
    assert (diverged.status, diverged.confusion) == ("diverged", ())
    inputs = points(48, 0).tensors[0]
    numbers = [TensorDataset(part, part.sum(1)) for part in (inputs, inputs + 1)]
    task = pe.Task("sum", datasets={"points": pe.Splits(*numbers)}, num_outputs=1)
    assert finetune(task=task).confusion == ()


def test_the_loop_does_what_a_hand_written_one_does() -> None:
    """Schedule, clipping, weight decay and loss of the strategy: equal to the bit."""
    train, valid = points(32, 1), points(40, 2)
    splits = pe.Splits(train, valid)
    task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.1)
    sgd = partial(torch.optim.SGD, lr=0.5, momentum=0.9, weight_decay=0.01)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR
    chosen = pe.Strategy(
        "s", optimizer=sgd, epochs=4, schedule=cosine, loss=smooth, max_grad_norm=0.2
    )
    start = nn.Sequential()
    start.body, start.head = nn.Linear(4, 8), nn.Linear(8, 3)
    run = pe.finetune(start, task, chosen, device="cpu")

    captured: list[nn.Module] = []

    def capture(parameters: Any) -> torch.optim.Optimizer:
        held = list(parameters)
        if held[0].is_meta:  # the cost is counted on the meta device
            return sgd(held)
        captured.append(nn.ParameterList([p.detach().clone() for p in held]))
        return sgd(held)

    pe.finetune(
        start,
        task,
        pe.Strategy(
            "s",
            optimizer=capture,
            epochs=4,
            schedule=cosine,
            loss=smooth,
            max_grad_norm=0.2,
        ),
        device="cpu",
    )
    twin = copy.deepcopy(start)
    with torch.no_grad():
        for own, initial in zip(twin.parameters(), captured[0], strict=True):
            own.copy_(initial)
    optimizer = sgd(twin.parameters())
    schedule = cosine(optimizer, 4)
    norms = []
    for _ in range(4):
        # One batch holds all samples, so that their order changes rounding alone.
        optimizer.zero_grad()
        smooth(twin(train.tensors[0]), train.tensors[1]).backward()
        norms.append(min(0.2, _norm(twin)))
        nn.utils.clip_grad_norm_(twin.parameters(), 0.2)
        optimizer.step()
        schedule.step()
    assert run.history["grad_norm"] == pytest.approx(norms, rel=1e-4)
    with torch.no_grad():
        found = twin(valid.tensors[0]).argmax(1).numpy()
    assert run.scores["accuracy"] == accuracy_score(valid.tensors[1].numpy(), found)


def _norm(network: nn.Module) -> float:
    flat = [
        p.grad.double().flatten() for p in network.parameters() if p.grad is not None
    ]
    return float(torch.cat(flat).norm())


def test_divergence_ends_the_run_and_keeps_what_was_measured() -> None:
    """An absurd learning rate: status, message, baseline, cost and history stay."""
    hot = strategy(optimizer=partial(torch.optim.SGD, lr=1e30), epochs=5)
    run = finetune(strategy=hot)
    assert run.status == "diverged"
    assert "not finite" in run.message
    assert run.scores == {}
    assert run.baseline["accuracy"] > 0
    assert run.cost.seconds is not None
    assert 1 <= len(run.history["grad_norm"]) < 10
    assert pe.Run.from_json(run.to_json()) == run


def test_regression_reports_r2_and_mse_against_ridge() -> None:
    """A task of numbers: mean squared error as loss, ridge regression before."""

    def plane(num_samples: int, seed: int) -> TensorDataset:
        inputs = points(num_samples, seed).tensors[0]
        return TensorDataset(inputs, inputs @ torch.tensor([1.0, -2.0, 0.5, 0.0]))

    splits = pe.Splits(plane(128, 1), plane(64, 2))
    task = pe.Task("plane", datasets={"d": splits}, num_outputs=1)
    adam = strategy(optimizer=partial(torch.optim.Adam, lr=0.02), epochs=30)
    run = finetune(strategy=adam, task=task)
    assert set(run.scores) == {"r2", "mse"}
    assert run.chance == {"r2": 0.0}
    assert 0.5 < run.scores["r2"] <= 1
    assert run.baseline["r2"] < 1


def test_a_last_batch_of_one_sample_does_not_break_batch_normalisation() -> None:
    """33 samples in batches of 32 are one step."""
    task = three_classes(train=33)
    assert finetune(task=task).curve["step"] == (0, 1, 2, 3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dataset": "other"}, r"has the datasets \['points'\].*got 'other'"),
        ({"head": "neck"}, "no module 'neck'"),
        ({"strategy": strategy(trainable=lambda n, p: False)}, "trains no parameter"),
        ({"model": 3}, "a model must be a torch module"),
        ({"model": lambda: 3}, "must return a torch module, got int"),
        ({"model": "resnet_of_nobody"}, "torchvision has no model"),
        ({"seed": -1}, "seed"),
    ],
)
def test_bad_arguments_are_refused(options: dict[str, Any], message: str) -> None:
    """Each with one clear error."""
    with pytest.raises((ValueError, TypeError), match=message):
        finetune(**options)


def test_epochs_are_told_as_they_end() -> None:
    """A caller can show progress."""
    told: list[int] = []
    finetune(on_epoch=told.append)
    assert told == [1, 2, 3]


@pytest.fixture
def local_weights(tmp_path: Path) -> Callable[[str], nn.Module]:
    """Weights as torchvision would have downloaded them, for models without network."""
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(tmp_path))
    (tmp_path / "checkpoints").mkdir()

    def keep(name: str) -> nn.Module:
        torch.manual_seed(5)
        network: nn.Module = torchvision.models.get_model(name, weights=None)
        weights = torchvision.models.get_model_weights(name).DEFAULT
        file = tmp_path / "checkpoints" / weights.url.rsplit("/", 1)[1]
        torch.save(network.state_dict(), file)
        return network

    yield keep  # type: ignore[misc] # a fixture's way to clean up
    torch.hub.set_dir(before)


def images(num_samples: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    pixels = torch.randn(num_samples, 3, 32, 32, generator=generator)
    return TensorDataset(pixels, torch.arange(num_samples) % 2)


def test_torchvision_models_are_taken_by_name_or_weights(
    local_weights: Callable[[str], nn.Module],
) -> None:
    """A name means the default weights; both give the run of the loaded module."""
    loaded = local_weights("mobilenet_v3_small")
    splits = pe.Splits(images(8, 1), images(6, 2))
    task = pe.Task("two", datasets={"noise": splits}, num_classes=2)
    probe = strategy(epochs=1, trainable="head", batch_size=8)
    weights = torchvision.models.MobileNet_V3_Small_Weights.IMAGENET1K_V1
    by_name, by_weights, by_module = (
        pe.finetune(model, task, probe, device="cpu")
        for model in ("mobilenet_v3_small", weights, loaded)
    )
    assert by_name.model == "mobilenet_v3_small"
    assert by_weights.model == "MobileNet_V3_Small_Weights.IMAGENET1K_V1"
    for run in (by_name, by_weights):
        assert run.baseline == by_module.baseline
        assert run.history == by_module.history


class Named(nn.Module):
    """Gives its scores in an object, as transformers' models do."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = Small()

    def forward(self, inputs: Tensor) -> dict[str, Tensor]:
        return {"logits": self.inner(inputs)}


def test_outputs_with_logits_are_understood() -> None:
    """A mapping or object with `logits` is read like a tensor."""
    run = finetune(Named, head="inner.head")
    assert run.status == "completed"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_run_measures_the_allocator() -> None:
    """On CUDA the peak is the allocator's."""
    run = pe.finetune(Small, three_classes(), FULL, device="cuda")
    assert run.status == "completed"
    assert run.cost.peak_memory is not None
    assert run.cost.peak_memory > 0


def test_a_run_keeps_what_it_got_right_in_order():
    """One bit a sample, whose mean is the accuracy; models share the samples."""
    task = three_classes()
    runs = [
        pe.finetune(lambda w=w: Small(w), task, strategy(), name=str(w)) for w in (6, 8)
    ]
    for run in runs:
        assert run.outcomes.key == "accuracy"
        values = run.outcomes.values()
        assert len(values) == run.num_examples == 40
        assert sum(values) / 40 == pytest.approx(run.scores["accuracy"], abs=1e-12)
        assert run.scales["accuracy"].better == "higher"
    assert runs[0].outcomes.examples == runs[1].outcomes.examples
    other = pe.finetune(Small, three_classes(valid=39), strategy())
    assert other.outcomes.examples != runs[0].outcomes.examples


def test_a_regression_keeps_squared_errors():
    """One number a sample, whose mean is the mean squared error."""
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    numbers = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    parts = [
        torch.utils.data.Subset(numbers, range(*ends)) for ends in ((0, 40), (40, 60))
    ]
    task = pe.Task("sum", datasets={"d": pe.Splits(*parts)}, num_outputs=1)
    run = pe.finetune(lambda: Small(outputs=1), task, strategy())
    assert run.outcomes.key == "mse"
    mean = sum(run.outcomes.values()) / 20
    assert mean == pytest.approx(run.scores["mse"], rel=1e-5)


def test_what_a_sweep_shares_a_single_run_may_leave_out():
    """No baseline, no counted resources; all else is the same."""
    whole, bare = finetune(), finetune(baseline=False, resources=False)
    assert (bare.baseline, bare.cost.macs, bare.cost.peak_memory) == ({}, None, None)
    assert whole.baseline
    assert bare.scores == whole.scores
    assert bare.history == whole.history
