"""Metrics of how scores rank the items of each query."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple, TypeVar, final

import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import Flags, Words
from pretrain_eval._metrics.predictions.loss import MeanCounter, MeanOfSamples
from pretrain_eval._metrics.predictions.shapes import entry_weights

# What a query without any relevant item counts as.
Empty = Literal["zero", "drop"]


class Ranked(NamedTuple):
    """Items of each query, `(num_queries, num_items)`, best score first.

    Attributes:
        scores: Falling; −inf of items that are masked, which stand last.
        relevance: Of each item, 0 where it is masked.
    """

    scores: Tensor
    relevance: Tensor


@dataclass(frozen=True)
class QueryCounter(MeanCounter):
    """Sums one value a query over queries.

    Attributes:
        empty: What a query without any relevant item counts as.
    """

    empty: Empty

    said = Words(
        targets="queries have targets that are no relevance of at least 0, or no index"
        " of an item",
        outputs="queries have scores that are NaN or infinite",
    )

    @abstractmethod
    def values(self, ranked: Ranked) -> Tensor:
        """One value a query, `(num_queries,)`, where one of its items is relevant."""

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        outputs = outputs.detach()
        outputs = outputs if outputs.dtype is torch.float64 else outputs.float()
        relevance, bad_targets = _relevance(outputs, targets)
        weights = entry_weights(outputs[:, 0], None, weights)
        masked = outputs == -torch.inf
        infinite = (~outputs.isfinite() & ~masked).any(1)
        relevance = relevance.where(~masked, 0.0)
        has_any = (relevance > 0).any(1)
        ranked = _ranked(outputs.nan_to_num(0.0, neginf=-torch.inf), relevance)
        values = self.values(ranked).where(has_any, 0.0)
        kept = weights != 0
        if self.empty == "drop":
            weights = weights.where(has_any, 0.0)
        sums = torch.stack((weights.sum(), (weights * values).sum()))
        return Flags(bad_targets, None, None, infinite).behind(sums, kept)


def _relevance(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Of each item in float64, and which queries' targets are out of range."""
    if outputs.ndim != 2 or outputs.shape[1] == 0:
        raise ValueError(
            "expected scores (num_queries, num_items), got shape"
            f" {tuple(outputs.shape)}"
        )
    if targets.shape == outputs.shape:
        relevance = targets.detach().double()
        bad = ~(relevance.isfinite() & (relevance >= 0)).all(1)
        return relevance.where(~bad[:, None], 0.0), bad
    if targets.shape != outputs.shape[:1] or targets.is_floating_point():
        raise ValueError(
            f"expected targets as the relevance of each item, {tuple(outputs.shape)}, or"
            f" as the index of the relevant one, {tuple(outputs.shape[:1])}, got"
            f" {targets.dtype} of {tuple(targets.shape)}"
        )
    items = torch.arange(outputs.shape[1], device=outputs.device)
    bad = (targets < 0) | (targets >= outputs.shape[1])
    return (items == targets[:, None]).double(), bad


def _ranked(scores: Tensor, relevance: Tensor) -> Ranked:
    """By score, and of equal scores the less relevant first: a tie earns nothing."""
    order = relevance.argsort(dim=1, stable=True)
    scores, relevance = scores.gather(1, order), relevance.gather(1, order)
    order = scores.argsort(dim=1, descending=True, stable=True)
    return Ranked(scores.gather(1, order), relevance.gather(1, order))


@final
@dataclass(frozen=True)
class HitCounter(QueryCounter):
    """Whether, or which share of, the relevant items are among the first k."""

    k: int
    share: bool

    @override
    def values(self, ranked: Ranked) -> Tensor:
        hits = ranked.relevance > 0
        num_found = hits[:, : self.k].sum(1).double()
        return num_found / hits.sum(1) if self.share else num_found.clamp(max=1.0)


@final
@dataclass(frozen=True)
class ReciprocalRankCounter(QueryCounter):
    """One over the rank of the first relevant item."""

    k: int | None

    @override
    def values(self, ranked: Ranked) -> Tensor:
        hits = (ranked.relevance > 0)[:, : self.k]
        first = hits.to(torch.int8).argmax(1)
        return hits.any(1).double() / (first + 1)


@final
@dataclass(frozen=True)
class PrecisionsCounter(QueryCounter):
    """The mean of the precisions at the ranks of relevant items."""

    @override
    def values(self, ranked: Ranked) -> Tensor:
        hits = (ranked.relevance > 0).double()
        ranks = torch.arange(1, hits.shape[1] + 1, device=hits.device)
        return (hits * hits.cumsum(1) / ranks).sum(1) / hits.sum(1)


@final
@dataclass(frozen=True)
class GainCounter(QueryCounter):
    """The discounted gain over that of the best order."""

    k: int | None

    @override
    def values(self, ranked: Ranked) -> Tensor:
        places = torch.arange(2, ranked.relevance.shape[1] + 2, device=ranked[0].device)
        discounts = 1 / places.double().log2()
        if self.k is not None:
            discounts[self.k :] = 0.0
        best = ranked.relevance.sort(1, descending=True).values
        gains = (_tied_means(ranked) * discounts).sum(1)
        return gains / (best * discounts).sum(1)


