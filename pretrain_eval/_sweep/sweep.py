"""The grid of runs: models × tasks × datasets × strategies × seeds, resumable."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import get_args

import torch

from pretrain_eval._runs import Run, RunStore, Status, check_room
from pretrain_eval._sweep.cells import grid_cells
from pretrain_eval._sweep.keeper import Keeper, Memory
from pretrain_eval._sweep.keys import Keys
from pretrain_eval._sweep.places import FilesOf, opened_place
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._sweep.resources import Resources
from pretrain_eval._sweep.schedule import Pending, complete, holding
from pretrain_eval._training import (
    Cell,
    FeatureFiles,
    Model,
    Strategy,
    Task,
    check_fits,
    check_folder,
    fingerprint,
    remove_folder,
)


def sweep(
    models: Mapping[str, Model] | Sequence[str],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: Iterable[int] = (0,),
    *,
    store: RunStore | str | Path | None = None,
    heads: Mapping[str, str] | None = None,
    device: torch.device | str | Sequence[str] | None = None,
    workers: int = 1,
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
            Several, such as `["cuda:0", "cuda:1"]`, are one for each worker in turn,
            of which there are as many where `workers` is 1.
        workers: Processes of this machine that train; 1 trains in this one.
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
    resources = Resources(
        device=device,
        workers=workers,
        executor=executor,
        timeout=timeout,
    )
    _check_retry(retry)
    cells = grid_cells(models, tasks, strategies, seeds, heads or {})
    check_fits(cells, resources.only_device)
    with (
        _opened(store) as keeper,
        Progress(len(cells), "runs", show=progress) as bar,
    ):
        return _swept(cells, resources, keeper, retry, bar)


def _check_retry(retry: Collection[Status]) -> None:
    allowed = [status for status in get_args(Status) if status != "completed"]
    wrong = [status for status in retry if status not in allowed]
    if isinstance(retry, str) or wrong:
        raise ValueError(f"sweep expects retry to be some of {allowed}, got {retry!r}")


def _opened(store: RunStore | str | Path | None) -> AbstractContextManager[Keeper]:
    """Where runs are kept; a store that the caller opened is left open."""
    if isinstance(store, str | Path):
        return RunStore(store)
    return nullcontext(Memory() if store is None else store)


def _swept(
    cells: Sequence[Cell],
    resources: Resources,
    store: Keeper,
    retry: Collection[Status],
    progress: Progress,
) -> tuple[Run, ...]:
    """The runs of checked cells."""
    if store.path is not None and resources.executor is None:
        check_folder(_features_of(store.path))
    keys = Keys(progress.note)
    plan = planned(cells, keys, store, retry, progress)
    if store.path is not None:
        num_steps = [_num_steps(pending.cell) for pending in plan if pending.due]
        check_room(store.path, num_steps)
    start = time.monotonic()
    with (
        holding(store),
        _feature_files(resources, store, keys) as files,
        opened_place(resources, cells, files, progress) as place,
    ):
        try:
            complete(plan, place, store, retry, progress)
        except KeyboardInterrupt:
            progress.say(f"stopped; finished runs are kept in {store}")
            raise
    runs = tuple(_named(store.get(pending.key), pending.cell) for pending in plan)
    progress.say(_summary(runs, time.monotonic() - start))
    return runs


def planned(
    cells: Sequence[Cell],
    keys: Keys,
    store: Keeper,
    retry: Collection[Status],
    progress: Progress,
) -> list[Pending]:
    """What is to do and what is done, and says so."""
    statuses = store.statuses()
    plan = []
    for cell in cells:
        # Names are enough where nothing outlives the sweep; to read content takes time.
        key = repr(cell.names) if store.path is None else keys.of(cell)
        due = key not in statuses or statuses[key] in retry
        attempts = store.attempts(key) if due and key in statuses else 0
        plan.append(Pending(cell, key, due=due, attempts=attempts))
    progress.note("")
    reused = [statuses[pending.key] for pending in plan if not pending.due]
    text = f"{len(plan)} runs: {len(plan) - len(reused)} to do, {len(reused)} reused"
    lost = [status for status in reused if status != "completed"]
    if lost:
        text += f"; of the reused, {_counted(lost)}"
        text += f"; retry={sorted(set(lost))} tries them again"
    progress.say(text)
    return plan


@contextmanager
def _feature_files(
    resources: Resources, store: Keeper, keys: Keys
) -> Iterator[FilesOf]:
    """Where the features of cells may lie while the sweep lasts."""
    # The processes of an executor may be on other machines.
    if store.path is None or resources.executor is not None:
        yield lambda cell, drawn: None
        return
    folder = _features_of(store.path)
    shared = resources.num_processes > 0

    def files(cell: Cell, drawn: str) -> FeatureFiles:
        content = fingerprint([keys.features_of(cell), drawn])
        return FeatureFiles(folder, content, shared)

    try:
        yield files
    finally:
        if not store.in_use():  # by another sweep, which may need them
            remove_folder(folder)


def _features_of(path: Path) -> Path:
    """The folder of features beside a store."""
    return path.with_name(f"{path.name}.features")


def _named(run: Run | None, cell: Cell) -> Run:
    if run is None:
        raise ValueError(f"{cell.name} vanished from the store while it was swept")
    # The key is the content; the names are today's.
    return dataclasses.replace(run, **cell.names)


def _num_steps(cell: Cell) -> int:
    """How many optimizer steps the run takes at most."""
    num_samples: int = len(cell.splits.train)  # type: ignore[arg-type] # checked to be sized
    return cell.strategy.epochs * -(-num_samples // cell.strategy.batch_size)


def _summary(runs: Sequence[Run], seconds: float) -> str:
    statuses = [run.status for run in runs if run.status != "completed"]
    training = sum(run.cost.seconds or 0.0 for run in runs)
    return (
        f"{len(runs)} runs, {len(statuses)} not completed"
        f"{f' ({_counted(statuses)})' if statuses else ''}; {seconds:.0f} s here,"
        f" {training:.0f} s of training in all"
    )


def _counted(statuses: Iterable[Status]) -> str:
    counts = Counter(statuses)
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
