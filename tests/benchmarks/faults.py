"""Faults, injected at random: what was tried, what survived and what was lost.

`python tests/benchmarks/faults.py` kills processes and workers, damages stores, takes a
store away while it is swept, and lets two processes share one. It ends with 1 where
anything was lost. Needs `os.fork`; the numbers of each kind are options.
"""

import argparse
import contextlib
import os
import random
import signal
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from kills import grid, table

import pretrain_eval as pe

RNG = random.Random(0)


class Tally:
    """How often a fault was injected, and what it has cost."""

    def __init__(self, name: str) -> None:
        self.name, self.tried, self.losses = name, 0, list[str]()

    def check(self, fine: bool, otherwise: str) -> None:
        """Note a loss where something is not fine."""
        if not fine:
            self.losses.append(otherwise)

    def __str__(self) -> str:
        lost = len(self.losses)
        text = f"{self.name:34} {self.tried:6} {self.tried - lost:9} {lost:6}"
        return "\n".join([text, *(f"    {each}" for each in self.losses[:5])])


def child(work: Callable[[], object]) -> int:
    """A process that works and ends."""
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            with Path(os.devnull).open("w") as null:
                os.dup2(null.fileno(), 2)  # the words of workers whose parent died
            work()
            os._exit(0)
        os._exit(1)
    return pid


def children_of(pid: int) -> list[int]:
    """The processes that one has started; none where the system has no /proc."""
    found = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(word) for word in file.read_text().split()]
    return found


def alive(pid: int) -> bool:
    """Whether it runs, and is no corpse that waits to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def kept(store: Path) -> int:
    """How many runs an opening finds."""
    if not store.exists():
        return 0
    with pe.RunStore(store) as opened:
        return len(opened)


def finished(tally: Tally, store: Path, num_seeds: int) -> None:
    """The last resume makes the table of a sweep that nobody disturbed."""
    runs = grid(num_seeds, store=store)
    tally.check(table(runs) == table(grid(num_seeds)), "the final table differs")
    left = {each.name for each in store.parent.iterdir()} - {store.name}
    tally.check(not left, f"left beside the store: {sorted(left)}")


def kills(number: int, num_seeds: int) -> Iterator[Tally]:
    """SIGKILL to a sweep of one process, each followed by a resume."""
    tally = Tally("processes killed")
    with tempfile.TemporaryDirectory() as folder:
        store, before = Path(folder, "runs.db"), 0
        for _ in range(number):
            pid = child(lambda: grid(num_seeds, store=store))
            time.sleep(RNG.uniform(0.0, 0.4))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            tally.tried += 1
            now = kept(store)
            tally.check(now >= before, f"{before} runs became {now}")
            before = now
        finished(tally, store, num_seeds)
    yield tally


def worker_kills(number: int, num_seeds: int) -> Iterator[Tally]:
    """SIGKILL to workers and to their parents, which must leave no orphan."""
    tally = Tally("workers and their parents killed")
    with tempfile.TemporaryDirectory() as folder:
        store, before = Path(folder, "runs.db"), 0
        for turn in range(number):
            pid = child(lambda: grid(num_seeds, store=store, workers=2))
            time.sleep(RNG.uniform(0.5, 8.0))
            workers = children_of(pid)
            if turn % 2 and workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(RNG.choice(workers), signal.SIGKILL)
                time.sleep(0.5)
                workers = sorted({*workers, *children_of(pid)})
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            time.sleep(2.0)
            tally.tried += 1
            orphans = [worker for worker in workers if alive(worker)]
            tally.check(not orphans, f"{len(orphans)} orphans after 2 s")
            now = kept(store)
            tally.check(now >= before, f"{before} runs became {now}")
            before = now
        finished(tally, store, num_seeds)
    yield tally


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
            tally.check(path.read_bytes() == before, "a damaged file was changed")
            tally.check(*recovered_truly(path, into, truth))
            for each in Path(folder).glob(f"{turn}.*"):
                each.unlink()
    yield tally


def opened_truly(path: Path, truth: dict[str, pe.Run]) -> tuple[bool, str]:
    """Whether an opening finds all that is true, or says which file is damaged."""
    try:
        with pe.RunStore(path) as store:
            found = dict(store.items())
    except (ValueError, OSError, sqlite3.Error) as error:
        return str(path) in str(error), f"does not name the file: {error!r}"
    return found == truth, "opened, and gave other runs"


def recovered_truly(
    path: Path, into: Path, truth: dict[str, pe.Run]
) -> tuple[bool, str]:
    """Whether all that is recovered is true."""
    try:
        pe.RunStore.recover(path, into=into)
    except (ValueError, OSError, sqlite3.Error) as error:
        return str(path) in str(error), f"does not name the file: {error!r}"
    with pe.RunStore(into) as store:
        found = dict(store.items())
    return found.items() <= truth.items(), "recovered what was not there"


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
            true = all(expected[run.name] == run.scores for run in runs)
            tally.check(fine and true, "the loss of the store was not noticed")
    yield tally


def sharing(number: int, num_seeds: int) -> Iterator[Tally]:
    """Two processes share one store: every run is trained exactly once."""
    tally = Tally("stores shared by two processes")
    for _ in range(number):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "runs.db")
            pids = [child(lambda p=path: grid(num_seeds, store=p)) for _ in range(2)]
            codes = [os.waitpid(pid, 0)[1] for pid in pids]
            tally.tried += 1
            tally.check(codes == [0, 0], f"they ended with {codes}")
            with pe.RunStore(path) as store:
                attempts = [store.attempts(key) for key, _ in store.items()]
            tally.check(set(attempts) == {1}, f"attempts {sorted(set(attempts))}")
            tally.check(len(attempts) == 2 * num_seeds, f"{len(attempts)} runs")
            finished(tally, path, num_seeds)
    yield tally


def main() -> None:
    """Inject all faults and print what they have cost."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--worker-kills", type=int, default=20)
    parser.add_argument("--damages", type=int, default=1000)
    parser.add_argument("--moves", type=int, default=20)
    parser.add_argument("--shares", type=int, default=5)
    parser.add_argument("--seeds", type=int, default=100)
    options = parser.parse_args()
    torch.set_num_threads(1)
    seeds = options.seeds
    print(f"{'fault':34} {'tried':>6} {'survived':>9} {'lost':>6}")
    lost = 0
    for tallies in (
        kills(options.kills, seeds),
        worker_kills(options.worker_kills, seeds),
        damages(options.damages),
        moves(options.moves, seeds),
        sharing(options.shares, seeds),
    ):
        for tally in tallies:
            print(tally, flush=True)
            lost += len(tally.losses)
    sys.exit(lost > 0)


if __name__ == "__main__":
    main()
