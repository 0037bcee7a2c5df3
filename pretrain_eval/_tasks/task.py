"""What is asked of a model: tasks with their datasets."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Any

from torch import Tensor

from pretrain_eval._metrics import MetricCollection, Metrics
from pretrain_eval._runs import FrozenDict
from pretrain_eval._tasks.altered import Altered, Read
from pretrain_eval._tasks.checks import check_name
from pretrain_eval._tasks.classification import Classification
from pretrain_eval._tasks.kind import TaskKind
from pretrain_eval._tasks.regression import Regression
from pretrain_eval._tasks.splits import Splits


@dataclass(frozen=True)
class Task:
    """A kind of problem, and the datasets that pose it.

    Its kind says how a batch becomes outputs and targets, the loss, the metrics, the
    width of the head, what is chance and what is scored before any training. Functions
    replace what the kind says; `forward`, `loss` and `metrics` together need no kind,
    and then a model keeps its head and is scored before training as it is.

    Args:
        name: How records name it.
        datasets: A `Splits` by label; the labels name domains or corpora in the task.
            None has no samples, for a strategy whose own training makes them, such as
            an environment; it needs no kind.
        num_classes: Short for `kind=Classification(num_classes)`.
        num_outputs: Short for `kind=Regression(num_outputs)`.
        kind: One of the kinds, or a `TaskKind` of your own.
        forward: Called with a model and a batch on its device, returns outputs and
            targets: in train mode for the loss, in eval mode for the metrics, which
            `model.training` tells apart.
        loss: Called with outputs and targets; a strategy's own loss comes before it.
        metrics: What is scored, the first reported first; see `MetricCollection`.
        chance: By metric, what a predictor scores that ignores its input, where the
            kind does not know it; or that by dataset.

    Raises:
        TypeError: A dataset is no `Splits`, a function cannot be called.
        ValueError: No dataset; no kind, or more than one; targets of another kind.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> train = TensorDataset(torch.randn(8, 3), torch.arange(8) % 2)
    >>> valid = TensorDataset(torch.randn(4, 3), torch.arange(4) % 2)
    >>> task = Task("parity", datasets={"clean": Splits(train, valid)}, num_classes=2)
    >>> task.kind
    Classification(num_classes=2, one_logit=False)
    >>> task.chance["clean"]["accuracy"]
    0.5
    """

    name: str
    _: KW_ONLY
    datasets: Mapping[str, Splits | None]
    num_classes: int | None = None
    num_outputs: int | None = None
    kind: TaskKind = None  # type: ignore[assignment] # made of the rest where not given
    forward: Read | None = None
    loss: Callable[[Any, Any], Tensor] | None = None
    metrics: Metrics | None = None
    chance: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_name("Task", self.name)
        if not isinstance(self.datasets, Mapping) or not self.datasets:
            raise ValueError(
                f"task {self.name!r} expects datasets={{label: Splits(...)}},"
                f" got {self.datasets!r}"
            )
        for label, splits in self.datasets.items():
            check_name("a dataset label", label)
            if not isinstance(splits, Splits | None):
                raise TypeError(
                    f"task {self.name!r} expects Splits for {label!r},"
                    f" got {type(splits).__name__}"
                )
        object.__setattr__(self, "datasets", FrozenDict(self.datasets))
        object.__setattr__(self, "kind", self._resolved())
        levels = {label: FrozenDict(self._levels(label)) for label in self.datasets}
        object.__setattr__(self, "chance", FrozenDict(levels))

    @property
    def is_named(self) -> bool:
        """Whether `num_classes` or `num_outputs` alone says what kind it is."""
        if self.num_classes is not None:
            return self.kind == Classification(self.num_classes)
        return self.num_outputs is not None and self.kind == Regression(
            self.num_outputs
        )

    @property
    def _is_bare(self) -> bool:
        """Whether no dataset has samples."""
        return all(splits is None for splits in self.datasets.values())

    def _resolved(self) -> TaskKind:
        """The one kind that the arguments say."""
        if isinstance(self.kind, Altered):  # of a task that this one is copied from
            return self.kind
        for name in ("forward", "loss"):
            if not (getattr(self, name) is None or callable(getattr(self, name))):
                raise TypeError(
                    f"task {self.name!r}: {name} must be callable, got"
                    f" {getattr(self, name)!r}"
                )
        if self._is_bare and self.kind is None:
            return Altered(None, metrics_with=self._own_metrics() or [])
        kind = self._named_kind()
        metrics = self._own_metrics()
        if self.forward is None and self.loss is None and metrics is None:
            assert kind is not None  # or _named_kind had raised
            return kind
        return Altered(
            kind,
            forward_with=self.forward,
            loss_with=self.loss,
            metrics_with=metrics,
        )

    def _own_metrics(self) -> Metrics | None:
        if self.metrics is None:
            return None
        try:
            MetricCollection(copy.deepcopy(self.metrics))
        except (TypeError, ValueError) as error:
            raise type(error)(f"task {self.name!r}: metrics: {error}") from error
        return self.metrics

    def _named_kind(self) -> TaskKind | None:
        given = {
            name: getattr(self, name)
            for name in ("num_classes", "num_outputs", "kind")
            if getattr(self, name) is not None
        }
        what = f"task {self.name!r}"
        if isinstance(self.kind, Classification | Regression):
            given.pop(_SHORT[type(self.kind)], None)  # as a copy of a task has it
        if len(given) > 1:
            raise ValueError(f"{what} expects one kind, got {given}")
        if not given and (self.forward is None or self.metrics is None):
            raise ValueError(
                f"{what} expects num_classes for classification, num_outputs for"
                " regression, kind=... for another kind of problem, or forward, loss"
                " and metrics of its own"
            )
        if self.kind is not None and not isinstance(self.kind, TaskKind):
            raise TypeError(
                f"{what} expects kind as a TaskKind such as Segmentation(3), got"
                f" {self.kind!r}"
            )
        try:
            if "num_classes" in given:
                return Classification(given["num_classes"])
            if "num_outputs" in given:
                return Regression(given["num_outputs"])
        except ValueError as error:
            raise ValueError(f"{what}: {error}") from error
        for kind, short in _SHORT.items():
            if isinstance(self.kind, kind):
                object.__setattr__(self, short, getattr(self.kind, short))
        return self.kind

    def _levels(self, label: str) -> dict[str, float]:
        """The chance of each metric on a dataset whose targets were checked."""
        splits, known = self.datasets[label], {}
        if splits is not None:
            self.kind.check(f"{self.name}/{label}", splits)
            known = dict(self.kind.chance(splits))
        given = self.chance
        if given and all(isinstance(level, Mapping) for level in given.values()):
            unknown = sorted(set(given) - set(self.datasets))
            if unknown:
                raise ValueError(
                    f"task {self.name!r}: chance names datasets {unknown}; there are"
                    f" {list(self.datasets)}"
                )
            given = given.get(label, {})
        return {**known, **given}


# What a task calls the number that makes the kind.
_SHORT: Mapping[type[TaskKind], str] = {
    Classification: "num_classes",
    Regression: "num_outputs",
}
