"""Items for users: what is drawn, what is ranked, and what chance is."""

import pickle
from functools import partial
from itertools import permutations
from math import log2

import numpy as np
import pandas as pd
import pytest
import torch
from networks import draw_of
from sklearn.metrics import ndcg_score
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all
from pretrain_eval._sweep.places import Elsewhere
from pretrain_eval._tasks.recommendation import random_order
from pretrain_eval._training import Cell, Surroundings

USERS, ITEMS = 12, 15


class Factors(nn.Module):
    """Users and items in one space."""

    def __init__(self, seed=0):
        super().__init__()
        torch.manual_seed(seed)
        self.users, self.items = nn.Embedding(USERS, 4), nn.Embedding(ITEMS, 4)

    def forward(self, users, items):
        return (self.users(users) * self.items(items)).sum(1)


def market(seed=0):
    """Users who take what is near them: pairs to train on, to watch and to report."""
    generator = np.random.default_rng(seed)
    near = generator.normal(size=(USERS, 2)) @ generator.normal(size=(2, ITEMS))
    parts = [[], [], []]
    for user in range(USERS):
        for place, item in enumerate(
            generator.permutation(np.argsort(-near[user])[:9])
        ):
            parts[0 if place < 5 else 1 + place % 2].append((user, item))
    return [torch.tensor(part) for part in parts]


def task(kind=None, rated=False):
    parts = [TensorDataset(*part.T) for part in market()]
    if rated:
        parts = [TensorDataset(*p.tensors, p.tensors[1] % 5 + 1.0) for p in parts]
    return pe.Task(
        "market",
        datasets={"d": pe.Splits(*parts)},
        kind=kind or pe.Recommendation(ITEMS, k=3, num_negatives=2),
    )


FULL = pe.Strategy(
    "full", optimizer=partial(torch.optim.Adam, lr=0.05), epochs=3, batch_size=8
)


