"""Kills of sweeps and their workers, at any moment and at those that matter most."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from kills import grid, points, table
from tally import Ground, Tally, alive, awaited, child, children_of, killed
from torch import nn
from torch.utils.data import DataLoader, Dataset

import pretrain_eval as pe
from pretrain_eval._runs import database
from pretrain_eval._runs import file as store_file
from pretrain_eval._training import checkpoint, feature_files

RNG = random.Random(0)
ORPHAN_SECONDS = 2.0


def kills(number: int, num_seeds: int) -> Iterator[Tally]:
    """SIGKILL to a sweep of one process, each followed by a resume."""
    tally = Tally("processes killed")
    with Ground() as ground:
        work = partial(grid, num_seeds, store=ground.store)
        for _ in range(number):
            pid = child(lambda: ground.counted(work))
            time.sleep(RNG.uniform(0.0, 0.4))
            killed(pid)
            tally.tried += 1
            ground.opened(tally)
        ground.finished(tally, num_seeds)
    yield tally


# --- moments that are aimed at


@dataclass(frozen=True)
class Moment:
    """A function in which the kill is to fall.

    Attributes:
        name: What happens in it.
        owner: The module or class that holds it.
        function: Its name there.
        work: What calls it, given the ground; returns what came out.
        calls: In which calls of it; one is drawn.
    """

    name: str
    owner: Any
    function: str
    work: Callable[[Ground], bytes]
    calls: tuple[int, ...] = (1,)

    def signalled(self, ground: Ground, call: int) -> None:
        """Work, with a sign before and after the function."""
        plain, number = getattr(self.owner, self.function), 0

        def watched(*arguments: Any, **options: Any) -> Any:
            nonlocal number
            number += 1
            if number != call:
                return plain(*arguments, **options)
            (ground.beside / "entered").touch()
            start = time.perf_counter()
            result = plain(*arguments, **options)
            took = time.perf_counter() - start
            (ground.beside / "left").write_text(str(took))
            return result

        setattr(self.owner, self.function, watched)
        self.work(ground)


def small_grid(ground: Ground) -> bytes:
    """A sweep of twelve runs."""
    runs: list[pe.Run] = []
    ground.counted(lambda: runs.extend(grid(6, store=ground.store)))
    return table(runs)


def grid_with_files(ground: Ground) -> bytes:
    """A sweep whose features go into files, as large ones do."""
    feature_files.LARGE = 0
    return small_grid(ground)


def one_run(ground: Ground) -> bytes:
    """A run with a checkpoint after each epoch."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    network.head = nn.Linear(8, 2)
    splits = pe.Splits(points(64, 1), points(64, 2))
    task = pe.Task("t", datasets={"d": splits}, num_classes=2)
    sgd = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
    full = pe.Strategy("full", optimizer=sgd, epochs=3)
    run = pe.finetune(network, task, full, checkpoint=ground.folder / "c.pt")
    return table([run])


MOMENTS = (
    Moment("the creation of a store", store_file, "create", small_grid),
    Moment("the writing of features", feature_files, "_write", grid_with_files, (1, 2)),
    Moment("a store's last checkpoint", database.Database, "close", small_grid),
    Moment("a run's last checkpoint", checkpoint.Checkpoint, "save", one_run, (3,)),
)


def aimed(number: int) -> Iterator[Tally]:
    """SIGKILL at a random time within functions that must be whole or not at all."""
    large = feature_files.LARGE
    for moment in MOMENTS:
        tally = Tally(moment.name)
        with Ground() as ground:
            truth = moment.work(ground)
        length = max(_length(moment) for _ in range(3))
        for _ in range(number):
            with Ground() as ground:
                call = RNG.choice(moment.calls)
                pid = child(partial(moment.signalled, ground, call))
                if awaited((ground.beside / "entered").exists, pid):
                    time.sleep(RNG.uniform(0.0, length))
                killed(pid)
                tally.tried += 1
                tally.hits += not (ground.beside / "left").exists()
                ground.opened(tally)
                again = moment.work(ground)
                tally.check(again == truth, "wrong", "the resumed work differs")
                ground.settled(tally)
        feature_files.LARGE = large
        yield tally


