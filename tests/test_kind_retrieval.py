"""Pairs that find each other: ranks over the whole split, whatever the batches."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import draw_of
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all


class Towers(nn.Module):
    """Two linear towers and a learned scale."""

    def __init__(self, seed=0, form="tuple"):
        super().__init__()
        torch.manual_seed(seed)
        self.first, self.second = nn.Linear(6, 4), nn.Linear(5, 4)
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.form = form

    def forward(self, first, second):
        found = self.first(first), self.second(second)
        if self.form == "tuple":
            return found
        return {
            "image_embeds": found[0],
            "text_embeds": found[1],
            "logit_scale": self.scale.exp(),
        }


def pairs(num_pairs, seed):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(num_pairs, 3, generator=generator)
    maps = torch.Generator().manual_seed(9)
    return TensorDataset(
        hidden @ torch.randn(3, 6, generator=maps),
        hidden @ torch.randn(3, 5, generator=maps),
    )


def task(**options):
    splits = pe.Splits(pairs(40, 0), pairs(30, 1), pairs(31, 2))
    return pe.Task("pairs", datasets={"d": splits}, kind=pe.Retrieval(**options))


FULL = pe.Strategy(
    "full", optimizer=partial(torch.optim.Adam, lr=0.02), epochs=3, batch_size=8
)


def test_the_loop_does_what_a_hand_written_one_does():
    """The symmetric cross-entropy of cosines over the temperature, bit for bit."""
    kept = []
    pe.finetune(Towers(), task(), FULL, on_end=lambda m, _: kept.append(m))
    model = Towers()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for epoch in (1, 2, 3):
        seed_all(draw_of(task(), FULL), epoch)
        loader = torch.utils.data.DataLoader(pairs(40, 0), 8, shuffle=True)
        for batch in loader:
            first, second = (nn.functional.normalize(e, dim=1) for e in model(*batch))
            scores = first @ second.T * (1 / 0.07)
            own = torch.arange(len(scores))
            loss = nn.functional.cross_entropy(scores, own)
            loss = (loss + nn.functional.cross_entropy(scores.T, own)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, theirs in zip(kept[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_scores_are_of_the_whole_split_and_equal_a_numpy_twin():
    """Batches of the strategy cut nothing; outcomes are hits at one."""
    run = pe.finetune(Towers(), task(), FULL)
    first, second = pairs(31, 2).tensors
    with torch.no_grad():
        found = [nn.functional.normalize(e, dim=1) for e in Towers()(first, second)]
    scores = (found[0] @ found[1].T).numpy()
    ranks = [(s > np.diag(s)[:, None]).sum(1) + 1 for s in (scores, scores.T)]
    for k in (1, 5, 10):
        wanted = np.mean([(r <= k).mean() for r in ranks])
        assert run.baseline[f"recall_at_{k}"] == pytest.approx(wanted)
        assert run.chance[f"recall_at_{k}"] == k / 31
    assert run.baseline["recall_at_1_of_first"] == pytest.approx((ranks[0] == 1).mean())
    assert run.baseline["median_rank"] == np.mean([np.median(r) for r in ranks])
    assert run.chance["median_rank"] == 16
    assert run.scores["recall_at_1"] > run.baseline["recall_at_1"]
    assert next(iter(run.scores)) == run.outcomes.key == "recall_at_1"
    assert len(run.outcomes.values()) == run.num_examples == 31
    assert np.mean(run.outcomes.values()) == pytest.approx(run.scores["recall_at_1"])


def test_a_models_own_scale_and_names_are_used():
    """An output like CLIP's gives the loss its scale."""
    kind, outputs = pe.Retrieval(), Towers(form="clip")(*pairs(6, 0).tensors)
    own = torch.arange(6)
    first, second = (
        nn.functional.normalize(outputs[n], dim=1)
        for n in ("image_embeds", "text_embeds")
    )
    scores = first @ second.T * outputs["logit_scale"]
    both = [nn.functional.cross_entropy(s, own) for s in (scores, scores.T)]
    assert torch.equal(kind.loss(outputs, own), sum(both) / 2)


def test_pairs_by_name_and_a_sweep_that_resumes(tmp_path):
    """Samples with the inputs of both towers, without any target."""

    def named(num_pairs, seed):
        both = pairs(num_pairs, seed).tensors
        return [{"first": a, "second": b} for a, b in zip(*both, strict=True)]

    splits = pe.Splits(named(40, 0), named(30, 1))
    by_name = pe.Task("pairs", datasets={"d": splits}, kind=pe.Retrieval())
    sweep = partial(
        pe.sweep,
        {"a": Towers(0, "clip"), "b": Towers(1, "clip")},
        [by_name],
        [FULL, pe.zero_shot()],
        range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = sweep()
    assert {run.status for run in runs} == {"completed"}
    assert sweep() == runs
    assert runs[0].cost.macs == 6 * 4 + 5 * 4
    assert pe.PersistenceEvaluator().compare(runs).best in ("a", "b")


def test_a_metric_of_pairs_merges_and_ties_earn_nothing():
    """Two halves rank as one whole; equal embeddings are no hit."""
    first, second = torch.randn(9, 3), torch.randn(9, 3)
    whole, left, right = (pe.PairRecall(k=2) for _ in range(3))
    whole.update(first, second)
    left.update(first[:4], second[:4])
    right.update(first[4:], second[4:])
    left.merge(right)
    assert left.compute() == whole.compute()
    tied = pe.PairRecall(k=1)
    tied.update(torch.ones(3, 2), torch.ones(3, 2))
    assert tied.compute() == 0.0


def test_embeddings_that_are_not_finite_make_no_value():
    """A score of NaN, with a warning."""
    metric = pe.MedianRank()
    metric.update(torch.tensor([[torch.nan, 1.0]]), torch.ones(1, 2))
    with pytest.warns(UserWarning, match="embeddings that are NaN"):
        assert np.isnan(metric.compute())


@pytest.mark.parametrize(
    ("outputs", "error", "message"),
    [
        (torch.zeros(2, 3), TypeError, "expected to return two embeddings"),
        ((torch.zeros(2, 3), torch.zeros(2, 4)), ValueError, r"\(2, 3\) and \(2, 4\)"),
    ],
)
def test_what_are_no_two_embeddings_is_said(outputs, error, message):
    """What came, and what is expected."""
    with pytest.raises(error, match=message):
        pe.Retrieval().forward(lambda *_: outputs, (torch.zeros(2), torch.zeros(2)))


def test_samples_that_are_no_pairs_are_refused():
    """Before any work."""
    alone = TensorDataset(torch.randn(4, 3))
    other = TensorDataset(torch.randn(4, 3))
    with pytest.raises(ValueError, match="must hold pairs"):
        pe.Task(
            "t",
            datasets={"d": pe.Splits(alone, other, allow_overlap=True)},
            kind=pe.Retrieval(),
        )
    with pytest.raises(ValueError, match="at least one k"):
        pe.Retrieval(k=())
