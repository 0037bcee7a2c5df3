"""Randomness: drawn from a seed, and given back as it was found."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_rng() -> Iterator[None]:
    """Give torch's, numpy's and Python's global generators back as they were."""
    python, numpy = random.getstate(), np.random.get_state()
    # Forks the CPU's generator and that of every initialised CUDA device.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def seed_all(*entropy: int) -> None:
    """Seed every global generator from the same integers, each differently."""
    words = np.random.SeedSequence(entropy).generate_state(3, np.uint64)
    torch.manual_seed(int(words[0]))
    np.random.seed(int(words[1]) % 2**32)
    random.seed(int(words[2]))
