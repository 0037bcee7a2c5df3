"""What `finetune` costs beside a plain loop that validates as often.

`python tests/benchmarks/finetune.py` trains both in turns and prints the ratio of their
processor times, whole and without what only `finetune` does: the scores before any
training, and the counting of MACs and memory.
"""

import copy
import statistics
import sys
import time
from functools import partial

import torch
import torchvision
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe

EPOCHS, BATCH_SIZE = 2, 32
SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9)


def images(num_samples, size, seed):
    """Noise with labels; only the shapes matter."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 3, size, size, generator=generator)
    return TensorDataset(inputs, torch.arange(num_samples) % 10)


def tiny():
    """A small convolutional network."""
    network = nn.Sequential()
    network.body = nn.Sequential(
        nn.Conv2d(3, 16, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(4), nn.Flatten()
    )
    network.head = nn.Linear(256, 10)
    return network


def by_hand(model, train, valid):
    """Train, and validate before and after each epoch, with accuracy alone."""
    network = copy.deepcopy(model)
    optimizer = SGD(network.parameters())

    def validate():
        network.eval()
        with torch.no_grad():
            loader = DataLoader(valid, 4 * BATCH_SIZE)
            right = sum(int((network(x).argmax(1) == y).sum()) for x, y in loader)
        network.train()
        return right / len(valid)

    validate()
    for _ in range(EPOCHS):
        for inputs, targets in DataLoader(train, BATCH_SIZE, shuffle=True):
            loss = F.cross_entropy(network(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        validate()
    return validate()


def measured(model, train, valid, **options):
    """The same by `finetune`."""
    task = pe.Task("t", datasets={"d": pe.Splits(train, valid)}, num_classes=10)
    full = pe.Strategy("full", optimizer=SGD, epochs=EPOCHS, batch_size=BATCH_SIZE)
    return pe.finetune(model, task, full, **options)


def bare(model, train, valid):
    """`finetune` without what a sweep shares between the seeds of a cell."""
    return measured(model, train, valid, baseline=False, resources=False)


def seconds(function, *arguments):
    """Processor time of one call."""
    start = time.process_time()
    function(*arguments)
    return time.process_time() - start


def main(rounds=5):
    """Print a line a network."""
    torch.set_num_threads(1)
    cases = {
        "ResNet-18 at 64 px, 96 + 32": (
            torchvision.models.resnet18(num_classes=10),
            images(96, 64, 0),
            images(32, 64, 1),
        ),
        "tiny network at 32 px, 512 + 128": (
            tiny(),
            images(512, 32, 0),
            images(128, 32, 1),
        ),
    }
    for name, case in cases.items():
        times = {call: [] for call in (by_hand, measured, bare)}
        for _ in range(rounds + 1):
            for call, taken in times.items():
                taken.append(seconds(call, *case))
        hand, whole, less = (statistics.median(t[1:]) for t in times.values())
        print(
            f"{name}: by hand {hand:.2f} s, finetune {whole / hand:.2f} x, without"
            f" baseline and counting {less / hand:.2f} x"
        )


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
