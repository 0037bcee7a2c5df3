"""How dependent are the cells of a model? By draws of the seed alone, and of the cell.

Prints, for trainings that are really made, the variance over seeds of the mean over
tasks, divided by what it would be if the cells were independent: 1 where they are.

    python tests/benchmarks/draws.py --seeds 40
"""

import argparse
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe


class Net(nn.Module):
    """A small network; its builder draws the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 6), nn.Linear(6, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs).relu())


def part(task: int, number: int, seed: int) -> TensorDataset:
    """Points whose class is the largest of three directions, alike in all tasks."""
    generator = torch.Generator().manual_seed(1000 * task + seed)
    inputs = torch.randn(number, 8, generator=generator)
    directions = torch.randn(8, 3, generator=torch.Generator().manual_seed(7))
    own = torch.randn(8, 3, generator=torch.Generator().manual_seed(100 + task))
    return TensorDataset(inputs, (inputs @ (directions + 0.5 * own)).argmax(1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--tasks", type=int, default=6)
    options = parser.parse_args()
    torch.set_num_threads(1)
    tasks = [
        pe.Task(
            f"task {number}",
            datasets={"d": pe.Splits(part(number, 24, 1), part(number, 400, 2))},
            num_classes=3,
        )
        for number in range(options.tasks)
    ]
    adam = partial(torch.optim.AdamW, lr=1e-2)
    ways = [
        pe.Strategy("full", optimizer=adam, epochs=4, batch_size=8),
        pe.Strategy("head", optimizer=adam, epochs=4, batch_size=8, trainable="head"),
    ]
    torch.manual_seed(0)
    models = {"pretrained": Net(), "random twin": Net}
    print(f"{options.tasks} tasks × {len(ways)} strategies, {options.seeds} seeds")
    print(f"{'model':<14}{'draws=seed':>12}{'draws=cell':>12}")
    found = {
        draws: pe.sweep(
            models, tasks, ways, range(options.seeds), draws=draws, progress=False
        )
        for draws in ("seed", "cell")
    }
    for model in models:
        ratios = [ratio(found[draws].filter(model=model)) for draws in found]
        print(f"{model:<14}" + "".join(f"{each:>12.2f}" for each in ratios))


def ratio(runs: pe.Runs) -> float:
    """Variance of the seeds' means over that of independent cells."""
    cells = sorted({(run.task, run.strategy) for run in runs})
    table = np.array(
        [
            [run.scores["accuracy"] for run in runs.filter(task=task, strategy=way)]
            for task, way in cells
        ]
    )
    independent = table.var(axis=1, ddof=1).sum() / len(cells) ** 2
    return float(table.mean(axis=0).var(ddof=1) / independent)


if __name__ == "__main__":
    main()