def test_the_loop_does_what_a_hand_written_one_does():
    """Negatives are drawn after the order of samples, from the epoch's seed."""
    kept = []
    pe.finetune(Factors(), task(), FULL, on_end=lambda m, _: kept.append(m))
    users, items = market()[0].T
    model = Factors()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    for epoch in (1, 2, 3):
        seed_all(draw_of(task(), FULL), epoch)
        data = TensorDataset(users, items)
        for u, i in torch.utils.data.DataLoader(
            data, 8, shuffle=True, drop_last=len(data) % 8 == 1
        ):
            asked = torch.cat((i[:, None], torch.randint(ITEMS, (len(i), 2))), 1)
            scores = model(
                u[:, None].expand_as(asked).reshape(-1), asked.reshape(-1)
            ).reshape(asked.shape)
            wanted = torch.zeros_like(scores)
            wanted[:, 0] = 1
            loss = nn.functional.binary_cross_entropy_with_logits(scores, wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    for mine, theirs in zip(kept[0].parameters(), model.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_scores_are_those_of_scikit_learn_over_unseen_items():
    """NDCG, hit rate, recall and MRR, user by user, before training."""
    run = pe.finetune(Factors(), task(), FULL)
    train, _, test = market()
    with torch.no_grad():
        users = torch.arange(USERS).repeat_interleave(ITEMS)
        scores = Factors()(users, torch.arange(ITEMS).repeat(USERS)).reshape(USERS, -1)
    values = []
    for user in sorted(set(test[:, 0].tolist())):
        seen = set(train[train[:, 0] == user, 1].tolist())
        items = [item for item in range(ITEMS) if item not in seen]
        right = set(test[test[:, 0] == user, 1].tolist())
        truth = np.array([[item in right for item in items]], float)
        found = scores[user, items].numpy()[None]
        order = np.array(items)[np.argsort(-found[0])]
        hits = [item in right for item in order]
        values.append(
            (
                ndcg_score(truth, found, k=3),
                float(any(hits[:3])),
                sum(hits[:3]) / len(right),
                1 / (hits.index(True) + 1),
            )
        )
    wanted = np.mean(values, 0)
    names = ["ndcg_at_3", "hit_rate_at_3", "recall_at_3", "mrr"]
    assert [run.baseline[name] for name in names] == pytest.approx(list(wanted))
    assert next(iter(run.scores)) == run.outcomes.key == "ndcg_at_3"
    assert run.num_examples == len(values)
    assert np.mean(run.outcomes.values()) == pytest.approx(run.scores["ndcg_at_3"])


@pytest.mark.parametrize(("relevant", "items", "k"), [(1, 4, 2), (2, 5, 3), (3, 4, 9)])
def test_chance_is_the_mean_over_all_orders(relevant, items, k):
    """In closed form what every permutation gives on average."""
    values = []
    for order in permutations([1] * relevant + [0] * (items - relevant)):
        gains = [r / log2(2 + i) for i, r in enumerate(order[:k])]
        ideal = [1 / log2(2 + i) for i in range(min(relevant, k))]
        values.append(
            (
                sum(gains) / sum(ideal),
                float(any(order[:k])),
                sum(order[:k]) / relevant,
                1 / (order.index(1) + 1),
            )
        )
    assert random_order(relevant, items, k) == pytest.approx(np.mean(values, 0))


@pytest.mark.parametrize("loss", ["bce", "bpr", "mse"])
def test_every_loss_runs_through_a_sweep_that_resumes(loss, tmp_path):
    """Two candidates and a scratch twin, in a store."""
    kind = pe.Recommendation(ITEMS, k=3, loss_of_pairs=loss)
    models = {"a": Factors(0), "b": Factors(1)}
    sweep = partial(
        pe.sweep,
        models,
        [task(kind, rated=loss == "mse")],
        [FULL],
        range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = sweep()
    assert {run.status for run in runs} == {"completed"}
    assert sweep() == runs
    assert set(runs[0].scales) >= {"ndcg_at_3", "mrr"}
    assert pe.PersistenceEvaluator().compare(runs).best in models


def test_bpr_is_minus_the_log_of_how_likely_what_was_taken_comes_first():
    """−log σ(s⁺ − s⁻), mean over the negatives."""
    kind = pe.Recommendation(ITEMS, loss_of_pairs="bpr")
    scores = torch.tensor([[1.0, 0.0, 2.0]])
    wanted = -(np.log(1 / (1 + np.exp(-1))) + np.log(1 / (1 + np.exp(1)))) / 2
    assert float(kind.loss(scores, torch.zeros(1, 3))) == pytest.approx(wanted)


def test_frames_and_samples_by_name_are_pairs_too():
    """A table of ratings, with or without saying which column is the target."""
    frames = [
        pd.DataFrame({"user": p[:, 0], "item": p[:, 1], "rating": p[:, 1] % 5 + 1.0})
        for p in market()
    ]
    kind = pe.Recommendation(ITEMS, k=3, loss_of_pairs="mse", liked=3.0)
    splits = pe.Splits(*frames, target="rating")
    rated = pe.Task("market", datasets={"d": splits}, kind=kind)
    run = pe.finetune(Factors(), rated, FULL)
    assert run.status == "completed"
    tensors = [
        TensorDataset(p[:, 0], p[:, 1], (p[:, 1] % 5 + 1.0).double()) for p in market()
    ]
    same = pe.Task("market", datasets={"d": pe.Splits(*tensors)}, kind=kind)
    assert pe.finetune(Factors(), same, FULL).baseline == run.baseline


def test_sampled_candidates_are_said_in_the_name():
    """A ranking among few items is another metric than one among all."""
    kind = pe.Recommendation(ITEMS, k=3, num_candidates=4)
    run = pe.finetune(Factors(), task(kind), FULL)
    assert list(run.scores) == [
        "ndcg_at_3_of_4",
        "hit_rate_at_3_of_4",
        "recall_at_3_of_4",
        "mrr_of_4",
    ]
    marks = kind.posed(task(kind).datasets["d"]).reported[0][1]
    assert int((marks == 0).sum()) == 4


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ([[0, 1], [0, ITEMS]], {}, f"holds the item {ITEMS}; num_items={ITEMS} allows"),
        ([[0, 1], [0.0, 1.0]], {}, "users and items as integers"),
        ([[0, 1], [0, 1]], {"loss_of_pairs": "mse"}, "no ratings, which 'mse' needs"),
        ([[0, 1], [0, 1], [1, 1], [2, 2]], {}, "got 4 parts"),
    ],
)
def test_wrong_pairs_are_said_before_any_work(columns, options, message):
    """What came, and what is expected."""
    data = TensorDataset(*map(torch.tensor, columns))
    others = TensorDataset(*(c.flip(0) for c in data.tensors))
    with pytest.raises(ValueError, match=message):
        pe.Task(
            "t",
            datasets={"d": pe.Splits(data, others, allow_overlap=True)},
            kind=pe.Recommendation(ITEMS, **options),
        )


def test_a_split_that_asks_nothing_new_is_refused():
    """All its items are known of the training."""
    data = TensorDataset(torch.tensor([0, 1]), torch.tensor([0, 1]))
    with pytest.raises(ValueError, match="no user with a relevant item"):
        pe.Task(
            "t",
            datasets={"d": pe.Splits(data, data, allow_overlap=True)},
            kind=pe.Recommendation(ITEMS),
        )


def test_a_head_alone_is_refused():
    """The model keeps its own form."""
    head = pe.Strategy("head", optimizer=torch.optim.SGD, epochs=1, trainable="head")
    with pytest.raises(ValueError, match="trains the head alone"):
        pe.sweep({"a": Factors()}, [task()], [head], progress=False)


def test_a_cell_makes_its_samples_once_and_sends_none_of_it_to_a_worker():
    """What it has made of its samples is kept with it, and no job carries it."""
    pool, sent = Submitted(), []
    cell = Cell(
        model_name="a",
        model=Factors(),
        head=None,
        task=task(),
        dataset="d",
        strategy=FULL,
        seed=0,
    )
    for read in (False, True):
        if read:
            assert len(cell.splits.valid)
            assert cell.splits is cell.splits
        place = Elsewhere(
            pool, None, Surroundings(), [cell], lambda *_: None, lambda _: {}
        )
        place.start([cell])
        sent.append(pickle.dumps(pool.jobs.pop()))
    assert sent[0] == sent[1]
    assert pickle.loads(sent[1]).cell().splits.valid[0][0] == cell.splits.valid[0][0]


class Submitted:
    """An executor that keeps its jobs."""

    def __init__(self):
        self.jobs = []

    def submit(self, function, job):
        self.jobs.append(job)
