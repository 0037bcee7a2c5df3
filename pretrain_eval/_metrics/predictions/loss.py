"""Losses as metrics: sums over samples, never means of batch means."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from numbers import Real
from typing import ClassVar, NamedTuple, final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics.counter import DROPS, FLAGS, Flags, SumCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions import formulas
from pretrain_eval._metrics.predictions.probabilities import sum_to_one
from pretrain_eval._metrics.predictions.shapes import (
    Kind,
    Scores,
    check_choice,
    check_scores,
    entry_weights,
    one_score,
    score_rows,
    zeros_and_ones,
)


class MeanCounter(SumCounter):
    """Σ w, Σ w·x of one number x an entry."""

    size = 2 + FLAGS
    said = Words(
        targets=Words().targets + DROPS,
        probabilities=f"rows of {Words().probabilities}",
    )


class MeanOfSamples(CountedMetric):
    """The mean of one number an entry."""

    #: Which of the sums is divided by the first one, how many samples there were.
    place: ClassVar[int] = 1

    @override
    def formula(self, sums: np.ndarray) -> Value:
        return float(sums[self.place] / self.require_samples(sums[0]))


class Surprises(NamedTuple):
    """−log p of each target, and where it cannot be told.

    Attributes:
        losses: −log p(target), flat.
        fits: Which targets are in range.
        improper: Which rows were declared as probabilities and are none; None: none.
        infinite: Which scores are NaN or infinite.
    """

    losses: Tensor
    fits: Tensor
    improper: Tensor | None
    infinite: Tensor


@final
@dataclass(frozen=True)
class LogLikelihoodCounter(MeanCounter):
    """Sums −log p(target) over samples."""

    task: Kind
    scores: Scores
    ignore_index: int | None
    class_dim: int | None

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        outputs = outputs.detach()
        if not outputs.is_floating_point():
            raise TypeError(f"scores must be floats, got {outputs.dtype}")
        weights = entry_weights(targets, self.ignore_index, weights).reshape(-1)
        read = self._binary if self.task == "binary" else self._multiclass
        losses, fits, improper, infinite = read(outputs, targets)
        kept = weights != 0
        losses = losses.where(kept & losses.isfinite(), 0.0)
        sums = torch.stack((weights.sum(), (weights * losses).sum()))
        return Flags(~fits, None, improper, infinite).behind(sums, kept)

    def _multiclass(self, outputs: Tensor, targets: Tensor) -> Surprises:
        scores = score_rows(outputs, targets, self.class_dim)
        targets = targets.reshape(-1).long()
        fits = (targets >= 0) & (targets < scores.shape[1])
        infinite = ~scores.isfinite().all(1)
        improper = None
        if self.scores == "logits":
            double = scores.dtype is torch.float64
            chances = (scores if double else scores.float()).log_softmax(1)
        else:
            scores = scores.double()
            proper = (scores >= 0).all(1) & sum_to_one(scores)
            improper = ~proper & ~infinite
            chances = _log(scores)
        own = chances.gather(1, targets.where(fits, 0)[:, None])[:, 0]
        return Surprises(-own.double(), fits, improper, infinite)

    def _binary(self, outputs: Tensor, targets: Tensor) -> Surprises:
        scores = one_score(outputs, targets).reshape(-1).double()
        truth = zeros_and_ones(targets).reshape(-1)
        fits = (truth == 0) | (truth == 1)
        infinite = ~scores.isfinite()
        if self.scores == "logits":
            signed = torch.where(truth == 1, scores, -scores)
            losses = -nn.functional.logsigmoid(signed)
            return Surprises(losses, fits, None, infinite)
        own = torch.where(truth == 1, scores, 1 - scores)
        improper = ((scores < 0) | (scores > 1)) & ~infinite
        return Surprises(-_log(own), fits, improper, infinite)


def _log(probabilities: Tensor) -> Tensor:
    # A sure miss costs 36, not infinity: float64's smallest step, as scikit-learn does.
    return probabilities.clamp_min(torch.finfo(torch.float64).eps).log()


@final
class LogLoss(MeanOfSamples):
    """Mean of −log p(target) over samples, in nats, at least 0; lower is better.

    Args:
        scores: What scores are, "logits" or "probabilities".
        task: "multiclass": `(num_samples, num_classes)`, further dimensions allowed.
            "binary": one score a sample.
        ignore_index: Rows with this target are dropped.
        class_dim: Where the classes of scores lie, where shapes do not tell.

    >>> import torch
    >>> metric = LogLoss(scores="probabilities")
    >>> metric.update(torch.tensor([[0.5, 0.5], [1.0, 0.0]]), torch.tensor([1, 0]))
    >>> metric.compute()
    0.346...
    """

    key = "log_loss"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, math.inf)

    def __init__(
        self,
        *,
        scores: Scores,
        task: Kind = "multiclass",
        ignore_index: int | None = None,
        class_dim: int | None = None,
    ) -> None:
        super().__init__(likelihoods(task, scores, ignore_index, class_dim))


@final
class Perplexity(CountedMetric):
    """Exponential of the mean −log p(token); 1 is perfect, V is a guess among V.

    Outputs are scores `(num_samples, num_tokens, vocabulary)`, targets
    `(num_samples, num_tokens)`.

    Args:
        scores: What scores are, "logits" or "probabilities".
        ignore_index: Tokens with this target are dropped.
        class_dim: Where the vocabulary lies, where shapes do not tell.

    >>> import torch
    >>> metric = Perplexity()
    >>> metric.update(torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]]))
    >>> round(metric.compute(), 6)
    4.0
    """

    key = "perplexity"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (1.0, math.inf)

    def __init__(
        self,
        *,
        scores: Scores = "logits",
        ignore_index: int | None = -100,
        class_dim: int | None = None,
    ) -> None:
        super().__init__(likelihoods("multiclass", scores, ignore_index, class_dim))

    @override
    def formula(self, sums: np.ndarray) -> Value:
        count, total = sums
        return formulas.perplexity(total, self.require_samples(count))


@final
class BitsPerByte(CountedMetric):
    """Bits that a text costs by byte, Σ −log₂ p(token) / number of bytes; lower is better.

    Unlike perplexity it does not depend on how a text is cut into tokens. Outputs are
    scores `(num_samples, num_tokens, vocabulary)`, targets `(num_samples, num_tokens)`.

    Args:
        bytes_per_token: Bytes of the text by counted token; exact where both are
            counted over all of the text that is measured.
        ignore_index: Tokens with this target are dropped.

    Raises:
        ValueError: `bytes_per_token` is not positive.

    Source: Gao et al., The Pile: An 800GB Dataset of Diverse Text for Language
    Modeling, 2020, section 3.1.

    >>> import torch
    >>> metric = BitsPerByte(bytes_per_token=4.0)
    >>> metric.update(torch.zeros(1, 3, 4), torch.tensor([[0, 1, -100]]))
    >>> round(metric.compute(), 6)
    0.5
    """

    key = "bits_per_byte"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (0.0, math.inf)

    def __init__(
        self, *, bytes_per_token: float, ignore_index: int | None = -100
    ) -> None:
        known = isinstance(bytes_per_token, Real)
        if not known or not 0 < bytes_per_token < math.inf:
            raise ValueError(
                f"bytes_per_token must be a positive number, got {bytes_per_token!r}"
            )
        super().__init__(likelihoods("multiclass", "logits", ignore_index, -1))
        self._bytes_per_token = bytes_per_token

    @override
    def formula(self, sums: np.ndarray) -> Value:
        count, total = sums
        nats = float(total) / float(self.require_samples(count))
        return nats / math.log(2) / self._bytes_per_token


def likelihoods(
    task: Kind, scores: Scores, ignore_index: int | None, class_dim: int | None
) -> LogLikelihoodCounter:
    """The counter, of arguments that fit."""
    check_choice("task", task, "multiclass", "binary")
    check_scores(scores, needed=True)
    return LogLikelihoodCounter(task, scores, ignore_index, class_dim)


@final
@dataclass(frozen=True)
class LossCounter(MeanCounter):
    """Sums a criterion over samples; criteria are equal where they are one object."""

    # A function's text holds its address, which no later process could match.
    criterion: Callable[[Tensor, Tensor], Tensor] = field(repr=False)
    ignore_index: int | None

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
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
        sums = torch.stack((num_entries.double(), total))
        return Flags(outputs=infinite).behind(sums, num_entries > 0)


@final
class Loss(MeanOfSamples):
    """The mean of a criterion over samples, whatever the batches; lower is better.

    A criterion that averages over a batch counts as often as the batch has samples,
    or targets other than its own `ignore_index`; one with `reduction="none"` counts
    entry by entry. With class weights a batch's mean is a weighted one, and the whole
    is exact only for `reduction="none"`.

    Args:
        criterion: Called with outputs and targets, such as `torch.nn.MSELoss()`.
        key: The name of the value.

    >>> import torch
    >>> metric = Loss(torch.nn.MSELoss())
    >>> metric.update(torch.tensor([1.0, 2.0]), torch.tensor([1.0, 4.0]))
    >>> metric.update(torch.tensor([1.0]), torch.tensor([1.0]))
    >>> metric.compute()
    1.333...
    """

    higher_is_better: bool | None = False

    def __init__(
        self, criterion: Callable[[Tensor, Tensor], Tensor], *, key: str = "loss"
    ) -> None:
        if not callable(criterion):
            raise TypeError(
                "Loss expects a criterion of outputs and targets, such as"
                f" torch.nn.MSELoss(), got {criterion!r}"
            )
        if getattr(criterion, "reduction", "mean") == "sum":
            raise ValueError("expected a criterion that averages, got reduction='sum'")
        self.key = key
        ignore_index = getattr(criterion, "ignore_index", None)
        super().__init__(LossCounter(criterion, ignore_index))
