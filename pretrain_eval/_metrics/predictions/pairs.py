"""Metrics of how pairs find each other among all pairs, exact from their embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from pretrain_eval._metrics.counter import RowCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value
from pretrain_eval._metrics.predictions.retrieval import checked_k
from pretrain_eval._metrics.predictions.shapes import check_choice, require_one_shape

# Which member of a pair asks for the other one.
Way = Literal["both", "first", "second"]
_ROWS = 1024  # queries whose scores are held at a time


@final
@dataclass(frozen=True)
class EmbeddingCounter(RowCounter):
    """Keeps both embeddings of every pair."""

    entries = "widths of embeddings"
    said = Words(outputs="pairs have embeddings that are NaN or infinite")

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        require_one_shape(outputs, targets)
        if weights is not None:
            raise TypeError("pairs that are ranked among each other have no weights")
        if outputs.ndim != 2:
            raise ValueError(
                "expected embeddings (num_pairs, width) of both members of a pair, got"
                f" {tuple(outputs.shape)}"
            )
        rows = torch.cat((outputs.detach().float(), targets.detach().float()), 1)
        return rows.where(rows.isfinite(), torch.nan)


def pair_ranks(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    """The rank of each pair's other member by the dot product, both ways, from 1.

    Of equal scores the wrong member ranks first, so that a tie earns nothing.

    Args:
        first: Embeddings `(num_pairs, width)`.
        second: Those of the other members, in the same order.

    Returns:
        Of each first member's search among the second ones `(num_pairs,)`, and back.

    >>> first, second = torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]])
    >>> pair_ranks(first, second)
    (tensor([2, 1]), tensor([1, 2]))
    """
    return _ranks(first, second), _ranks(second, first)


def _ranks(queries: Tensor, members: Tensor) -> Tensor:
    found = []
    for begin in range(0, len(queries), _ROWS):
        scores = queries[begin : begin + _ROWS] @ members.T
        rows = torch.arange(len(scores))
        places = rows + begin
        others = scores >= scores[rows, places][:, None]
        others[rows, places] = False
        found.append(others.sum(1) + 1)
    return torch.cat(found)


class OfPairs(CountedMetric):
    """A value of the ranks at which pairs find each other.

    Args:
        way: Who asks: the "first" member, the "second", or "both", whose mean counts.
    """

    def __init__(self, *, way: Way = "both") -> None:
        check_choice("way", way, "both", "first", "second")
        super().__init__(EmbeddingCounter())
        self.way = way

    def ranks(self, rows: np.ndarray) -> list[np.ndarray]:
        """Those of each way that counts, `(num_pairs,)`."""
        self.require_samples(len(rows))
        if np.isnan(rows).any():
            rows = np.zeros_like(rows)  # its value is unknown in any case
        first, second = torch.from_numpy(rows).double().chunk(2, 1)
        both = [ranks.numpy() for ranks in pair_ranks(first, second)]
        return {"both": both, "first": both[:1], "second": both[1:]}[self.way]


@final
class PairRecall(OfPairs):
    """Share of pairs whose other member is among the k nearest, in [0, 1].

    Higher is better; chance is k/N of N pairs. Outputs are embeddings
    `(num_pairs, width)` of the first members, targets those of the second; they are
    ranked by the dot product, over all that was seen, whatever the batches and processes. Of
    equal scores the wrong member ranks first, so that a tie earns nothing.

    Args:
        k: How many members are looked at.
        way: Who asks: the "first" member, the "second", or "both", whose mean counts.

    >>> import torch
    >>> metric = PairRecall(k=1)
    >>> metric.update(torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    >>> metric.compute()
    0.5
    """

    key = "pair_recall"
    higher_is_better: bool | None = True
    bounds: tuple[float, float] = (0.0, 1.0)

    def __init__(self, *, k: int = 1, way: Way = "both") -> None:
        super().__init__(way=way)
        self._k = checked_k(k)

    @override
    def formula(self, sums: np.ndarray) -> Value:
        return float(np.mean([(r <= self._k).mean() for r in self.ranks(sums)]))


@final
class MedianRank(OfPairs):
    """The median rank of a pair's other member, from 1; lower is better.

    Chance is (N + 1) / 2 of N pairs. Read as `PairRecall` reads.

    Args:
        way: Who asks: the "first" member, the "second", or "both", whose mean counts.

    >>> import torch
    >>> metric = MedianRank()
    >>> metric.update(torch.eye(2), torch.tensor([[1.0, 0.0], [2.0, 1.0]]))
    >>> metric.compute()
    1.5
    """

    key = "median_rank"
    higher_is_better: bool | None = False
    bounds: tuple[float, float] = (1.0, float("inf"))

    @override
    def formula(self, sums: np.ndarray) -> Value:
        return float(np.mean([np.median(ranks) for ranks in self.ranks(sums)]))
