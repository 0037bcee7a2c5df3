"""What faults have cost, and the ground on which they are injected."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

from kills import grid, table

import pretrain_eval as pe

# What may be lost: runs, work that is done twice, processes that live on, files of
# somebody else, files that stay, numbers that are not true or errors that are not clear.
COSTS = ("lost", "repeated", "orphans", "foreign", "left", "wrong")
HEADER = f"{'fault':42} {'tried':>6} " + " ".join(f"{cost:>8}" for cost in COSTS)

# Names that ours resemble, of which none is ours to touch.
NEIGHBOURS = (
    "notes.txt",
    "runs.db.partial",
    "c.pt.partial",
    "runs.db.features.old/thesis.txt",
    ".runs.db-mine/thesis.txt",
    ".runs.db-abcdefgh/thesis.txt",
)


class Tally:
    """How often a fault was injected, and what it has cost."""

    def __init__(self, name: str) -> None:
        self.name, self.tried, self.hits = name, 0, 0
        self.costs: Counter[str] = Counter()
        self.words: list[str] = []

    def check(self, fine: bool, cost: str, otherwise: str) -> None:
        """Note what was lost where something is not fine."""
        if not fine:
            self.costs[cost] += 1
            self.words.append(f"{cost}: {otherwise}")

    def __str__(self) -> str:
        name = f"{self.name} ({self.hits} within)" if self.hits else self.name
        numbers = " ".join(f"{self.costs[cost]:8}" for cost in COSTS)
        lines = [f"{name:42} {self.tried:6} {numbers}"]
        return "\n".join([*lines, *(f"    {each}" for each in self.words[:5])])


class Ground:
    """A folder with a store, and files of somebody else beside it.

    Attributes:
        folder: Where the store, or a checkpoint, is to lie.
        store: The store's path.
        beside: A folder for what the injection itself writes.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.beside = Path(tempfile.mkdtemp())
        self.folder = folder or self.beside / "work"
        self.store = self.folder / "runs.db"
        self._log, self._before = self.beside / "log", 0
        for name in NEIGHBOURS:
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)

    def __enter__(self) -> Ground:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        shutil.rmtree(self.beside)

    def counted(self, work: Callable[[], object]) -> None:
        """Work, and write down which runs are handed to the store."""
        plain = pe.RunStore.add

        def add(store: pe.RunStore, key: str, run: pe.Run) -> bool:
            added = plain(store, key, run)
            with self._log.open("a") as file:
                file.write(f"{key}\n")
            return added

        pe.RunStore.add = add  # type: ignore[method-assign]
        try:
            work()
        finally:
            pe.RunStore.add = plain  # type: ignore[method-assign]

    def opened(self, tally: Tally) -> None:
        """The next opening finds every run, and leaves what is not its own alone."""
        if not self.store.exists():
            return  # there is nothing to open yet
        with pe.RunStore(self.store) as store:
            now = len(store)
        lost = self._before - now
        tally.check(lost <= 0, "lost", f"{self._before} runs became {now}")
        self._before = now
        # Features stay for the resume, which reads them.
        self.settled(tally, allowed={"runs.db.features", "c.pt"})

    def settled(self, tally: Tally, allowed: set[str] | None = None) -> None:
        """Nothing of others is gone, nothing of ours is left, nothing was done twice."""
        for name in NEIGHBOURS:
            path = self.folder / name
            kept = path.exists() and path.read_text() == name
            tally.check(kept, "foreign", f"{name} is gone")
        theirs = {Path(name).parts[0] for name in NEIGHBOURS}
        left = {each.name for each in self.folder.iterdir()} - theirs - {"runs.db"}
        left -= allowed or set()
        tally.check(not left, "left", f"beside the store {sorted(left)}")
        keys = self._log.read_text().split() if self._log.exists() else []
        twice = len(keys) - len(set(keys))
        tally.check(not twice, "repeated", f"{twice} runs were trained again")

    def finished(self, tally: Tally, num_seeds: int) -> None:
        """The last resume makes the table of a sweep that nobody disturbed."""
        self.counted(lambda: grid(num_seeds, store=self.store))
        runs = grid(num_seeds, store=self.store)
        equal = table(runs) == table(grid(num_seeds))
        tally.check(equal, "wrong", "the final table differs")
        self.settled(tally)


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


def killed(pid: int) -> None:
    """End a child, whatever it does, and collect it."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, 9)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, 0)


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


def ended(pid: int) -> bool:
    """Whether a child has ended; it is collected then."""
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:
        return True


def awaited(sign: Callable[[], bool], pid: int, seconds: float = 60.0) -> bool:
    """Wait for a sign of a child; False where it ended, or took too long."""
    late = time.monotonic() + seconds
    while not sign():
        if ended(pid) or time.monotonic() > late:
            return sign()
        time.sleep(0.0002)
    return True
