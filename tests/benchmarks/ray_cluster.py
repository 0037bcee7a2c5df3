"""A grid on three simulated Ray nodes of this machine, one killed on the way.

Needs `pip install "ray[default]"`. Prints how the runs ended and whether each is in the
store exactly once with the scores of a sweep in one process.
"""

import sys
import tempfile
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import ray
import torch
from ray.cluster_utils import Cluster
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval.integrations.ray import RayExecutor


def points(num: int, seed: int) -> TensorDataset:
    """Points of two classes."""
    inputs = torch.randn(num, 8, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def network() -> nn.Module:
    """A small network with a head."""
    made = nn.Sequential(nn.Linear(8, 16), nn.ReLU())
    made.head = nn.Linear(16, 4)
    return made


def main() -> None:
    """The grid, the kill, and the comparison."""
    torch.set_num_threads(1)
    small = {"include_dashboard": False, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, **small})
    nodes = [
        cluster.add_node(num_cpus=1, object_store_memory=80_000_000) for _ in range(2)
    ]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, log_to_driver=False)
    task = pe.Task(
        "sign", datasets={"sum": pe.Splits(points(64, 1), points(64, 2))}, num_classes=2
    )
    slow = pe.Strategy("slow", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=30)

    def grid(**options: Any) -> tuple[pe.Run, ...]:
        return pe.sweep(
            {"a": network, "b": network},
            [task],
            [slow],
            range(12),
            progress=False,
            **options,
        )

    with tempfile.TemporaryDirectory() as folder:
        store = Path(folder, "runs.db")

        def kill() -> None:
            with pe.RunStore(store) as opened:
                while len(opened.statuses()) < 4:
                    time.sleep(0.05)
                done = len(opened)
            cluster.remove_node(nodes[0], allow_graceful=False)
            print(f"a node was killed after {done} runs", flush=True)

        killer = threading.Thread(target=kill)
        killer.start()
        start = time.perf_counter()
        runs = grid(store=store, executor=RayExecutor())
        seconds = time.perf_counter() - start
        killer.join()
        with pe.RunStore(store) as opened:
            num_stored = len(opened)
    statuses = Counter(run.status for run in runs)
    print(
        f"{len(runs)} runs in {seconds:.0f} s: {dict(statuses)}; stored {num_stored}"
    )  # a and b are one model
    alone = grid()
    equal = [run.scores for run in runs] == [run.scores for run in alone]
    print(f"equal to a sweep in one process: {equal}")
    ray.shutdown()
    cluster.shutdown()
    sys.exit(not (equal and num_stored == 12))


if __name__ == "__main__":
    main()
