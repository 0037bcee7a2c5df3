"""What a race decides on a table of real fine-tunings, beside other ways to spend less.

    python tests/benchmarks/choose.py table    makes the table: 16 small networks that
        were pretrained on digits in different ways, on four tasks, by two strategies,
        with five seeds and 20 epochs each; some minutes
    python tests/benchmarks/choose.py [n]      races over it in n orders of the seeds and
        subsets of the models, and prints regret, cost and how often the limit held

The truth is each model's mean score on the reported split over all blocks and seeds;
races see the validation curves alone.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._selection import replay

TABLE = Path(__file__).with_name("choose.jsonl")
EPOCHS, SEEDS = 20, 5


def digits():
    """Images in [0, 1] and labels, in a fixed order."""
    loaded = load_digits()
    order = np.random.default_rng(0).permutation(len(loaded.target))
    images = torch.from_numpy(loaded.images[order]).float()[:, None] / 16
    return images, torch.from_numpy(loaded.target[order])


def network(width, kind):
    """A perceptron or a small convolutional network, 8 x 8 pixels in."""
    model = nn.Sequential()
    if kind == "mlp":
        model.body = nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU())
        model.head = nn.Linear(width, 10)
    else:
        model.body = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, 3, padding=1),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
        )
        model.head = nn.Linear(4 * width, 10)
    return model


def pretrained(kind, width, source, epochs, seed):
    """A network trained on a source task of the first 900 digits."""
    torch.manual_seed(seed)
    model = network(width, kind)
    images, labels = (part[:900] for part in digits())
    targets = {
        "digits": labels,
        "even": labels % 2,
        "five": (labels >= 5).long(),
        "rotated": labels,
        "shuffled": labels[torch.randperm(900)],
    }[source]
    if source == "rotated":
        images = torch.rot90(images, 1, (2, 3))
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for _ in range(epochs):
        for rows in torch.randperm(900).split(50):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(images[rows]), targets[rows])
            loss.backward()
            optimizer.step()
    return model


def models():
    """16 candidates: the source, its length, the width and the architecture differ."""
    sources = [("digits", 3), ("digits", 15), ("even", 8), ("five", 8)]
    sources += [("rotated", 8), ("shuffled", 8), ("digits", 1), ("digits", 0)]
    return {
        f"{kind} {width} {source} {epochs}": pretrained(kind, width, source, epochs, i)
        for kind, width in (("mlp", 48), ("cnn", 12))
        for i, (source, epochs) in enumerate(sources)
    }


def tasks():
    """Four tasks on digits that no pretraining saw, with few labels."""
    images, labels = digits()
    images, labels = images[900:], labels[900:]
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(1))
    kinds = {
        "clean": (images, labels, 10),
        "noisy": (images + 0.4 * noise, labels, 10),
        "upside down": (images.flip(2), labels, 10),
        "threes": (images, labels % 3, 3),
    }
    return [
        pe.Task(
            name,
            datasets={
                "d": pe.Splits(
                    TensorDataset(inputs[:60], targets[:60]),
                    TensorDataset(inputs[60:260], targets[60:260]),
                    TensorDataset(inputs[260:], targets[260:]),
                )
            },
            num_classes=num_classes,
        )
        for name, (inputs, targets, num_classes) in kinds.items()
    ]


def make_table():
    """Fine-tune everything and keep what a race reads."""
    adam = partial(torch.optim.Adam, lr=2e-3)
    quick = partial(torch.optim.Adam, lr=2e-2)
    strategies = [
        pe.Strategy("full", optimizer=adam, epochs=EPOCHS, batch_size=20),
        pe.Strategy(
            "head", optimizer=quick, epochs=EPOCHS, batch_size=20, trainable="head"
        ),
    ]
    runs = pe.sweep(models(), tasks(), strategies, range(SEEDS))
    with TABLE.open("w", encoding="utf-8") as file:
        for run in runs:
            curve = {key: run.curve[key] for key in ("step", "accuracy")}
            lean = dataclasses.replace(
                run,
                curve=curve,
                scores={"accuracy": run.scores["accuracy"]},
                baseline={},
                history={},
                outcomes=None,
                confusion=(),
                settings={},
                versions={},
            )
            file.write(lean.to_json() + "\n")


def read_table():
    """The runs of the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [pe.Run.from_json(line) for line in lines]