def _length(moment: Moment) -> float:
    """Seconds that the function takes where nobody disturbs it."""
    with Ground() as ground:
        pid = child(partial(moment.signalled, ground, moment.calls[0]))
        os.waitpid(pid, 0)
        return float((ground.beside / "left").read_text())


# --- workers


class Slow(Dataset[Any]):
    """Points that take their time, so that their features do too."""

    def __init__(self, seed: int) -> None:
        self._points = points(64, seed)

    def __len__(self) -> int:
        return len(self._points)

    def __getitem__(self, index: int) -> Any:
        time.sleep(0.004)
        return self._points[index]


def worker_kills(number: int, num_seeds: int) -> Iterator[Tally]:
    """SIGKILL to workers and to their parents, which must leave no orphan."""
    tally = Tally("workers and their parents killed")
    with Ground() as ground:
        work = partial(grid, num_seeds, store=ground.store, workers=2)
        for turn in range(number):
            pid = child(lambda: ground.counted(work))
            time.sleep(RNG.uniform(0.5, 8.0))
            workers = children_of(pid)
            if turn % 2 and workers:
                _kill(RNG.choice(workers))
                time.sleep(RNG.uniform(0.0, 1.0))
                workers = sorted({*workers, *children_of(pid)})
            killed(pid)
            _no_orphans(tally, workers)
            tally.tried += 1
            ground.opened(tally)
        ground.finished(tally, num_seeds)
    yield tally


def feature_kills(number: int) -> Iterator[Tally]:
    """SIGKILL to a worker that writes features, or to its parent meanwhile."""
    tally = Tally("workers writing features, and parents")
    truth = table(slow_grid())
    for turn in range(number):
        with Ground() as ground:
            work = partial(slow_grid, store=ground.store, workers=2)
            pid = child(partial(ground.counted, work))
            folder = ground.store.with_name("runs.db.features")
            if awaited(lambda at=folder: bool(_writers(at)), pid):
                time.sleep(RNG.uniform(0.0, 0.2))
            workers, writers = children_of(pid), _writers(folder)
            tally.hits += bool(writers)
            if turn % 2 and workers:
                _kill(RNG.choice(writers or workers))
                awaited(lambda: False, pid)  # it goes on with another worker
            killed(pid)
            _no_orphans(tally, workers)
            tally.tried += 1
            ground.opened(tally)
            runs: list[pe.Run] = []
            resume = partial(slow_grid, store=ground.store)
            ground.counted(lambda into=runs, work=resume: into.extend(work()))
            tally.check(table(runs) == truth, "wrong", "the resumed table differs")
            ground.settled(tally)
    yield tally


def slow_grid(**options: Any) -> tuple[pe.Run, ...]:
    """Heads of two seeds, whose features take half a second."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    network.head = nn.Linear(8, 2)
    # Features are written batch by batch, so that these are under way for long.
    splits = pe.Splits(*(DataLoader(Slow(seed), batch_size=8) for seed in (1, 2)))
    task = pe.Task("t", datasets={"d": splits}, num_classes=2)
    sgd = partial(torch.optim.SGD, lr=0.1)
    head = pe.Strategy("head", optimizer=sgd, epochs=2, trainable="head")
    return pe.sweep({"m": network}, [task], [head], range(2), progress=False, **options)


def _writers(folder: Path) -> list[int]:
    """The processes that are just writing features, by the names of their files."""
    try:
        names = os.listdir(folder)  # noqa: PTH208 # glob raises where one vanishes
    except FileNotFoundError:
        return []
    return [int(name.split(".")[-2]) for name in names if name.endswith(".partial")]


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def _no_orphans(tally: Tally, workers: list[int]) -> None:
    time.sleep(ORPHAN_SECONDS)
    orphans = [worker for worker in workers if alive(worker)]
    text = f"{len(orphans)} workers live {ORPHAN_SECONDS:.0f} s after their parent"
    tally.check(not orphans, "orphans", text)
