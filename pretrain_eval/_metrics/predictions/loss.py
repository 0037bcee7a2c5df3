"""Losses as metrics: sums over samples, never means of batch means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics.counter import FLAGS, SumCounter
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.shapes import (
    Kind,
    Scores,
    class_dimension,
    flags,
    require_integers,
    require_one_shape,
    spread_weights,
    zeros_and_ones,
)


class MeanCounter(SumCounter):
    """Σ w, Σ w·x of one number x an entry."""

    @property
    @override
    def size(self) -> int:
        return 2 + FLAGS

    @override
    def complaints(self, counts: np.ndarray) -> tuple[str, str, str]:
        bad = counts[-FLAGS:].astype(int)
        return (
            f"{bad[0]} targets are out of range; a value that marks rows to drop is"
            " given by ignore_index=...",
            "",
            f"{bad[2]} rows of scores were declared as probabilities and are none",
        )


@final
@dataclass(frozen=True)
class LogLikelihoodCounter(MeanCounter):
    """Sums −log p(target) over samples."""

    task: Kind
    scores: Scores
    ignore_index: int | None
    class_dim: int | None

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        outputs = outputs.detach()
        if not outputs.is_floating_point():
            raise TypeError(f"scores must be floats, got {outputs.dtype}")
        each = torch.ones(targets.shape, dtype=torch.float64, device=targets.device)
        if weights is not None:
            each = spread_weights(weights, targets).double().view(targets.shape)
        if self.task == "binary":
            losses, fits, improper, infinite = self._binary(outputs, targets)
        else:
            losses, fits, improper, infinite = self._multiclass(outputs, targets)
        if self.ignore_index is not None:
            each = each.where(targets != self.ignore_index, 0.0)
        each = each.reshape(-1)
        kept = each != 0
        losses = losses.where(kept & losses.isfinite(), 0.0)
        sums = torch.stack((each.sum(), (each * losses).sum()))
        return torch.cat((sums, flags(kept, ~fits, None, improper, infinite)))

    def _multiclass(
        self, outputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        require_integers(targets, "targets")
        dim = class_dimension(outputs, targets, self.class_dim)
        if dim is None:
            raise ValueError(
                "expected scores with a class dimension, got outputs and targets of"
                f" shape {tuple(outputs.shape)}"
            )
        scores = outputs.movedim(dim, -1).reshape(-1, outputs.shape[dim])
        targets = targets.reshape(-1).long()
        fits = (targets >= 0) & (targets < scores.shape[1])
        infinite = ~scores.isfinite().all(1)
        improper = torch.zeros_like(infinite)
        if self.scores == "logits":
            scores = (
                scores.double() if scores.dtype is torch.float64 else scores.float()
            )
            chances = scores.log_softmax(1)
        else:
            scores = scores.double()
            # Probabilities that were computed in half precision sum to 1 ± 1 %.
            proper = (scores >= 0).all(1) & ((scores.sum(1) - 1).abs() < 0.01)
            improper = ~proper & ~infinite
            chances = _log(scores)
        own = chances.gather(1, targets.where(fits, 0)[:, None])[:, 0]
        return -own.double(), fits, improper, infinite

    def _binary(
        self, outputs: Tensor, targets: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if outputs.shape == (*targets.shape, 1):
            outputs = outputs.squeeze(-1)
        require_one_shape(outputs, targets)
        scores = outputs.reshape(-1).double()
        truth = zeros_and_ones(targets).reshape(-1)
        fits = (truth == 0) | (truth == 1)
        infinite = ~scores.isfinite()
        if self.scores == "logits":
            signed = torch.where(truth == 1, scores, -scores)
            losses = -nn.functional.logsigmoid(signed)
            return losses, fits, torch.zeros_like(fits), infinite
        own = torch.where(truth == 1, scores, 1 - scores)
        improper = ((scores < 0) | (scores > 1)) & ~infinite
        return -_log(own), fits, improper, infinite


def _log(probabilities: Tensor) -> Tensor:
    # A sure miss costs 36, not infinity: float64's smallest step, as scikit-learn does.
    return probabilities.clamp_min(torch.finfo(torch.float64).eps).log()


@final
class LogLoss(CountedMetric):
    """Mean of −log p(target) over samples, in nats; lower is better.

    Args:
        scores: What scores are, "logits" or "probabilities".
        task: "multiclass": `(num_samples, num_classes)`, further dimensions allowed.
            "binary": one score a sample.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> metric = LogLoss(scores="probabilities")
    >>> metric.update(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([1, 0]))
    >>> metric.compute()
    0.346...
    """

    key = "log_loss"

    def __init__(
        self,
        *,
        scores: Scores,
        task: Kind = "multiclass",
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        super().__init__(likelihoods(task, scores, ignore_index, class_dim))

    @override
    def value(self, *state: np.ndarray) -> Value:
        return float(state[0][1] / self.require_samples(state[0][0]))


@final
class Perplexity(CountedMetric):
    """Exponential of the mean −log p(token); 1 is perfect, V is a guess among V.

    Args:
        scores: What scores `(num_samples, num_tokens, vocabulary)` are.
        ignore_index: Tokens with this target are dropped.
        class_dim: Where the vocabulary lies, where shapes do not tell.

    >>> metric = Perplexity()
    >>> metric.update(torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]]))
    >>> round(metric.compute(), 6)
    4.0
    """

    key = "perplexity"

    def __init__(
        self,
        *,
        scores: Scores = "logits",
        ignore_index: int | None = -100,
        class_dim: int | None = None,
    ) -> None:
        super().__init__(likelihoods("multiclass", scores, ignore_index, class_dim))

    @override
    def value(self, *state: np.ndarray) -> Value:
        mean = state[0][1] / self.require_samples(state[0][0])
        return math.exp(mean) if mean < 700 else math.inf


def likelihoods(
    task: Kind, scores: Scores, ignore_index: int | None, class_dim: int | None
) -> LogLikelihoodCounter:
    """The counter, of arguments that fit."""
    if task not in ("multiclass", "binary"):
        raise ValueError(f"task must be multiclass or binary, got {task!r}")
    if scores not in ("logits", "probabilities"):
        raise ValueError(f"scores must be 'logits' or 'probabilities', got {scores!r}")
    return LogLikelihoodCounter(task, scores, ignore_index, class_dim)


@final
@dataclass(frozen=True)
class LossCounter(MeanCounter):
    """Sums a criterion over samples; criteria are equal where they are one object."""

    # A function's text holds its address, which no later process could match.
    criterion: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    ignore_index: int | None

    @override
    def count(
        self, outputs: Tensor, targets: Tensor, weights: Tensor | None = None
    ) -> Tensor:
        if weights is not None:
            raise TypeError("a criterion gives one mean, which weights cannot enter")
        with torch.no_grad():
            loss = self.criterion(outputs, targets).double()
        num_entries = torch.full_like(loss.sum(), len(targets))
        if loss.ndim == 0 and self.ignore_index is not None:
            num_entries = (targets != self.ignore_index).sum()
        if loss.ndim > 0:
            num_entries = torch.full_like(num_entries, loss.numel())
            loss = loss.mean() if loss.numel() else loss.sum()
        # The mean of no entry is 0/0, and nothing is to be counted.
        loss = loss.where(num_entries > 0, 0.0)
        infinite = ~loss.isfinite()
        total = torch.where(infinite, 0.0, loss * num_entries)
        wrong = flags(num_entries > 0, None, None, None, infinite)
        return torch.cat((torch.stack((num_entries.double(), total)), wrong))


@final
class Loss(CountedMetric):
    """The mean of a criterion over samples, whatever the batches.

    A criterion that averages over a batch counts as often as the batch has samples,
    or targets other than its own `ignore_index`; one with `reduction="none"` counts
    entry by entry. With class weights a batch's mean is a weighted one, and the whole
    is exact only for `reduction="none"`.

    Args:
        criterion: Called with outputs and targets, such as `torch.nn.MSELoss()`.
        key: The name of the value.

    >>> metric = Loss(nn.MSELoss())
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.update(torch.tensor([1.0]), torch.tensor([1.0]))
    >>> metric.compute()
    1.333...
    """

    def __init__(
        self, criterion: Callable[[Tensor, Tensor], Tensor], *, key: str = "loss"
    ) -> None:
        if getattr(criterion, "reduction", "mean") == "sum":
            raise ValueError("expected a criterion that averages, got reduction='sum'")
        self.key = key
        ignore_index = getattr(criterion, "ignore_index", None)
        super().__init__(LossCounter(criterion, ignore_index))

    @override
    def value(self, *state: np.ndarray) -> Value:
        return float(state[0][1] / self.require_samples(state[0][0]))
