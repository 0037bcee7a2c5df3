"""What sharing saves and bookkeeping costs: ratios of times taken in one run.

Run it on an otherwise idle machine: `python tests/benchmarks/sweep.py`. Compares sweeps
of a ResNet-18 with the loop of the source documents, which runs the whole network for
every batch of every run, and prints each ratio with the scores' agreement.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

import pretrain_eval as pe
from pretrain_eval import _complete
from pretrain_eval._finetune import prepare
from pretrain_eval._rng import seed_all


def images(num: int, seed: int, size: int) -> TensorDataset:
    """Noise of two classes, told apart by its mean."""
    inputs = torch.randn(
        num, 3, size, size, generator=torch.Generator().manual_seed(seed)
    )
    inputs += torch.linspace(-0.2, 0.2, num)[:, None, None, None]
    return TensorDataset(inputs, (torch.arange(num) >= num // 2).long())


def head_only(epochs: int) -> list[pe.Strategy]:
    """Three ways to train a head."""
    return [
        pe.Strategy(
            f"head {lr}",
            optimizer=partial(torch.optim.SGD, lr=lr, momentum=0.9),
            epochs=epochs,
            batch_size=16,
            trainable="head",
        )
        for lr in (0.001, 0.01, 0.1)
    ]


def full(epochs: int) -> pe.Strategy:
    """One way to train everything."""
    return pe.Strategy(
        "full",
        optimizer=partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        epochs=epochs,
        batch_size=16,
    )


def plain_run(
    network: nn.Module, task: pe.Task, strategy: pe.Strategy, seed: int
) -> float:
    """The loop of the source documents; the accuracy on the validation split."""
    splits = task.datasets["d"]
    model = copy.deepcopy(network)
    seed_all(seed)
    prepare(model, task, splits, strategy)
    train = DataLoader(splits.train, strategy.batch_size, shuffle=True)
    valid = DataLoader(splits.valid, strategy.batch_size)
    optimizer = strategy.optimizer([p for p in model.parameters() if p.requires_grad])
    modes = {module: module.training for module in model.modules()}
    for epoch in range(1, strategy.epochs + 1):
        seed_all(seed, epoch)
        for inputs, targets in train:
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(inputs), targets).backward()
            optimizer.step()
        model.eval()
        correct = 0
        with torch.no_grad():
            for inputs, targets in valid:
                correct += int((model(inputs).argmax(1) == targets).sum())
        for module, mode in modes.items():
            module.training = mode
    return correct / len(splits.valid)


def timed(call: Callable[[], list[float]]) -> tuple[float, list[float]]:
    """Seconds, and what came of it."""
    start = time.perf_counter()
    result = call()
    return time.perf_counter() - start, result


def compare(
    name: str, network: nn.Module, task: pe.Task, strategies: list[pe.Strategy]
) -> None:
    """Print how many times faster the sweep is than the plain loops."""

    def plain() -> list[float]:
        return [
            plain_run(network, task, strategy, seed)
            for strategy in strategies
            for seed in range(3)
        ]

    def swept() -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            runs = pe.sweep(
                {"resnet18": network},
                [task],
                strategies,
                range(3),
                store=Path(folder, "runs.db"),
                progress=False,
            )
        return [run.scores["accuracy"] for run in runs]

    ours, scores = timed(swept)
    theirs, expected = timed(plain)
    print(
        f"{name}: sweep {ours:.1f} s, plain loops {theirs:.1f} s,"
        f" {theirs / ours:.1f} times faster; equal scores:"
        f" {sum(a == b for a, b in zip(scores, expected, strict=True))} of"
        f" {len(scores)}",
        flush=True,
    )


def stacking(epochs: int) -> None:
    """Print how much faster heads train side by side than one after the other."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 512), nn.ReLU())
    network.head = nn.Linear(512, 2)
    splits = pe.Splits(images(512, 1, 8), images(256, 2, 8))
    task = pe.Task("noise", datasets={"d": splits}, num_classes=2)

    def swept(at_a_time: int) -> tuple[float, list[float]]:
        def call() -> list[float]:
            runs = pe.sweep(
                {"m": network}, [task], head_only(epochs), range(3), progress=False
            )
            return [run.curve["accuracy"][-1] for run in runs]

        together = _complete.MOST_HEADS
        _complete.MOST_HEADS = at_a_time
        try:
            return timed(call)
        finally:
            _complete.MOST_HEADS = together

    rounds = [(swept(1), swept(9)) for _ in range(3)]
    alone, together = (
        min(s for s, _ in column) for column in zip(*rounds, strict=True)
    )
    print(
        f"stacking: nine heads one by one {alone:.2f} s, side by side {together:.2f} s,"
        f" {alone / together:.1f} times faster; equal scores:"
        f" {len({tuple(scores) for pair in rounds for _, scores in pair}) == 1}",
        flush=True,
    )


def bookkeeping(network: nn.Module, task: pe.Task, strategy: pe.Strategy) -> None:
    """Print what the grid, the keys and the store add to the runs themselves."""
    seeds = range(6)

    def bare() -> list[float]:
        return [
            pe.finetune(network, task, strategy, seed=seed).cost.seconds or 0.0
            for seed in seeds
        ]

    def swept() -> list[float]:
        with tempfile.TemporaryDirectory() as folder:
            store = Path(folder, "runs.db")
            runs = pe.sweep(
                {"m": network}, [task], [strategy], seeds, store=store, progress=False
            )
        return [run.cost.seconds or 0.0 for run in runs]

    rounds = [(timed(bare)[0], timed(swept)[0]) for _ in range(3)]
    alone, grid = (min(column) for column in zip(*rounds, strict=True))
    print(
        f"bookkeeping: finetune in a loop {alone:.2f} s, sweep {grid:.2f} s,"
        f" {100 * (grid / alone - 1):+.1f} %",
        flush=True,
    )


def workers(network: nn.Module, task: pe.Task, strategy: pe.Strategy) -> None:
    """Print how much faster two workers are than one, their start included."""

    def swept(num: int) -> Callable[[], list[float]]:
        def call() -> list[float]:
            runs = pe.sweep(
                {"m": network},
                [task],
                [strategy],
                range(12),
                workers=num,
                progress=False,
            )
            return [run.scores["accuracy"] for run in runs]

        return call

    torch.set_num_threads(1)
    one, first = timed(swept(1))
    torch.set_num_threads(2)
    two, second = timed(swept(2))
    print(
        f"workers: one {one:.1f} s, two {two:.1f} s, {one / two:.2f} times faster;"
        f" equal scores: {first == second}",
        flush=True,
    )


def main() -> None:
    """All comparisons, or those named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=[])
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = resnet18()
    splits = pe.Splits(
        images(options.samples, 1, options.size),
        images(options.samples, 2, options.size),
    )
    task = pe.Task("noise", datasets={"d": splits}, num_classes=2)
    heads, everything = head_only(options.epochs), full(options.epochs)
    chosen = {
        "heads": lambda: compare("head-only grid", network, task, heads),
        "mixed": lambda: compare("mixed grid", network, task, [*heads, everything]),
        "stacking": lambda: stacking(options.epochs),
        "bookkeeping": lambda: bookkeeping(network, task, full(2)),
        "workers": lambda: workers(network, task, everything),
    }
    for name, run in chosen.items():
        if not options.names or name in options.names:
            run()


if __name__ == "__main__":
    main()
