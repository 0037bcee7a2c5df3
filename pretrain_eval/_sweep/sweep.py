"""The grid of runs: models × tasks × datasets × strategies × seeds, resumable."""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections import Counter
from collections.abc import (
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from concurrent.futures import Executor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import get_args

import torch

from pretrain_eval._runs import Run, RunStore, Status, check_room
from pretrain_eval._sweep.cell import Cell
from pretrain_eval._sweep.cells import checked_cells
from pretrain_eval._sweep.keys import Keys
from pretrain_eval._sweep.places import FilesOf, choose_place
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._sweep.schedule import Memory, Pending, beating, complete
from pretrain_eval._training import FeatureFiles, Model, Strategy, Task, fingerprint


def sweep(
    models: Mapping[str, Model] | Sequence[str],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: Iterable[int] = (0,),
    *,
    store: RunStore | str | Path | None = None,
    heads: Mapping[str, str] | None = None,
    device: torch.device | str | None = None,
    workers: int = 1,
    devices: Sequence[str] = (),
    executor: Executor | None = None,
    timeout: float | None = None,
    retry: Collection[Status] = (),
    progress: bool = True,
) -> tuple[Run, ...]:
    """Fine-tune every model on every task and dataset, by every strategy and seed.

    The whole grid is checked before the first run: names, seeds, heads, and one batch
    through every model for every dataset. A run that raises, runs out of memory or
    takes too long is recorded with its status and message, and the others go on.

    With a store each run is kept as it ends, and a later call takes from the store what
    is there, by content: another weight, sample or setting is another run, another name
    is not. Several processes of one machine may sweep into one store at the same time
    and share the work.

    Args:
        models: A model by name, as `finetune` takes it; or names of torchvision models.
        tasks: Tasks of different names.
        strategies: Strategies of different names.
        seeds: Different integers of at least 0.
        store: A `RunStore`, or the path of one, made where there is none.
        heads: By model name, the dotted path of the layer to replace, where it cannot
            be told.
        device: Where to train; by default CUDA if there is one, otherwise the CPU.
        workers: Processes of this machine that train; 1 trains in this one.
        devices: Instead of `device`, one for each worker in turn, for example
            `["cuda:0", "cuda:1"]`; starts as many workers where `workers` is 1.
        executor: Instead of workers, any `concurrent.futures.Executor`.
        timeout: Seconds that one run may take.
        retry: Statuses that are tried again, once: when a run ends so, and when the
            store holds one. Of "diverged", "error", "oom" and "timeout".
        progress: Show the plan, a bar where tqdm is installed
            (`pretrain-eval[progress]`), and a summary.

    Returns:
        All runs of the grid, in its order, failed ones included.

    Raises:
        ValueError: Something is empty or given twice, a head cannot be told, a model
            does not fit a task, or cannot be sent to a worker.
    """
    _check_options(workers, devices, device, executor, timeout, retry)
    cells = checked_cells(models, tasks, strategies, tuple(seeds), heads or {}, device)
    opened: AbstractContextManager[RunStore | None]
    opened = RunStore(store) if isinstance(store, str | Path) else nullcontext(store)
    with opened as given, Progress(len(cells), "runs", show=progress) as shown:
        kept = Memory() if given is None else given
        keys = Keys(shown.note)
        pending = _planned(cells, keys, kept, retry, shown)
        if given is not None:
            check_room(given, [_steps(each.cell) for each in pending if each.due])
        start_time = time.monotonic()
        with ExitStack() as stack:
            stack.enter_context(beating(kept))
            stack.enter_context(_released(kept))
            files = None
            if given is not None and executor is None:  # others may be elsewhere
                folder = given.path.with_name(f"{given.path.name}.features")
                stack.callback(shutil.rmtree, folder, ignore_errors=True)
                files = _files_in(folder, keys, shared=workers > 1 or bool(devices))
            place = choose_place(
                [each.cell for each in pending],
                files,
                device=None if device is None else str(device),
                workers=workers,
                devices=devices,
                executor=executor,
                timeout=timeout,
                show=progress,
                stack=stack,
            )
            try:
                complete(pending, place, kept, shown, retry)
            except KeyboardInterrupt:
                shown.say(f"stopped; finished runs are kept in {kept}")
                raise
        runs = tuple(_named(kept.get(each.key), each.cell) for each in pending)
        shown.say(_summary(runs, time.monotonic() - start_time))
    return runs


def _check_options(
    workers: int,
    devices: Sequence[str],
    device: torch.device | str | None,
    executor: Executor | None,
    timeout: float | None,
    retry: Collection[Status],
) -> None:
    if type(workers) is not int or workers < 1:
        raise ValueError(f"sweep expects workers of at least 1, got {workers!r}")
    if executor is not None and (workers > 1 or devices):
        raise ValueError("sweep expects an executor or workers and devices, got both")
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(
            "sweep expects a concurrent.futures.Executor, got"
            f" {type(executor).__name__}"
        )
    if devices and device is not None:
        raise ValueError("sweep expects device or devices, got both")
    for place in devices:
        chosen = torch.device(place)
        if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
            raise ValueError(
                f"sweep expects devices that are there, got {place!r}; torch sees"
                f" {torch.cuda.device_count()} CUDA devices"
            )
    if timeout is not None and not timeout > 0:
        raise ValueError(f"sweep expects a positive timeout, got {timeout!r}")
    allowed = [status for status in get_args(Status) if status != "completed"]
    wrong = [status for status in retry if status not in allowed]
    if isinstance(retry, str) or wrong:
        raise ValueError(f"sweep expects retry to be some of {allowed}, got {retry!r}")


def _planned(
    cells: Sequence[Cell],
    keys: Keys,
    kept: RunStore | Memory,
    retry: Collection[Status],
    shown: Progress,
) -> list[Pending]:
    """What is to do and what is done, and says so."""
    known = kept.statuses()
    pending = []
    for cell in cells:
        key = cell.name if isinstance(kept, Memory) else keys.of(cell)
        due = key not in known or known[key] in retry
        seen = kept.attempts(key) if due and key in known else 0
        pending.append(Pending(cell, key, due=due, attempts=seen))
    shown.note("")
    num_due = sum(each.due for each in pending)
    reused = Counter(known[each.key] for each in pending if not each.due)
    lines = [f"{len(cells)} runs: {num_due} to do, {sum(reused.values())} reused"]
    lost = {name: n for name, n in reused.items() if name != "completed"}
    if lost:
        counts = ", ".join(f"{n} {name}" for name, n in sorted(lost.items()))
        lines.append(f"of the reused, {counts}; retry={sorted(lost)} tries them again")
    shown.say("; ".join(lines))
    return pending


def _files_in(folder: Path, keys: Keys, *, shared: bool) -> FilesOf:
    def files(cell: Cell, seed: str) -> FeatureFiles:
        content = fingerprint([keys.features_of(cell), seed])
        return FeatureFiles(folder, content, shared)

    return files


@contextmanager
def _released(kept: RunStore | Memory) -> Iterator[None]:
    """Give up every claim, however the sweep is left."""
    try:
        yield
    finally:
        kept.release()


def _named(run: Run | None, cell: Cell) -> Run:
    if run is None:
        raise ValueError(f"{cell.name} vanished from the store while it was swept")
    # The key is the content; the names are today's.
    return dataclasses.replace(
        run,
        model=cell.model_name,
        task=cell.task.name,
        dataset=cell.dataset,
        strategy=cell.strategy.name,
    )


def _steps(cell: Cell) -> int:
    """How many optimizer steps the run takes at most."""
    train = cell.task.datasets[cell.dataset].train
    num_samples: int = len(train)  # type: ignore[arg-type] # checked to be sized
    return cell.strategy.epochs * -(-num_samples // cell.strategy.batch_size)


def _summary(runs: Sequence[Run], seconds: float) -> str:
    statuses = Counter(run.status for run in runs if run.status != "completed")
    counts = ", ".join(f"{n} {name}" for name, n in sorted(statuses.items()))
    training = sum(run.cost.seconds or 0.0 for run in runs)
    return (
        f"{len(runs)} runs, {sum(statuses.values())} not completed"
        f"{f' ({counts})' if counts else ''}; {seconds:.0f} s here,"
        f" {training:.0f} s of training in all"
    )
