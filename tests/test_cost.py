"""Counting costs without computing."""

import pytest
import torch
import torchvision
from torch import nn

import pretrain_eval as pe
from pretrain_eval._training.cost import step_memory


def of(optimizer):
    """An optimizer made of a network's trainable parameters."""
    return lambda network, parameters: optimizer(parameters)


@pytest.mark.parametrize(
    "name", ["resnet18", "resnet50", "vgg16", "vit_b_16", "mobilenet_v3_small"]
)
def test_macs_and_parameters_equal_the_published_ones(name: str) -> None:
    """Within 0.3 % of torchvision's metadata, on a network that holds no number."""
    meta = torchvision.models.get_model_weights(name).DEFAULT.meta
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
    macs = pe.count_macs(network, torch.empty(1, 3, 224, 224, device="meta"))
    # torchvision rounds to the million.
    rounding = 0.0005
    assert macs / 1e9 == pytest.approx(meta["_ops"], rel=0.003, abs=rounding)
    assert sum(p.numel() for p in network.parameters()) == meta["num_params"]


def test_counting_changes_nothing() -> None:
    """Modes, buffers and parameters are as they were."""
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    network[1].eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    pe.count_macs(network, torch.zeros(4, 1, 8, 8))
    step_memory(network, torch.zeros(4, 1, 8, 8), of(torch.optim.Adam))
    assert [m.training for m in network] == [True, False]
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_macs_grow_with_the_batch() -> None:
    """Twice the samples, twice the operations: 10 · 5 each, by hand."""
    linear = nn.Linear(10, 5)
    assert pe.count_macs(linear, torch.zeros(2, 10)) == 100


def test_step_memory_of_a_linear_layer_by_hand() -> None:
    """At the optimizer's step: weights, gradients and two moments, 4 bytes each."""
    linear = nn.Linear(1000, 1000, bias=False)
    expected = 4 * 4 * 1000 * 1000
    measured = step_memory(linear, torch.zeros(1, 1000), of(torch.optim.Adam))
    # Adam's update also holds a temporary of the weights' size or two.
    assert expected <= measured <= expected * 1.75


def test_frozen_parameters_need_no_gradient_and_no_state() -> None:
    """Freezing the large layer leaves little more than its weights."""
    network = nn.Sequential(nn.Linear(1000, 1000, bias=False), nn.Linear(1000, 2))
    network[0].requires_grad_(False)
    measured = step_memory(network, torch.zeros(1, 1000), of(torch.optim.Adam))
    assert measured < 1.1 * 4 * 1000 * 1000


def test_activations_grow_with_the_batch() -> None:
    """A hundred times the samples: the activations dominate."""
    network = nn.Sequential(nn.Linear(10, 100), nn.ReLU(), nn.Linear(100, 10))
    small = step_memory(network, torch.zeros(100, 10), of(torch.optim.SGD))
    large = step_memory(network, torch.zeros(10_000, 10), of(torch.optim.SGD))
    assert 50 < large / small < 100


class Anchored(nn.Module):
    """Keeps a tensor where its inputs are, as torchvision's anchors do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.offset = nn.Linear(3, 2), torch.ones(2)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.offset = self.offset.to(inputs.device)
        found: torch.Tensor = self.linear(inputs) + self.offset
        if (found > 0).any():  # reads a value, which the meta device has none of
            return found
        return -found


def test_what_a_model_keeps_of_a_pass_is_its_own_afterwards() -> None:
    """Counting elsewhere leaves no tensor of that place behind."""
    model = Anchored()
    assert pe.count_macs(model, torch.zeros(1, 3)) == 6
    assert step_memory(model, torch.zeros(1, 3), of(torch.optim.SGD)) > 0
    assert torch.equal(model(torch.zeros(1, 3)).abs()[0], (model.linear.bias + 1).abs())
    assert model.offset.device.type == "cpu"


class Tied(nn.Module):
    """One module under two names, and its weight in another module, as T5 has them."""

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Embedding(5, 3)
        self.encoder = nn.Sequential(self.shared, nn.Linear(3, 3))
        self.head = nn.Linear(3, 5, bias=False)
        self.head.weight = self.shared.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.head(self.encoder(tokens))
        return found


def test_weights_with_several_names_stay_the_models_own() -> None:
    """Torch 2.6 once gave back what had been put there to be counted."""
    model = Tied()
    before = {name: p.data_ptr() for name, p in model.state_dict().items()}
    tokens = torch.zeros(2, 4, dtype=torch.long)
    assert pe.count_macs(model, tokens) == 2 * 4 * (3 * 3 + 3 * 5)
    assert step_memory(model, tokens, of(torch.optim.SGD)) > 0
    assert {name: p.data_ptr() for name, p in model.state_dict().items()} == before
    assert model.head.weight is model.shared.weight
