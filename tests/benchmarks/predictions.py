"""What accuracy, precision, recall and F1 together cost, beside torchmetrics.

    OMP_NUM_THREADS=1 python tests/benchmarks/predictions.py

prints a Markdown table. Times are processor time, the least of interleaved
repetitions, batch 128, one thread; ratios compare times of one run. Collectives are counted on two gloo processes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
import timeit
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torchmetrics
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import classification as theirs

import pretrain_eval as pe

BATCH = 128


def our_collection(num_classes: int) -> pe.MetricCollection:
    """Four metrics of ours."""
    return pe.MetricCollection(
        pe.Accuracy(num_classes=num_classes),
        pe.Precision(num_classes=num_classes),
        pe.Recall(num_classes=num_classes),
        pe.F1Score(num_classes=num_classes),
    )


def their_collection(num_classes: int) -> torchmetrics.MetricCollection:
    """The same four of torchmetrics, as cheap as they get: one group of macro means."""
    return torchmetrics.MetricCollection(
        [
            theirs.MulticlassAccuracy(num_classes),
            theirs.MulticlassPrecision(num_classes),
            theirs.MulticlassRecall(num_classes),
            theirs.MulticlassF1Score(num_classes),
        ]
    )


def batch(num_classes: int) -> tuple[Tensor, Tensor]:
    """Random scores and targets."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(BATCH, num_classes, generator=generator)
    return scores, torch.randint(0, num_classes, (BATCH,), generator=generator)


def least_times(
    calls: dict[str, Callable[[], object]], number: int, repetitions: int
) -> dict[str, float]:
    """Microseconds a call, the least of interleaved repetitions."""
    least = dict.fromkeys(calls, float("inf"))
    for _ in range(repetitions):
        for name, call in calls.items():
            seconds = (
                timeit.timeit(call, timer=time.process_time, number=number) / number
            )
            least[name] = min(least[name], seconds * 1e6)
    return least


class Waits(TorchDispatchMode):
    """Counts reads of values, each of which waits for a device."""

    def __init__(self) -> None:
        super().__init__()
        self.number = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Count what reads a value."""
        names = ("_local_scalar_dense", "nonzero", "equal.default")
        self.number += any(name in str(func) for name in names)
        return func(*args, **(kwargs or {}))


def waits(metrics: Any, num_classes: int) -> int:
    """Reads of values in one update."""
    with Waits() as counted:
        metrics.update(*batch(num_classes))
    return counted.number


def counting(call: Callable[..., Any], calls: list[str]) -> Callable[..., Any]:
    """The call, noted each time."""

    def counted(*args: Any, **rest: Any) -> Any:
        calls.append(call.__name__)
        return call(*args, **rest)

    return counted


def count_collectives(rank: int, folder: Path) -> None:
    """Count the collectives of one compute on this process."""
    dist.init_process_group(
        "gloo", init_method=f"file://{folder / 'meet'}", rank=rank, world_size=2
    )
    calls: list[str] = []
    for name in ("all_reduce", "all_gather", "barrier", "all_gather_object"):
        setattr(dist, name, counting(getattr(dist, name), calls))
    found = {}
    for name, metrics in (
        ("ours", our_collection(10)),
        ("torchmetrics", their_collection(10)),
    ):
        metrics.update(*batch(10))
        calls.clear()
        metrics.compute()
        found[name] = len(calls)
    if rank == 0:
        (folder / "found.json").write_text(json.dumps(found))
    dist.barrier()
    dist.destroy_process_group()


def collectives() -> dict[str, int]:
    """Collectives of one compute on two processes."""
    with tempfile.TemporaryDirectory() as folder:
        ranks = [
            subprocess.Popen([sys.executable, __file__, str(rank), folder])
            for rank in range(2)
        ]
        for process in ranks:
            if process.wait(timeout=120):
                raise RuntimeError(f"a process ended with {process.returncode}")
        found: dict[str, int] = json.loads(Path(folder, "found.json").read_text())
    return found


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    print("| what | ours | torchmetrics | ratio |\n|---|---|---|---|")
    for num_classes, number in ((10, 100), (1000, 20)):
        sample = batch(num_classes)
        ours, others = our_collection(num_classes), their_collection(num_classes)
        for _ in range(3):
            ours.update(*sample)
            others.update(*sample)
        times = least_times(
            {
                "ours": lambda ours=ours, sample=sample: ours.update(*sample),
                "theirs": lambda others=others, sample=sample: others.update(*sample),
            },
            number,
            40,
        )
        ratio = times["theirs"] / times["ours"]
        print(
            f"| µs an update, C = {num_classes} | {times['ours']:.1f} |"
            f" {times['theirs']:.1f} | {ratio:.1f} |"
        )
    for num_classes in (10, 1000):
        print(
            f"| host reads an update, C = {num_classes} |"
            f" {waits(our_collection(num_classes), num_classes)} |"
            f" {waits(their_collection(num_classes), num_classes)} | |"
        )
    found = collectives()
    print(f"| collectives a compute | {found['ours']} | {found['torchmetrics']} | |")
    large = our_collection(20_000)
    large.update(*batch(20_000))
    held = {id(large[key].counts): large[key].counts for key in large}  # type: ignore[union-attr]
    integers = sum(len(counts) for counts in held.values())  # type: ignore[arg-type]
    print(f"| integers held, C = 20000 | {integers} (3 C + 4) | | |")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if len(sys.argv) == 3:
        count_collectives(int(sys.argv[1]), Path(sys.argv[2]))
    else:
        main()
