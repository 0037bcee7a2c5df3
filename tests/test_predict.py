"""Predictions of every example, and no trace of having made them."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe


class Network(nn.Module):
    """A batch norm and a dropout, which a trace would show in, and a head."""

    def __init__(self) -> None:
        super().__init__()
        layers = [nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Dropout(0.5), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(5, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs))


def loader(size: int = 10, shuffle: bool = False) -> DataLoader:
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(size, 6, generator=generator)
    return DataLoader(
        TensorDataset(inputs, torch.arange(size) % 3), batch_size=4, shuffle=shuffle
    )


def test_outputs_targets_and_what_the_head_reads() -> None:
    """Of all batches, the last smaller one too."""
    model = Network()
    found = pe.predict(model, loader())
    inputs = loader().dataset.tensors[0]
    model.eval()
    with torch.no_grad():
        features = model.body(inputs)
        outputs = model.head(features)
    assert np.allclose(found["outputs"], outputs, atol=1e-6)
    assert np.allclose(found["features"], features, atol=1e-6)
    assert found["targets"].tolist() == [n % 3 for n in range(10)]


def test_nothing_of_it_is_left_in_the_model_or_in_randomness() -> None:
    """Modes, buffers, hooks and generators are as before."""
    model = Network().train()
    model.body[1].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.manual_seed(3)
    state = torch.get_rng_state()
    pe.predict(model, loader(shuffle=True))
    assert torch.equal(torch.get_rng_state(), state)
    assert model.training
    assert not model.body[1].training
    assert not model.head._forward_pre_hooks
    after = model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())


def test_batches_without_labels_have_no_targets() -> None:
    """A tensor, or inputs alone in a tuple; a mapping without labels."""
    model = Network()
    inputs = torch.randn(8, 6)
    for batches in ([inputs], [(inputs[:3],), (inputs[3:],)], [{"inputs": inputs}]):
        found = pe.predict(model, batches)
        assert set(found) == {"outputs", "features"}
        assert len(found["outputs"]) == 8
    named = {"inputs": inputs, "labels": torch.zeros(8, dtype=torch.long)}
    assert set(pe.predict(model, [named])) == {"outputs", "targets", "features"}
    assert set(pe.predict(model, [inputs], features=False)) == {"outputs"}
    forward = lambda model, batch: (model(batch["x"]), None)  # noqa: E731
    assert set(pe.predict(model, [{"x": inputs}], forward=forward, features=False)) == {
        "outputs"
    }


def test_maps_are_averaged_over_their_positions() -> None:
    """What a convolution reads has its channels first, what a linear layer reads last."""
    pixels = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    found = pe.predict(pixels, [torch.randn(5, 3, 6, 6)], head="1")
    with torch.no_grad():
        expected = pixels[0](torch.zeros(5, 3, 6, 6)).shape[1]
    assert found["features"].shape == (5, expected)
    tokens = nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))
    assert pe.predict(tokens, [torch.randn(5, 7, 3)], head="1")["features"].shape == (
        5,
        4,
    )


def test_files_of_predictions_are_watched(tmp_path) -> None:
    """What numpy.savez keeps, numpy.load gives, without pickles."""
    path = tmp_path / "week.npz"
    np.savez(path, **pe.predict(Network(), loader(60)))
    with np.load(path, allow_pickle=False) as week:
        watch = pe.monitor(week, {"W1": week})
    assert [s.name for s in watch.signals] == ["accuracy", "confidence", "features"]
    assert watch.exit_code == 0


def test_wrong_arguments_are_refused_in_words() -> None:
    """What came, and what to give."""
    model, inputs = Network(), torch.randn(4, 6)
    with pytest.raises(TypeError, match="expects a torch module"):
        pe.predict(lambda inputs: inputs, loader())
    with pytest.raises(ValueError, match="at least one batch"):
        pe.predict(model, [])
    with pytest.raises(
        ValueError, match="in all batches or in none, got some in 1 of 2"
    ):
        pe.predict(model, [(inputs, torch.zeros(4)), (inputs,)])
    with pytest.raises(ValueError, match="give predict a forward"):
        pe.predict(model, ["text"])
    with pytest.raises(ValueError, match="cannot tell the head"):
        pe.predict(
            nn.Sequential(nn.Conv2d(3, 3, 1), nn.ReLU()), [torch.ones(1, 3, 2, 2)]
        )

    class Twice(Network):
        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            return super().forward(inputs) + super().forward(inputs)

    with pytest.raises(ValueError, match="it was called 2 times"):
        pe.predict(Twice(), loader())
