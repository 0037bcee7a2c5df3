"""What two processes compute together; tests of metrics start them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torch.utils.data.distributed import DistributedSampler

import pretrain_eval as pe


class Skill(pe.SumMetric):
    """1 − Σ|output − target|ᵖ / Σ|target|ᵖ."""

    key = "skill"

    def __init__(self, power: float = 1.0) -> None:
        self.power = power

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Both sums of a batch."""
        both = torch.stack([outputs - targets, targets]).double()
        return both.abs().pow(self.power).flatten(1).sum(1)

    def value(self, sums: np.ndarray) -> float:
        """Their ratio."""
        return float(1 - sums[0] / sums[1])


class Length(pe.SumMetric):
    """As many sums as outputs."""

    key = "length"

    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Each output is a sum."""
        return outputs

    def value(self, sums: np.ndarray) -> float:
        """How many."""
        return float(len(sums))


def numbers(length: int) -> tuple[Tensor, Tensor]:
    """Random outputs and targets in float64."""
    generator = torch.Generator().manual_seed(0)
    targets = torch.randn(length, generator=generator, dtype=torch.float64)
    errors = torch.randn(length, generator=generator, dtype=torch.float64)
    return targets + 0.1 * errors, targets


def members(num_classes: int | None) -> list[pe.Metric]:
    """Metrics of two counters."""
    return [
        pe.Accuracy(num_classes=num_classes),
        pe.Precision(num_classes=num_classes),
        pe.Recall(num_classes=num_classes),
        pe.F1Score(num_classes=num_classes),
    ]


def everything(rank: int, world: int) -> dict[str, Any]:
    """What this one of two ranks computes."""
    calls: list[int] = []
    reduce_all = dist.all_reduce

    def counted(tensor: Tensor, *args: Any, **options: Any) -> Any:
        calls.append(tensor.numel())
        return reduce_all(tensor, *args, **options)

    dist.all_reduce = counted
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(21, 5, generator=generator)
    targets = torch.randint(0, 5, (21,), generator=generator)
    samples = TensorDataset(inputs, targets)
    sampler = DistributedSampler(samples, shuffle=False)
    loader = DataLoader(samples, batch_size=4, sampler=sampler)
    found: dict[str, Any] = {}
    found["sampled"] = pe.validate(nn.Identity(), loader, members(5))
    found["collectives"] = len(calls)
    # Uneven shards: rank 1 has no batch at all, and nobody said how many classes.
    metrics = pe.MetricCollection(*members(None))
    if rank == 0:
        metrics.update(inputs, targets)
    found["uneven"] = metrics.compute()
    calls.clear()
    found["again"] = metrics.compute()
    found["collectives_again"] = len(calls)
    # Exact ranking keeps rows: every process has its own number of them.
    ranking = pe.MetricCollection(
        one=pe.AUROC(task="multiclass", scores="logits"),
        two=pe.AveragePrecision(task="multiclass", scores="logits"),
        all_on_one=pe.AUROC(task="binary"),
        hits=pe.Accuracy(),
    )
    part = slice(0, 8) if rank == 0 else slice(8, 21)
    for key in ("one", "two", "hits"):
        ranking[key].update(inputs[part], targets[part])
    if rank == 1:
        ranking["all_on_one"].update(inputs[:, 0], targets % 2)
    calls.clear()
    found["ranking"] = ranking.compute()
    found["collectives_ranking"] = len(calls)
    # A process may look at its own counts alone.
    if rank == 0:
        found["alone"] = metrics.compute(sync=False)
    return found


def own_sums(rank: int, world: int) -> dict[str, Any]:
    """What metrics of one's own compute on this one of two ranks."""
    calls: list[int] = []
    reduce_all = dist.all_reduce

    def counted(tensor: Tensor, *args: Any, **options: Any) -> Any:
        calls.append(tensor.numel())
        return reduce_all(tensor, *args, **options)

    dist.all_reduce = counted
    outputs, targets = numbers(21)
    part = slice(0, 8) if rank == 0 else slice(8, 21)
    metrics = pe.MetricCollection(
        uneven=Skill(2.0), one_alone=Skill(), reference=pe.MeanSquaredError()
    )
    for key in ("uneven", "reference"):
        metrics[key].update(outputs[part], targets[part])
    if rank == 1:
        metrics["one_alone"].update(outputs, targets)
    found: dict[str, Any] = metrics.compute()
    collectives = [len(calls)]
    calls.clear()
    assert metrics.compute() == found
    found["collectives"] = [*collectives, len(calls)]
    length = Length()
    length.update(torch.ones(1 + rank), torch.ones(1 + rank))
    try:
        length.compute()
    except ValueError as error:
        found["lengths"] = str(error)
    return found


