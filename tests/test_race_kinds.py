"""Races over tokens, numbers and pixels: the better network wins, in its own metric."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe

ADAM = partial(torch.optim.Adam, lr=0.03)


def split(kind, number, seed):
    """Samples whose targets follow from their inputs."""
    rng = torch.Generator().manual_seed(seed)
    if kind == "numbers":
        inputs = torch.randn(number, 4, generator=rng)
        return TensorDataset(inputs, inputs[:, :1] - inputs[:, 1:2])
    if kind == "tokens":
        inputs = torch.randn(number, 5, 4, generator=rng)
        return TensorDataset(inputs, inputs[..., :3].argmax(-1))
    inputs = torch.randn(number, 4, 6, 6, generator=rng)
    return TensorDataset(inputs, inputs[:, :3].argmax(1))


class Net(nn.Module):
    """Reads all features of each place, or none that tells anything.

    Which of the two is in no weight, so that the contents of both look alike.
    """

    def __init__(self, kind, is_blind):
        super().__init__()
        torch.manual_seed(0)
        self.is_blind = is_blind
        layer = partial(nn.Conv2d, kernel_size=1) if kind == "pixels" else nn.Linear
        self.body, self.head = nn.Sequential(layer(4, 12), nn.ReLU()), layer(12, 2)

    def forward(self, inputs):
        return self.head(self.body(0 * inputs if self.is_blind else inputs))


KINDS = {
    "numbers": pe.Regression(1),
    "tokens": pe.TokenClassification(3),
    "pixels": pe.Segmentation(3),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_race_finds_the_network_that_sees(kind):
    """The blind ones are dropped by rank or by test; the replay of its grid agrees."""
    parts = [split(kind, number, seed) for seed, number in enumerate((40, 30, 30))]
    task = pe.Task(kind, datasets={"d": pe.Splits(*parts)}, kind=KINDS[kind])
    models = {f"blind {i}": Net(kind, is_blind=True) for i in range(3)}
    models["sees"] = Net(kind, is_blind=False)
    strategies = [
        pe.Strategy("full", optimizer=ADAM, epochs=4, batch_size=5),
        pe.Strategy("head", optimizer=ADAM, epochs=4, batch_size=5, trainable="head"),
    ]
    call = [models, [task], strategies, range(2)]
    choice = pe.choose(*call, progress=False)
    assert choice.model == "sees"
    assert choice.rounds[0].short
    assert choice.rounds[0].dropped
    assert choice.p_best["sees"] > 0.9
    assert "neither the limit nor P(best) covers it" in str(choice)
    assert str(pe.replay(pe.sweep(*call, progress=False))) == str(choice)
