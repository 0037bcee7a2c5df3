"""A kind of problem in plain functions."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from typing import Any, final

from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._tasks.kind import Before, Network, Place, TaskKind
from pretrain_eval._tasks.splits import Splits

Read = Callable[[Any, Any], tuple[Any, Any]]


@final
@dataclass(frozen=True)
class Altered(TaskKind):
    """Another kind, or none, with functions in place of what it says.

    Attributes:
        kind: What else there is; None: the functions say all.
        forward_with: Called with model and batch, returns outputs and targets.
        loss_with: Called with outputs and targets.
        metrics_with: Copied for every use.
    """

    kind: TaskKind | None
    _: KW_ONLY
    forward_with: Read | None = None
    loss_with: Callable[[Any, Any], Tensor] | None = None
    metrics_with: Metrics | None = None

    def __str__(self) -> str:
        parts = ("forward", "loss", "metrics")
        own = [name for name in parts if getattr(self, f"{name}_with") is not None]
        return f"{self.kind or 'a task'} with its own {', '.join(own)}"

    @property
    def _reader(self) -> TaskKind | None:
        """The kind, where no other function reads its batches."""
        return self.kind if self.forward_with is None else None

    @property
    def num_outputs(self) -> int | None:  # type: ignore[override] # read only
        """Those of the kind."""
        return self.kind.num_outputs if self.kind else None

    @property
    def place(self) -> Place:  # type: ignore[override] # read only
        """That of the kind."""
        return self.kind.place if self.kind else "sample"

    @property
    def before(self) -> Before | None:  # type: ignore[override] # read only
        """That of the kind, unless another function reads its batches."""
        if self._reader is not None:
            return self._reader.before
        return "untrained" if self.num_outputs is None else None

    @property
    def collate(self) -> Callable[[list[Any]], Any] | None:  # type: ignore[override] # read only
        """That of the kind."""
        return self.kind.collate if self.kind else None

    @override
    def metrics(self) -> Metrics:
        if self.metrics_with is not None:
            return copy.deepcopy(self.metrics_with)
        assert self.kind is not None  # checked by the task
        return self.kind.metrics()

    @override
    def read(self, model: Network, batch: Any) -> tuple[Any, Any]:
        return self.kind.read(model, batch) if self.kind else super().read(model, batch)

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Any, Any]:
        if self.forward_with is not None:
            return self.forward_with(model, batch)
        return self.kind.learn(model, batch) if self.kind else self.read(model, batch)

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Any, Any]:
        if self.forward_with is not None:
            return self.forward_with(model, batch)
        return self.kind.forward(model, batch) if self.kind else self.read(model, batch)

    @override
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        if self.loss_with is not None:
            return self.loss_with(outputs, targets)
        if self.kind is None:
            raise ValueError("the task has no loss; give Task or Strategy a loss=...")
        return self.kind.loss(outputs, targets)

    @override
    def tensor(self, outputs: Any) -> Any:
        return self.kind.tensor(outputs) if self.kind else outputs

    @override
    def check(self, what: str, splits: Splits) -> None:
        if self._reader is not None:
            self._reader.check(what, splits)

    @property
    def outcomes_of(self) -> Any:  # type: ignore[override] # read only
        """That of the kind."""
        return self.kind.outcomes_of if self.kind else "batch"

    @override
    def posed(self, splits: Splits) -> Splits:
        return splits if self.kind is None else self.kind.posed(splits)

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        return self._reader.chance(splits) if self._reader else {}

    @override
    def rows(self, features: Tensor, targets: Any) -> tuple[Tensor, Tensor]:
        assert self.kind is not None  # else nothing is frozen
        return self.kind.rows(features, targets)

    @override
    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        assert self.kind is not None  # else nothing is frozen
        return self.kind.frozen(rows, targets)

    @override
    def outcomes(self, outputs: Any, targets: Any) -> tuple[str, Tensor] | None:
        return self._reader.outcomes(outputs, targets) if self._reader else None

    @override
    def classes(self, outputs: Any, targets: Any) -> Tensor | None:
        return self._reader.classes(outputs, targets) if self._reader else None
