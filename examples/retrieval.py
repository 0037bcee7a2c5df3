"""Which tower of images finds captions? A tiny CLIP on generated pairs.

A picture holds one shape at one place in one colour, and its caption says so in three
words. One candidate was pretrained on many such pairs, one on pairs that do not match.
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval.typing import Model


class TinyClip(nn.Module):
    """A small network for pictures, one for words, and a scale."""

    def __init__(self) -> None:
        super().__init__()
        self.image = nn.Sequential(
            nn.Flatten(), nn.Linear(3 * 64, 64), nn.ReLU(), nn.Linear(64, 16)
        )
        self.text = nn.EmbeddingBag(14, 16)
        self.logit_scale = nn.Parameter(torch.tensor(2.0))

    def forward(self, images: Tensor, words: Tensor) -> dict[str, Tensor]:
        """Both embeddings, and what cosines are multiplied by."""
        return {
            "image_embeds": self.image(images),
            "text_embeds": self.text(words),
            "logit_scale": self.logit_scale.exp(),
        }


def pairs(num_pairs: int, seed: int, *, shuffled: bool = False) -> TensorDataset:
    """Pictures of 8 × 8 pixels, and the words of row, column and colour."""
    generator = torch.Generator().manual_seed(seed)
    row, column = torch.randint(4, (2, num_pairs), generator=generator)
    colour = torch.randint(3, (num_pairs,), generator=generator)
    images = 0.3 * torch.randn(num_pairs, 3, 8, 8, generator=generator)
    for i in range(num_pairs):
        top, left = 2 * int(row[i]), 2 * int(column[i])
        images[i, colour[i], top : top + 2, left : left + 2] += 2
    words = torch.stack([row, 4 + column, 8 + colour], 1)
    if shuffled:
        words = words[torch.randperm(num_pairs, generator=generator)]
    return TensorDataset(images, words)


def main() -> None:
    """Pretrain on two sets of pairs, then compare on few."""
    adam = partial(torch.optim.Adam, lr=0.005)
    models: dict[str, Model] = {"from scratch": TinyClip}
    for name, shuffled in {"matching pairs": False, "shuffled pairs": True}.items():
        splits = pe.Splits(pairs(600, 1, shuffled=shuffled), pairs(40, 2))
        task = pe.Task(name, datasets={"many": splits}, kind=pe.Retrieval())
        pe.finetune(
            TinyClip,
            task,
            pe.Strategy("pretraining", optimizer=adam, epochs=20),
            name=name,
            on_end=lambda network, run: models.update({run.model: network}),
        )
    few = pe.Splits(pairs(60, 3), pairs(30, 4), pairs(31, 5))
    task = pe.Task("captions", datasets={"few": few}, kind=pe.Retrieval())
    short = pe.Strategy("short", optimizer=adam, epochs=3)
    runs = pe.sweep(models, [task], [short], range(3), progress=False)
    print(pe.PersistenceEvaluator().compare(runs))


if __name__ == "__main__":
    main()
