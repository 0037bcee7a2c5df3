"""Rankings of items: masks, ties, empty queries, and what is refused."""

from __future__ import annotations

import pytest
import torch
from sklearn.metrics import ndcg_score
from torch import Tensor

import pretrain_eval as pe


@pytest.mark.parametrize("case", range(100))
def test_ties_of_ndcg_are_those_of_scikit_learn(case: int) -> None:
    """Items of equal scores share their relevance."""
    generator = torch.Generator().manual_seed(case)
    scores = torch.randint(0, 4, (5, 8), generator=generator).double()
    relevance = torch.randint(0, 4, (5, 8), generator=generator)
    metric = pe.NDCG(k=5)
    metric.update(scores, relevance)
    theirs = ndcg_score(relevance, scores, k=5)
    assert metric.compute() == pytest.approx(theirs, abs=1e-12)


def test_masks_ties_and_empty_queries() -> None:
    """A masked item never counts, a tie earns nothing, an empty query as declared."""
    scores = torch.tensor([[-torch.inf, 0.5, 0.1], [1.0, 1.0, 1.0], [0.3, 0.2, 0.1]])
    targets = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]])
    for empty, expected in (("zero", (1 + 1 / 3) / 3), ("drop", (1 + 1 / 3) / 2)):
        metric = pe.MeanReciprocalRank(empty=empty)  # type: ignore[arg-type]
        metric.update(scores, targets)
        assert metric.compute() == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("outputs", "targets", "message"),
    [
        (torch.ones(3), torch.ones(3).long(), "num_queries, num_items"),
        (torch.ones(2, 3), torch.tensor([0, 3]), "1 queries have targets"),
        (torch.ones(2, 3), -torch.ones(2, 3), "2 queries have targets"),
        (torch.ones(2, 3), torch.ones(2), "index of the relevant one"),
    ],
)
def test_bad_batches(outputs: Tensor, targets: Tensor, message: str) -> None:
    """What is no ranking raises."""
    with pytest.raises(ValueError, match=message):
        pe.HitRate(k=1).update(outputs, targets)
    with pytest.raises(ValueError, match="at least 1"):
        pe.HitRate(k=0)
