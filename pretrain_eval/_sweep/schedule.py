"""Bringing pending runs to an end: claims, executors, deaths, second tries."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass

from pretrain_eval._runs import Run, RunStore, Status
from pretrain_eval._sweep.cell import MOST_HEADS, ApartError, Cell, Place
from pretrain_eval._sweep.jobs import failed, status_of
from pretrain_eval._sweep.progress import Progress

log = logging.getLogger("pretrain_eval")

_BEAT_SECONDS = 10.0
_POLL_SECONDS = 0.2
_NUM_DEATHS = 2  # worker processes that one run may cost


@dataclass(eq=False)
class Pending:
    """One cell of a sweep on its way.

    Attributes:
        cell: What is run.
        key: What it is kept under.
        due: Whether it is to be run.
        attempts: Results that were under the key when the sweep was planned.
        alone: Whether it was found that it cannot be run together with others.
        deaths: Worker processes that died of it.
        tries: Results of this sweep that were to be tried again.
    """

    cell: Cell
    key: str
    due: bool
    attempts: int
    alone: bool = False
    deaths: int = 0
    tries: int = 0


class Memory:
    """Keeps the runs of a sweep without a store, by the same words."""

    def __init__(self) -> None:
        self._runs: dict[str, Run] = {}

    def __repr__(self) -> str:
        return "no store"

    def statuses(self) -> dict[str, Status]:
        """Nothing was there before."""
        return {}

    def attempts(self, key: str) -> int:
        """Whether there is a run."""
        return int(key in self._runs)

    def get(self, key: str) -> Run | None:
        """The run, if there is one."""
        return self._runs.get(key)

    def add(self, key: str, run: Run) -> None:
        """Keep the run."""
        self._runs[key] = run

    def claim(self, key: str, *, attempts: int) -> bool:
        """Nobody else is there."""
        return True

    def heartbeat(self) -> None:
        """Nobody listens."""

    def release(self, key: str | None = None) -> None:
        """Nobody waits."""


def complete(
    pending: Sequence[Pending],
    place: Place,
    kept: RunStore | Memory,
    shown: Progress,
    retry: Collection[Status],
) -> None:
    """Run all that is due and keep each result as it comes.

    Args:
        pending: In the order in which they are started.
        place: Where they happen.
        kept: Where results go.
        shown: Told of every cell that is done.
        retry: Statuses that are tried again, once.
    """
    waiting = deque(each for each in pending if each.due)
    for _ in range(len(pending) - len(waiting)):
        shown.advance()
    running: dict[Future[Run], Pending] = {}
    try:
        while waiting or running:
            elsewhere = _fill(running, waiting, place, kept, shown)
            if running:
                patience = _POLL_SECONDS if elsewhere else None
                finished, _ = wait(running, patience, return_when=FIRST_COMPLETED)
                for future in finished:
                    each = running.pop(future)
                    run = _outcome(future, each, retry)
                    if run is None:
                        waiting.appendleft(each)
                    else:
                        kept.add(each.key, run)
                        shown.advance()
            elif elsewhere:
                time.sleep(_POLL_SECONDS)
            waiting.extend(elsewhere)
    finally:
        for future in running:  # an executor of the caller's may hold thousands
            future.cancel()


def _fill(
    running: dict[Future[Run], Pending],
    waiting: deque[Pending],
    place: Place,
    kept: RunStore | Memory,
    shown: Progress,
) -> list[Pending]:
    """Start what may start; returns what another process, or a twin of ours, holds."""
    elsewhere = []
    ours = {each.key for each in running.values()}

    def take(each: Pending) -> bool:
        if each.key in ours or not kept.claim(each.key, attempts=each.attempts):
            return False
        ours.add(each.key)
        return True

    while waiting and (place.window is None or len(running) < place.window):
        each = waiting.popleft()
        if take(each):
            together = [each, *_companions(each, waiting, place, take)]
            shown.note(each.cell.name)
            started = place.start([one.cell for one in together])
            running |= zip(started, together, strict=True)
        elif kept.attempts(each.key) > each.attempts:
            shown.advance()  # it came in meanwhile
        else:
            elsewhere.append(each)
    return elsewhere


def _companions(
    first: Pending,
    waiting: deque[Pending],
    place: Place,
    take: Callable[[Pending], bool],
) -> list[Pending]:
    """Take out of those that wait what is to be started together with the first."""
    group = None if first.alone else place.group(first.cell)
    if group is None:
        return []
    taken: list[Pending] = []
    for each in list(waiting):
        if len(taken) == MOST_HEADS - 1:
            break
        if not each.alone and place.group(each.cell) == group and take(each):
            taken.append(each)
    for each in taken:
        waiting.remove(each)
    return taken


def _outcome(
    future: Future[Run], each: Pending, retry: Collection[Status]
) -> Run | None:
    """The record of a run that has ended; None where it is to be tried again."""
    try:
        run = future.result()
    except ApartError:
        each.alone = True
        return None
    except BrokenExecutor as error:
        each.deaths += 1
        if each.deaths < _NUM_DEATHS:
            log.warning("%s: %s; it is tried again", each.cell.name, error)
            return None
        run = failed(each.cell, "error", str(error))
    except Exception as error:
        run = failed(each.cell, status_of(error), f"{type(error).__name__}: {error}")
    if run.status in retry and each.tries == 0:
        each.tries += 1
        return None
    return run


@contextmanager
def beating(kept: RunStore | Memory) -> Iterator[None]:
    """Keep the claims alive while training keeps this thread busy."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(_BEAT_SECONDS):
            try:
                kept.heartbeat()
            except (OSError, ValueError) as error:
                # What it means for the runs shows when the next one is kept.
                log.warning("no heartbeat: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()
