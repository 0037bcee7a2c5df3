"""Faults of the ground: damaged, moved, shared and full stores, and clocks that jump."""

from __future__ import annotations

import contextlib
import os
import random
import sqlite3
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from kills import grid
from tally import Ground, Tally, child, killed

import pretrain_eval as pe
from pretrain_eval._runs import claims
from pretrain_eval._sweep import schedule

RNG = random.Random(0)
HOUR = 3600.0


def damaged(content: bytes) -> bytes:
    """A file with bits flipped, cut short, with a block of zeros or with a tail."""
    changed, kind = bytearray(content), RNG.randrange(4)
    place = RNG.randrange(len(changed))
    if kind == 0:
        for _ in range(RNG.choice([1, 1, 3])):
            changed[RNG.randrange(len(changed))] ^= 1 << RNG.randrange(8)
    elif kind == 1:
        del changed[place:]
    elif kind == 2:
        changed[place : place + 512] = bytes(len(changed[place : place + 512]))
    else:
        changed += RNG.randbytes(RNG.randrange(1, 5000))
    return bytes(changed)


def damages(number: int) -> Iterator[Tally]:
    """Damaged stores: every opening is a clear error or finds the true runs."""
    tally = Tally("stores damaged")
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder, "whole.db")
        grid(10, store=whole)
        with pe.RunStore(whole) as store:
            truth = dict(store.items())
        content = whole.read_bytes()
        for turn in range(number):
            path, into = Path(folder, f"{turn}.db"), Path(folder, f"{turn}.new.db")
            path.write_bytes(damaged(content))
            before = path.read_bytes()
            tally.tried += 1
            tally.check(*opened_truly(path, truth))
            same = path.read_bytes() == before
            tally.check(same, "foreign", "a damaged file was changed")
            tally.check(*recovered_truly(path, into, truth))
            for each in Path(folder).glob(f"{turn}.*"):
                each.unlink()
    yield tally


def opened_truly(path: Path, truth: dict[str, pe.Run]) -> tuple[bool, str, str]:
    """Whether an opening finds all that is true, or says which file is damaged."""
    try:
        with pe.RunStore(path) as store:
            found = dict(store.items())
    except (ValueError, OSError, sqlite3.Error) as error:
        return str(path) in str(error), "wrong", f"does not name the file: {error!r}"
    return found == truth, "wrong", "opened, and gave other runs"


def recovered_truly(
    path: Path, into: Path, truth: dict[str, pe.Run]
) -> tuple[bool, str, str]:
    """Whether all that is recovered is true."""
    try:
        pe.RunStore.recover(path, into=into)
    except (ValueError, OSError, sqlite3.Error) as error:
        return str(path) in str(error), "wrong", f"does not name the file: {error!r}"
    with pe.RunStore(into) as store:
        found = dict(store.items())
    return found.items() <= truth.items(), "wrong", "recovered what was not there"


def moves(number: int, num_seeds: int) -> Iterator[Tally]:
    """A store that is deleted or moved under a sweep is noticed, and no run is lost."""
    tally = Tally("stores taken away")
    expected = {run.name: run.scores for run in grid(num_seeds)}
    for turn in range(number):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "runs.db")

            def take(path: Path = path, turn: int = turn) -> None:
                with contextlib.suppress(FileNotFoundError):
                    if turn % 2:
                        path.unlink()
                    else:
                        path.rename(path.with_name("moved.db"))

            timer = threading.Timer(RNG.uniform(0.05, 1.0), take)
            timer.start()
            tally.tried += 1
            try:
                runs = grid(num_seeds, store=path)
                fine = len(runs) == len(expected)
            except pe.StoreLostError as error:
                runs = error.runs
                fine = True
            timer.cancel()
            timer.join()
            true = all(expected[run.name] == run.scores for run in runs)
            tally.check(fine and true, "lost", "the loss of the store was not noticed")
    yield tally


# --- processes that share a store