def boxes(rank: int, world: int) -> list[float]:
    """Mean average precision of an image on each rank, of all, of one, of all."""
    box, label = torch.tensor([[10.0, 10.0, 50.0, 50.0]]), torch.tensor([0])
    found = {"boxes": box + 100 * rank, "scores": torch.tensor([0.9]), "labels": label}
    metric = pe.MeanAveragePrecision()
    metric.update([found], [{"boxes": box, "labels": label}])
    return [metric.compute(), metric.compute(sync=False), metric.compute()]


def foreign(rank: int, world: int) -> list[dict[str, Any]]:
    """Of everything, of one's own, of everything: ours and torchmetrics' members."""
    import torchmetrics

    outputs, targets = numbers(21)
    part = slice(0, 8) if rank == 0 else slice(8, 21)
    metrics = pe.MetricCollection(
        pe.MeanSquaredError(),
        torchmetrics.PearsonCorrCoef(),
        torchmetrics.MetricCollection([torchmetrics.MeanAbsoluteError()]),
    )
    metrics.update(outputs[part], targets[part])
    return [metrics.compute(sync=sync) for sync in (True, False, True)]


def functions(rank: int, world: int) -> list[dict[str, Any]]:
    """Functions of scikit-learn's on this one of two ranks; one has no batch of one."""
    from sklearn import metrics

    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(21, 5, generator=generator)
    targets = torch.randint(0, 5, (21,), generator=generator)
    part = slice(0, 8) if rank == 0 else slice(8, 21)
    f1 = pe.FunctionMetric(
        metrics.f1_score, better="higher", decide=True, average="macro"
    )
    loss = pe.FunctionMetric(metrics.hinge_loss, better="lower")
    both = pe.MetricCollection(f1, loss)
    f1.update(scores[part], targets[part])
    if rank == 1:
        loss.update(scores, targets)
    return [both.compute(), {"f1_score": f1.compute(sync=False)}]


def everywhere(rank: int, world: int) -> dict[str, Any]:
    """Metrics of moments and of texts on this one of two ranks; one has none of two."""
    calls: list[int] = []
    reduce_all = dist.all_reduce

    def counted(tensor: Tensor, *args: Any, **options: Any) -> Any:
        calls.append(tensor.numel())
        return reduce_all(tensor, *args, **options)

    dist.all_reduce = counted
    metrics, texts = of_moments(), of_texts()
    outputs, targets = columns(21)
    spoken, written = SPOKEN
    part = slice(0, 8) if rank == 0 else slice(8, 21)
    for key in ("r2", "rmse", "pearson", "pooled"):
        metrics[key].update(outputs[part], targets[part])
    if rank == 1:
        metrics["alone"].update(outputs, targets)
        texts["alone"].update(spoken, written)
    for key in set(texts) - {"alone"}:
        texts[key].update(spoken[rank::2], written[rank::2])
    found: dict[str, Any] = {"moments": metrics.compute()}
    collectives = [len(calls)]
    for _ in range(2):
        calls.clear()
        assert metrics.compute() == found["moments"]
        collectives.append(len(calls))
    calls.clear()
    found["texts"] = texts.compute()
    found["collectives"] = [*collectives, len(calls)]
    found["own"] = metrics["r2"].compute(sync=False)
    metrics["r2"].reset()
    metrics["r2"].update(outputs[:, :1], targets[:, :1])
    try:
        metrics["r2"].compute()
    except ValueError as error:
        found["other"] = str(error)
    uneven = pe.R2Score()
    uneven.update(outputs[:, : 1 + rank], targets[:, : 1 + rank])
    try:
        uneven.compute()
    except ValueError as error:
        found["uneven"] = str(error)
    return found


def columns(length: int) -> tuple[Tensor, Tensor]:
    """Outputs and targets of two columns, far from 0 and far from each other."""
    outputs, targets = numbers(2 * length)
    offset = torch.tensor([1e6, -5.0], dtype=torch.float64)
    return outputs.view(-1, 2) + offset, targets.view(-1, 2) + offset


def of_moments() -> pe.MetricCollection:
    """Metrics of moments."""
    return pe.MetricCollection(
        pe.R2Score(),
        pe.RootMeanSquaredError(average="none"),
        pe.PearsonCorrCoef(),
        pooled=pe.R2Score(average="pooled"),
        alone=pe.R2Score(),
    )


def of_texts() -> pe.MetricCollection:
    """Metrics of texts."""
    return pe.MetricCollection(
        pe.WordErrorRate(),
        pe.CharErrorRate(),
        pe.ExactMatch(),
        pe.TokenF1(),
        pe.RougeL(),
        alone=pe.WordErrorRate(),
    )


SPOKEN = (
    ["the cat sat", "a dog", "mats", "no one", "x"],
    ["the cat sat down", "a dog", "mat", "someone", "y"],
)
