"""Which taste, learned in one market, helps in another? A generated market.

The truth is stated: users and items have hidden places, and users take what is near.
One candidate was pretrained on a market of the same items, one on other items.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval.typing import Model

NUM_USERS, NUM_ITEMS, TAKEN = 60, 80, 14


class Factors(nn.Module):
    """A place for each user and each item; near is good."""

    def __init__(self) -> None:
        super().__init__()
        self.users = nn.Embedding(NUM_USERS, 8)
        self.items = nn.Embedding(NUM_ITEMS, 8)

    def forward(self, users: Tensor, items: Tensor) -> Tensor:
        """A score a pair, `(N,)`."""
        return (self.users(users) * self.items(items)).sum(1)


def market(items: Tensor, seed: int) -> pe.Splits:
    """Other users each time, who take the items that lie nearest to them."""
    generator = torch.Generator().manual_seed(seed)
    users = torch.randn(NUM_USERS, items.shape[1], generator=generator)
    parts: list[list[tuple[int, int]]] = [[], [], []]
    for user, taken in enumerate((users @ items.T).topk(TAKEN).indices):
        order = taken[torch.randperm(TAKEN, generator=generator)].tolist()
        for place, item in enumerate(order):
            parts[0 if place < 4 else 1 + place % 2].append((user, item))
    return pe.Splits(*(TensorDataset(*torch.tensor(part).T) for part in parts))


def main() -> None:
    """Pretrain on two other markets, then compare on this one."""
    generator = torch.Generator().manual_seed(0)
    items, others = torch.randn(2, NUM_ITEMS, 4, generator=generator)
    kind = pe.Recommendation(NUM_ITEMS, k=10)
    adam = partial(torch.optim.Adam, lr=0.02)
    models: dict[str, Model] = {"from scratch": Factors}
    for name, source in {"same items": items, "other items": others}.items():
        task = pe.Task(name, datasets={"before": market(source, 1)}, kind=kind)
        strategy = pe.Strategy("pretraining", optimizer=adam, epochs=30)
        pe.finetune(
            Factors,
            task,
            strategy,
            name=name,
            on_end=lambda network, run: models.update({run.model: network}),
        )
    here = pe.Task("market", datasets={"now": market(items, 2)}, kind=kind)
    short = pe.Strategy("short", optimizer=adam, epochs=5)
    runs = pe.sweep(models, [here], [short], range(3), progress=False)
    print(pe.PersistenceEvaluator().compare(runs))


if __name__ == "__main__":
    main()
