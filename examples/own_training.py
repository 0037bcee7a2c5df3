"""Reinforcement learning in a sweep: a training function of one's own, in numpy.

A walk on a line of eleven places, food at one end; a candidate's table of values was
learned with the food at the same end, or at the other one.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import pretrain_eval as pe

PLACES, STEPS = 11, 20


def play(
    values: np.ndarray, food: int, generator: np.random.Generator, greed: float
) -> tuple[list[tuple[int, int]], float]:
    """One walk from the middle: places, moves and whether food was found."""
    place, path = PLACES // 2, list[tuple[int, int]]()
    for _ in range(STEPS):
        best = generator.choice(np.flatnonzero(values[place] == values[place].max()))
        move = int(best if generator.random() < greed else generator.integers(2))
        path.append((place, move))
        place = int(np.clip(place + 2 * move - 1, 0, PLACES - 1))
        if place == food:
            return path, 1.0
    return path, 0.0


def learn(values: np.ndarray, food: int, walks: int, seed: int) -> np.ndarray:
    """Monte Carlo control: each move's value goes towards what its walk gained."""
    generator = np.random.default_rng(seed)
    for _ in range(walks):
        path, gain = play(values, food, generator, greed=0.7)
        for back, (place, move) in enumerate(reversed(path)):
            values[place, move] += 0.2 * (gain * 0.9**back - values[place, move])
    return values


def train(
    model: np.ndarray, task: pe.Task, dataset: str, seed: int, trial: Any
) -> dict[str, float]:
    """What `Strategy(train=)` calls: the share of greedy walks that find the food."""
    values = learn(model, food=PLACES - 1, walks=6, seed=seed)
    generator = np.random.default_rng(1000 + seed)
    found = [play(values, PLACES - 1, generator, greed=0.95)[1] for _ in range(200)]
    return {"found": float(np.mean(found))}


def main() -> None:
    """Compare two pretrained tables with an empty one."""
    empty = partial(np.zeros, (PLACES, 2))
    models: dict[str, Callable[[], np.ndarray]] = {
        "food at the same end": lambda: learn(empty(), PLACES - 1, 200, seed=7),
        "food at the other end": lambda: learn(empty(), 0, 200, seed=7),
        "from scratch": empty,
    }
    task = pe.Task("walk", datasets={"line": None}, chance={"found": 0.0})
    strategy = pe.Strategy("monte carlo", train=train)
    runs = pe.sweep(models, [task], [strategy], range(5), progress=False)
    print(
        pe.PersistenceEvaluator(
            metric="found", better="higher", ceiling={"found": 1.0}
        ).compare(runs)
    )


if __name__ == "__main__":
    main()
