"""What tokens cost by byte of the text that they spell, whatever cuts it into them."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metric
from pretrain_eval._tasks.tokens import IGNORED

# The entry of a batch that says how many bytes the scored tokens of each text spell.
NUM_BYTES = "num_bytes"


def metrics_of_texts() -> dict[str, Metric]:
    """Bits per byte first, then what is per token."""
    return {
        "bits_per_byte": _BitsPerByte(),
        "perplexity": _Perplexity(),
        "token_accuracy": _TokenAccuracy(),
    }


def byte_entropy(texts: list[str]) -> float:
    """Bits per byte of who knows how often each byte stands in texts, in UTF-8."""
    text = "".join(texts).encode(errors="surrogatepass")
    counts = np.bincount(np.frombuffer(text, np.uint8))
    shares = counts[counts > 0] / counts.sum()
    return float(-(shares * np.log2(shares)).sum())


class _OfTexts(Metric):
    """A function of nats, tokens, right tokens and bytes, all summed."""

    def __init__(self) -> None:
        self.reset()

    @override
    def reset(self) -> None:
        self._sums: Tensor | None = None

    @override
    def update(self, outputs: Any, targets: Tensor) -> None:
        """Count a batch of `{"scores": (N, T, V), "num_bytes": (N,)}`."""
        scores, kept = outputs["scores"], targets != IGNORED
        nats = F.cross_entropy(
            scores.float().flatten(0, 1),
            targets.flatten(),
            ignore_index=IGNORED,
            reduction="none",
        )
        right = (scores.argmax(-1) == targets) & kept
        sums = [nats, kept, right, outputs[NUM_BYTES]]
        batch = torch.stack([each.double().sum() for each in sums])
        self._sums = batch if self._sums is None else self._sums + batch

    @override
    def compute(self) -> float:
        if self._sums is None:
            raise RuntimeError(f"{self.key} has no batch to be computed of")
        return self.value(self._sums.cpu().numpy())

    @abstractmethod
    def value(self, sums: np.ndarray) -> float:
        """What the sums are worth; NaN where nothing was counted."""


@final
class _BitsPerByte(_OfTexts):
    key = "bits_per_byte"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, math.inf)

    @override
    def value(self, sums: np.ndarray) -> float:
        return float(sums[0]) / math.log(2) / float(sums[3]) if sums[3] else math.nan


@final
class _Perplexity(_OfTexts):
    key = "perplexity"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (1.0, math.inf)

    @override
    def value(self, sums: np.ndarray) -> float:
        return float(np.exp(sums[0] / sums[1])) if sums[1] else math.nan


@final
class _TokenAccuracy(_OfTexts):
    key = "token_accuracy"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    @override
    def value(self, sums: np.ndarray) -> float:
        return float(sums[2] / sums[1]) if sums[1] else math.nan
