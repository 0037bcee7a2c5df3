"""How several metrics become one, which counts, fetches and watches once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    Sequence,
    ValuesView,
)
from contextlib import AbstractContextManager
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeAlias, Union, final

import torch
from torch import Tensor, nn
from typing_extensions import Self

from pretrain_eval._habits import refusal
from pretrain_eval._metrics.computed import Computed
from pretrain_eval._metrics.counter import Counter, Held
from pretrain_eval._metrics.foreign import (
    Other,
    keywords_of,
    named_values,
)
from pretrain_eval._metrics.forward import unwrapped
from pretrain_eval._metrics.members import holds, members, prefix_of
from pretrain_eval._metrics.metric import (
    CountedMetric,
    Metric,
    SupportsUpdate,
    Value,
)
from pretrain_eval._metrics.state import load_state, state_of
from pretrain_eval._metrics.step_metric import StepMetric
from pretrain_eval._metrics.sync import fetch, fetch_counts, num_processes
from pretrain_eval._metrics.telling import Log, Telling
from pretrain_eval._optional import needs
from pretrain_eval._steps import (
    Attachment,
    joined,
    keyed,
    part_key,
    watch,
    watched_step,
)

if TYPE_CHECKING:
    import pandas
    from matplotlib.axes import Axes

Metrics: TypeAlias = Union[
    Metric,
    SupportsUpdate,
    "MetricCollection",
    Mapping[str, "Metrics"],
    Iterable["Metrics"],
]


@final
class MetricCollection:
    """Several metrics as one.

    Args:
        metrics: Each a metric of this library, one of torchmetrics, a collection of
            either, a `{"name": metric}` mapping, or a sequence of these. The key of a
            bare torchmetrics object is its class name in snake case; a collection of
            theirs keeps its own names.
        named: The same by name, which replaces the key, or stands before the keys of
            several. Any object with `update`, `compute` and `reset` may be given so.

    Raises:
        TypeError: What was given is no metric, or has no key.
        ValueError: Nothing was given, or two have one key.

    >>> from pretrain_eval import Accuracy, F1Score
    >>> metrics = MetricCollection(Accuracy(), F1Score(num_classes=2))
    >>> metrics.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metrics.compute()
    {'accuracy': 0.5, 'f1': 0.333...}
    """

    def __init__(self, *metrics: Metrics, **named: Metrics) -> None:
        self._metrics: dict[str, Metric | SupportsUpdate] = {}
        self._counted: dict[Counter, list[CountedMetric]] = {}
        self._others: list[Other] = []
        self._has_warned = False
        self._computed = Computed()
        for key, metric in (*members(metrics), *members(named)):
            self._add(key, metric)
        if not self._metrics:
            raise ValueError("MetricCollection expects at least one metric, got none")

    def _add(self, key: str, metric: Metric | SupportsUpdate) -> None:
        if key == "history":
            raise ValueError(
                "the key 'history' is of the collection's own; name the metric otherwise"
            )
        if key in self._metrics:
            raise ValueError(
                f"two metrics have the key {key!r}; name one of them:"
                " MetricCollection(my_name=...)"
            )
        if holds(list(self._metrics.values()), metric):
            raise ValueError(f"the metric {key!r} was given twice")
        self._metrics[key] = metric
        if isinstance(metric, CountedMetric):
            self._counted.setdefault(metric.counter, []).append(metric)
        elif not isinstance(metric, StepMetric):
            self._others.append(Other(key, metric, keywords_of(metric)))

    def __call__(self, outputs: Any, targets: Any, **named: Any) -> dict[str, Value]:
        """Count one batch, and give the values of this batch alone, of this process.

        Args:
            outputs: As `update` takes it, like the others.
            targets: What is right.
            named: Weights, and what members take by name.
        """
        counting = {
            key: metric
            for key, metric in self._metrics.items()
            if not isinstance(metric, StepMetric)
        }
        if not counting:
            raise TypeError(f"{', '.join(self)} read steps, not batches; attach them")
        batch = copy.deepcopy(MetricCollection(counting))
        batch.reset()
        batch.update(outputs, targets, **named)
        values = batch.compute(sync=False)
        self.update(outputs, targets, **named)
        return values

    def clone(self, *, prefix: str = "", postfix: str = "") -> Self:
        """A copy that counts by itself, with what was counted so far.

        Args:
            prefix: Before each key of the copy.
            postfix: Behind each key of the copy.
        """
        named = {f"{prefix}{key}{postfix}": m for key, m in self.items()}
        return copy.deepcopy(type(self)(named))

    if not TYPE_CHECKING:
        __getattr__ = refusal("collection")

    def keys(self) -> KeysView[str]:
        """The keys of the members, in their order."""
        return self._metrics.keys()

    def values(self) -> ValuesView[Metric | SupportsUpdate]:
        """The members, in their order."""
        return self._metrics.values()

    def items(self) -> ItemsView[str, Metric | SupportsUpdate]:
        """Keys and members, in their order."""
        return self._metrics.items()

    def __repr__(self) -> str:
        return f"MetricCollection({', '.join(map(repr, self._metrics.values()))})"

    def __iter__(self) -> Iterator[str]:
        return iter(self._metrics)

    def __len__(self) -> int:
        return len(self._metrics)

    def __getitem__(self, key: str) -> Metric | SupportsUpdate:
        if key not in self._metrics:
            raise KeyError(f"no {key!r} here; the keys are {list(self)}")
        return self._metrics[key]

    @property
    def step_metrics(self) -> tuple[StepMetric, ...]:
        """The members that read the optimizer's steps."""
        return tuple(m for m in self._metrics.values() if isinstance(m, StepMetric))

    def update(
        self,
        outputs: Any,
        targets: Any,
        *,
        weights: Tensor | None = None,
        **named: object,
    ) -> None:
        """Count one batch in every member; what members count alike, once.

        A batch that any member refuses leaves no trace in this library's metrics.

        Args:
            outputs: What the model returned; of an object with `logits`, these.
            targets: What is right.
            weights: One a sample; a boolean mask keeps samples, exactly. Members of
                other libraries that know no weights count what a mask of samples
                keeps, and otherwise every sample once, with a warning.
            named: For the members whose `update` takes an argument of this name, such
                as `indexes` of torchmetrics' retrieval metrics.

        Raises:
            TypeError: No member takes what was given by name.
        """
        outputs = unwrapped(outputs)
        self._require_takers(named, weights)
        batches = [
            counter.batch(outputs, targets, weights) for counter in self._counted
        ]
        # All are counted before any is added: a batch that raises leaves no trace.
        added = [
            pair
            for metrics, batch in zip(self._counted.values(), batches, strict=True)
            for pair in _added(metrics, batch)
        ]
        for other in self._others:
            other.update(outputs, targets, weights, named)
        for metric, counts in added:
            metric.counts = counts

    def _require_takers(
        self, named: Mapping[str, object], weights: Tensor | None
    ) -> None:
        """What is given by name reaches a member, and who ignores weights is named."""
        for name in named:
            if not any(other.takes(name) for other in self._others):
                raise TypeError(
                    f"none of {', '.join(self)} takes {name}= in its update"
                )
        if weights is None:
            return
        deaf = [other.key for other in self._others if not other.takes("weights")]
        if len(deaf) == len(self._others) and not self._counted:
            raise TypeError(f"weights mean nothing to {', '.join(self)}")
        if deaf and weights.dtype != torch.bool and not self._has_warned:
            self._has_warned = True
            warnings.warn(
                f"{', '.join(deaf)} took no weights: every sample counts once there",
                stacklevel=3,
            )

    def compute(self, *, sync: bool = True) -> dict[str, Value]:
        """Every member's value by key, fetched from the device together.

        A member that computes a mapping has its values under `key/name`. Where a
        collection holds both, metrics of steps are left out before the first step,
        and metrics of batches before the first batch.

        Args:
            sync: Sum over the processes of torch.distributed, where it was started, in
                one all_reduce; every process must then call this.
        """
        metrics = self._computable(sync)
        counted = [m for m in metrics.values() if isinstance(m, CountedMetric)]
        states = {
            key: list(metric.state())
            for key, metric in metrics.items()
            if isinstance(metric, StepMetric)
        }
        tensors = [tensor for state in states.values() for tensor in state]
        counts, fetched = fetch_counts(counted, tensors, sync=sync)
        sums, rest = iter(counts), iter(fetched)
        values: dict[str, Value] = {}
        of_batches: dict[str, Value] = {}
        for key, metric in metrics.items():
            found: dict[str, Value] = {}
            if isinstance(metric, CountedMetric):
                found[key] = metric.reported(next(sums))
            elif isinstance(metric, StepMetric):
                state = [next(rest) for _ in states[key]]
                found[key] = metric.value(*state)
                parts = metric.parts(*state)
                found |= {part_key(key, name): parts[name] for name in parts}
            else:
                found = named_values(prefix_of(key, metric), metric, sync=sync)
            if double := values.keys() & found.keys():
                raise ValueError(f"two members compute {sorted(double)}; name one")
            values |= found
            if not isinstance(metric, StepMetric):
                of_batches |= found
        # A row of its own would be a gap in the columns of steps.
        steps = [metric.log.last_step for metric in self.step_metrics]
        self._computed.note(of_batches, max(steps, default=None))
        return values

    def _computable(self, sync: bool) -> dict[str, Metric | SupportsUpdate]:
        """The members to compute: where both kinds are, those that have begun."""
        counted = [m for m in self._metrics.values() if isinstance(m, CountedMetric)]
        steps = self.step_metrics
        idle: list[object] = []
        if steps and len(self) > len(steps):
            idle += [m for m in steps if not m.log.folds()]
        # Of several processes another one may have seen a batch, and all must sum.
        alone = not sync or num_processes() == 1
        if steps and alone and all(m.counts is None for m in counted):
            idle += counted
        if len(idle) == len(self):
            idle = []
        return {k: m for k, m in self._metrics.items() if not holds(idle, m)}

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
        """What every member has counted or recorded, by key.

        Of torchmetrics' metrics, all their states. A member of another kind is asked
        for its own `state_dict`; one that has none is left out, with a warning.
        """
        state = state_of(self._metrics)
        if rows := self._computed.state_dict():
            state["history"] = rows
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; other keys or declarations raise."""
        members = dict(state)
        self._computed.load_state_dict(members.pop("history", {}))
        load_state(self._metrics, members)

    def reset(self) -> None:
        """Forget everything since the last reset, in every member."""
        for metric in self._metrics.values():
            metric.reset()

    @property
    def history(self) -> dict[str, tuple[float, ...]]:
        """The step metrics' values, a column each, and their `step` numbers.

        Also what `compute` has said of batches, at the step that was measured last, and
        NaN at the others; where no member reads steps, at 1, 2, ….
        """
        histories = [
            keyed(key, metric.log.columns())
            for key, metric in self._metrics.items()
            if isinstance(metric, StepMetric)
        ]
        return joined([*histories, self._computed.columns()])

    def plot(self, *, ax: Axes | None = None) -> Axes:
        """Draw the history: `pretrain_eval.plot.history` of this collection.

        Steps that were clipped or skipped are marked, where a member says which.

        Args:
            ax: Where to draw; a new figure by default.

        Raises:
            ImportError: matplotlib is not installed.
            ValueError: There is no history yet.
        """
        # Pictures stand above the metrics, and are known here by name alone.
        axes: Axes = import_module("pretrain_eval.plot").history(self, ax=ax)
        return axes

    def to_pandas(self) -> pandas.DataFrame:
        """The history as a data frame, a row a step, whose number is the index.

        Raises:
            ImportError: pandas is not installed.
        """
        table = {"step": (), **self.history}
        frame: pandas.DataFrame = needs("pandas").DataFrame(table)
        return frame.set_index("step")

    def step_values(self, prefix: str = "") -> dict[str, float]:
        """The step metrics' values since the last call; their window starts anew.

        Args:
            prefix: Before each key.

        Returns:
            Nothing, where no step was measured since.
        """
        metrics = self._steps_by_key()
        states = {key: metric.log.folds() for key, metric in metrics.items()}
        fetched = iter(fetch([t for tensors in states.values() for t in tensors]))
        values: dict[str, float] = {}
        for key, metric in metrics.items():
            parts = metric.parts(*(next(fetched) for _ in states[key]))
            values |= {prefix + part_key(key, name): parts[name] for name in parts}
            metric.reset()
        return values

    def _steps_by_key(self) -> dict[str, StepMetric]:
        return {
            key: metric
            for key, metric in self._metrics.items()
            if isinstance(metric, StepMetric)
        }

    def attach(
        self,
        optimizer: torch.optim.Optimizer | Sequence[torch.optim.Optimizer],
        model: nn.Module | None = None,
        *,
        every: int = 1,
        log: Log | None = None,
    ) -> Attachment:
        """Watch the optimizer's steps until the handle is closed.

        Args:
            optimizer: Watched, never changed. Several ones count together: a step is
                over when each of them has stepped, or one steps again.
            model: Gives the parameters their names, where a metric asks for them.
            every: Steps 1, 1 + every, 1 + 2·every, ... are measured, the others cost
                nothing. Steps of the optimizer, not batches.
            log: Called with the values of each measured step by key and its number, within
                a second, such as `integrations.trackers.tensorboard(writer)`; where it
                raises, it is called no more, and a warning says so.

        Returns:
            A context manager with `close`, and with a `clip_grad_norm_` that the
            metrics of clipping see.

        Raises:
            ValueError: The optimizer holds no parameters, the collection holds no
                step metric or is attached already, or `every` is not positive.
            TypeError: It is no optimizer and wraps none.
        """
        tells = None if log is None else Telling(self._steps_by_key(), log)
        return watch(optimizer, self.step_metrics, model, every=every, tells=tells)

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


def _added(
    metrics: Sequence[CountedMetric], batch: Held
) -> list[tuple[CountedMetric, Held]]:
    """Every metric's counts and the batch; those that hold the same go on doing so."""
    sums: dict[int, Held] = {}
    for metric in metrics:
        if id(metric.counts) not in sums:
            sums[id(metric.counts)] = metric.counter.add(metric.counts, batch)
    return [(metric, sums[id(metric.counts)]) for metric in metrics]