def _tied_means(ranked: Ranked) -> Tensor:
    """Each item's relevance, of equal scores their mean."""
    scores, relevance = ranked
    starts = torch.ones_like(scores, dtype=torch.bool)
    starts[:, 1:] = scores[:, 1:] != scores[:, :-1]
    group = starts.long().cumsum(1) - 1
    zeros = torch.zeros_like(relevance)
    totals = zeros.scatter_add(1, group, relevance)
    sizes = zeros.scatter_add(1, group, torch.ones_like(relevance))
    return (totals / sizes.clamp_min(1.0)).gather(1, group)


class OfQueries(MeanOfSamples):
    """The mean over queries of a value in [0, 1]; higher is better."""

    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)


@final
class HitRate(OfQueries):
    """Share of queries with a relevant item among the k highest scores, in [0, 1].

    Outputs are scores `(num_queries, num_items)`, −inf of items that never count.
    Targets are the relevance of each item, of the same shape, relevant above 0; or the
    index of the one relevant item, `(num_queries,)`. Of equal scores the irrelevant
    item ranks first, so that a tie earns nothing.

    Args:
        k: How many items are looked at.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> metric = HitRate(k=1)
    >>> metric.update(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
    >>> metric.compute()
    0.5
    """

    key = "hit_rate"

    def __init__(self, *, k: int = 10, empty: Empty = "zero") -> None:
        super().__init__(HitCounter(checked_empty(empty), checked_k(k), share=False))


@final
class RecallAtK(OfQueries):
    """Share of a query's relevant items among its k highest scores, mean over queries.

    In [0, 1], higher is better. Outputs are scores `(num_queries, num_items)`, −inf of
    items that never count. Targets are the relevance of each item, of the same shape,
    relevant above 0; or the index of the one relevant item, `(num_queries,)`. Of equal
    scores the irrelevant item ranks first, so that a tie earns nothing.

    Args:
        k: How many items are looked at.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> metric = RecallAtK(k=2)
    >>> scores, relevance = torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[1, 0, 1]])
    >>> metric.update(scores, relevance)
    >>> metric.compute()
    0.5
    """

    key = "recall_at_k"

    def __init__(self, *, k: int = 10, empty: Empty = "zero") -> None:
        super().__init__(HitCounter(checked_empty(empty), checked_k(k), share=True))


@final
class MeanReciprocalRank(OfQueries):
    """Mean over queries of 1 / rank of the first relevant item, in [0, 1].

    Higher is better. Outputs are scores `(num_queries, num_items)`, −inf of items that
    never count. Targets are the relevance of each item, of the same shape, relevant
    above 0; or the index of the one relevant item, `(num_queries,)`. Of equal scores
    the irrelevant item ranks first, so that a tie earns nothing.

    Args:
        k: How many items are looked at, beyond which a rank counts as 0; None: all.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> metric = MeanReciprocalRank()
    >>> metric.update(torch.tensor([[0.3, 0.2], [0.2, 0.3]]), torch.tensor([0, 0]))
    >>> metric.compute()
    0.75
    """

    key = "mrr"

    def __init__(self, *, k: int | None = None, empty: Empty = "zero") -> None:
        super().__init__(ReciprocalRankCounter(checked_empty(empty), checked_k(k)))


@final
class RetrievalMAP(OfQueries):
    """Mean over queries of the average precision, Σ precision(r) / num_relevant.

    The sum is over the ranks r of relevant items. In [0, 1], higher is better. Outputs
    are scores `(num_queries, num_items)`, −inf of items that never count. Targets are
    the relevance of each item, of the same shape, relevant above 0; or the index of the
    one relevant item, `(num_queries,)`. Of equal scores the irrelevant item ranks
    first, so that a tie earns nothing.

    Args:
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> metric = RetrievalMAP()
    >>> scores, relevance = torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[1, 0, 1]])
    >>> metric.update(scores, relevance)
    >>> metric.compute()
    0.833...
    """

    key = "retrieval_map"

    def __init__(self, *, empty: Empty = "zero") -> None:
        super().__init__(PrecisionsCounter(checked_empty(empty)))


@final
class NDCG(OfQueries):
    """Mean over queries of DCG / that of the best order, DCG = Σ relevance / log₂(1 + r).

    The sum is over ranks r up to k. In [0, 1], higher is better. Outputs are scores
    `(num_queries, num_items)`, −inf of items that never count. Targets are the
    relevance of each item, of the same shape and at least 0; or the index of the one
    relevant item, `(num_queries,)`. Items of equal scores share the mean of their
    relevance, as in scikit-learn's `ndcg_score`.

    Args:
        k: How many items are looked at; None: all.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    Source: Järvelin and Kekäläinen, ACM TOIS 20, 2002.

    >>> import torch
    >>> metric = NDCG()
    >>> scores, relevance = torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[2, 0, 1]])
    >>> metric.update(scores, relevance)
    >>> round(metric.compute(), 6)
    0.950234
    """

    key = "ndcg"

    def __init__(self, *, k: int | None = None, empty: Empty = "zero") -> None:
        super().__init__(GainCounter(checked_empty(empty), checked_k(k)))


K = TypeVar("K", int, "int | None")


def checked_k(k: K) -> K:
    """How many items are looked at is a positive number."""
    if k is not None and (not isinstance(k, int) or k < 1):
        raise ValueError(
            f"k must be an int of at least 1, the items looked at, got {k!r}"
        )
    return k


def checked_empty(empty: Empty) -> Empty:
    """What a query without any relevant item counts as is one of both."""
    if empty not in ("zero", "drop"):
        raise ValueError(f"empty must be 'zero' or 'drop', got {empty!r}")
    return empty
