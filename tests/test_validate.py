"""Validation measures the right thing and leaves no trace."""

from __future__ import annotations

import copy
import io
import random
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest
import schedulefree
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import pretrain_eval as pe
from pretrain_eval._metrics.forward import num_own_samples


class Pair(NamedTuple):
    """A batch with names."""

    inputs: Tensor
    targets: Tensor


class ByName(nn.Module):
    """Takes a batch by name, as Hugging Face's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(4, 3)

    def forward(self, values: Tensor, labels: Tensor | None = None) -> dict[str, Any]:
        """Give logits by name."""
        return {"loss": None, "logits": self.body(values)}


def samples(num_samples: int = 30) -> TensorDataset:
    """Random inputs of width 4 and one of 3 classes."""
    generator = torch.Generator().manual_seed(0)
    return TensorDataset(
        torch.randn(num_samples, 4, generator=generator),
        torch.randint(0, 3, (num_samples,), generator=generator),
    )


def network() -> nn.Sequential:
    """BatchNorm, one frozen in eval mode, and dropout."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Linear(4, 8),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        nn.Linear(8, 8),
        nn.BatchNorm1d(8),
        nn.Linear(8, 3),
    )
    model[1].eval()
    return model


def rng_state() -> list[object]:
    """Everything a global generator could have been moved by."""
    name, keys, *rest = np.random.get_state()
    return [torch.get_rng_state().tolist(), random.getstate(), name, list(keys), rest]


