"""How long 10,000 stored runs take to be listed, and a resume over them to be planned.

`python tests/benchmarks/store.py` prints the best of three of each.
"""

import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._sweep.cells import grid_cells
from pretrain_eval._sweep.kept import Kept
from pretrain_eval._sweep.keys import Keys
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._sweep.schedule import Pending
from pretrain_eval._sweep.sweep import planned
from pretrain_eval._training import check_fits

NUM_RUNS = 10_000
NUM_STEPS = 100


def best(call: Callable[[], object]) -> float:
    """Seconds of the fastest of three calls."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)


def make_run(seed: int) -> pe.Run:
    """A run with ten points of validation and a hundred steps."""
    values = random.Random(seed)
    steps = tuple(range(1, NUM_STEPS + 1))
    return pe.Run(
        model="m",
        task="t",
        dataset="d",
        strategy="s",
        seed=seed,
        scores={name: values.random() for name in ("accuracy", "recall", "f1")},
        baseline={name: values.random() for name in ("accuracy", "recall", "f1")},
        curve={
            "step": tuple(range(10)),
            "accuracy": tuple(values.random() for _ in range(10)),
        },
        history={
            "step": steps,
            "grad_norm": tuple(values.random() for _ in steps),
            "update_ratio": tuple(values.random() for _ in steps),
        },
        settings={"optimizer": "torch.optim.sgd.SGD(lr=0.1)", "epochs": 10},
    )


def points(num: int, seed: int) -> TensorDataset:
    """Points of two classes."""
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def main() -> None:
    """Fill a store, list it, and plan a sweep that is already in it."""
    task = pe.Task(
        "t", datasets={"d": pe.Splits(points(64, 1), points(64, 2))}, num_classes=2
    )
    strategy = pe.Strategy("s", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=1)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    network.head = nn.Linear(8, 2)

    def cells() -> list:
        seeds = tuple(range(NUM_RUNS))
        made = grid_cells({"m": network}, [task], [strategy], seeds, {})
        check_fits(made, "cpu")
        return made

    keys = Keys(lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.db")
        with pe.RunStore(path) as store, store._database.writing():
            for cell in cells():
                store.add(keys.of(cell), make_run(cell.seed))
        print(f"{NUM_RUNS} runs, {path.stat().st_size / 1e6:.0f} MB")
        print(f"opened and verified: {best(lambda: pe.RunStore(path).close()):.2f} s")
        with pe.RunStore(path) as store:
            listed = best(lambda: list(store.filter(history=False)))
            print(f"listed: {listed:.2f} s")
            print(f"read with histories: {best(lambda: list(store)):.2f} s")
            quiet = Progress(0, "", show=False)

            def plan() -> list[Pending]:
                keys = Keys(quiet.note)
                return planned(cells(), keys, store, (), quiet, Kept.at(None, keys))

            seconds, due = best(plan), sum(pending.due for pending in plan())
            print(f"resume planned: {seconds:.2f} s, {due} runs to do")


if __name__ == "__main__":
    main()
