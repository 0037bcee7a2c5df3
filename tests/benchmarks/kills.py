"""200 SIGKILLs at random times over a small grid, each followed by a resume.

`python tests/benchmarks/kills.py` prints how often each run was trained and whether the
final table equals that of a sweep that nobody killed. Needs `os.fork`.
"""

import argparse
import itertools
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._sweep import places


def points(num: int, seed: int) -> TensorDataset:
    """Points of two classes."""
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def grid(num_seeds: int, **options: Any) -> tuple[pe.Run, ...]:
    """Two strategies and many seeds of one small network."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    network.head = nn.Linear(8, 2)
    task = pe.Task(
        "t", datasets={"d": pe.Splits(points(64, 1), points(64, 2))}, num_classes=2
    )
    full = pe.Strategy("full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=2)
    head = pe.Strategy(
        "head",
        optimizer=partial(torch.optim.SGD, lr=0.1),
        epochs=2,
        trainable="head",
    )
    return pe.sweep(
        {"m": network},
        [task],
        [full, head],
        range(num_seeds),
        progress=False,
        **options,
    )


def table(runs: Sequence[pe.Run]) -> bytes:
    """The runs as text, without the times that they took."""
    rows = [run.to_dict() for run in runs]
    for row in rows:
        for measured in ("seconds", "total_seconds"):
            row["cost"].pop(measured)
    return json.dumps(rows).encode()


def main() -> None:
    """Kill, resume, compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seeds", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rng = random.Random(0)
    plain = places.Here.run
    with tempfile.TemporaryDirectory() as folder:
        store, log = Path(folder, "runs.db"), Path(folder, "log")

        def run(here: Any, cells: Any, on_epoch: Any) -> list[pe.Run]:
            runs = plain(here, cells, on_epoch)
            with log.open("a") as file:
                print(*(cell.name for cell in cells), sep="\n", file=file)
            return runs

        patched: Any = places.Here
        patched.run = run
        num_kept = []
        for _ in range(options.kills):
            child = os.fork()
            if child == 0:
                grid(options.seeds, store=store)
                os._exit(0)
            time.sleep(rng.uniform(0.0, 0.4))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            if store.exists():
                with pe.RunStore(store) as opened:
                    num_kept.append(len(opened))
        patched.run = plain
        runs = grid(options.seeds, store=store)
        counts = Counter(log.read_text().splitlines())
    lost = sum(later < earlier for earlier, later in itertools.pairwise(num_kept))
    print(
        f"{options.kills} kills; runs kept before the last resume {num_kept[-1]} of"
        f" {len(runs)}; resumes that found fewer runs than before: {lost}; trained"
        f" again because the kill came before they were kept:"
        f" {sum(counts.values()) - len(counts)}"
    )
    equal = table(runs) == table(grid(options.seeds))
    print(f"byte-equal to an uninterrupted sweep: {equal}")
    sys.exit(not equal or lost > 0)


if __name__ == "__main__":
    main()
