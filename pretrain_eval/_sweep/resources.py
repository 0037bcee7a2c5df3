"""What a sweep may use: processes, devices, time."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from numbers import Real

import torch

from pretrain_eval._metrics import named_device


@dataclass(frozen=True, kw_only=True)
class Resources:
    """What a sweep may use; the attributes are arguments of `sweep`, but for one.

    Attributes:
        pool: Workers that are there already, and outlive the sweep.

    Raises:
        TypeError: The executor is none.
        ValueError: Two exclude each other, or one is out of range.
    """

    device: torch.device | str | Sequence[str] | None
    workers: int
    executor: Executor | None
    timeout: float | None
    pool: Executor | None = None

    def __post_init__(self) -> None:
        if type(self.workers) is not int or self.workers < 1:
            raise ValueError(
                f"sweep expects workers of at least 1, got {self.workers!r}"
            )
        if self.executor is not None and (self.workers > 1 or self.devices):
            raise ValueError(
                "sweep expects an executor, or workers and several devices, got both"
            )
        if self.executor is not None and not isinstance(self.executor, Executor):
            raise TypeError(
                "sweep expects a concurrent.futures.Executor, got"
                f" {type(self.executor).__name__}"
            )
        for name in self.devices:
            named_device(name)
        limit = self.timeout
        if limit is not None and not (isinstance(limit, Real) and limit > 0):
            raise ValueError(f"sweep expects a positive timeout, got {self.timeout!r}")

    @property
    def devices(self) -> tuple[str, ...]:
        """One for each worker in turn, where there are several."""
        if self.device is None or isinstance(self.device, str | torch.device):
            return ()
        if not isinstance(self.device, Sequence):
            raise TypeError(
                "sweep expects device to be one of torch's or a list of them, got"
                f" {self.device!r}"
            )
        return tuple(map(str, self.device))

    @property
    def only_device(self) -> str | None:
        """Where all train; None is the default, or one of several."""
        return None if self.device is None or self.devices else str(self.device)

    @property
    def num_processes(self) -> int:
        """How many worker processes are wanted; 0: the sweep's own is enough."""
        return self.workers if self.workers > 1 else len(self.devices)
