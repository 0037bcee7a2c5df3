"""What sharing saves and bookkeeping costs: ratios of times taken in one run.

Run it on an otherwise idle machine: `python tests/benchmarks/sweep.py`. Compares sweeps
of a ResNet-18 with the loop of the source documents, which runs the whole network for
every batch of every run, and prints each ratio with the scores' agreement.
"""

import argparse
import copy
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models import resnet18

import pretrain_eval as pe
from pretrain_eval._metrics.randomness import seed_all
from pretrain_eval._sweep import schedule
from pretrain_eval._tasks import as_loader
from pretrain_eval._training import Cell
from pretrain_eval._training.features import Backbone
from pretrain_eval._training.head import headless
from pretrain_eval._training.loop import Training
from pretrain_eval._training.prepare import prepare


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


def full(epochs: int, batch_size: int = 16) -> pe.Strategy:
    """One way to train everything."""
    return pe.Strategy(
        "full",
        optimizer=partial(torch.optim.SGD, lr=0.01, momentum=0.9),
        epochs=epochs,
        batch_size=batch_size,
    )


def cell_of(
    network: nn.Module, task: pe.Task, strategy: pe.Strategy, seed: int
) -> Cell:
    """The run that a loop by hand does."""
    return Cell(
        model_name="m",
        model=network,
        head=None,
        task=task,
        dataset="d",
        strategy=strategy,
        seed=seed,
    )


def plain_run(
    network: nn.Module, task: pe.Task, strategy: pe.Strategy, seed: int
) -> float:
    """The loop of the source documents; the accuracy on the validation split."""
    splits = task.datasets["d"]
    model = copy.deepcopy(network)
    prepare(model, cell_of(network, task, strategy, seed))
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

        together = schedule.MOST_HEADS
        schedule.MOST_HEADS = at_a_time
        try:
            return timed(call)
        finally:
            schedule.MOST_HEADS = together

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


def bare_run(
    network: nn.Module, task: pe.Task, strategy: pe.Strategy, seed: int, *, whole: bool
) -> float:
    """A hand-written loop of the same training; the accuracy on the reported split.

    Args:
        network: Copied.
        task: Of one dataset, `d`.
        strategy: Says model, batches and optimizer.
        seed: Decides the head and the order.
        whole: Measure by hand all that a run records: features for the baseline, the
            fresh head, step metrics. Otherwise train and validate, no more.
    """
    splits = task.datasets["d"]
    model = copy.deepcopy(network)
    path = prepare(model, cell_of(network, task, strategy, seed))
    train = as_loader(splits.train, strategy.batch_size, shuffle=True)
    optimizer = strategy.optimizer(model.parameters())

    def accuracy(split: TensorDataset) -> float:
        model.eval()
        correct = 0
        with torch.inference_mode():
            batches = as_loader(split, 4 * strategy.batch_size, shuffle=False)
            for inputs, targets in batches:
                correct += int((model(inputs).argmax(1) == targets).sum())
        model.train()
        return correct / len(split)

    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio())
    with metrics.attach(optimizer, model) if whole else nullcontext():
        if whole:
            for split in (splits.train, splits.test):
                with headless(model, path):
                    accuracy(split)
            accuracy(splits.valid)
        for epoch in range(1, strategy.epochs + 1):
            seed_all(seed, epoch)
            for inputs, targets in train:
                optimizer.zero_grad()
                loss = nn.functional.cross_entropy(model(inputs), targets)
                loss.backward()
                optimizer.step()
            accuracy(splits.valid)
    return accuracy(splits.test)


@contextmanager
def counted(spent: list[float]) -> Iterator[None]:
    """Note the processor's seconds that go to training and measuring."""
    methods = [(Training, "run"), (Backbone, "features")]
    plain = [getattr(owner, name) for owner, name in methods]

    def watched(call: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **options: Any) -> Any:
            start = time.process_time()
            try:
                return call(*args, **options)
            finally:
                spent.append(time.process_time() - start)

        return timed

    for (owner, name), call in zip(methods, plain, strict=True):
        setattr(owner, name, watched(call))
    try:
        yield
    finally:
        for (owner, name), call in zip(methods, plain, strict=True):
            setattr(owner, name, call)


def bookkeeping(network: nn.Module, task: pe.Task, strategy: pe.Strategy) -> None:
    """Print what a sweep costs beyond a hand-written loop of the same training.

    Seconds of the processor on one thread; the loops take turns.
    """
    torch.set_num_threads(1)
    seeds, shares = range(4), []

    def bare(*, whole: bool) -> list[float]:
        return [bare_run(network, task, strategy, s, whole=whole) for s in seeds]

    def swept() -> list[float]:
        spent: list[float] = []
        start = time.process_time()
        with tempfile.TemporaryDirectory() as folder, counted(spent):
            store = Path(folder, "runs.db")
            runs = pe.sweep({"m": network}, [task], [strategy], seeds, store=store)
        shares.append((time.process_time() - start) / sum(spent) - 1)
        return [run.scores["accuracy"] for run in runs]

    calls = {
        "sweep": swept,
        "the same measurements by hand": partial(bare, whole=True),
        "training and validation alone": partial(bare, whole=False),
    }
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    scores = []
    for number in range(2):
        for name in sorted(calls, reverse=number % 2 == 1):
            start = time.process_time()
            scores.append(calls[name]())
            seconds[name].append(time.process_time() - start)
    print(f"\nequal scores: {all(each == scores[0] for each in scores)}")
    for name, column in seconds.items():
        ratios = [a / b - 1 for a, b in zip(seconds["sweep"], column, strict=True)]
        print(
            f"{name}: {min(column):.2f} to {max(column):.2f} s; the sweep takes"
            f" {100 * median(ratios):+.1f} % (least against least"
            f" {100 * (min(seconds['sweep']) / min(column) - 1):+.1f} %)"
        )
    print(
        "bookkeeping: the sweep spent beside training and measuring"
        f" {100 * median(shares):.1f} %"
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
    parser.add_argument("--size", type=int, default=96)
    parser.add_argument("--samples", type=int, default=64)
    options = parser.parse_args()
    torch.manual_seed(0)
    network = resnet18()
    splits = pe.Splits(
        images(options.samples, 1, options.size),
        images(options.samples, 2, options.size),
    )
    task = pe.Task("noise", datasets={"d": splits}, num_classes=2)
    parts = [images(num, num, 64) for num in (128, 64, 65)]
    reported = pe.Task("noise", datasets={"d": pe.Splits(*parts)}, num_classes=2)
    heads, everything = head_only(options.epochs), full(options.epochs)
    chosen = {
        "heads": lambda: compare("head-only grid", network, task, heads),
        "mixed": lambda: compare("mixed grid", network, task, [*heads, everything]),
        "stacking": lambda: stacking(options.epochs),
        "bookkeeping": lambda: bookkeeping(network, reported, full(3, 32)),
        "workers": lambda: workers(network, task, everything),
    }
    for name, run in chosen.items():
        if not options.names or name in options.names:
            run()


if __name__ == "__main__":
    main()