class Careless(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Draws from every global generator, as augmentations do."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        noise = torch.randn(4) + np.random.rand() + random.random()
        return noise, torch.tensor(index % 3)


def train(
    watch: Callable[[nn.Module, torch.optim.Optimizer], Any] | None,
) -> tuple[list[Tensor], list[object]]:
    """Three epochs with shuffled loaders; all state there is afterwards."""
    torch.manual_seed(1)
    np.random.seed(1)
    random.seed(1)
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    loader = DataLoader(samples(), batch_size=7, shuffle=True)
    for _ in range(3):
        for inputs, targets in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
            if watch is not None:
                watch(model, optimizer)
    moments = [
        moment for state in optimizer.state.values() for moment in state.values()
    ]
    kept = [tensor.clone() for tensor in [*model.state_dict().values(), *moments]]
    return kept, [rng_state(), [module.training for module in model.modules()]]


def broken(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
    """Draw a number, use the model, and fail."""
    torch.rand(3), np.random.rand(), random.random()
    model(batch[0])
    raise KeyError("the forward fails")


@pytest.mark.parametrize("failing", [False, True])
def test_training_is_not_disturbed(failing: bool) -> None:
    """Weights, buffers, moments, modes and generators are the same to the bit."""
    held_out = DataLoader(Careless(), batch_size=5, shuffle=True)

    def watch(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        if failing:
            with pytest.raises(KeyError, match="forward fails"):
                pe.validate(model, held_out, pe.Accuracy(), forward=broken)
        else:
            pe.validate(model, held_out, pe.Accuracy(), optimizer=optimizer)

    (tensors, rest), (twins, others) = train(watch), train(None)
    assert all(torch.equal(a, b) for a, b in zip(tensors, twins, strict=True))
    assert rest == others


def test_own_generators_are_given_back() -> None:
    """A generator that the training loader shares keeps its place."""
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(samples(), batch_size=4, shuffle=True, generator=generator)
    before = generator.get_state()
    pe.validate(network(), loader, pe.Accuracy())
    assert torch.equal(generator.get_state(), before)


def test_schedule_free_weights_come_back_to_the_bit() -> None:
    """The averaged weights are measured; training goes on from its own."""
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    optimizer = schedulefree.AdamWScheduleFree(model.parameters(), lr=0.1)
    inputs, targets = samples().tensors
    optimizer.train()
    for _ in range(5):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    weights = model.weight.detach().clone()
    seen: list[Tensor] = []

    def forward(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        seen.append(next(model.parameters()).detach().clone())
        return model(batch[0]), batch[1]

    pe.validate(
        model, [samples().tensors], pe.Accuracy(), forward=forward, optimizer=optimizer
    )
    assert torch.equal(model.weight, weights)
    assert optimizer.param_groups[0]["train_mode"]
    optimizer.eval()
    assert torch.equal(seen[0], model.weight)
    assert not torch.equal(seen[0], weights)
    pe.validate(model, [samples().tensors], pe.Accuracy(), optimizer=optimizer)
    assert torch.equal(model.weight, seen[0])
    assert not optimizer.param_groups[0]["train_mode"]


@pytest.mark.parametrize(
    "as_batch",
    [
        lambda inputs, targets: (inputs, targets),
        lambda inputs, targets: [inputs, targets],
        Pair,
    ],
)
def test_pairs(as_batch: Callable[[Tensor, Tensor], Any]) -> None:
    """A tuple, a list or a named tuple of inputs and targets is a batch."""
    inputs, targets = samples().tensors
    model = nn.Linear(4, 3)
    values = pe.validate(model, [as_batch(inputs, targets)], pe.Accuracy())
    expected = (model(inputs).argmax(1) == targets).double().mean().item()
    assert values == {"accuracy": expected}


@pytest.mark.parametrize("strict", [False, True])
def test_mappings(strict: bool) -> None:
    """A batch by name gives labels to a model that takes them, and to no other."""
    inputs, targets = samples().tensors
    model = ByName()
    if strict:
        body = model.body
        model.forward = lambda values: body(values)  # type: ignore[method-assign]
    values = pe.validate(
        model, [{"values": inputs, "labels": targets}], [pe.Accuracy()]
    )
    expected = (model.body(inputs).argmax(1) == targets).double().mean().item()
    assert values == {"accuracy": expected}


@pytest.mark.parametrize(
    ("batch", "error", "message"),
    [
        ((torch.zeros(2, 4),), ValueError, "give validate a forward"),
        (torch.zeros(2, 4), ValueError, r"\(inputs, targets\)"),
        ({"values": torch.zeros(2, 4)}, ValueError, "under 'labels'"),
        ((torch.zeros(2, 4), torch.zeros(2)), TypeError, "class indices"),
        ((torch.zeros(2, 4), torch.zeros(3).long()), ValueError, "expected outputs"),
        ((torch.zeros(2, 4), torch.tensor([0, 3])), ValueError, "0..2, got 3"),
        ((torch.zeros(2, 4), torch.tensor([0, -1])), ValueError, "0..2, got -1"),
        (
            (torch.full((2, 4), torch.nan), torch.zeros(2).long()),
            UserWarning,
            "accuracy is NaN: 2 of",
        ),
        ((torch.zeros(2, 4), torch.zeros(2).long()), None, ""),
    ],
)
def test_batches_that_do_not_fit(
    batch: Any, error: type[Exception] | None, message: str
) -> None:
    """A batch that cannot be measured is told what was expected."""
    model = nn.Linear(4, 3)
    if error is None:
        assert 0 <= pe.validate(model, [batch], pe.Accuracy())["accuracy"] <= 1
        return
    with pytest.raises(error, match=message):
        pe.validate(model, [batch], pe.Accuracy())


def test_an_empty_loader_raises() -> None:
    """Nothing measured is no score."""
    with pytest.raises(ValueError, match="at least one batch, got none"):
        pe.validate(nn.Linear(4, 3), [], pe.Accuracy())


def test_an_unknown_output_raises() -> None:
    """A model that returns no logits is told so."""
    model = nn.LSTM(4, 3)
    with pytest.raises(TypeError, match="got tuple"):
        pe.validate(model, [samples().tensors], pe.Accuracy())


def test_autocast_reaches_the_model() -> None:
    """Outputs are computed in the dtype that was asked for."""
    seen: list[torch.dtype] = []

    def forward(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        outputs = model(batch[0])
        seen.append(outputs.dtype)
        return outputs, batch[1]

    for dtype in (None, torch.bfloat16):
        pe.validate(
            nn.Linear(4, 3),
            [samples().tensors],
            pe.Accuracy(),
            forward=forward,
            autocast=dtype,
        )
    assert seen == [torch.float32, torch.bfloat16]


class Terminal(io.StringIO):
    """Text that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_a_bar_is_shown_when_asked_for(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Quiet by default; in a terminal a bar over the batches with progress."""
    model, loader = nn.Linear(4, 3), DataLoader(samples(), batch_size=10)
    pe.validate(model, loader, pe.Accuracy())
    assert capsys.readouterr().err == ""
    pe.validate(model, loader, pe.Accuracy(), progress=True)
    assert capsys.readouterr().err == ""  # what is no terminal holds no bar
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    pe.validate(model, loader, pe.Accuracy(), progress=True)
    assert "validate" in screen.getvalue()


def test_what_a_module_caches_can_be_trained_with() -> None:
    """Tensors made under inference mode do not stay behind in the model."""

    class Caching(nn.Linear):
        table: Tensor | None = None

        def forward(self, input: Tensor) -> Tensor:
            if self.table is None:
                self.table = torch.ones(4)
            return super().forward(input * self.table)

    model = Caching(4, 3)
    pe.validate(model, [samples().tensors], pe.Accuracy())
    model(samples().tensors[0].requires_grad_()).sum().backward()
    assert model.weight.grad is not None


def test_metrics_start_anew() -> None:
    """What was counted before does not enter, also of a collection given twice."""
    model, metrics = nn.Linear(4, 3), pe.MetricCollection(pe.Accuracy(), pe.F1Score())
    first = pe.validate(model, [samples().tensors], metrics)
    assert pe.validate(model, [samples().tensors], metrics) == first


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("num_samples", "processes"), [(21, 2), (2, 5), (12, 4)])
def test_what_a_sampler_repeats_is_known(
    num_samples: int, processes: int, drop_last: bool
) -> None:
    """Own samples of all processes are the data set, each once, in its order."""
    own, every = [], []
    for rank in range(processes):
        sampler = DistributedSampler(
            samples(num_samples), processes, rank, shuffle=False, drop_last=drop_last
        )
        loader = DataLoader(samples(num_samples), batch_size=2, sampler=sampler)
        left = num_own_samples(loader)
        assert left is not None
        own += list(sampler)[:left]
        every += list(sampler)
    assert sorted(own) == sorted(set(every))


def test_validation_inside_training() -> None:
    """Every n-th step is measured with the weights after it, and disturbs nothing."""
    inputs, targets = samples().tensors
    kept: list[list[Tensor]] = []
    for watched in (False, True):
        np.random.seed(0)
        random.seed(0)
        model = network()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        loader = DataLoader(Careless(), batch_size=5, shuffle=True)
        validation = pe.Validation(
            model, [(inputs, targets)], [pe.Accuracy(), pe.F1Score()], every=2
        )
        expected = []
        handle = validation.attach(optimizer) if watched else None
        for number in range(1, 7):
            batch = next(iter(loader))
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()
            if number % 2 == 0:
                twin = copy.deepcopy(model).eval()
                hits = twin(inputs).argmax(1) == targets
                expected.append(hits.double().mean().item())
        kept.append([tensor.clone() for tensor in model.state_dict().values()])
        if handle is not None:
            handle.close()
    assert validation.history["step"] == (2, 4, 6)
    assert validation.history["valid/accuracy"] == pytest.approx(expected)
    assert len(validation.history["valid/f1"]) == 3
    assert validation.compute() == pytest.approx(expected[-1])
    assert all(torch.equal(a, b) for a, b in zip(*kept, strict=True))


def test_validation_beside_other_step_metrics() -> None:
    """A collection joins its measurements with those of every step."""
    model = nn.Linear(4, 3)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    batch = samples().tensors
    metrics = pe.MetricCollection(
        pe.GradNorm(), pe.Validation(model, [batch], pe.Accuracy(), every=4)
    )
    with metrics.attach(optimizer, every=3):
        for _ in range(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(batch[0]), batch[1]).backward()
            optimizer.step()
    history, values = metrics.history, metrics.compute()
    assert history["step"] == (1, 4, 7, 10)
    measured = [not np.isnan(value) for value in history["valid/accuracy"]]
    assert measured == [False, True, False, True]
    assert values["valid"] == values["valid/accuracy"] == history["valid/accuracy"][-1]
    assert values["valid"] == pe.validate(model, [batch], pe.Accuracy())["accuracy"]


@pytest.mark.parametrize("every", [0, -1, 1])
def test_every_counts_steps(every: int) -> None:
    """Fewer than one step between measurements is an error."""
    model = nn.Linear(4, 3)
    if every == 1:
        validation = pe.Validation(model, [], pe.Accuracy(), every=every)
        assert validation.key == "valid"
        return
    with pytest.raises(ValueError, match="every counts optimizer steps"):
        pe.Validation(model, [], pe.Accuracy(), every=every)