def sharing(number: int, num_seeds: int) -> Iterator[Tally]:
    """Two processes share one store: every run is trained exactly once."""
    tally = Tally("stores shared by two processes")
    for _ in range(number):
        with Ground() as ground:
            work = partial(grid, num_seeds, store=ground.store)
            pids = [child(lambda g=ground, w=work: g.counted(w)) for _ in range(2)]
            codes = [os.waitpid(pid, 0)[1] for pid in pids]
            tally.tried += 1
            tally.check(codes == [0, 0], "wrong", f"they ended with {codes}")
            _all_once(tally, ground, num_seeds)
    yield tally


def machines(number: int, num_seeds: int) -> Iterator[Tally]:
    """Processes of two machines share a store; clocks jump by hours, and one is killed.

    A machine is told by its name, and so cannot ask for the processes of the other: it
    sees them by their heartbeats alone, which are quicker here.
    """
    tally = Tally("stores of two machines, clocks jumping")
    for _ in range(number):
        with Ground() as ground:
            pids = [
                child(partial(_on_machine, name, ground, num_seeds, RNG.random()))
                for name in ("one", "one", "two", "two")
            ]
            time.sleep(RNG.uniform(0.0, 1.0))
            killed(pids.pop(RNG.randrange(4)))
            codes = [os.waitpid(pid, 0)[1] for pid in pids]
            tally.tried += 1
            tally.check(not any(codes), "wrong", f"they ended with {codes}")
            _all_once(tally, ground, num_seeds)
    yield tally


def _all_once(tally: Tally, ground: Ground, num_seeds: int) -> None:
    with pe.RunStore(ground.store) as store:
        attempts = [store.attempts(key) for key, _ in store.items()]
    tally.check(set(attempts) == {1}, "repeated", f"attempts {sorted(set(attempts))}")
    missing = 2 * num_seeds - len(attempts)
    tally.check(not missing, "lost", f"{missing} runs are missing")
    ground.finished(tally, num_seeds)


def _on_machine(name: str, ground: Ground, num_seeds: int, seed: float) -> None:
    """Sweep as a machine of that name, whose clock is set again and again."""
    claims._host = lambda: name
    claims.STALE_SECONDS, schedule._BEAT_SECONDS = 6.0, 0.3
    plain, hours, rng = time.time, [0.0], random.Random(seed)
    claims.time.time = lambda: plain() + HOUR * hours[0]

    def jump() -> None:
        while True:
            hours[0] = rng.uniform(-5, 5)
            time.sleep(0.05)

    threading.Thread(target=jump, daemon=True).start()
    ground.counted(partial(grid, num_seeds, store=ground.store))


# --- full disks


def full_disks(number: int, num_seeds: int) -> Iterator[Tally]:
    """A small disk that fills up: a clear error, and a resume that lacks nothing."""
    tally = Tally("small disks filled")
    for _ in range(number):
        with tempfile.TemporaryDirectory() as folder:
            reason = mounted(Path(folder))
            if reason:
                print(f"{tally.name}: skipped, {reason}")
                return
            try:
                with Ground(Path(folder)) as ground:
                    _filled(tally, ground, num_seeds)
            finally:
                subprocess.run(["umount", folder], check=True)
    yield tally


def mounted(folder: Path) -> str:
    """Mount a disk of two megabytes; why not, where that cannot be done."""
    if os.name != "posix" or os.geteuid() != 0:
        return "only root may mount a small disk"
    command = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", folder]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        return str(error)
    return done.stderr.strip() if done.returncode else ""


def _filled(tally: Tally, ground: Ground, num_seeds: int) -> None:
    filler = ground.folder / "filler"
    timer = threading.Timer(RNG.uniform(0.0, 0.6), _fill, [filler])
    timer.start()
    tally.tried += 1
    with contextlib.ExitStack() as stack:
        try:
            ground.counted(partial(grid, num_seeds, store=ground.store))
        except OSError as error:
            tally.hits += 1
            named = str(ground.store) in str(error)
            tally.check(named, "wrong", f"does not name the file: {error!r}")
        stack.callback(filler.unlink, missing_ok=True)
        timer.join()
    ground.opened(tally)
    ground.finished(tally, num_seeds)


def _fill(path: Path) -> None:
    """Write until there is no room at all."""
    with path.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
