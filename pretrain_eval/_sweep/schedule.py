"""Bringing pending runs to an end: claims, executors, deaths, second tries."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import contextmanager
from dataclasses import dataclass

from pretrain_eval._runs import Run, Status, StoreLostError
from pretrain_eval._sweep.jobs import failed
from pretrain_eval._sweep.keeper import Keeper
from pretrain_eval._sweep.places import Place
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._training import ApartError, Cell

log = logging.getLogger("pretrain_eval")

_BEAT_SECONDS = 10.0
_POLL_SECONDS = 0.2
_NUM_DEATHS = 2  # worker processes that one run may cost

# What Ctrl-C or a crash may cost, and what is held in memory at a time.
MOST_HEADS = 32


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


def complete(
    plan: Sequence[Pending],
    place: Place,
    store: Keeper,
    retry: Collection[Status],
    progress: Progress,
) -> None:
    """Run all that is due and keep each result as it comes.

    Args:
        plan: In the order in which runs are started.
        place: Where they happen.
        store: Where results go.
        retry: Statuses that are tried again, once.
        progress: Told of every cell that is done.
    """
    waiting = deque(pending for pending in plan if pending.due)
    for _ in range(len(plan) - len(waiting)):
        progress.advance()
    running: dict[Future[Run], Pending] = {}
    try:
        while waiting or running:
            elsewhere = _fill(running, waiting, place, store, progress)
            if running:
                patience = _POLL_SECONDS if elsewhere else None
                finished, _ = wait(running, patience, return_when=FIRST_COMPLETED)
                for future in finished:
                    pending = running[future]
                    run = _outcome(future, pending, retry)
                    if run is None:
                        waiting.appendleft(pending)
                    else:
                        store.add(pending.key, run)
                        progress.advance()
                    del running[future]
            elif elsewhere:
                time.sleep(_POLL_SECONDS)
            waiting.extend(elsewhere)
    except StoreLostError as lost:
        raise _all_saved(running, store, lost) from None
    finally:
        for future in running:  # an executor of the caller's may hold thousands
            future.cancel()


def _all_saved(
    running: Mapping[Future[Run], Pending], store: Keeper, lost: StoreLostError
) -> StoreLostError:
    """What tells of the lost store, after all that has ended was handed to it."""
    for future, pending in running.items():
        run = _outcome(future, pending, ()) if future.done() else None
        if run is not None:
            try:
                store.add(pending.key, run)
            except StoreLostError as error:  # each is saved, and tells it again
                lost = error
    return lost


def _fill(
    running: dict[Future[Run], Pending],
    waiting: deque[Pending],
    place: Place,
    store: Keeper,
    progress: Progress,
) -> list[Pending]:
    """Start what may start; returns what another process, or a twin of ours, holds."""
    elsewhere = []
    ours = {pending.key for pending in running.values()}

    def take(pending: Pending) -> bool:
        key = pending.key
        if key in ours or not store.claim(key, attempts=pending.attempts):
            return False
        ours.add(key)
        return True

    while waiting and (place.window is None or len(running) < place.window):
        first = waiting.popleft()
        if take(first):
            together = [first, *_companions(first, waiting, place, take)]
            progress.note(first.cell.name)
            futures = place.start([pending.cell for pending in together])
            running |= zip(futures, together, strict=True)
        elif store.attempts(first.key) > first.attempts:
            progress.advance()  # it came in meanwhile
        else:
            elsewhere.append(first)
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
    for pending in waiting:
        if len(taken) == MOST_HEADS - 1:
            break
        alike = not pending.alone and place.group(pending.cell) == group
        if alike and take(pending):
            taken.append(pending)
    for pending in taken:
        waiting.remove(pending)
    return taken


def _outcome(
    future: Future[Run], pending: Pending, retry: Collection[Status]
) -> Run | None:
    """The record of a run that has ended; None where it is to be tried again."""
    try:
        run = future.result()
    except ApartError:
        pending.alone = True
        return None
    except Exception as error:
        if isinstance(error, BrokenExecutor):
            pending.deaths += 1
            if pending.deaths < _NUM_DEATHS:
                log.warning("%s: %s; it is tried again", pending.cell.name, error)
                return None
        run = failed(pending.cell, error)
    if run.status in retry and pending.tries == 0:
        pending.tries += 1
        return None
    return run


@contextmanager
def holding(store: Keeper) -> Iterator[None]:
    """Keep claims alive while training keeps this thread busy; give them up at last."""
    stopped = threading.Event()

    def beat() -> None:
        while not stopped.wait(_BEAT_SECONDS):
            try:
                store.heartbeat()
            except StoreLostError as error:
                log.warning("%s; the sweep stops after the runs under way", error)
                return
            except (OSError, ValueError) as error:
                # What it means for the runs shows when the next one is kept.
                log.warning("no heartbeat: %s", error)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        store.release()
        thread.join()
