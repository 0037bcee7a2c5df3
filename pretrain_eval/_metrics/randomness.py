"""Randomness: drawn from a seed, and given back as it was found."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def preserved_rng(*generators: torch.Generator) -> Iterator[None]:
    """Give torch's, numpy's and Python's global generators back as they were.

    Args:
        generators: Other generators to give back too.
    """
    states = [generator.get_state() for generator in generators]
    python, numpy = random.getstate(), np.random.get_state()
    # Forks the CPU's generator and that of every initialised CUDA device.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else []
    try:
        with torch.random.fork_rng(devices=list(devices)):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def loader_generators(loader: object) -> list[torch.Generator]:
    """The generators that a loader or a data set draws from instead of the global one.

    Its own, and those of its data set, its sampler, its batch sampler and the sampler in
    that, where they are called `generator`.
    """
    batch_sampler = getattr(loader, "batch_sampler", None)
    sources = (
        loader,
        getattr(loader, "dataset", None),
        getattr(loader, "sampler", None),
        batch_sampler,
        getattr(batch_sampler, "sampler", None),
    )
    found = [getattr(source, "generator", None) for source in sources]
    return [g for g in dict.fromkeys(found) if isinstance(g, torch.Generator)]


def seed_all(*entropy: int, generators: Sequence[torch.Generator] = ()) -> None:
    """Seed every global generator from the same integers, each differently.

    Args:
        entropy: Integers of at least 0.
        generators: Other generators to seed too.
    """
    words = np.random.SeedSequence(entropy).generate_state(3, np.uint64)
    for generator in generators:
        generator.manual_seed(int(words[0]))
    if torch.accelerator.is_available():
        torch.manual_seed(int(words[0]))
    else:
        # torch.manual_seed would queue a call, with its traceback, for a GPU to come.
        torch.default_generator.manual_seed(int(words[0]))
    np.random.seed(int(words[1]) % 2**32)
    random.seed(int(words[2]))
