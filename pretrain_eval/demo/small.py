"""The small job: which pretraining helps to read digits from five examples a class?

Pretrains three small networks in front of you, fine-tunes them and a never-pretrained
twin on new digits, and prints which one to use, from real data that ships with
scikit-learn. It needs no package of the demo, and about a minute and a half on two
CPU cores. Only the public interface is used, so that it reads as an example.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.lib.stride_tricks import sliding_window_view
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import pretrain_eval as pe

CANVAS = 12  # the 8 × 8 digits lie at random places of a 12 × 12 canvas
Batch = Callable[[np.random.Generator, int], tuple[Tensor, Tensor]]


class SmallNet(nn.Module):
    """Four convolutions with layer normalisation, a maximum over places, a head."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.body: nn.Module = nn.Sequential(
            *_block(1, 16, stride=1),
            *_block(16, 32, stride=2),
            *_block(32, 64, stride=1),
            *_block(64, 64, stride=1),
            nn.AdaptiveMaxPool2d(1),
            nn.Flatten(),
        )
        self.head: nn.Module = nn.Linear(64, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Scores `(num_images, num_classes)` of images `(num_images, 1, 12, 12)`."""
        scores: Tensor = self.head(self.body(images))
        return scores


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    return [
        nn.Conv2d(inputs, outputs, 3, stride, padding=1),
        nn.GroupNorm(1, outputs),
        nn.ReLU(),
    ]


def placed_digits(
    labels: Sequence[int], rng: np.random.Generator
) -> tuple[Tensor, np.ndarray]:
    """Every scikit-learn digit of these labels, at a random place, in random order."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    chosen = rng.permutation(np.flatnonzero(np.isin(digits.target, labels)))
    images = np.zeros((len(chosen), 1, CANVAS, CANVAS), np.float32)
    for image, digit in zip(images, digits.images[chosen] / 16, strict=True):
        row, column = rng.integers(0, CANVAS - 7, size=2)
        image[0, row : row + 8, column : column + 8] = digit
    return torch.from_numpy(images), digits.target[chosen]


def photo_patches() -> Tensor:
    """12 × 12 patches of scikit-learn's two photographs, at a quarter of their size."""
    from sklearn.datasets import load_sample_images

    patches = []
    for photo in load_sample_images().images:
        grey = torch.from_numpy(photo.mean(axis=2, dtype=np.float32))[None, None]
        small = F.avg_pool2d(grey, 4)[0, 0].numpy()
        windows = sliding_window_view(small, (CANVAS, CANVAS))[::3, ::3]
        patches.append(windows.reshape(-1, 1, CANVAS, CANVAS))
    stacked = np.concatenate(patches)
    low = stacked.min(axis=(2, 3), keepdims=True)
    high = stacked.max(axis=(2, 3), keepdims=True)
    return torch.from_numpy((stacked - low) / np.maximum(high - low, 25))


def rotations(images: Tensor) -> Batch:
    """A self-supervised task: by how many quarter turns was the image rotated?"""

    def batch(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        chosen = images[torch.from_numpy(rng.integers(0, len(images), size))]
        turns = rng.integers(0, 4, size)
        turned = [
            torch.rot90(image, int(k), (1, 2))
            for image, k in zip(chosen, turns, strict=True)
        ]
        return torch.stack(turned), torch.from_numpy(turns)

    return batch


def labelled(images: Tensor, labels: np.ndarray) -> Batch:
    """A supervised task: which label has the image?"""

    def batch(rng: np.random.Generator, size: int) -> tuple[Tensor, Tensor]:
        chosen = rng.integers(0, len(images), size)
        return images[torch.from_numpy(chosen)], torch.from_numpy(labels[chosen])

    return batch


def pretrain(name: str, batch: Batch, num_classes: int, folder: Path) -> nn.Module:
    """A network trained on `batch`, from the folder where it was trained before."""
    network = SmallNet(num_classes)
    path = folder / f"{name}.pt"
    if path.exists():
        network.load_state_dict(torch.load(path, weights_only=True))
        print(f"  {name}: found in {path}")
        return network
    start, steps = time.perf_counter(), 250
    torch.manual_seed(0)
    network, rng = SmallNet(num_classes), np.random.default_rng(0)
    optimizer = torch.optim.AdamW(network.parameters(), lr=3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    accuracy = pe.Accuracy()
    for step in range(steps):
        images, targets = batch(rng, 64)
        outputs = network(images)
        optimizer.zero_grad()
        F.cross_entropy(outputs, targets).backward()  # type: ignore[no-untyped-call] # torch's
        optimizer.step()
        schedule.step()
        if step >= steps - 50:
            accuracy.update(outputs.detach(), targets)
    # A file that exists is whole, also where the job is killed while it is written.
    torch.save(network.state_dict(), path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)
    seconds = time.perf_counter() - start
    print(
        f"  {name}: accuracy {accuracy.compute():.2f} on its own task,"
        f" chance {1 / num_classes:.2f} ({seconds:.0f} s)"
    )
    return network


def pretrained_models(folder: Path) -> dict[str, Callable[[], nn.Module] | nn.Module]:
    """Three pretrained networks by name, and the never-pretrained twin's builder."""
    digits, labels = placed_digits(range(5), np.random.default_rng(1))
    return {
        "supervised": pretrain("supervised", labelled(digits, labels), 5, folder),
        "rotation": pretrain("rotation", rotations(digits), 4, folder),
        "photographs": pretrain("photographs", rotations(photo_patches()), 4, folder),
        "scratch": partial(SmallNet, 5),
    }


def target_tasks() -> list[pe.Task]:
    """Two questions on digits 5–9, five labelled examples a class, in three domains."""
    names = {"which digit": 5, "has a loop": 2}
    return [
        pe.Task(
            name,
            datasets={
                domain: digit_splits(name, domain)
                for domain in ("clean", "noisy", "rotated")
            },
            num_classes=num_classes,
        )
        for name, num_classes in names.items()
    ]


def digit_splits(task: str, domain: str) -> pe.Splits:
    """Five training examples a class, 100 to watch, all others to report."""
    rng = np.random.default_rng(2)
    images, digits = placed_digits(range(5, 10), rng)
    if domain == "noisy":
        noise = rng.normal(0, 0.2, images.shape).astype(np.float32)
        images = images + torch.from_numpy(noise)
    if domain == "rotated":
        images = torch.rot90(images, 1, (2, 3))
    targets = np.isin(digits, (6, 8, 9)) * 1 if task == "has a loop" else digits - 5
    train = np.concatenate([np.flatnonzero(targets == c)[:5] for c in set(targets)])
    others = np.setdiff1d(np.arange(len(targets)), train)
    return pe.Splits(
        *(
            TensorDataset(images[chosen], torch.from_numpy(targets[chosen]))
            for chosen in (train, others[:100], others[100:])
        )
    )


def strategies() -> list[pe.Strategy]:
    """Tune everything, or the head alone."""
    return [
        pe.Strategy(
            "full",
            optimizer=partial(torch.optim.AdamW, lr=1e-3),
            epochs=16,
            batch_size=16,
        ),
        pe.Strategy(
            "head-only",
            optimizer=partial(torch.optim.AdamW, lr=1e-2),
            epochs=16,
            batch_size=16,
            trainable="head",
        ),
    ]


def report(runs: Sequence[pe.Run], folder: Path) -> None:
    """Print the decision; save the table, the figure and the runs."""
    budget = pe.Budget(parameters=(20e3, 500e3), macs=(0.5e6, 50e6))
    card = pe.scorecard(runs, scratch="scratch", budget=budget)
    print(f"\n{card}\n")
    files = {"scores.csv": card.to_csv(), "scores.json": card.to_json()}
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    saved = [*files]
    try:
        figure = pe.plot.scorecard(card)
    except ImportError as error:
        print(f"No figure: {error}")
    else:
        figure.savefig(folder / "decision.png", dpi=150)
        saved.insert(0, "decision.png")
    print(f"Saved in {folder}: {', '.join(saved)}; all runs in runs.db")


def run(folder: Path, num_seeds: int, *, progress: bool) -> None:
    """Pretrain, sweep and report.

    Args:
        folder: Where results are kept, and found by the next call.
        num_seeds: Runs of each cell.
        progress: Whether to show it.
    """
    torch.set_num_threads(1)  # the networks are small: one thread is the fastest
    print("Pretraining on digits 0 to 4, and on photographs:")
    models = pretrained_models(folder)
    print("Fine-tuning on digits 5 to 9, five labelled examples a class:")
    runs = pe.sweep(
        models,
        target_tasks(),
        strategies(),
        seeds=range(num_seeds),
        store=folder / "runs.db",
        device="cpu",
        progress=progress,
    )
    report(runs, folder)
