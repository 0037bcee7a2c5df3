"""TransformerRanker's H-score and LogME beside ours, on the same drawn features.

`OMP_NUM_THREADS=1 python tests/benchmarks/transformer_ranker.py` prints values and the
ratio of seconds, the best of three; it needs transformer-ranker: pip install
transformer-ranker. Their H-score is n / (n − 1) times ours; their LogME forgets the
D − k empty directions, which counts where samples are fewer than features.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from pretrain_eval import functional

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
    for shape in SHAPES:
        rows, labels = drawn(*shape)
        tensors = {
            "embeddings": torch.from_numpy(rows),
            "labels": torch.from_numpy(labels),
        }
        for name, ours, theirs in pairs:
            own, seconds = timed(lambda f=ours, x=rows, y=labels: f(x, y))
            other, slower = timed(lambda t=theirs, kept=tensors: t().fit(**kept))
            print(
                f"{name:<8} {' × '.join(map(str, shape)):<15} ours {own:.6f}"
                f"  theirs {other:.6f}  {slower / seconds:.1f} ×"
            )


if __name__ == "__main__":
    main()
