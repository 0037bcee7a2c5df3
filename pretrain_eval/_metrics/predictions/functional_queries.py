"""One function a metric of items that are ranked for a query."""
# The functions have the bodies that `of_sums` gives them.
# mypy: disable-error-code="empty-body"

from __future__ import annotations

from torch import Tensor

from pretrain_eval._metrics.predictions.functional import of_sums
from pretrain_eval._metrics.predictions.retrieval import (
    NDCG,
    HitRate,
    MeanReciprocalRank,
    RecallAtK,
    RetrievalMAP,
)


@of_sums(HitRate)
def hit_rate(outputs: Tensor, targets: Tensor) -> float:
    """Share of queries with a relevant item among the k highest scores, in [0, 1].

    Of equal scores the irrelevant item ranks first, so that a tie earns nothing.

    Args:
        outputs: Scores `(num_queries, num_items)`, −inf of items that never count.
        targets: Relevance `(num_queries, num_items)`, at least 0, or the index of the
            one relevant item, `(num_queries,)`.
        k: How many items are looked at.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> hit_rate(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]), k=1)
    0.5
    """


@of_sums(NDCG)
def ndcg(outputs: Tensor, targets: Tensor) -> float:
    """Mean over queries of DCG / that of the best order, DCG = Σ relevance / log₂(1 + r).

    The sum is over ranks r up to k. In [0, 1], higher is better. Items of equal
    scores share the mean of their relevance, as in scikit-learn's `ndcg_score`.

    Args:
        outputs: Scores `(num_queries, num_items)`, −inf of items that never count.
        targets: Relevance `(num_queries, num_items)`, at least 0, or the index of the
            one relevant item, `(num_queries,)`.
        k: How many items are looked at; None: all.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    Source: Järvelin and Kekäläinen, ACM TOIS 20, 2002.

    >>> import torch
    >>> scores, relevance = torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[2, 0, 1]])
    >>> round(ndcg(scores, relevance), 6)
    0.950234
    """


@of_sums(RecallAtK)
def recall_at_k(outputs: Tensor, targets: Tensor) -> float:
    """Share of a query's relevant items among its k highest scores, mean over queries.

    In [0, 1], higher is better. Of equal scores the irrelevant item ranks first, so
    that a tie earns nothing.

    Args:
        outputs: Scores `(num_queries, num_items)`, −inf of items that never count.
        targets: Relevance `(num_queries, num_items)`, at least 0, or the index of the
            one relevant item, `(num_queries,)`.
        k: How many items are looked at.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> scores, relevance = torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[1, 0, 1]])
    >>> recall_at_k(scores, relevance, k=2)
    0.5
    """


@of_sums(MeanReciprocalRank)
def mean_reciprocal_rank(outputs: Tensor, targets: Tensor) -> float:
    """Mean over queries of 1 / rank of the first relevant item, in [0, 1].

    Higher is better. Of equal scores the irrelevant item ranks first, so that a tie
    earns nothing.

    Args:
        outputs: Scores `(num_queries, num_items)`, −inf of items that never count.
        targets: Relevance `(num_queries, num_items)`, at least 0, or the index of the
            one relevant item, `(num_queries,)`.
        k: How many items are looked at, beyond which a rank counts as 0; None: all.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> mean_reciprocal_rank(
    ...     torch.tensor([[0.3, 0.2], [0.2, 0.3]]), torch.tensor([0, 0])
    ... )
    0.75
    """


@of_sums(RetrievalMAP)
def retrieval_map(outputs: Tensor, targets: Tensor) -> float:
    """Mean over queries of the average precision, Σ precision(r) / num_relevant.

    The sum is over the ranks r of relevant items. In [0, 1], higher is better. Of
    equal scores the irrelevant item ranks first, so that a tie earns nothing.

    Args:
        outputs: Scores `(num_queries, num_items)`, −inf of items that never count.
        targets: Relevance `(num_queries, num_items)`, at least 0, or the index of the
            one relevant item, `(num_queries,)`.
        empty: A query without any relevant item counts as 0, "zero", or not, "drop".

    >>> import torch
    >>> scores, relevance = torch.tensor([[0.3, 0.2, 0.1]]), torch.tensor([[1, 0, 1]])
    >>> retrieval_map(scores, relevance)
    0.833...
    """