def truth(runs: Iterable[pe.Run]):
    """Each model's mean score on the reported split."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        scores.setdefault(run.model, []).append(run.scores["accuracy"])
    return {model: float(np.mean(values)) for model, values in scores.items()}


def races(runs, count, **rules):
    """Regret, cost and whether the limit held, of races in random orders of seeds."""
    rng = np.random.default_rng(0)
    level = truth(runs)
    best = max(level.values())
    rows = []
    for _ in range(count):
        order = rng.permutation(SEEDS).tolist()
        choice = replay(runs, seeds=order, **rules)
        regret = best - level[choice.model]
        covered = [m for m in level if not _cut(choice, m)]
        own = max(level[m] for m in covered) - level[choice.model]
        rows.append((regret, choice.cost_share, own <= choice.regret_limit + 1e-12))
    return np.array(rows, dtype=float)


def _cut(choice, model):
    return any(each.short and model in each.dropped for each in choice.rounds)


def halving(runs, count):
    """Successive halving: a third of the models goes on to three times the epochs."""
    rng, level, rows = np.random.default_rng(0), truth(runs), []
    by = {}
    for run in runs:
        by.setdefault((run.model, run.seed), []).append(run.curve["accuracy"])
    total = len(by) * EPOCHS
    for _ in range(count):
        seed, alive, spent = int(rng.integers(SEEDS)), list(level), 0.0
        begun = 0
        for epochs in (2, 6, EPOCHS):
            spent += len(alive) * (epochs - begun)
            means = {m: np.mean([c[epochs] for c in by[m, seed]]) for m in alive}
            begun = epochs
            if epochs < EPOCHS:
                alive = sorted(alive, key=lambda m: -means[m])[
                    : max(1, len(alive) // 3)
                ]
        pick = max(alive, key=lambda m: means[m])
        rows.append((max(level.values()) - level[pick], spent / total, np.nan))
    return np.array(rows)


def random_search(runs, count, share=0.2):
    """Whole runs of random blocks, the best mean of those that ran."""
    rng, level, rows = np.random.default_rng(0), truth(runs), []
    values = {m: [r.curve["accuracy"][-1] for r in runs if r.model == m] for m in level}
    each = max(1, round(share * len(next(iter(values.values())))))
    for _ in range(count):
        means = {
            m: np.mean(rng.choice(v, each, replace=False)) for m, v in values.items()
        }
        pick = max(means, key=means.get)
        rows.append((max(level.values()) - level[pick], share, np.nan))
    return np.array(rows)


def one_seed(runs, count):
    """The whole grid of one seed."""
    level, rows = truth(runs), []
    for number in range(count):
        means = truth_of_curves(r for r in runs if r.seed == number % SEEDS)
        pick = max(means, key=means.get)
        rows.append((max(level.values()) - level[pick], 1 / SEEDS, np.nan))
    return np.array(rows)


def truth_of_curves(runs):
    """Each model's mean of the last validation scores."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        scores.setdefault(run.model, []).append(run.curve["accuracy"][-1])
    return {model: float(np.mean(values)) for model, values in scores.items()}


def line(name, rows):
    """A line of the table that is printed."""
    held = np.nanmean(rows[:, 2]) if np.isfinite(rows[:, 2]).any() else float("nan")
    print(
        f"{name:<42} regret {rows[:, 0].mean():.4f} (worst {rows[:, 0].max():.4f})"
        f"  cost {rows[:, 1].mean():.1%}  limit held {held:.3f}"
    )


def main(count=200):
    """Print what each way costs and loses."""
    runs = read_table()
    print(f"{len(runs)} runs of {len(truth(runs))} models")
    for tolerance in (0.005, 0.01, 0.02):
        line(f"race, tolerance {tolerance}", races(runs, count, tolerance=tolerance))
    capped = races(runs, count, tolerance=0.01, budget=0.2)
    line("race, tolerance 0.01, budget 20 %", capped)
    line("one seed of the whole grid", one_seed(runs, count))
    line("successive halving, one seed", halving(runs, count))
    line("random search, 20 %", random_search(runs, count))
    for task in sorted({run.task for run in runs}):
        part = [run for run in runs if run.task == task]
        line(f"{task}: race, budget 20 %", races(part, count, budget=0.2))
        line(f"{task}: halving", halving(part, count))
    level = truth(runs)
    order = sorted(level, key=level.get)
    clear = order[-1:] + order[:8]
    clear_runs = [run for run in runs if run.model in clear]
    line("one clear winner of nine", races(clear_runs, count))
    line("alike: eight copies of one model", races(alike(runs, order[-1]), count))


def alike(runs, model):
    """Models that differ by nothing but which seeds they were given."""
    copies = []
    rng = np.random.default_rng(0)
    own = [run for run in runs if run.model == model]
    for number in range(8):
        order = rng.permutation(SEEDS)
        copies += [
            dataclasses.replace(run, model=f"copy {number}", seed=int(order[run.seed]))
            for run in own
        ]
    return copies


if __name__ == "__main__":
    if sys.argv[1:] == ["table"]:
        make_table()
    else:
        main(*map(int, sys.argv[1:]))
