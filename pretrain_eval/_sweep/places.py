"""Where the runs of a sweep happen: in this process, in workers, in any executor."""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future
from contextlib import contextmanager
from dataclasses import fields as fields_of
from dataclasses import replace
from typing import Any, final

from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._sweep.jobs import Job, Part, attempt, run_job
from pretrain_eval._sweep.keys import Draws
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._sweep.resources import Resources
from pretrain_eval._sweep.workers import WorkerPool
from pretrain_eval._training import (
    ApartError,
    Cell,
    FeatureFiles,
    OnEpoch,
    Surroundings,
    finetune_side_by_side,
    stackable,
)

log = logging.getLogger("pretrain_eval")

# Where the features of a cell may be kept, if anywhere; called with the seed that draws
# its weights, if one does.
FilesOf = Callable[[Cell, str], FeatureFiles | None]
# What the surroundings of one cell have of their own: its files, how far it goes.
OwnOf = Callable[[Cell], Mapping[str, Any]]


class Place(ABC):
    """Where runs happen.

    Attributes:
        window: How many starts may be under way at a time; None: all.
    """

    window: int | None

    @abstractmethod
    def group(self, cell: Cell) -> Hashable | None:
        """Cells of equal groups may be started together; None: it alone."""

    @abstractmethod
    def start(self, cells: Sequence[Cell]) -> Sequence[Future[Run]]:
        """Start the runs of cells of one group, or of one cell; each is a future."""


@contextmanager
def opened_place(
    resources: Resources,
    cells: Sequence[Cell],
    files: FilesOf,
    own: OwnOf,
    progress: Progress,
) -> Iterator[Place]:
    """Where the runs of the cells are to happen.

    Raises:
        ValueError: A cell cannot be sent there.
    """
    timeout, window = resources.timeout, resources.num_processes
    surroundings = Surroundings(device=resources.only_device, timeout=timeout)
    if resources.executor is not None:
        yield Elsewhere(resources.executor, None, surroundings, cells, files, own)
    elif not window:
        yield Here(surroundings, files, own, progress)
    else:
        with lasting(resources) as lasts:
            assert lasts.pool is not None  # since processes are wanted
            yield Elsewhere(lasts.pool, window, surroundings, cells, files, own)


@contextmanager
def lasting(resources: Resources) -> Iterator[Resources]:
    """Resources whose workers, where some are wanted, live as long as the context.

    Several sweeps in it start each worker once.
    """
    if resources.pool is not None or not resources.num_processes:
        yield resources
        return
    pool = WorkerPool(
        resources.num_processes, devices=resources.devices, timeout=resources.timeout
    )
    try:
        yield replace(resources, pool=pool)
    finally:
        # What is still under way when it is left is of no use to anybody.
        pool.shutdown(cancel_futures=True)


@final
class Here(Place):
    """Runs in this process, at once.

    Args:
        surroundings: Of every run.
        files: Where features may lie.
        own: What each cell has of its own; such cells run one by one.
        progress: Stands above the bar of each run.
    """

    window = 1

    def __init__(
        self,
        surroundings: Surroundings,
        files: FilesOf,
        own: OwnOf,
        progress: Progress,
    ) -> None:
        self._surroundings, self._files = surroundings, files
        self._own = own
        self._progress, self._draws = progress, Draws()

    @override
    def group(self, cell: Cell) -> Hashable | None:
        """Cells of one group train their heads side by side."""
        kind = stackable(cell.strategy)
        # Only alone can one run be too late, and the others not.
        if kind is None or self._surroundings.timeout is not None or self._own(cell):
            return None
        return self._origin(cell), kind

    @override
    def start(self, cells: Sequence[Cell]) -> list[Future[Run]]:
        """Run them, or find out that they cannot be run together."""
        futures: list[Future[Run]] = [Future() for _ in cells]
        name = f"{len(cells)} heads" if len(cells) > 1 else cells[0].name
        with self._progress.inner(cells[0].strategy.epochs or 1, name) as bar:
            try:
                runs = self.run(cells, lambda *_: bar.advance())
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

    def run(self, cells: Sequence[Cell], on_epoch: OnEpoch) -> list[Run]:
        """The runs of cells of one group, or of one cell."""
        cell = cells[0]
        surroundings = replace(
            self._surroundings,
            origin=self._origin(cell),
            files=self._files(cell, self._draws.of(cell)),
            **self._own(cell),
            on_epoch=on_epoch,
        )
        if len(cells) > 1:
            return finetune_side_by_side(cells, surroundings)
        return [attempt(cell, surroundings)]

    def _origin(self, cell: Cell) -> str:
        drawn = self._draws.of(cell)
        return "\n".join([cell.model_name, cell.task.name, cell.dataset, drawn])


@final
class Elsewhere(Place):
    """Runs as jobs of an executor; each model, task and strategy is pickled once.

    Args:
        executor: Runs the jobs.
        window: How many may be under way; None: all.
        surroundings: Of every run.
        cells: All that will be started; what cannot be sent raises ValueError.
        files: Where features may lie.
        own: What each cell has of its own; such cells run one by one.
    """

    def __init__(
        self,
        executor: Executor,
        window: int | None,
        surroundings: Surroundings,
        cells: Sequence[Cell],
        files: FilesOf,
        own: OwnOf,
    ) -> None:
        self.window, self._executor = window, executor
        self._surroundings, self._files = surroundings, files
        self._own = own
        self._parts: dict[tuple[str, str], Part] = {}
        self._draws = Draws()
        for cell in cells:
            self._job(cell)

    @override
    def group(self, cell: Cell) -> None:
        """Each cell is a job."""

    @override
    def start(self, cells: Sequence[Cell]) -> list[Future[Run]]:
        """Hand them over."""
        return [self._executor.submit(run_job, self._job(cell)) for cell in cells]

    def _job(self, cell: Cell) -> Job:
        # Not `vars`, where a cell keeps what it has made of its samples.
        fields = {field.name: getattr(cell, field.name) for field in fields_of(cell)}
        parts = {
            name: self._part(name, cell.names[name], fields.pop(name))
            for name in ("model", "task", "strategy")
        }
        drawn = self._draws.of(cell)
        digests = [parts["model"].digest, parts["task"].digest]
        origin = "\n".join([*digests, cell.dataset, cell.head or "", drawn])
        files = self._files(cell, drawn)
        own = dict(self._own(cell))
        keep = own.pop("keep", None)
        surroundings = replace(self._surroundings, origin=origin, files=files, **own)
        return Job(
            parts=parts,
            fields=fields,
            surroundings=surroundings,
            keep=None if keep is None else self._part("keep", "", keep),
        )

    def _part(self, kind: str, name: str, value: object) -> Part:
        if (kind, name) not in self._parts:
            self._parts[kind, name] = Part.of(value, f"{kind} {name!r}")
        return self._parts[kind, name]
