"""Which layer is replaced, or added, in networks that libraries really offer."""

import copy
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset
from torchvision import models
from torchvision.models.feature_extraction import create_feature_extractor

import pretrain_eval as pe

SGD = partial(torch.optim.SGD, lr=0.01)
FULL = pe.Strategy("full", optimizer=SGD, epochs=1, batch_size=4)
HEAD = pe.Strategy("head", optimizer=SGD, epochs=1, batch_size=4, trainable="head")
SIZE = 32


def images(num_samples, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 3, SIZE, SIZE, generator=generator)
    return TensorDataset(inputs, torch.arange(num_samples) % 3)


TASK = pe.Task(
    "t", datasets={"d": pe.Splits(images(9, 0), images(6, 1))}, num_classes=3
)


def made(build):
    torch.manual_seed(0)
    return build()


def trained(model, strategy=HEAD, head=None):
    """The run and the network at its end."""
    kept = []
    keep = lambda network, _: kept.append(network)  # noqa: E731
    run = pe.finetune(model, TASK, strategy, head=head, on_end=keep, device="cpu")
    assert run.status == "completed"
    return run, kept[0]


def same_parameters(network, before, without):
    """All that the pretrained network holds is there, but for the replaced layers."""
    after = dict(network.named_parameters())
    return all(
        torch.equal(after[name], value)
        for name, value in before.named_parameters()
        if not name.startswith(without)
    )


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=["full", "head"])
def test_the_head_of_squeezenet_is_its_last_convolution(strategy):
    """It reads one position, is followed by a pooling, and has the classes as channels."""
    model = made(partial(models.squeezenet1_1, weights=None))
    run, network = trained(copy.deepcopy(model), strategy)
    assert run.settings["head"] == "classifier.1"
    head = network.classifier[1]
    assert isinstance(head, nn.Conv2d)
    assert (head.kernel_size, head.out_channels) == ((1, 1), 3)
    assert network(images(4, 2).tensors[0]).shape == (4, 3)
    assert same_parameters(network, model, "classifier.1") == (strategy is HEAD)


def test_a_convolution_of_squeezenets_backbone_is_no_head():
    """One that reads its neighbours, and one of a position that others read."""
    model = made(partial(models.squeezenet1_1, weights=None))
    with pytest.raises(ValueError, match="a part of the backbone and no head"):
        pe.finetune(model, TASK, FULL, head="features.12.expand3x3")
    with pytest.raises(ValueError, match="so it is no head"):
        pe.finetune(model, TASK, FULL, head="features.12.squeeze")


def test_a_feature_extractor_of_torchvision_gets_a_head_on_its_last_map():
    """Of several maps by name the last one counts, by its mean over positions."""
    resnet = made(partial(models.resnet18, weights=None))
    nodes = {"layer3": "middle", "layer4": "last"}
    extractor = create_feature_extractor(resnet, nodes)
    run, network = trained(pe.Pretrained(extractor, head="new"))
    assert run.settings["head"] == "head"
    assert network.head.in_features == 512
    assert same_parameters(network.body, extractor, "nothing")
    inputs = images(4, 2).tensors[0]
    with torch.no_grad():
        pooled = extractor.eval()(inputs)["last"].mean((2, 3))
        wanted = network.eval().head(pooled)
        assert torch.allclose(network(inputs), wanted, atol=1e-5)


class Autoencoder(nn.Module):
    """Pretrained to give back what it gets; only its encoder is of use."""

    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(
            nn.Conv2d(3, 6, 3, 2, 1), nn.ReLU(), nn.Conv2d(6, 8, 3, 2, 1), nn.ReLU()
        )
        self.decoder = nn.Sequential(
            nn.ConvTranspose2d(8, 6, 2, 2), nn.ReLU(), nn.ConvTranspose2d(6, 3, 2, 2)
        )

    def forward(self, inputs):
        return self.decoder(self.encoder(inputs))


def test_the_encoder_of_an_autoencoder_gets_a_head():
    """Its last convolution is pretrained and stays; the whole gives images, no classes."""
    whole = made(Autoencoder)
    with pytest.raises(ValueError, match="head='new' adds one"):
        pe.finetune(whole, TASK, FULL)
    run, network = trained(whole.encoder, head="new")
    assert run.settings["head"] == "head"
    assert network.head.in_features == 8
    assert same_parameters(network.body, whole.encoder, "nothing")
    _, moved = trained(whole.encoder, FULL, head="new")
    assert not same_parameters(moved.body, whole.encoder, "nothing")


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=["full", "head"])
def test_a_resnet_whose_head_was_cut_off_gets_one_there(strategy):
    """`resnet.fc = Identity()`, as tutorials have it, says where the head goes."""
    model = made(partial(models.resnet18, weights=None))
    model.fc = nn.Identity()
    run, network = trained(model, strategy)
    assert run.settings["head"] == "fc"
    assert (network.fc.in_features, network.fc.out_features) == (512, 3)
    assert isinstance(model.fc, nn.Identity)
    assert same_parameters(network, model, "fc") == (strategy is HEAD)


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=["full", "head"])
def test_both_heads_of_a_distilled_transformer_are_replaced(strategy):
    """The teacher's and the labels' one, whose scores are averaged."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install 'pretrain-eval[transformers]'"
    )
    config = transformers.DeiTConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, image_size=SIZE, patch_size=16,
    )  # fmt: skip
    build = partial(transformers.DeiTForImageClassificationWithTeacher, config)
    model = made(build)
    run, network = trained(copy.deepcopy(model), strategy)
    assert run.settings["head"] == "cls_classifier,distillation_classifier"
    pair = network.cls_classifier, network.distillation_classifier
    assert [head.out_features for head in pair] == [3, 3]
    replaced = ("cls_classifier", "distillation_classifier")
    assert same_parameters(network, model, replaced) == (strategy is HEAD)
    inputs = images(4, 2).tensors[0]
    with torch.no_grad():
        hidden = network.eval().deit(inputs).last_hidden_state
        wanted = (pair[0](hidden[:, 0]) + pair[1](hidden[:, 1])) / 2
        assert torch.allclose(network(inputs).logits, wanted, atol=1e-6)
