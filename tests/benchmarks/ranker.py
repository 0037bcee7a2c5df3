"""TransformerRanker's H-score and LogME beside ours, on drawn features and on sentences.

`OMP_NUM_THREADS=1 python tests/benchmarks/ranker.py` prints values and the
ratio of seconds, the best of three; it needs transformer-ranker: pip install
transformer-ranker. The sentences are rated products, read by the encoders of the main
job, whose packages they need. Their H-score is n / (n − 1) times ours; their LogME forgets the
D − k empty directions, which counts where samples are fewer than features.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch

import pretrain_eval as pe
from pretrain_eval import functional
from pretrain_eval.demo.texts import TEXT_MODELS, sentences, text_model

SHAPES = ((2000, 384, 4), (200, 384, 4))


def drawn(num_samples: int, width: int, num_classes: int) -> tuple[np.ndarray, ...]:
    """Classes that differ a little in their means."""
    rng = np.random.default_rng(0)
    labels = rng.integers(num_classes, size=num_samples)
    means = 0.3 * rng.normal(size=(num_classes, width))
    return rng.normal(size=(num_samples, width)) + means[labels], labels


def timed(call: Callable[[], float]) -> tuple[float, float]:
    """The value and the seconds."""
    found = []
    for _ in range(3):
        start = time.perf_counter()
        value = call()
        found.append(time.perf_counter() - start)
    return value, min(found)


def main() -> None:
    """A line a formula and shape."""
    try:
        from transformer_ranker.estimators import HScore, LogME
    except ImportError:
        print("skipped: pip install transformer-ranker")
        return
    pairs = (
        ("h_score", functional.h_score, HScore),
        ("logme", functional.logme, LogME),
    )
    for title, rows, labels in cases():
        tensors = {
            "embeddings": torch.from_numpy(rows),
            "labels": torch.from_numpy(labels),
        }
        for name, ours, theirs in pairs:
            own, seconds = timed(lambda f=ours, x=rows, y=labels: f(x, y))
            other, slower = timed(lambda t=theirs, kept=tensors: t().fit(**kept))
            print(
                f"{name:<8} {title:<32} ours {own:.6f}  theirs {other:.6f}"
                f"  {slower / seconds:.1f} ×"
            )


def cases() -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
    """A title, features and labels of each comparison."""
    for shape in SHAPES:
        yield " × ".join(map(str, shape)), *drawn(*shape)
    try:
        pairs, _ = sentences("products")
    except ImportError as error:
        print(f"sentences skipped: {error}")
        return
    for number in (2000, 200):
        chosen = [
            pairs[i] for i in np.random.default_rng(0).permutation(len(pairs))[:number]
        ]
        for name in TEXT_MODELS:
            torch.manual_seed(0)
            rows, labels = embedded(name, chosen)
            yield f"{name}, {number} × {rows.shape[1]} × 2", rows, labels


def embedded(name: str, pairs: list[tuple[str, int]]) -> tuple[np.ndarray, np.ndarray]:
    """The mean over tokens of each sentence, and its class."""
    reads = text_model(name)
    batches = [reads.collate(pairs[at : at + 100]) for at in range(0, len(pairs), 100)]

    def pooled(
        model: torch.nn.Module, batch: dict
    ) -> tuple[torch.Tensor, torch.Tensor]:
        labels, mask = batch.pop("labels"), batch["attention_mask"][..., None]
        states = model(**batch)["last_hidden_state"]
        return (states * mask).sum(1) / mask.sum(1), labels

    found = pe.predict(reads.build(), batches, forward=pooled, features=False)
    return found["outputs"].astype(np.float64), found["targets"]


if __name__ == "__main__":
    main()
