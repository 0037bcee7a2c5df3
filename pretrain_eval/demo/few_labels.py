"""Few labelled examples, drawn anew by each seed, and reported on the same others."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

import pretrain_eval as pe


def drawn(
    samples: Dataset[Any],
    targets: Sequence[int] | np.ndarray,
    *,
    per_class: int,
    num_reported: int,
    num_watched: int = 0,
    seed: int = 0,
) -> pe.Splits:
    """Splits whose labelled examples the seed draws, and whose other parts it does not.

    The reported and the watched examples are the same for every seed, so that outcomes
    of all runs are paired; the labelled ones come from what is left, as many of each
    class. Draws of several seeds may share examples, since the pool is finite.

    Args:
        samples: Of the whole data set, with their targets.
        targets: The class of each sample.
        per_class: Labelled examples of each class.
        num_reported: Examples of the reported split, alike in all classes but for a
            remainder.
        num_watched: Examples of a validation split; with none, the curve is that of the
            reported split, on which nothing is selected either way.
        seed: Draws the labelled examples.

    Raises:
        ValueError: A class has too few examples.
    """
    rng = np.random.default_rng(0)
    by_class = [
        list(rng.permutation(np.flatnonzero(np.asarray(targets) == label)))
        for label in np.unique(targets)
    ]
    reported = _taken(by_class, num_reported)
    watched = _taken(by_class, num_watched)
    draw = np.random.default_rng([1, seed])
    labelled = []
    for label, pool in zip(np.unique(targets), by_class, strict=True):
        if len(pool) < per_class:
            raise ValueError(
                f"drawn expects {per_class} labelled examples of class {label} besides"
                f" those that are reported and watched, got {len(pool)}"
            )
        labelled += list(draw.permutation(pool)[:per_class])
    parts = [Subset(samples, [int(i) for i in labelled])]
    parts += [Subset(samples, part) for part in (watched, reported) if part]
    return pe.Splits(*parts)


def _taken(by_class: list[list[int]], number: int) -> list[int]:
    """So many examples, class by class in turn, which are then no longer there."""
    taken = []
    for turn in range(number):
        pool = by_class[turn % len(by_class)]
        if not pool:
            raise ValueError(
                f"drawn expects classes with at least {number // len(by_class)} examples"
                " to report and watch; ask for fewer"
            )
        taken.append(int(pool.pop()))
    return taken


def sweep_draws(
    models: Mapping[str, pe.Pretrained],
    tasks: Callable[[int], list[pe.Task]],
    strategies: Sequence[pe.Strategy],
    seeds: Iterable[int],
    *,
    store: pe.RunStore | str | Path,
    progress: bool = True,
) -> list[pe.Run]:
    """A sweep for each seed, on the labelled examples that the seed draws.

    A seed of the runs then stands for all that would be drawn anew: the labelled
    examples, the head's first weights, the order of samples, a random twin's weights.
    Tasks and datasets keep their names, since they ask the same question.

    Args:
        models: By name, as `sweep` takes them.
        tasks: Those of a seed.
        strategies: As `sweep` takes them.
        seeds: Different integers of at least 0.
        store: Where runs are kept and found.
        progress: Whether to show it.
    """
    runs: list[pe.Run] = []
    for number, seed in enumerate(seeds):
        # Another draw fits as well as the first.
        runs += pe.sweep(
            models,
            tasks(seed),
            strategies,
            seeds=[seed],
            store=store,
            device="cpu",
            strict=number == 0,
            progress=progress,
        )
    return runs
