"""One run as a job: what it needs, carried anywhere, and its outcome as a record."""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

import torch

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run, Status
from pretrain_eval._sweep.cell import Cell
from pretrain_eval._training import FeatureFiles, Shared, finetune_sharing

log = logging.getLogger("pretrain_eval")

_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory")


@dataclass(frozen=True)
class Part:
    """A pickled object that many jobs need, named by its content."""

    digest: str
    content: bytes = field(repr=False)

    @classmethod
    def of(cls, value: object, what: str) -> Part:
        """The part that holds `value`.

        Raises:
            ValueError: It cannot be pickled; the message says `what` it is.
            ImportError: cloudpickle is not installed.
        """
        # It carries functions that are defined in a script or in another function,
        # which plain pickle refuses.
        cloudpickle = needs("workers")
        try:
            content: bytes = cloudpickle.dumps(value)
        except Exception as error:
            raise ValueError(
                f"{what} cannot be sent to a worker process: {error}; give a builder"
                " that opens files and connections itself"
            ) from error
        return cls(hashlib.blake2b(content, digest_size=16).hexdigest(), content)

    def load(self) -> Any:
        """The object, read once while it is among the latest."""
        return _LOADED.once(self.digest, lambda: pickle.loads(self.content))


@dataclass(frozen=True)
class Job:
    """A cell whose large parts are pickled once for all jobs that share them."""

    _: KW_ONLY
    model: Part
    task: Part
    strategy: Part
    model_name: str
    head: str | None
    dataset: str
    seed: int
    origin: str
    files: FeatureFiles | None
    device: str | None
    timeout: float | None


# In a worker process: what the jobs before have left to those that follow. One job at a
# time, since a run draws from the process's global generators; an executor may run jobs
# in threads.
_ALONE = threading.Lock()
_LOADED = Shared(size=8)
_SHARED = Shared()
_place: dict[str, str] = {}


def use_device(device: str) -> None:
    """Where this process trains the jobs that name no device."""
    _place["device"] = device


def run_job(job: Job) -> Run:
    """The run of a job, whatever happens to it."""
    with _ALONE:
        return _run_job(job)


def _run_job(job: Job) -> Run:
    cell = Cell(
        model_name=job.model_name,
        model=job.model.load(),
        head=job.head,
        task=job.task.load(),
        dataset=job.dataset,
        strategy=job.strategy.load(),
        seed=job.seed,
    )
    _SHARED.files = job.files
    return attempt(
        cell,
        device=job.device or _place.get("device"),
        timeout=job.timeout,
        shared=_SHARED,
        origin=job.origin,
    )


def attempt(
    cell: Cell,
    *,
    device: torch.device | str | None,
    timeout: float | None,
    shared: Shared,
    origin: str,
    on_epoch: Callable[[int], None] | None = None,
) -> Run:
    """The cell's run; one that raises becomes a record of what went wrong."""
    try:
        return finetune_sharing(
            cell.model,
            cell.task,
            cell.strategy,
            seed=cell.seed,
            label=cell.dataset,
            name=cell.model_name,
            head=cell.head,
            device=device,
            on_epoch=on_epoch,
            checkpoint=None,
            shared=shared,
            origin=origin,
            timeout=timeout,
        )
    except Exception as error:
        return failed(cell, status_of(error), f"{type(error).__name__}: {error}")


def failed(cell: Cell, status: Status, message: str) -> Run:
    """The record of a run that did not finish."""
    log.warning("%s: %s: %s", cell.name, status, message)
    return Run(
        model=cell.model_name,
        task=cell.task.name,
        dataset=cell.dataset,
        strategy=cell.strategy.name,
        seed=cell.seed,
        status=status,
        message=message,
        chance=cell.task.chance[cell.dataset],
        settings=cell.strategy.configuration,
    )


def status_of(error: BaseException) -> Status:
    """How a run that raised `error` ended."""
    if isinstance(error, TimeoutError):
        return "timeout"
    # On the CPU torch raises a RuntimeError, which only its message tells apart.
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error).lower() for words in _OUT_OF_MEMORY)
    ):
        return "oom"
    return "error"
