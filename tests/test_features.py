"""Tests of shared features and whole batches: the same numbers, fewer readings."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import pretrain_eval as pe
from pretrain_eval._tasks import samples as _samples
from pretrain_eval._tasks.samples import TensorBatches, as_loader
from pretrain_eval._training.features import Backbone, Shared


class Net(nn.Module):
    """Convolution, batch norm and dropout, then a head and what may follow it."""

    def __init__(self, after=None):
        """Draw weights."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2)
        )
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten())
        self.head = nn.Linear(24, 5)
        self.after = after or nn.Identity()

    def forward(self, inputs):
        """The outputs."""
        return self.after(self.head(self.pool(self.body(inputs))))


class Behind(Dataset):
    """Samples behind a function of the input."""

    def __init__(self, samples, function):
        """Keep both."""
        self.samples, self.function = samples, function

    def __len__(self):
        """As many as there are."""
        return len(self.samples)

    def __getitem__(self, index):
        """One sample."""
        inputs, target = self.samples[index]
        return self.function(inputs), target


class Counter:
    """An augmentation with a randomness of its own."""

    def __init__(self):
        """Start to count."""
        self.count = 0

    def __call__(self, inputs):
        """Another value each time."""
        self.count += 1
        return inputs + self.count


KIND = pe.Classification(2)


def images(num, seed):
    """Small images of two classes."""
    inputs = torch.randn(num, 1, 6, 6, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.mean((1, 2, 3)) > 0).long())


def noisy(inputs):
    """Augmentation."""
    return inputs + 0.3 * torch.randn_like(inputs)


def double(inputs):
    """No augmentation."""
    return 2 * inputs


def task_of(train, test=None):
    """A task with one dataset."""
    splits = pe.Splits(train, images(23, 2), test or images(24, 3))
    return pe.Task("t", datasets={"d": splits}, num_classes=2)


HEAD = pe.Strategy(
    "head",
    optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    epochs=3,
    batch_size=8,
    trainable="head",
)


@pytest.mark.parametrize("size", [1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("shuffle", [True, False])
def test_whole_batches_are_those_of_a_data_loader(size, shuffle):
    """Order, content, drops and what is drawn are a DataLoader's to the bit."""
    tensors = images(size, 0)
    for split in (tensors, Subset(tensors, list(range(size))[::-1])):
        torch.manual_seed(4)
        ours = as_loader(split, 8, shuffle=shuffle)
        assert isinstance(ours, TensorBatches)
        whole = [list(ours), list(ours), torch.rand(1)]
        torch.manual_seed(4)
        lonely = shuffle and size in (9, 17)
        plain = DataLoader(split, 8, shuffle=shuffle, drop_last=lonely)
        single = [list(plain), list(plain), torch.rand(1)]
        assert len(ours) == len(plain) == len(single[0])
        torch.testing.assert_close(whole, single, rtol=0, atol=0)


def test_a_subclass_of_tensors_is_read_by_its_own_rules():
    """A TensorDataset that overrides how it reads is not cut out whole."""

    class Negative(TensorDataset):
        def __getitem__(self, index):
            return tuple(-tensor for tensor in super().__getitem__(index))

    loader = as_loader(Negative(torch.ones(4), torch.ones(4)), 4, shuffle=False)
    assert next(iter(loader))[0].tolist() == [-1.0] * 4


@pytest.mark.parametrize(
    ("train", "suffices"),
    [
        (images(30, 1), True),
        (Subset(images(40, 1), range(30)), True),
        (Behind(images(30, 1), double), True),
        (Behind(images(30, 1), noisy), False),
        (Behind(images(30, 1), Counter()), False),
        (DataLoader(images(30, 1), 8), False),
    ],
)
def test_features_stand_for_samples_only_where_these_do_not_change(train, suffices):
    """Augmentation from any source of randomness is found and read anew each time."""
    splits = task_of(train).datasets["d"]
    assert Backbone(Net(), "head", KIND, HEAD).suffices(splits) is suffices


def test_features_do_not_suffice_where_the_head_is_not_the_end():
    """A network that goes on after its head is trained as a whole."""
    splits = task_of(images(30, 1)).datasets["d"]
    assert Backbone(Net(), "head", KIND, HEAD).suffices(splits)
    assert not Backbone(Net(nn.Tanh()), "head", KIND, HEAD).suffices(splits)


class Positions(nn.Module):
    """A network whose head is a convolution, pooled and flattened after it."""

    def __init__(self):
        """Draw weights."""
        super().__init__()
        self.body, self.head = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 5, 1)

    def forward(self, inputs):
        """The outputs."""
        return self.head(self.body(inputs).relu()).mean((2, 3))


def test_a_convolution_as_head_is_trained_in_its_network():
    """What the network does with the head's outputs is no feature to be kept."""
    splits = task_of(images(30, 1)).datasets["d"]
    assert not Backbone(Positions(), "head", KIND, HEAD).suffices(splits)
    run = pe.finetune(Positions(), task_of(images(30, 1)), HEAD)
    assert run.status == "completed"
    assert run.cost.num_trainable_parameters == 4 * 2 + 2


class Wrapped(nn.Module):
    """Gives what its network gives in an object of some kind."""

    def __init__(self, wrap):
        """Keep how."""
        super().__init__()
        self.inner, self.wrap = Net(), wrap

    def forward(self, inputs):
        """The outputs, wrapped."""
        return self.wrap(self.inner(inputs))


class Tupled(Wrapped):
    """Gives its features as a pair once the head is gone."""

    def forward(self, inputs):
        """The outputs."""
        outputs = self.inner(inputs)
        gone = isinstance(self.inner.head, nn.Identity)
        return (outputs, outputs) if gone else outputs


def test_features_may_come_in_an_object_with_logits():
    """As outputs may; other objects mean that the whole network is trained."""
    splits = task_of(images(30, 1)).datasets["d"]
    named = Wrapped(lambda outputs: {"logits": outputs})
    assert Backbone(named, "inner.head", KIND, HEAD).suffices(splits)
    assert not Backbone(Tupled(None), "inner.head", KIND, HEAD).suffices(splits)


@pytest.mark.parametrize("train", [images(30, 1), Behind(images(30, 1), double)])
def test_training_on_features_is_training_on_samples(train, monkeypatch):
    """Scores, curve and step metrics equal those of the network in the loop."""
    torch.manual_seed(0)
    network, task = Net(), task_of(train)
    quick = pe.finetune(network, task, HEAD, seed=3)
    monkeypatch.setattr(Backbone, "suffices", lambda *_: False)
    monkeypatch.setattr(_samples, "_held_tensors", lambda _: None)
    slow = pe.finetune(network, task, HEAD, seed=3)
    assert quick.scores == slow.scores
    assert quick.baseline == slow.baseline
    assert quick.curve == slow.curve
    assert quick.history["step"] == slow.history["step"]
    for name in ("grad_norm", "update_ratio"):
        assert quick.history[name] == pytest.approx(slow.history[name], rel=1e-5)
    assert quick.cost.num_trainable_parameters == slow.cost.num_trainable_parameters
    assert quick.cost.macs == slow.cost.macs
    assert quick.cost.num_samples == slow.cost.num_samples


def test_shared_values_are_computed_once_and_the_oldest_forgotten():
    """A value is kept until as many others were asked for later."""
    shared, made = Shared(size=2), []
    for key in ("a", "b", "a", "c", "a", "b"):
        assert shared.once(key, lambda key=key: made.append(key) or key) == key
    assert made == ["a", "b", "c", "b"]
