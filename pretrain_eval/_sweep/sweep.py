"""The grid of runs: models × tasks × datasets × strategies × seeds, resumable."""

from __future__ import annotations

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import torch

from pretrain_eval._runs import Run, Runs, RunStore, Status, check_room
from pretrain_eval._sweep.cells import grid_cells
from pretrain_eval._sweep.keeper import Keeper, Memory
from pretrain_eval._sweep.kept import Kept
from pretrain_eval._sweep.keys import Keys
from pretrain_eval._sweep.places import FilesOf, opened_place
from pretrain_eval._sweep.progress import Progress, check_shown
from pretrain_eval._sweep.resources import Resources
from pretrain_eval._sweep.schedule import Pending, complete, holding
from pretrain_eval._tasks import Task
from pretrain_eval._training import (
    Cell,
    FeatureFiles,
    Strategy,
    check_fits,
    check_folder,
    fingerprint,
    remove_folder,
)
from pretrain_eval.zoo import Model


@dataclass(frozen=True)
class Stage:
    """How far runs go that are continued from their checkpoints.

    Attributes:
        folder: Of the checkpoints, in files that are named by the runs' keys.
        short: The share of its epochs after which a run is left; None: all.
    """

    folder: Path
    short: float | None

    def own(self, cell: Cell, key: str) -> dict[str, Any]:
        """What the surroundings of a cell have of their own."""
        epochs = cell.strategy.epochs
        if epochs is None:
            return {}
        own: dict[str, Any] = {"checkpoint": self.folder / f"{key}.pt"}
        pause = epochs if self.short is None else cut_short(epochs, self.short)
        return own if pause == epochs else {**own, "pause_after": pause}


def cut_short(epochs: int, share: float) -> int:
    """The epochs that a share of a run has: one at least, all at most."""
    return min(epochs, max(1, round(share * epochs)))


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
    strict: bool = True,
    save: str | Path | None = None,
    keep: Callable[[Run], bool] | None = None,
    progress: bool | Literal["log"] = True,
    draws: Literal["cell", "seed"] = "cell",
) -> Runs:
    """Fine-tune every model on every task and dataset, by every strategy and seed.

    The whole grid is checked before the first run: names, seeds, heads, and, on a copy
    of every model, one optimizer step with two samples of every dataset by every
    strategy. A run that raises, runs out of memory or
    takes too long is recorded with its status and message, and the others go on.

    With a store each run is kept as it ends, and a later call takes from the store what
    is there, by content: another weight, sample or setting is another run, and so is
    another name of a task, dataset or strategy, from which the draws come; another name
    of a model is not. Several processes of one machine may sweep into one store at the same time
    and share the work.

    Args:
        models: A model by name, as `finetune` takes it; or names of torchvision models.
        tasks: Tasks of different names.
        strategies: Strategies of different names.
        seeds: Different integers from 0 to 2⁶³ − 1.
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
        strict: Refuse the grid where a model, a task and a strategy do not fit one
            another; otherwise each such run is recorded with its error, and the others
            go on.
        save: A folder for the trained weights of each run, in files that are named by
            the runs' keys and from which `load` gives the model back; needs
            safetensors (`pretrain-eval[weights]`). Then a run whose weights are not
            there is done again, and heads train one by one. A training of one's own
            keeps its weights itself.
        keep: Called with each finished run, says whether its weights are kept, such as
            `lambda run: run.scores["accuracy"] > 0.9`; by default all are.
        progress: Show the plan, how far it is, and a summary, on the standard error: in
            a terminal a bar, where tqdm is installed (`pretrain-eval[progress]`); in a
            notebook a line that is written anew; elsewhere a plain line now and then.
            "log" gives the lines to `logging`, under the name `pretrain_eval`.
        draws: "cell" draws each run from its task, dataset, strategy and seed, alike for
            all models; "seed" from the seed alone, as versions before 0.1 did, whose
            runs in a store are reused so.

    Returns:
        All runs of the grid, in its order, failed ones included.

    Raises:
        ValueError: Something is empty or given twice, a head cannot be told, a model, a
            task and a strategy do not fit, or cannot be sent to a worker.
    """
    resources = Resources(
        device=device,
        workers=workers,
        executor=executor,
        timeout=timeout,
    )
    _check_retry(retry)
    check_shown(progress)
    cells = grid_cells(models, tasks, strategies, seeds, heads or {}, draws)
    if strict:
        check_fits(cells, resources.only_device)
    with (
        opened(store) as keeper,
        Progress(len(cells), "runs", show=progress) as bar,
    ):
        keys = Keys(bar.note)
        kept = Kept.at(save, keys, keep)
        return swept(cells, keys, resources, keeper, retry, bar, kept=kept)


