"""Where the runs of a sweep happen: in this process, in workers, in any executor."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor, Future
from contextlib import ExitStack

from pretrain_eval._runs import Run
from pretrain_eval._sweep.cell import ApartError, Cell, Place
from pretrain_eval._sweep.jobs import Job, Part, attempt, run_job
from pretrain_eval._sweep.keys import Draws
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._sweep.side_by_side import finetune_stacked, stackable
from pretrain_eval._sweep.workers import WorkerPool
from pretrain_eval._training import FeatureFiles, Shared

log = logging.getLogger("pretrain_eval")

# Where the features of a cell may be kept; called with the seed that draws its weights,
# if one does.
FilesOf = Callable[[Cell, str], FeatureFiles]


def choose_place(
    cells: Sequence[Cell],
    files: FilesOf | None,
    *,
    device: str | None,
    workers: int,
    devices: Sequence[str],
    executor: Executor | None,
    timeout: float | None,
    show: bool,
    stack: ExitStack,
) -> Place:
    """Where the runs of the cells are to happen."""
    if executor is None and workers == 1 and not devices:
        here = Here(files, device, timeout, show=show)
        return Place(here.start, 1, here.group)
    window = None
    if executor is None:
        window = max(workers, len(devices)) if workers == 1 else workers
        pool = WorkerPool(window, devices=devices, timeout=timeout)
        # Whatever is still under way when the sweep is left is of no use to anybody.
        stack.callback(pool.shutdown, cancel_futures=True)
        executor = pool
    jobs = _Jobs(files, device, timeout)
    for cell in cells:  # what cannot be sent is told before the first run
        jobs.of(cell)
    chosen = executor

    def start(several: Sequence[Cell]) -> list[Future[Run]]:
        return [chosen.submit(run_job, jobs.of(cell)) for cell in several]

    return Place(start, window, lambda _: None)


class Here:
    """Runs in this process, at once."""

    def __init__(
        self,
        files: FilesOf | None,
        device: str | None,
        timeout: float | None,
        *,
        show: bool,
    ) -> None:
        self._files, self._device = files, device
        self._timeout, self._show = timeout, show
        self._shared, self._draws = Shared(), Draws()

    def group(self, cell: Cell) -> Hashable | None:
        """Cells of one group train their heads side by side."""
        kind = stackable(cell.strategy)
        # Only alone can one run be too late, and the others not.
        if kind is None or self._timeout is not None:
            return None
        return self._origin(cell), kind

    def start(self, cells: Sequence[Cell]) -> list[Future[Run]]:
        """Run them, or find out that they cannot be run together."""
        futures: list[Future[Run]] = [Future() for _ in cells]
        name = f"{len(cells)} heads" if len(cells) > 1 else cells[0].name
        epochs = cells[0].strategy.epochs
        with Progress(epochs, name, show=self._show, inner=True) as bar:
            try:
                runs = self.run(cells, lambda _: bar.advance())
            except Exception as error:
                if len(cells) == 1:
                    raise
                if not isinstance(error, ApartError):
                    log.info("%s one by one, after: %s", name, error)
                for future in futures:
                    future.set_exception(ApartError())
                return futures
        for future, run in zip(futures, runs, strict=True):
            future.set_result(run)
        return futures

    def run(self, cells: Sequence[Cell], on_epoch: Callable[[int], None]) -> list[Run]:
        """The runs of cells of one group, or of one cell."""
        shared, origin = self._shared, self._origin(cells[0])
        if self._files is not None:
            shared.files = self._files(cells[0], self._draws.seed_of(cells[0]))
        if len(cells) > 1:
            return finetune_stacked(
                cells,
                device=self._device,
                shared=shared,
                origin=origin,
                on_epoch=on_epoch,
            )
        run = attempt(
            cells[0],
            device=self._device,
            timeout=self._timeout,
            shared=shared,
            origin=origin,
            on_epoch=on_epoch,
        )
        return [run]

    def _origin(self, cell: Cell) -> str:
        seed = self._draws.seed_of(cell)
        return "\n".join([cell.model_name, cell.task.name, cell.dataset, seed])


class _Jobs:
    """Cells as jobs; each model, task and strategy is pickled once."""

    def __init__(
        self, files: FilesOf | None, device: str | None, timeout: float | None
    ) -> None:
        self._files, self._device, self._timeout = files, device, timeout
        self._parts: dict[tuple[str, str], Part] = {}
        self._draws = Draws()

    def of(self, cell: Cell) -> Job:
        """The cell's job."""
        model = self._part("model", cell.model_name, cell.model)
        task = self._part("task", cell.task.name, cell.task)
        strategy = self._part("strategy", cell.strategy.name, cell.strategy)
        drawn = self._draws.seed_of(cell)
        origin = [model.digest, task.digest, cell.dataset, cell.head or "", drawn]
        return Job(
            model=model,
            task=task,
            strategy=strategy,
            model_name=cell.model_name,
            head=cell.head,
            dataset=cell.dataset,
            seed=cell.seed,
            origin="\n".join(origin),
            files=None if self._files is None else self._files(cell, drawn),
            device=self._device,
            timeout=self._timeout,
        )

    def _part(self, what: str, name: str, value: object) -> Part:
        if (what, name) not in self._parts:
            self._parts[what, name] = Part.of(value, f"{what} {name!r}")
        return self._parts[what, name]
