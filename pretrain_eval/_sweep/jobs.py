"""One run as a job: what it needs, carried anywhere, and its outcome as a record."""

from __future__ import annotations

import hashlib
import logging
import pickle
import threading
from collections.abc import Mapping
from concurrent.futures import BrokenExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run, Status
from pretrain_eval._training import Cell, Shared, Surroundings, finetune_cell

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


@dataclass(frozen=True, kw_only=True)
class Job:
    """A cell whose large fields are pickled once for all jobs that share them.

    Attributes:
        parts: Those fields, by name.
        fields: The others.
        surroundings: Without what is shared, which stays in a process.
        keep: The function of a run that says whether its weights are kept, if any.
    """

    parts: Mapping[str, Part]
    fields: Mapping[str, Any]
    surroundings: Surroundings
    keep: Part | None = None

    def on(self, device: str) -> Job:
        """The job, which is to be run on a device."""
        surroundings = replace(self.surroundings, device=device)
        return replace(self, surroundings=surroundings)

    def cell(self) -> Cell:
        """What is to be run."""
        loaded = {name: part.load() for name, part in self.parts.items()}
        return Cell(**self.fields, **loaded)


# What the jobs before have left in a process to those that follow. One job at a time,
# since a run draws from the process's global generators; an executor may run jobs in
# threads.
_ALONE = threading.Lock()
_LOADED = Shared(size=8)
_SHARED = Shared()


def run_job(job: Job) -> Run:
    """The run of a job, whatever happens to it."""
    with _ALONE:
        keep = None if job.keep is None else job.keep.load()
        surroundings = replace(job.surroundings, shared=_SHARED, keep=keep)
        return attempt(job.cell(), surroundings)


def attempt(cell: Cell, surroundings: Surroundings) -> Run:
    """The cell's run; one that raises becomes a record of what went wrong."""
    try:
        return finetune_cell(cell, surroundings)
    except Exception as error:
        return failed(cell, error)


def failed(cell: Cell, error: Exception) -> Run:
    """The record of a run that did not finish."""
    status, message = status_of(error), f"{type(error).__name__}: {error}"
    if isinstance(error, BrokenExecutor):
        message = str(error)
    log.warning("%s: %s: %s", cell.name, status, message)
    return Run(
        **cell.names,
        status=status,
        message=message,
        chance=cell.task.chance[cell.dataset],
        settings=cell.strategy.configuration,
    )


def status_of(error: Exception) -> Status:
    """How a run that raised `error` ended."""
    if isinstance(error, TimeoutError):
        return "timeout"
    if isinstance(error, BrokenExecutor):  # nobody knows why a process died
        return "error"
    # On the CPU torch raises a RuntimeError, which only its message tells apart.
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and any(words in str(error).lower() for words in _OUT_OF_MEMORY)
    ):
        return "oom"
    return "error"
