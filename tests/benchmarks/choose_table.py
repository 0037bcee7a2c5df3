"""Sixteen small networks, really pretrained and really fine-tuned: a table of their runs.

python tests/benchmarks/choose_table.py             makes choose.jsonl: networks that
    were pretrained on digits in different ways, on four tasks, by two strategies, with
    five seeds and 20 epochs each; some minutes
python tests/benchmarks/choose_table.py estimates   makes choose_estimates.jsonl: what
    estimators say of them before
"""

from __future__ import annotations

import dataclasses
import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe

TABLE = Path(__file__).with_name("choose.jsonl")
ESTIMATES = Path(__file__).with_name("choose_estimates.jsonl")
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


def read_table() -> list[pe.Run]:
    """The runs of the table."""
    lines = TABLE.read_text(encoding="utf-8").splitlines()
    return [pe.Run.from_json(line) for line in lines]


def truth(runs: list[pe.Run]) -> dict[str, float]:
    """Each model's mean score on the reported split."""
    scores: dict[str, list[float]] = {}
    for run in runs:
        scores.setdefault(run.model, []).append(run.scores["accuracy"])
    return {model: float(np.mean(values)) for model, values in scores.items()}


def make_estimates() -> None:
    """Keep what estimators say of the models before any fine-tuning."""
    lines = []
    for task in tasks():
        found = pe.estimate(models(), task, pairs=0, progress=False)
        for each in found.estimates:
            row = each.row()
            kept = {key: row[key] for key in ("model", "task", "dataset", "name")}
            lines.append(
                json.dumps(kept | {"value": row["value"], "better": each.better})
            )
    ESTIMATES.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1:] == ["estimates"]:
        make_estimates()
    else:
        make_table()
