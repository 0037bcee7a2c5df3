"""Where the head is, and what freezing means."""

import copy
from functools import partial

import pytest
import torch
import torchvision
from networks import Small
from torch import nn

import pretrain_eval as pe
from pretrain_eval._training.head import (
    find_head,
    headless,
    replace_head,
)
from pretrain_eval._training.trainable import select_trainable

TORCHVISION = {
    "resnet18": "fc",
    "vgg11": "classifier.6",
    "mobilenet_v3_small": "classifier.3",
    "efficientnet_b0": "classifier.1",
    "densenet121": "classifier",
    "squeezenet1_1": "classifier.1",
    "vit_b_16": "heads.head",
    "swin_t": "head",
    "convnext_tiny": "classifier.2",
    "shufflenet_v2_x0_5": "fc",
    "mnasnet0_5": "classifier.1",
    "alexnet": "classifier.6",
}


@pytest.mark.parametrize("name", TORCHVISION)
def test_torchvision_heads_are_found_and_fit(name: str) -> None:
    """The last layer is replaced, and the outputs have the task's width."""
    with torch.device("meta"):
        network = torchvision.models.get_model(name, weights=None)
        inputs = torch.zeros(2, 3, 224, 224)
        path = find_head(network)
        assert path == TORCHVISION[name]
        replace_head(network, path, 5, lambda model: model(inputs))
        assert network.eval()(inputs).shape == (2, 5)


class TwoHeads(Small):
    """A network in which two modules are called like a head."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(8, 2)


class Anonymous(nn.Module):
    """A network in which nothing is called like a head."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 2)


@pytest.mark.parametrize(
    ("network", "path", "message"),
    [
        (Anonymous(), None, r"none found; .*\['second', 'first'\]"),
        (TwoHeads(), None, r"several modules .*\['classifier', 'head'\]"),
        (Small(), "neck", r"no module 'neck' .*\['head', 'body.0'\]"),
        (Small(), "body.2", "holds no Linear or Conv2d"),
        (Small(), "", "no module ''"),
    ],
)
def test_an_unclear_head_is_an_error_that_lists_the_candidates(
    network: nn.Module, path: str | None, message: str
) -> None:
    """The caller is told what could be meant."""
    with pytest.raises(ValueError, match=message):
        find_head(network, path)


@pytest.mark.parametrize(
    ("network", "path", "found"),
    [
        (Anonymous(), "second", "second"),
        (TwoHeads(), "head", "head"),
        (Small(), "body", "body.0"),
        (Small(), None, "head"),
    ],
)
def test_a_named_head_is_taken(
    network: nn.Module, path: str | None, found: str
) -> None:
    """Any dotted path to a layer, or to a module that holds one."""
    assert find_head(network, path) == found


def test_an_identity_head_gets_the_width_of_its_features() -> None:
    """Backbones whose head was removed are completed."""
    network = Small()
    network.head = nn.Identity()  # type: ignore[assignment]
    replace_head(network, find_head(network), 3, lambda net: net(torch.zeros(2, 4)))
    assert network.eval()(torch.zeros(2, 4)).shape == (2, 3)


def test_headless_gives_the_features_and_puts_the_head_back() -> None:
    """Inside, the outputs are what the head reads; afterwards all is as before."""
    network = Small().eval()
    head, inputs = network.head, torch.randn(5, 4)
    with headless(network, "head"):
        assert torch.equal(network(inputs), network.body(inputs))
    assert network.head is head


def _strategy(trainable: pe.Strategy | object) -> pe.Strategy:
    return pe.Strategy(
        "s",
        optimizer=partial(torch.optim.SGD, lr=0.1),
        epochs=1,
        trainable=trainable,  # type: ignore[arg-type]
    )


def test_head_freezes_everything_else() -> None:
    """No gradients, and eval mode, outside the head."""
    network = Small()
    select_trainable(network, "head", _strategy("head"))
    trains = [name for name, p in network.named_parameters() if p.requires_grad]
    assert trains == ["head.weight", "head.bias"]
    modes = {name for name, module in network.named_modules() if module.training}
    assert modes == {"head"}


def test_a_function_chooses_parameters_and_frozen_modules_evaluate() -> None:
    """A module none of whose parameters train keeps its buffers."""
    network = Small()
    chosen = _strategy(lambda name, _: name.startswith(("body.0", "head")))
    select_trainable(network, "head", chosen)
    assert network.body[0].training
    assert not network.body[1].training


def test_a_strategy_that_trains_nothing_is_refused() -> None:
    """An optimizer needs parameters."""
    with pytest.raises(ValueError, match="'s' trains no parameter of Small"):
        select_trainable(Small(), "head", _strategy(lambda name, parameter: False))


def test_finding_the_width_behind_an_identity_changes_no_buffer():
    """One batch is read in eval mode: normalisation keeps its statistics."""
    model = nn.Sequential()
    model.body = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout())
    model.head = nn.Identity()
    before = copy.deepcopy(model.state_dict())
    replace_head(model, "head", 3, lambda net: net(torch.randn(5, 4)))
    assert model.head.in_features == 6
    assert model.training
    for name, value in before.items():
        assert torch.equal(model.state_dict()[name], value)
