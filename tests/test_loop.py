"""Tests of the loop's pauses: a run continued is the run not paused."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

import pretrain_eval as pe


class Net(nn.Module):
    """Batch norm and dropout: buffers and randomness."""

    def __init__(self):
        """Draw weights."""
        super().__init__()
        self.body = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3)
        )
        self.head = nn.Linear(8, 5)

    def forward(self, inputs):
        """The outputs."""
        return self.head(self.body(inputs))


class Noisy(Dataset):
    """Augmented points."""

    def __init__(self, samples):
        """Keep them."""
        self.samples = samples

    def __len__(self):
        """As many as there are."""
        return len(self.samples)

    def __getitem__(self, index):
        """One point, moved at random."""
        inputs, target = self.samples[index]
        return inputs + 0.1 * torch.randn_like(inputs), target


def points(num, seed):
    """Points of two classes."""
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


TASK = pe.Task(
    "t", datasets={"d": pe.Splits(Noisy(points(40, 1)), points(16, 2))}, num_classes=2
)
FULL = pe.Strategy(
    "full",
    optimizer=partial(torch.optim.AdamW, lr=0.01),
    schedule=torch.optim.lr_scheduler.CosineAnnealingLR,
    epochs=4,
    batch_size=8,
)
HEAD = pe.Strategy(
    "head",
    optimizer=partial(torch.optim.SGD, lr=0.1, momentum=0.9),
    epochs=4,
    trainable="head",
)


class PauseError(Exception):
    """What ends a run in the middle."""


def pause_at(*epochs):
    """A callback that stops after these epochs, once each."""
    left = list(epochs)

    def on_epoch(epoch):
        if epoch in left:
            left.remove(epoch)
            raise PauseError

    return on_epoch


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=["full", "head"])
@pytest.mark.parametrize("pauses", [(1,), (2, 3), (4,)])
def test_a_paused_run_continues_to_the_same_bits(tmp_path, strategy, pauses):
    """A run left at epochs and continued equals the run that was never left."""
    torch.manual_seed(0)
    network, path = Net(), tmp_path / "run.pt"
    whole = pe.finetune(network, TASK, strategy, seed=5)
    on_epoch = pause_at(*pauses)
    for _ in pauses:
        with pytest.raises(PauseError):
            pe.finetune(
                network, TASK, strategy, seed=5, checkpoint=path, on_epoch=on_epoch
            )
        assert path.exists()
        torch.rand(7)  # the world goes on
    epochs = []
    continued = pe.finetune(
        network, TASK, strategy, seed=5, checkpoint=path, on_epoch=epochs.append
    )
    assert epochs == list(range(pauses[-1] + 1, 5))
    for name in ("status", "scores", "baseline", "curve", "history", "settings"):
        assert getattr(continued, name) == getattr(whole, name), name
    assert continued.cost.num_samples == whole.cost.num_samples
    assert not path.exists()


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    """Other seeds, strategies and weights do not continue a run, nor do other files."""
    torch.manual_seed(0)
    network, path = Net(), tmp_path / "run.pt"

    def run(strategy=FULL, seed=0, model=network, **fields):
        return pe.finetune(model, TASK, strategy, seed=seed, checkpoint=path, **fields)

    with pytest.raises(PauseError):
        run(on_epoch=pause_at(2))
    content = path.read_bytes()
    for other in ({"seed": 1}, {"strategy": HEAD}, {"model": Net()}):
        with pytest.raises(ValueError, match=r"run\.pt is the checkpoint of another"):
            run(**other)
    assert path.read_bytes() == content
    assert run().status == "completed"
    path.write_bytes(b"something else")
    with pytest.raises(ValueError, match=r"run\.pt is no checkpoint of a run"):
        run()
    assert path.read_bytes() == b"something else"
