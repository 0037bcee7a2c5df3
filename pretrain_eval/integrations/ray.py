"""Ray as an executor: one run a task, on whatever cluster Ray is connected to."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future
from typing import Any, NamedTuple, TypeVar, final

from typing_extensions import override

from pretrain_eval._optional import needs
from pretrain_eval._sweep import Job, Part

T = TypeVar("T")


@final
class RayExecutor(Executor):
    """Runs what it is given as Ray tasks; for `sweep(..., executor=RayExecutor())`.

    Each model, task and strategy is put into Ray's object store once. A task whose node
    or worker dies is tried again by Ray. Results come back to the driver, which keeps
    them in its store as each run ends.

    Args:
        num_cpus: Cores reserved for a run, which are also its threads.
        num_gpus: GPUs reserved for a run; a fraction shares one.
        max_retries: How often Ray repeats a run whose worker died.

    Raises:
        ImportError: Ray is not installed.
    """

    def __init__(
        self, *, num_cpus: int = 1, num_gpus: float = 0, max_retries: int = 3
    ) -> None:
        self._ray = ray = needs("ray")
        if not ray.is_initialized():
            ray.init(log_to_driver=False)
        self._remote = ray.remote(
            num_cpus=num_cpus, num_gpus=num_gpus, max_retries=max_retries
        )(_call)
        self._threads = num_cpus
        self._put: dict[str, Any] = {}
        self._tasks: set[Any] = set()

    @override
    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        parts: list[Part] = []
        light = tuple(_without_parts(each, parts) for each in args)
        # References among a task's own arguments are fetched before it starts.
        references = [self._reference(part) for part in parts]
        task = self._remote.remote(self._threads, fn, light, kwargs, *references)
        self._tasks.add(task)
        future: Future[T] = Future()
        future.set_running_or_notify_cancel()

        def done(answer: Future[T]) -> None:
            self._tasks.discard(task)
            error = answer.exception()
            if error is None:
                future.set_result(answer.result())
            elif isinstance(error, self._ray.exceptions.RayTaskError):
                future.set_exception(error)
            else:  # a worker or a node died, more often than Ray repeats
                future.set_exception(BrokenExecutor(f"{type(error).__name__}: {error}"))

        task.future().add_done_callback(done)
        return future

    def _reference(self, part: Part) -> Any:
        if part.digest not in self._put:
            self._put[part.digest] = self._ray.put(part)
        return self._put[part.digest]

    @override
    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Forget what was put; Ray itself stays connected."""
        if cancel_futures:
            for task in list(self._tasks):
                self._ray.cancel(task)
        elif wait and self._tasks:
            self._ray.wait(list(self._tasks), num_returns=len(self._tasks))
        self._put.clear()


def _without_parts(value: Any, parts: list[Part]) -> Any:
    """A job whose parts are numbers in `parts`, which travel by themselves."""
    if not isinstance(value, Job):
        return value
    numbers = {name: len(parts) + i for i, name in enumerate(value.parts)}
    parts.extend(value.parts.values())
    return _Light(dataclasses.replace(value, parts={}), numbers)


class _Light(NamedTuple):
    """A job without its parts."""

    job: Job
    numbers: dict[str, int]

    def whole(self, parts: tuple[Part, ...]) -> Job:
        """The job with its parts."""
        own = {name: parts[number] for name, number in self.numbers.items()}
        return dataclasses.replace(self.job, parts=own)


def _call(
    threads: int,
    fn: Callable[..., T],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    *parts: Part,
) -> T:
    import torch

    torch.set_num_threads(threads)
    whole = (each.whole(parts) if isinstance(each, _Light) else each for each in args)
    return fn(*whole, **kwargs)
