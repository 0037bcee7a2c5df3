"""What a network scores on a task: frozen, before any training, and after."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import (
    Forward,
    Metric,
    MetricCollection,
    Value,
    device_of,
    moved,
    validate,
)
from pretrain_eval._metrics.predictions import (
    Accuracy,
    F1Score,
    MeanSquaredError,
    Precision,
    R2Score,
    Recall,
)
from pretrain_eval._runs import Better, Outcomes, Scale
from pretrain_eval._tasks import Split, Task, as_loader
from pretrain_eval._training.cell import Cell
from pretrain_eval._training.feature_files import Features
from pretrain_eval._training.fingerprint import fingerprint
from pretrain_eval._training.precision import computed


def forward_for(cell: Cell) -> Forward:
    """How a batch becomes outputs and targets of the shapes that the loss reads."""

    def forward(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        inputs, targets = moved(batch, device_of(model))
        outputs = computed(model, inputs, cell.strategy)
        if not cell.task.is_classification:
            targets = targets.to(outputs.dtype).reshape(outputs.shape)
        return outputs, targets

    return forward


def scores_for(task: Task) -> list[Metric]:
    """The metrics that a run reports: macro averages for classes, r2 for numbers."""
    if task.is_classification:
        return [Accuracy(), Precision(), Recall(), F1Score()]
    return [R2Score(), MeanSquaredError()]


def scale_of(metric: Metric) -> Scale:
    """The direction and range that a metric declares, in plain values."""
    low, high = (end if math.isfinite(end) else None for end in metric.bounds)
    better: Better = "higher" if metric.higher_is_better else "lower"
    return Scale(better=better, low=low, high=high)


def measure(
    network: nn.Module, split: Split, cell: Cell, *others: Metric
) -> dict[str, Value]:
    """The scores on a split, with the values of other metrics."""
    # Without a backward pass, four times the batch fits where one trains.
    loader = as_loader(split, 4 * cell.strategy.batch_size, shuffle=False)
    metrics = MetricCollection(*scores_for(cell.task), *others)
    return validate(network, loader, metrics, forward=forward_for(cell))


class Reported(NamedTuple):
    """What the reported split shows of a model.

    Attributes:
        num_examples: How many samples it has, where they were measured.
        scores: By metric.
        confusion: Of a classification, (target, prediction, count).
        outcomes: Of each sample, right or wrong, or its squared error.
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
    samples = _Samples()
    scores = measure(network, split, cell, samples)
    del scores[samples.key]
    # Outputs that are not finite make no prediction, and their scores are NaN.
    if not all(score == score for score in scores.values()):
        return Reported(samples.num_samples, scores, (), None)
    confusion, outcomes = samples.confusion(), samples.outcomes()
    return Reported(samples.num_samples, scores, confusion, outcomes)


def measure_baseline(
    train: Features, reported: Features, task: Task
) -> dict[str, Value]:
    """Scores of a frozen evaluation of the features that the head reads."""
    features, queries = (part.inputs.flatten(1).float() for part in (train, reported))
    targets = reported.targets
    if task.num_classes is not None:
        nearest = nearest_class_mean(features, train.targets, queries, task.num_classes)
        outputs = F.one_hot(nearest, task.num_classes).float()
    else:
        numbers = train.targets.reshape(len(train.targets), -1)
        outputs = ridge(features, numbers, queries)
        targets = targets.to(outputs.dtype).reshape(outputs.shape)
    metrics = MetricCollection(*scores_for(task))
    metrics.update(outputs, targets)
    return metrics.compute()


class _Samples(Metric):
    """Keeps each sample's target, and its prediction or its squared error.

    A matrix of all pairs of classes, as in `ConfusionMatrix`, would have a hundred
    million entries for ten thousand classes, nearly all of them 0.
    """

    key = "num_samples"

    def __init__(self) -> None:
        self.reset()

    @override
    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self.num_samples += len(targets)
        self._targets.append(targets)
        if outputs.ndim == 2 and targets.ndim == 1 and not targets.is_floating_point():
            self._predictions.append(outputs.argmax(1))  # of ties the first
        elif outputs.shape == targets.shape:
            errors = (outputs.double() - targets.double()) ** 2
            self._errors.append(errors.reshape(len(errors), -1).mean(1))

    @override
    def compute(self) -> float:
        return self.num_samples

    @override
    def reset(self) -> None:
        self.num_samples = 0
        self._targets: list[Tensor] = []
        self._predictions: list[Tensor] = []
        self._errors: list[Tensor] = []

    def confusion(self) -> tuple[tuple[int, int, int], ...]:
        """(target, prediction, count), sorted; none where a sample has no one class."""
        if len(self._predictions) < len(self._targets):
            return ()
        pairs = torch.stack([torch.cat(self._targets), torch.cat(self._predictions)])
        counts = Counter(zip(*pairs.tolist(), strict=True))
        return tuple(sorted((*pair, count) for pair, count in counts.items()))

    def outcomes(self) -> Outcomes | None:
        """One value a sample; None where there are too many samples to keep."""
        if not 0 < self.num_samples <= MOST_OUTCOMES:
            return None
        targets = torch.cat(self._targets).cpu()
        # Samples in one order have their targets in one order.
        examples = fingerprint([targets])
        if len(self._predictions) == len(self._targets):
            right = torch.cat(self._predictions).cpu() == targets
            return Outcomes.of("accuracy", examples, right.tolist())
        if len(self._errors) == len(self._targets):
            return Outcomes.of("mse", examples, torch.cat(self._errors).tolist())
        return None


def nearest_class_mean(
    features: Tensor, targets: Tensor, queries: Tensor, num_classes: int
) -> Tensor:
    """The class whose mean feature is nearest, argmin_c ‖x − μ_c‖₂.

    Args:
        features: `(num_samples, width)`, what the means are taken of.
        targets: `(num_samples,)`, their classes.
        queries: `(num_queries, width)`.
        num_classes: A class without samples is never predicted.

    Returns:
        Class indices, `(num_queries,)`.

    Source: Mensink et al., Distance-Based Image Classification, TPAMI 2013.

    >>> points = torch.tensor([[0.0], [1.0], [10.0]])
    >>> classes = torch.tensor([0, 0, 1])
    >>> nearest_class_mean(points, classes, torch.tensor([[2.0], [9.0]]), 2)
    tensor([0, 1])
    """
    members = F.one_hot(targets, num_classes).to(features.dtype)
    counts = members.sum(0)
    means = members.T @ features / counts.clamp(min=1)[:, None]
    distances = torch.cdist(queries, means)
    return distances.masked_fill(counts == 0, torch.inf).argmin(1)


def ridge(features: Tensor, targets: Tensor, queries: Tensor) -> Tensor:
    """Ridge regression on standardised features, penalty 1; `(num_queries, ...)`."""
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    model.fit(features.cpu().numpy(), targets.cpu().numpy())
    return torch.as_tensor(model.predict(queries.cpu().numpy()), device=queries.device)
