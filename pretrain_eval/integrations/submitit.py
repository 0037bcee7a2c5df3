"""Slurm through submitit as an executor: one run a job of the cluster."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, final

from typing_extensions import override

from pretrain_eval._optional import needs
from pretrain_eval._sweep import Job, Part

if TYPE_CHECKING:
    import submitit

T = TypeVar("T")

_POLL_SECONDS = 1.0


@final
class SubmititExecutor(Executor):
    """Runs what it is given as submitit's jobs; for `sweep(..., executor=...)`.

    Each model, task and strategy is written once into the executor's folder, which the
    nodes must see; the sweep's store stays with the process that sweeps. A job that
    gave no result, because its node died or Slurm ended it, is tried once more by the
    sweep. What is cancelled, as by Ctrl-C, is cancelled on the cluster.

    Args:
        executor: Of submitit, such as `submitit.AutoExecutor(folder)`, with its
            parameters set: time, cores and memory of one run.

    Raises:
        ImportError: submitit is not installed.
    """

    def __init__(self, executor: submitit.Executor) -> None:
        names = needs("submitit")
        self._executor, self._raised = executor, names.FailedJobError
        self._folder: Path = names.JobPaths.get_first_id_independent_folder(
            executor.folder
        )
        self._jobs: dict[Future[Any], submitit.Job[Any]] = {}
        self._lock, self._watching = threading.Lock(), False

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        light = [self._written(each) if type(each) is Job else each for each in args]
        job = self._executor.submit(fn, *light, **kwargs)
        future: Future[T] = Future()
        with self._lock:
            self._jobs[future] = job
            watched, self._watching = self._watching, True
        future.add_done_callback(self._forget)
        if not watched:
            threading.Thread(target=self._watch, daemon=True).start()
        return future

    def _written(self, job: Job) -> Job:
        """The job with files in place of what it needs."""
        files = {name: self._file(part) for name, part in job.parts.items()}
        return dataclasses.replace(job, parts=files)

    def _file(self, part: Part) -> Part:
        path = self._folder / f"{part.digest}.part"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(".partial")
            partial.write_bytes(part.content)
            partial.replace(path)
        return _File(part.digest, b"", path)

    def _forget(self, future: Future[Any]) -> None:
        with self._lock:
            job = self._jobs.pop(future)
        if future.cancelled():
            job.cancel(check=False)

    def _watch(self) -> None:
        """Hand over what is done, until nothing is under way."""
        while True:
            with self._lock:
                jobs = dict(self._jobs)
                if not jobs:
                    self._watching = False
                    return
            for future, job in jobs.items():
                if job.done():
                    self._settle(future, job)
            time.sleep(_POLL_SECONDS)

    def _settle(self, future: Future[Any], job: submitit.Job[Any]) -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            result = job.result()
        except self._raised as error:  # holds the traceback of what the function raised
            future.set_exception(error)
        except Exception as error:
            future.set_exception(BrokenExecutor(str(error)))
        else:
            future.set_result(result)

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        with self._lock:
            futures = list(self._jobs)
        for future in futures:
            if cancel_futures:
                future.cancel()
            elif wait:
                future.exception()


@dataclasses.dataclass(frozen=True)
class _File(Part):
    """A part that is read from a file where it is needed."""

    path: Path

    @override
    def load(self) -> Any:
        return Part(self.digest, self.path.read_bytes()).load()
