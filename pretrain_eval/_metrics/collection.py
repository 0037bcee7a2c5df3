"""How several metrics become one, which counts, fetches and watches once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, final

import torch
from torch import Tensor, nn

from pretrain_eval._metrics.counter import Counter, Held
from pretrain_eval._metrics.metric import (
    CountedMetric,
    Metric,
    StepMetric,
    SupportsUpdate,
    Value,
    value_of,
)
from pretrain_eval._metrics.sync import fetch, fetch_counts
from pretrain_eval._steps import (
    Attachment,
    joined,
    keyed,
    part_key,
    watch,
    watched_step,
)


@final
class MetricCollection:
    """Several metrics as one.

    Args:
        metrics: Metrics of this library, or objects with `update`, `compute` and
            `reset`, for example torchmetrics'; give those by name.
        named: The same by name, which replaces their key.

    >>> from pretrain_eval import Accuracy, F1Score
    >>> metrics = MetricCollection(Accuracy(), F1Score(num_classes=2))
    >>> metrics.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metrics.compute()
    {'accuracy': 0.5, 'f1': 0.333...}
    """

    def __init__(self, *metrics: Metric, **named: Metric | SupportsUpdate) -> None:
        self._metrics: dict[str, Metric | SupportsUpdate] = {}
        self._counted: dict[Counter, list[CountedMetric]] = {}
        self._others: list[Metric | SupportsUpdate] = []
        for metric in metrics:
            key = getattr(metric, "key", None)
            if not isinstance(key, str):
                raise TypeError(
                    f"{metric!r} has no key; name it: MetricCollection(my_name=...)"
                )
            self._add(key, metric)
        for key, other in named.items():
            self._add(key, other)
        if not self._metrics:
            raise ValueError("MetricCollection expects at least one metric, got none")

    def _add(self, key: str, metric: object) -> None:
        if isinstance(metric, type) or not isinstance(metric, Metric | SupportsUpdate):
            raise TypeError(
                f"MetricCollection expects objects with update, compute and reset,"
                f" got {metric!r} for {key!r}"
            )
        if key in self._metrics:
            raise ValueError(
                f"two metrics have the key {key!r}; name one of them:"
                " MetricCollection(my_name=...)"
            )
        if any(metric is other for other in self._metrics.values()):
            raise ValueError(f"the metric {key!r} was given twice")
        self._metrics[key] = metric
        if isinstance(metric, CountedMetric):
            self._counted.setdefault(metric.counter, []).append(metric)
        elif not isinstance(metric, StepMetric):
            self._others.append(metric)

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __getitem__(self, key: str) -> Metric | SupportsUpdate:
        return self._metrics[key]

    @property
    def step_metrics(self) -> tuple[StepMetric, ...]:
        """The members that read the optimizer's steps."""
        return tuple(m for m in self._metrics.values() if isinstance(m, StepMetric))

    def update(
        self, outputs: Tensor, targets: Tensor, *, weights: Tensor | None = None
    ) -> None:
        """Count one batch in every member; what members count alike, once.

        Args:
            outputs: What the model returned.
            targets: What is right.
            weights: One a sample; a boolean mask keeps samples, exactly.

        Raises:
            TypeError: A member does not take weights.
        """
        if weights is not None and self._others:
            raise TypeError(f"weights mean nothing to {self._others[0]!r}")
        # All are counted before any is added: a batch that raises leaves no trace.
        batches = [
            counter.batch(outputs, targets, weights) for counter in self._counted
        ]
        for metrics, batch in zip(self._counted.values(), batches, strict=True):
            _add_batch(metrics, batch)
        for metric in self._others:
            metric.update(outputs, targets)

    def compute(self, *, sync: bool = True) -> dict[str, Value]:
        """Every member's value by key, fetched from the device together.

        Args:
            sync: Sum over the processes of torch.distributed, where it was started, in
                one all_reduce; every process must then call this.
        """
        counted = [m for m in self._metrics.values() if isinstance(m, CountedMetric)]
        states = {
            key: list(metric.state())
            for key, metric in self._metrics.items()
            if isinstance(metric, StepMetric)
        }
        tensors = [tensor for state in states.values() for tensor in state]
        counts, fetched = fetch_counts(counted, tensors, sync=sync)
        sums, rest = iter(counts), iter(fetched)
        values: dict[str, Value] = {}
        for key, metric in self._metrics.items():
            if isinstance(metric, CountedMetric):
                values[key] = metric.reported(next(sums))
            elif isinstance(metric, StepMetric):
                state = [next(rest) for _ in states[key]]
                values[key] = metric.value(*state)
                parts = metric.parts(*state)
                values |= {part_key(key, name): parts[name] for name in parts}
            else:
                values[key] = value_of(metric, sync=sync)
        return values

    def merge(self, other: MetricCollection) -> None:
        """Count what the members of `other` have counted, too; keys must agree."""
        if set(self) != set(other):
            raise ValueError(f"expected members {sorted(self)}, got {sorted(other)}")
        pairs = [(self[key], other[key]) for key in self]
        for metric, _ in pairs:
            if not isinstance(metric, CountedMetric):
                raise TypeError(f"{metric!r} cannot be merged: it is no sum of samples")
        for metric, twin in pairs:
            if isinstance(metric, CountedMetric) and isinstance(twin, CountedMetric):
                metric.merge(twin)

    def state_dict(self) -> dict[str, Any]:
        """What every member has counted or recorded, by key."""
        return {key: metric.state_dict() for key, metric in self._kept().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; other keys or declarations raise."""
        own = self._kept()
        if set(own) != set(state):
            raise ValueError(
                f"expected the state of {sorted(own)}, got {sorted(state)}"
            )
        for key, metric in own.items():
            metric.load_state_dict(state[key])

    def _kept(self) -> dict[str, CountedMetric | StepMetric]:
        """The members whose state can be kept; others keep their own."""
        kept = CountedMetric | StepMetric
        return {k: m for k, m in self._metrics.items() if isinstance(m, kept)}

    def reset(self) -> None:
        """Forget everything since the last reset, in every member."""
        for metric in self._metrics.values():
            metric.reset()

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """The step metrics' values, a column each, and their `step` numbers."""
        return joined(
            keyed(key, metric.log.columns())
            for key, metric in self._metrics.items()
            if isinstance(metric, StepMetric)
        )

    def step_values(self, prefix: str = "") -> dict[str, float]:
        """The step metrics' values since the last call; their window starts anew.

        Args:
            prefix: Before each key.

        Returns:
            Nothing, where no step was measured since.
        """
        metrics = {
            key: metric
            for key, metric in self._metrics.items()
            if isinstance(metric, StepMetric)
        }
        states = {key: metric.log.folds() for key, metric in metrics.items()}
        fetched = iter(fetch([t for tensors in states.values() for t in tensors]))
        values: dict[str, float] = {}
        for key, metric in metrics.items():
            parts = metric.parts(*(next(fetched) for _ in states[key]))
            values |= {prefix + part_key(key, name): parts[name] for name in parts}
            metric.reset()
        return values

    def attach(
        self,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        model: nn.Module | None = None,
        *,
        every: int = 1,
    ) -> Attachment:
        """Watch the optimizer's steps until the handle is closed.

        Args:
            optimizer: Watched, never changed. Several ones count together: a step is
                over when each of them has stepped, or one steps again.
            model: Gives the parameters their names, where a metric asks for them.
            every: Steps 1, 1 + every, 1 + 2·every, ... are measured, the others cost
                nothing. Steps of the optimizer, not batches.

        Returns:
            A context manager with `close`, and with a `clip_grad_norm_` that the
            metrics of clipping see.

        Raises:
            ValueError: The optimizer holds no parameters, the collection holds no
                step metric or is attached already, or `every` is not positive.
            TypeError: It is no optimizer and wraps none.
        """
        return watch(optimizer, self.step_metrics, model, every=every)

    def step(self, model: nn.Module | Iterable[Tensor]) -> AbstractContextManager[None]:
        """Measure the step that happens inside the block, where nothing can be hooked.

        Gradients are read as they are when the block begins.

        Args:
            model: What the step moves: a model or its parameters.

        >>> from pretrain_eval import UpdateNorm
        >>> model = torch.nn.Linear(1, 1)
        >>> metrics = MetricCollection(UpdateNorm())
        >>> with metrics.step(model), torch.no_grad():
        ...     _ = model.weight.add_(0.5)
        >>> round(metrics.compute()["update_norm"], 6)
        0.5
        """
        return watched_step(model, self.step_metrics)


def _add_batch(metrics: Sequence[CountedMetric], batch: Held) -> None:
    """Add to every metric's counts; those that hold the same ones go on doing so."""
    before, after = metrics[0].counts, metrics[0].counter.add(metrics[0].counts, batch)
    others: dict[int, tuple[Held | None, Held]] = {}
    for metric in metrics:
        counts = metric.counts
        if counts is before:
            metric.counts = after
            continue
        if id(counts) not in others:
            # The old vector is kept too, so that nothing else takes its identity.
            others[id(counts)] = counts, metric.counter.add(counts, batch)
        metric.counts = others[id(counts)][1]
