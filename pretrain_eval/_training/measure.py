"""What a network scores on a task: frozen, before any training, and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

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
from pretrain_eval._training.feature_files import Features
from pretrain_eval._training.precision import computed
from pretrain_eval._training.samples import Batches, as_loader
from pretrain_eval._training.strategy import Strategy
from pretrain_eval._training.task import Split, Task


def forward_for(task: Task, strategy: Strategy) -> Forward:
    """How a batch becomes outputs and targets of the shapes that the loss reads."""

    def forward(model: nn.Module, batch: Any) -> tuple[Tensor, Tensor]:
        inputs, targets = moved(batch, device_of(model))
        outputs = computed(model, inputs, strategy)
        if not task.is_classification:
            targets = targets.to(outputs.dtype).reshape(outputs.shape)
        return outputs, targets

    return forward


def scores_for(task: Task) -> list[Metric]:
    """The metrics that a run reports: macro averages for classes, r2 for numbers."""
    if task.is_classification:
        return [Accuracy(), Precision(), Recall(), F1Score()]
    return [R2Score(), MeanSquaredError()]


def _measured(split: Split, strategy: Strategy) -> Batches:
    # Without a backward pass, four times the batch fits where one trains.
    return as_loader(split, 4 * strategy.batch_size, shuffle=False)


def measure(
    network: nn.Module, task: Task, split: Split, strategy: Strategy
) -> tuple[int, dict[str, Value]]:
    """Number of samples and scores on a split."""
    counter = _Count()
    values = _validated(network, task, split, strategy, counter)
    return int(counter.compute()), values


class Measured(NamedTuple):
    """What the reported split shows of a model.

    Attributes:
        num_examples: How many samples it has, where they were measured.
        scores: By metric.
        confusion: Of a classification, (target, prediction, count).
    """

    num_examples: int | None
    scores: Mapping[str, Value]
    confusion: tuple[tuple[int, int, int], ...]


NOTHING = Measured(None, {}, ())


def measure_reported(
    network: nn.Module, task: Task, split: Split, strategy: Strategy
) -> Measured:
    """The scores on the reported split, and what they were computed of."""
    counter = _Confusion() if task.is_classification else _Count()
    values = _validated(network, task, split, strategy, counter)
    # Outputs that are not finite make no prediction, and their scores are NaN.
    defined = all(value == value for value in values.values())
    confusion = counter.triples() if isinstance(counter, _Confusion) and defined else ()
    return Measured(int(counter.compute()), values, confusion)


def _validated(
    network: nn.Module, task: Task, split: Split, strategy: Strategy, counter: Metric
) -> dict[str, Value]:
    values = validate(
        network,
        _measured(split, strategy),
        MetricCollection(*scores_for(task), counter),
        forward=forward_for(task, strategy),
    )
    return {key: value for key, value in values.items() if key != counter.key}


def measure_baseline(
    train: Features, reported: Features, task: Task
) -> dict[str, Value]:
    """Scores of a frozen evaluation of the features that the head reads."""
    features, queries = (each.inputs.flatten(1).float() for each in (train, reported))
    expected = reported.targets
    collection = MetricCollection(*scores_for(task))
    if task.num_classes is not None:
        nearest = nearest_class_mean(features, train.targets, queries, task.num_classes)
        outputs = F.one_hot(nearest, task.num_classes).float()
    else:
        outputs = ridge(
            features, train.targets.reshape(len(train.targets), -1), queries
        )
        expected = expected.to(outputs.dtype).reshape(outputs.shape)
    collection.update(outputs, expected)
    return collection.compute()


class _Count(Metric):
    """How many samples were measured."""

    key = "num_samples"

    def __init__(self) -> None:
        self._count = 0

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        self._count += len(targets)

    def compute(self) -> float:
        return self._count

    def reset(self) -> None:
        self._count = 0


class _Confusion(_Count):
    """How many samples of each class were taken for which; of ties the first."""

    def __init__(self) -> None:
        super().__init__()
        self._pairs: list[Tensor] = []

    def update(self, outputs: Tensor, targets: Tensor) -> None:
        super().update(outputs, targets)
        if outputs.ndim == 2 and targets.ndim == 1:  # one class a sample
            self._pairs.append(torch.stack([targets.long(), outputs.argmax(1)]))

    def reset(self) -> None:
        super().reset()
        self._pairs = []

    def triples(self) -> tuple[tuple[int, int, int], ...]:
        """(target, prediction, count), sorted; none where a sample has no one class."""
        if sum(pairs.shape[1] for pairs in self._pairs) < self._count:
            return ()
        targets, outputs = torch.cat(self._pairs, 1).cpu().numpy()
        width = int(outputs.max()) + 1
        found, counts = np.unique(targets * width + outputs, return_counts=True)
        columns = (*np.divmod(found, width), counts)
        return tuple(zip(*(column.tolist() for column in columns), strict=True))


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