def _check_retry(retry: Collection[Status]) -> None:
    allowed = [status for status in get_args(Status) if status != "completed"]
    known = isinstance(retry, Collection) and not isinstance(retry, str)
    if not known or any(status not in allowed for status in retry):
        raise ValueError(f"sweep expects retry to be some of {allowed}, got {retry!r}")


def opened(store: RunStore | str | Path | None) -> AbstractContextManager[Keeper]:
    """Where runs are kept; a store that the caller opened is left open."""
    if isinstance(store, str | Path):
        return RunStore(store)
    if store is not None and not hasattr(store, "add"):
        raise TypeError(
            f"sweep expects store to be a RunStore, a path or None, got {store!r}"
        )
    return nullcontext(Memory() if store is None else store)


def swept(
    cells: Sequence[Cell],
    keys: Keys,
    resources: Resources,
    store: Keeper,
    retry: Collection[Status],
    progress: Progress,
    *,
    kept: Kept | None = None,
    stage: Stage | None = None,
) -> Runs:
    """The runs of checked cells.

    Args:
        cells: What is to be run.
        keys: Of the cells.
        resources: Where.
        store: Where runs are kept.
        retry: Statuses that are tried again.
        progress: Told of every cell that is done.
        kept: The trained weights that are kept, if any.
        stage: How far a race lets them go; none: to their end.
    """
    if store.path is not None and resources.executor is None:
        check_folder(_features_of(store.path))
    again = retry if stage is not None and stage.short else {*retry, "pruned"}
    kept = kept or Kept(None, keys)
    plan = planned(cells, keys, store, again, progress, kept)

    def own(cell: Cell) -> dict[str, Any]:
        if stage is None:
            return kept.own(cell)
        # As runs are kept: two models whose content looks alike are two without a store.
        names = [str(name) for name in cell.names.values()]
        key = fingerprint(names) if store.path is None else keys.of(cell)
        return {**kept.own(cell), **stage.own(cell, key)}

    if store.path is not None:
        num_steps = [_num_steps(pending.cell) for pending in plan if pending.due]
        check_room(store.path, num_steps)
    start = time.monotonic()
    with (
        holding(store),
        _feature_files(resources, store, keys) as files,
        opened_place(resources, cells, files, own, progress) as place,
    ):
        try:
            complete(plan, place, store, retry, progress)
        except KeyboardInterrupt:
            progress.say(f"stopped; finished runs are kept in {store}")
            raise
    runs = Runs(_named(store.get(pending.key), pending.cell) for pending in plan)
    progress.say(_summary(runs, time.monotonic() - start))
    return runs


def planned(
    cells: Sequence[Cell],
    keys: Keys,
    store: Keeper,
    retry: Collection[Status],
    progress: Progress,
    kept: Kept,
) -> list[Pending]:
    """What is to do and what is done, and says so."""
    statuses = store.statuses()
    plan = []
    for cell in cells:
        # Names are enough where nothing outlives the sweep; to read content takes time.
        key = repr(cell.names) if store.path is None else keys.of(cell)
        due = key not in statuses or statuses[key] in retry
        if not due and statuses[key] == "completed":
            due = kept.lacks(cell, store, key)
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
    if store.path is not None:
        _tell_of_old(plan, keys, statuses, progress)
    return plan


def _tell_of_old(
    plan: Sequence[Pending],
    keys: Keys,
    statuses: Mapping[str, Status],
    progress: Progress,
) -> None:
    """Say how many runs to do were done before, with draws from the seed alone."""
    cells = [pending.cell for pending in plan if pending.due]
    if not statuses or not cells or cells[0].draws == "seed":
        return
    old = [keys.of(dataclasses.replace(cell, draws="seed")) for cell in cells]
    number = sum(statuses.get(key) == "completed" for key in old)
    if number:
        progress.say(
            f'{number} of them are in the store with draws from the seed alone; draws="seed"'
            " reuses those"
        )


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
    if cell.strategy.epochs is None:
        return 0
    num_samples: int = len(cell.raw_splits.train)  # type: ignore[arg-type] # checked to be sized
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
