"""Kinds whose samples are pairs train on a stream as on a list."""

from functools import partial

import torch
from torch import nn

import pretrain_eval as pe

FULL = pe.Strategy(
    "full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=2, batch_size=4
)


def run_of(kind, rows, model):
    """Trained on a stream of the first rows and reported on the others."""
    train = pe.Stream(lambda: iter(rows[:24]), 24, version="1")
    splits = pe.Splits(train, rows[24:])
    task = pe.Task("t", datasets={"d": splits}, kind=kind)
    return pe.finetune(model, task, FULL, device="cpu")


class Items(nn.Module):
    """A score of a user and an item."""

    def __init__(self):
        super().__init__()
        self.users, self.items = nn.Embedding(6, 4), nn.Embedding(9, 4)

    def forward(self, user, item):
        return (self.users(user) * self.items(item)).sum(-1)


class Towers(nn.Module):
    """Two embeddings of a pair."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, first, second):
        return self.first(first), self.second(second)


def test_recommendation_learns_from_a_stream_of_pairs():
    """What users know already is read of the stream too."""
    pairs = [(user, item) for item in range(9) for user in range(6) if item % 2 or user]
    run = run_of(pe.Recommendation(9, k=2), pairs, Items())
    assert (run.status, run.cost.num_samples) == ("completed", 48)
    listed = pe.Task(
        "t",
        datasets={"d": pe.Splits(pairs[:24], pairs[24:])},
        kind=pe.Recommendation(9, k=2),
    )
    assert run.chance == listed.chance["d"]


def test_retrieval_learns_from_a_stream_of_pairs():
    """The form of its first pair is checked as that of a list."""
    first = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    run = run_of(pe.Retrieval(), list(zip(first, -first, strict=True)), Towers())
    assert (run.status, run.cost.num_samples) == ("completed", 48)
