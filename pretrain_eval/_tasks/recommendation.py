"""Items for users, ranked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from math import comb, log2
from typing import Any, ClassVar, Literal, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import (
    NDCG,
    HitRate,
    MeanReciprocalRank,
    RecallAtK,
)
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.kind import Before, Network, TaskKind
from pretrain_eval._tasks.samples import read_each
from pretrain_eval._tasks.splits import Split, Splits

PairLoss = Literal["bce", "bpr", "mse"]
_PAIRS = 1 << 18  # pairs that are scored at a time


@final
@dataclass(frozen=True)
class Recommendation(TaskKind):
    """Which items a user will take, from pairs of user and item.

    A sample is `(user, item)`, `(user, item, rating)`, or a mapping with these in this
    order; users and items are numbers from 0. The model is called with users and items,
    `(N,)` each, gives a score a pair, and keeps its own form. Losses: "bce", of what was
    taken against `num_negatives` items drawn uniformly for each, by the seed of the
    epoch; "bpr", that what was taken scores higher than these; "mse", of ratings.

    For each user of a measured split all items are ranked that the training does not
    hold for the user; relevant are those of the split. NDCG@k is reported first, with
    hit rate@k, recall@k and the mean reciprocal rank; chance is that of a random order,
    in closed form; before training stands the model as it is.

    Args:
        num_items: How many items there are, at least 2.
        k: How many items are recommended.
        loss_of_pairs: "bce", "bpr" or "mse".
        num_negatives: Items drawn for each that was taken.
        liked: The rating from which an item is relevant; None: any rating.
        num_candidates: Rank so many items besides the relevant ones, drawn once by a
            fixed seed, instead of all; the metrics' names then end in `_of_n`, since
            their values are not those of all items.

    Sources: Rendle et al., BPR, UAI 2009; Krichene and Rendle, On Sampled Metrics for
    Item Recommendation, KDD 2020.

    >>> list(Recommendation(50, k=5).metrics())
    ['ndcg_at_5', 'hit_rate_at_5', 'recall_at_5', 'mrr']
    """

    num_items: int
    _: KW_ONLY
    k: int = 10
    loss_of_pairs: PairLoss = "bce"
    num_negatives: int = 4
    liked: float | None = None
    num_candidates: int | None = None
    before: ClassVar[Before | None] = "untrained"

    def __post_init__(self) -> None:
        check_count("num_items", self.num_items, 2)
        check_count("k", self.k, 1)
        check_count("num_negatives", self.num_negatives, 1)
        if self.num_candidates is not None:
            check_count("num_candidates", self.num_candidates, 1)
        if self.loss_of_pairs not in ("bce", "bpr", "mse"):
            raise ValueError(
                f"loss_of_pairs must be bce, bpr or mse, got {self.loss_of_pairs!r}"
            )

    @property
    def _names(self) -> list[str]:
        ranked = [f"{name}_at_{self.k}" for name in ("ndcg", "hit_rate", "recall")]
        end = "" if self.num_candidates is None else f"_of_{self.num_candidates}"
        return [f"{name}{end}" for name in (*ranked, "mrr")]

    @override
    def metrics(self) -> Metrics:
        k = self.k
        found = [NDCG(k=k), HitRate(k=k), RecallAtK(k=k), MeanReciprocalRank()]
        return dict(zip(self._names, found, strict=True))

    @override
    def read(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        users, items, *ratings = _columns(batch)
        scores = _scores(model, users, items)
        return scores, ratings[0] if ratings else torch.ones_like(scores)

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        users, items, *_ = _columns(batch)
        if self.loss_of_pairs == "mse":
            scores, ratings = self.read(model, batch)
            return scores, ratings.to(scores.dtype)
        shape = len(users), self.num_negatives
        # On the CPU, so that a seed draws the same items for every device.
        drawn = torch.randint(self.num_items, shape).to(items.device)
        asked = torch.cat((items[:, None], drawn), 1)
        several = users[:, None].expand_as(asked).reshape(-1)
        scores = _scores(model, several, asked.reshape(-1)).reshape(asked.shape)
        targets = torch.zeros_like(scores)
        targets[:, 0] = 1
        return scores, targets

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        if self.loss_of_pairs == "mse":
            return F.mse_loss(outputs, targets)
        if self.loss_of_pairs == "bce":
            return F.binary_cross_entropy_with_logits(outputs, targets)
        return -F.logsigmoid(outputs[:, :1] - outputs[:, 1:]).mean()

    @override
    def forward(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        users, marks = batch
        items = torch.arange(self.num_items, device=users.device)
        size = max(_PAIRS // self.num_items, 1)
        scores = torch.cat(
            [
                _scores(
                    model,
                    some.repeat_interleave(self.num_items),
                    items.repeat(len(some)),
                ).reshape(len(some), -1)
                for some in users.split(size)
            ]
        )
        return scores.float().masked_fill(marks < 0, -torch.inf), marks.clamp(min=0)

    @override
    def posed(self, splits: Splits) -> Splits:
        users = {
            name: part if name == "train" else _Users(self, splits.train, part)
            for name, part in splits.parts.items()
        }
        return replace(
            splits, valid=users["valid"], test=users.get("test"), allow_overlap=True
        )

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            pairs = _pairs(split, f"{what}: {part}")
            items = pairs[:, 1]
            if items.min() < 0 or items.max() >= self.num_items:
                wrong = items.min() if items.min() < 0 else items.max()
                raise ValueError(
                    f"{what}: {part} holds the item {int(wrong)}; num_items="
                    f"{self.num_items} allows 0..{self.num_items - 1}"
                )
            if self.loss_of_pairs == "mse" and pairs.shape[1] < 3:
                raise ValueError(f"{what}: {part} has no ratings, which 'mse' needs")
        for name, asked in splits.parts.items():
            if name != "train" and not len(_Users(self, splits.train, asked)):
                raise ValueError(
                    f"{what}: {name} has no user with a relevant item that the training"
                    " does not hold"
                )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        """The mean over users of what a random order is expected to score."""
        users: Any = self.posed(splits).reported
        levels = [
            random_order(int((marks > 0).sum()), int((marks >= 0).sum()), self.k)
            for _, marks in (users[i] for i in range(len(users)))
        ]
        return dict(zip(self._names, np.mean(levels, 0).tolist(), strict=True))

    @override
    def outcomes(self, outputs: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        values = []
        for row, relevant in zip(outputs, targets, strict=True):
            metric = NDCG(k=self.k)
            metric.update(row[None], relevant[None])
            values.append(metric.compute(sync=False))
        return self._names[0], torch.tensor(values, dtype=torch.float64)


def random_order(num_relevant: int, num_items: int, k: int) -> tuple[float, ...]:
    """What a random order is expected to score: NDCG@k, hit rate@k, recall@k, MRR.

    Args:
        num_relevant: R, at least 1.
        num_items: M, of which R are relevant.
        k: How many are looked at.

    >>> random_order(1, 4, 2)[1:]
    (0.5, 0.5, 0.520833...)
    """
    gains = [1 / log2(1 + rank) for rank in range(1, min(k, num_items) + 1)]
    ndcg = num_relevant / num_items * sum(gains) / sum(gains[:num_relevant])
    missed = (
        comb(num_items - num_relevant, k) / comb(num_items, k) if k <= num_items else 0
    )
    first = chance_of_first = num_relevant / num_items
    for rank in range(2, num_items - num_relevant + 2):
        # The first relevant item is one rank later.
        behind = num_items - rank + 1
        chance_of_first *= (behind - num_relevant + 1) / behind
        first += chance_of_first / rank
    return ndcg, 1 - missed, min(k / num_items, 1.0), first


@final
class _Users(Dataset[Any]):
    """One row a user of a measured split: the user, and a mark for each item.

    A mark is 1 where the item is relevant, −1 where it is not ranked, else 0.
    """

    def __init__(self, kind: Recommendation, train: Split, split: Split) -> None:
        self._kind, self._train, self._split = kind, train, split

    @cached_property
    def _rows(self) -> list[tuple[int, np.ndarray, np.ndarray]]:
        """Users, their relevant items, and those that they have taken."""
        seen, asked = _by_user(_pairs(self._train)), _pairs(self._split)
        if self._kind.liked is not None and asked.shape[1] > 2:
            asked = asked[asked[:, 2] >= self._kind.liked]
        rows = []
        for user, items in _by_user(asked).items():
            taken = seen.get(user, np.empty(0, np.int64))
            relevant = np.setdiff1d(items, taken)
            if len(relevant):
                rows.append((user, relevant, taken))
        return rows

    def __len__(self) -> int:
        return len(self._rows)

    @override
    def __getitem__(self, index: int) -> tuple[int, Tensor]:
        user, relevant, taken = self._rows[index]
        marks = np.zeros(self._kind.num_items, np.int64)
        if self._kind.num_candidates is not None:
            others = np.setdiff1d(np.arange(len(marks)), np.union1d(relevant, taken))
            drawn = np.random.default_rng([0, user]).permutation(others)
            marks[drawn[self._kind.num_candidates :]] = -1
        marks[taken], marks[relevant] = -1, 1
        return user, torch.from_numpy(marks)


def _columns(batch: Any) -> list[Tensor]:
    """Users, items and, where there are some, ratings of a batch or a sample."""
    parts: list[Any] = []
    for part in batch.values() if isinstance(batch, Mapping) else batch:
        nested = isinstance(part, Mapping | tuple | list)
        parts += _columns(part) if nested else [part]
    if len(parts) not in (2, 3):
        raise ValueError(
            "a sample is expected to be (user, item) or (user, item, rating), got"
            f" {len(parts)} parts"
        )
    return [torch.as_tensor(part) for part in parts]


def _pairs(split: Split, what: str = "a split") -> np.ndarray:
    """All users, items and ratings of a split, `(num_pairs, 2 or 3)`."""
    if type(split) is TensorDataset:
        columns = _columns(split.tensors)
    else:
        if isinstance(split, DataLoader):
            split = split.dataset
        try:
            samples = read_each(split, _columns)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{what}: {error}") from error
        columns = [torch.stack(column) for column in zip(*samples, strict=True)]
    if any(c.ndim != 1 or c.is_floating_point() for c in columns[:2]):
        raise ValueError(f"{what} must have users and items as integers, one a sample")
    return np.stack([column.double().numpy() for column in columns], 1)


def _by_user(pairs: np.ndarray) -> dict[int, np.ndarray]:
    order = pairs[:, 0].argsort(kind="stable")
    users, begins = np.unique(pairs[order, 0], return_index=True)
    items = np.split(pairs[order, 1].astype(np.int64), begins[1:])
    return dict(zip(users.astype(int).tolist(), items, strict=True))


def _scores(model: Network, users: Tensor, items: Tensor) -> Tensor:
    """A score a pair."""
    scores: Tensor = model(users, items)
    if not isinstance(scores, Tensor) or scores.numel() != len(users):
        came = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores)
        raise ValueError(
            f"a model of users and items is expected to give a score a pair,"
            f" ({len(users)},), got {came}"
        )
    return scores.reshape(len(users))
