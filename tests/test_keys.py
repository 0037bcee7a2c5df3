"""Tests of run keys: content decides, names do not."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import pretrain_eval as pe
from pretrain_eval._sweep.cells import grid_cells
from pretrain_eval._sweep.keys import Keys


class Net(nn.Module):
    """A small network."""

    def __init__(self, activation=None):
        """Draw weights."""
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 5)
        self.activation = activation or nn.ReLU()

    def forward(self, inputs):
        """The outputs."""
        return self.head(self.activation(self.body(inputs)))


class Scaled(Dataset):
    """Samples behind a transform."""

    def __init__(self, samples, transform):
        """Keep both."""
        self.samples, self.transform = samples, transform

    def __len__(self):
        """As many as there are."""
        return len(self.samples)

    def __getitem__(self, index):
        """One sample, transformed."""
        inputs, target = self.samples[index]
        return self.transform(inputs), target


def points(num, seed, dtype=torch.float32):
    """Points of two classes."""
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs.to(dtype), (inputs.sum(1) > 0).long())


def net(seed=0, dtype=torch.float32, **options):
    """A network with the weights of a seed."""
    torch.manual_seed(seed)
    return Net(**options).to(dtype)


def key(
    *,
    model=None,
    name="net",
    task="sign",
    label="d",
    train=None,
    num_classes=2,
    strategy="full",
    lr=0.1,
    seed=0,
    draws="cell",
    **fields,
):
    """The key of the one cell of a grid in which everything can be changed."""
    splits = pe.Splits(train or points(32, 1), points(16, 2))
    cells = grid_cells(
        {name: model or net()},
        [pe.Task(task, datasets={label: splits}, num_classes=num_classes)],
        [
            pe.Strategy(
                strategy,
                optimizer=partial(torch.optim.SGD, lr=lr),
                **{"epochs": 2, **fields},
            )
        ],
        (seed,),
        {},
        draws,
    )
    return Keys(lambda _: None).of(cells[0])


def double(inputs):
    """A transform."""
    return 2 * inputs


def triple(inputs):
    """Another."""
    return 3 * inputs


def picky_loss(outputs, targets):
    """A loss whose code holds a set, which has no order of its own."""
    kind = "mean" if str(outputs.dtype) in {"torch.float32", "a", "b", "c"} else "sum"
    return nn.functional.cross_entropy(outputs, targets, reduction=kind)


def altered():
    """A network of which one weight is another by one bit."""
    network = net()
    with torch.no_grad():
        network.body.weight[0, 0] = torch.nextafter(
            network.body.weight[0, 0], torch.tensor(9.0)
        )
    return network


def doubles():
    """The same points in another precision."""
    return points(32, 1, torch.float64)


CHANGES = {
    "weights": lambda: key(model=altered()),
    "architecture": lambda: key(model=net(activation=nn.Tanh())),
    "transform": lambda: key(train=Scaled(points(32, 1), triple)),
    "split": lambda: key(train=points(33, 1)),
    "dtype": lambda: key(model=net(dtype=torch.float64), train=doubles()),
    "strategy value": lambda: key(lr=0.1000001),
    "epochs": lambda: key(epochs=3),
    "trainable": lambda: key(trainable="head"),
    "loss": lambda: key(loss=nn.functional.cross_entropy),
    "amp": lambda: key(amp="bfloat16"),
    "compile": lambda: key(compile=True),
    "channels_last": lambda: key(channels_last=True),
    "seed": lambda: key(seed=1),
    "num_classes": lambda: key(num_classes=3),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_content_is_another_run(change):
    """Each single change that can alter a result misses the cache."""
    before = key()
    if change == "transform":
        before = key(train=Scaled(points(32, 1), double))
    assert CHANGES[change]() != before


def test_another_name_of_a_model_is_the_same_run():
    """Renaming a model hits the cache."""
    assert key(name="renamed") == key()


@pytest.mark.parametrize("name", ["task", "label", "strategy"])
def test_a_name_that_draws_come_from_is_part_of_the_key(name):
    """By the cell's names another run; by the seed alone the same one."""
    assert key(**{name: "renamed"}) != key()
    assert key(**{name: "renamed"}, draws="seed") == key(draws="seed")


def test_the_way_a_model_is_given_is_no_content():
    """A module and a builder of the same module are the same run."""
    assert key(model=net) == key(model=net()) == key()


def test_an_edited_forward_is_another_run():
    """Code decides too: equal weights in an edited class are another model."""

    class Edited(Net):
        def forward(self, inputs):
            return -super().forward(inputs)

    class Same(Net):
        pass

    first, second = Edited(), Edited()
    second.load_state_dict(first.state_dict())
    assert key(model=first) == key(model=second)
    Edited.forward = lambda self, inputs: Net.forward(self, inputs)
    assert key(model=second) != key(model=Same())
    kept = key(model=first)
    Edited.forward = lambda self, inputs: 2 * Net.forward(self, inputs)
    assert key(model=first) != kept


def test_augmentation_has_a_key_of_its_own_and_the_same_every_time():
    """A random transform is read with one randomness: equal calls, equal keys."""

    def noisy(scale):
        return lambda inputs: inputs + scale * torch.randn_like(inputs)

    weak, strong = (Scaled(points(32, 1), noisy(scale)) for scale in (0.1, 0.2))
    torch.manual_seed(5)
    first = key(train=weak)
    torch.manual_seed(6)
    assert key(train=weak) == first
    assert key(train=strong) != first


def test_a_data_set_with_a_generator_of_its_own_has_one_key():
    """What it draws is read with one randomness too, and its generator given back."""

    class Drawn(Scaled):
        generator = torch.Generator()

        def __getitem__(self, index):
            noise = torch.randn(4, generator=self.generator)
            return self.samples[index][0] + noise, self.samples[index][1]

    drawn = Drawn(points(32, 1), double)
    state = drawn.generator.get_state()
    assert key(train=drawn) == key(train=drawn)
    torch.rand(1, generator=drawn.generator)
    first = key(train=drawn)
    drawn.generator.set_state(state)
    assert key(train=drawn) == first
    task = pe.Task("t", datasets={"d": pe.Splits(drawn, points(16, 2))}, num_classes=2)
    plain = pe.Strategy("s", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=2)
    run = pe.finetune(net(), task, plain)
    torch.rand(1, generator=drawn.generator)
    assert pe.finetune(net(), task, plain).history == run.history


@pytest.mark.parametrize("hash_seed", ["1", "2"])
def test_keys_are_the_same_in_every_process(hash_seed):
    """A key depends neither on the process nor on its hash seed."""
    script = """
import sys
sys.path[:0] = sys.argv[1:]
import test_keys
print(test_keys.key(loss=test_keys.picky_loss))
"""
    here, root = Path(__file__).parent, Path(pe.__file__).parents[1]
    result = subprocess.run(
        [sys.executable, "-c", script, str(here), str(root)],
        env={"PYTHONHASHSEED": hash_seed, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    sys.path.insert(0, str(here))
    try:
        import test_keys
    finally:
        sys.path.remove(str(here))
    assert result.stdout.strip() == test_keys.key(loss=test_keys.picky_loss)
