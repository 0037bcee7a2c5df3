"""What a network scores on a task: before any training, and after."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics import (
    Forward,
    Metric,
    MetricCollection,
    SupportsUpdate,
    Value,
    declared,
    device_of,
    moved,
    validate,
)
from pretrain_eval._runs import Better, Outcomes, Scale
from pretrain_eval._tasks import Network, Split, TaskKind, as_loader
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.fingerprint import fingerprint
from pretrain_eval._training.precision import computing


def forward_for(cell: Cell) -> Forward:
    """How a batch becomes outputs and targets for the metrics."""
    return _computed(cell, cell.task.kind.forward)


def learn_for(cell: Cell) -> Forward:
    """How a batch becomes outputs and targets for the loss."""
    return _computed(cell, cell.task.kind.learn)


def _computed(cell: Cell, read: Callable[[Network, Any], tuple[Any, Any]]) -> Forward:
    """Reads a batch on the model's device, as precisely as the strategy says."""

    def computed(model: nn.Module, batch: Any) -> tuple[Any, Any]:
        return read(computing(model, cell.strategy), moved(batch, device_of(model)))

    return computed


def metrics_of(kind: TaskKind, *others: Metric) -> MetricCollection:
    """New metrics of a kind and others, as one."""
    return MetricCollection(kind.metrics(), *others)


def scale_of(metric: Metric | SupportsUpdate) -> Scale | None:
    """The direction and range that a metric declares, in plain values."""
    higher, bounds = declared(metric)
    if higher is None:
        return None
    low, high = (end if math.isfinite(end) else None for end in bounds)
    better: Better = "higher" if higher else "lower"
    return Scale(better=better, low=low, high=high)


def measure(
    network: nn.Module, split: Split, cell: Cell, *others: Metric
) -> dict[str, Value]:
    """The scores on a split, with the values of other metrics."""
    # Without a backward pass, four times the batch fits where one trains.
    loader = as_loader(split, 4 * cell.strategy.batch_size, shuffle=False)
    metrics = metrics_of(cell.task.kind, *others)
    return validate(network, loader, metrics, forward=forward_for(cell))


class Reported(NamedTuple):
    """What the reported split shows of a model.

    Attributes:
        num_examples: How many samples it has, where they were measured.
        scores: By metric.
        confusion: Of a classification, (target, prediction, count).
        outcomes: Of each sample, the value of a metric that is their mean.
    """

    num_examples: int | None
    scores: Mapping[str, Value]
    confusion: tuple[tuple[int, int, int], ...]
    outcomes: Outcomes | None


# Samples of a reported split whose outcomes a run keeps: 12 kB as bits, 400 as numbers.
MOST_OUTCOMES = 100_000

NOTHING = Reported(None, {}, (), None)


def measure_reported(network: nn.Module, split: Split, cell: Cell) -> Reported:
    """The scores on the reported split, and what they were computed of."""
    samples = _Samples(cell.task.kind)
    scores = measure(network, split, cell, samples)
    del scores[samples.key]
    # Outputs that are not finite make no prediction, and their scores are NaN.
    if not all(score == score for score in scores.values()):
        return Reported(samples.num_samples, scores, (), None)
    confusion, outcomes = samples.confusion(), samples.outcomes()
    return Reported(samples.num_samples, scores, confusion, outcomes)


def measure_frozen(
    kind: TaskKind, rows: Tensor, targets: Tensor, reported: Iterable[Any]
) -> dict[str, Value]:
    """Scores of a predictor from frozen features.

    Args:
        kind: Makes the predictor, which stands in the head's place.
        rows: Features of the training split, `(num_rows, width)`.
        targets: Of each row.
        reported: Batches of features and targets.
    """
    predictor = kind.frozen(rows, targets)
    metrics = metrics_of(kind)
    for batch in reported:
        metrics.update(*kind.forward(predictor, batch))
    return metrics.compute()


class _Samples(Metric):
    """Keeps each sample's target, its predicted class and its outcome.

    A matrix of all pairs of classes, as in `ConfusionMatrix`, would have a hundred
    million entries for ten thousand classes, nearly all of them 0.
    """

    key = "num_samples"

    def __init__(self, kind: TaskKind) -> None:
        self._kind = kind
        self.reset()

    @override
    def update(self, outputs: Any, targets: Any) -> None:
        self.num_samples += len(targets)
        classes = self._kind.classes(outputs, targets)
        if classes is not None:
            self._classes.append(classes)
        if self._kind.outcomes_of == "split":
            self._kept.append((outputs.cpu(), targets.cpu()))
            return
        outcome = self._kind.outcomes(outputs, targets)
        if outcome is not None:
            self._outcome, values = outcome
            self._values.append(values)
        if classes is not None or outcome is not None:
            self._targets.append(targets)  # else masks of all images would be held

    @override
    def compute(self) -> float:
        return self.num_samples

    @override
    def reset(self) -> None:
        self.num_samples = 0
        self._targets: list[Any] = []
        self._classes: list[Tensor] = []
        self._outcome = ""
        self._values: list[Tensor] = []
        self._kept: list[tuple[Tensor, Tensor]] = []

    def confusion(self) -> tuple[tuple[int, int, int], ...]:
        """(target, prediction, count), sorted; none where a sample has no one class."""
        if not self._classes:
            return ()
        pairs = torch.stack([torch.cat(self._targets), torch.cat(self._classes)])
        counts = Counter(zip(*pairs.tolist(), strict=True))
        return tuple(sorted((*pair, count) for pair, count in counts.items()))

    def outcomes(self) -> Outcomes | None:
        """One value a sample; None where there are too many samples to keep."""
        if self._kept and self.num_samples <= MOST_OUTCOMES:
            outputs, targets = map(torch.cat, zip(*self._kept, strict=True))
            outcome = self._kind.outcomes(outputs, targets)
            if outcome is None:
                return None
            # Targets may be the model's own; the order is that of the split.
            examples = fingerprint(["split", self.num_samples])
            return Outcomes.of(outcome[0], examples, outcome[1].tolist())
        if not self._values or not 0 < self.num_samples <= MOST_OUTCOMES:
            return None
        values = torch.cat(self._values).cpu()
        # Samples in one order have their targets in one order.
        examples = fingerprint(_joined(self._targets))
        return Outcomes.of(self._outcome, examples, values.tolist())


def _joined(targets: list[Any]) -> list[Any]:
    """Targets of batches as one tensor, where they are tensors of one width."""
    tensors = [target.cpu() for target in targets if isinstance(target, Tensor)]
    if len(tensors) < len(targets) or len({t.shape[1:] for t in tensors}) > 1:
        return targets
    return [torch.cat(tensors)]
