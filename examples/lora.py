"""Is a low-rank adapter enough, or must all weights move?

`Strategy(prepare=...)` gets the pretrained model with the task's head on, and returns
what is trained. The adapter here is a few lines; where the package peft is installed, its
LoRA is compared, too. Two tiny transformers are pretrained on the spot, on whether one
token stands in a sequence more often than another; a scratch twin is not.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset
from transformers import BertConfig, BertForSequenceClassification

import pretrain_eval as pe
from pretrain_eval.typing import Model


class LowRank(nn.Module):
    """A linear layer that is frozen, plus a product of two thin matrices, W x + B A x."""

    def __init__(self, layer: nn.Linear, rank: int) -> None:
        super().__init__()
        self.layer = layer.requires_grad_(False)
        self.down = nn.Linear(layer.in_features, rank, bias=False)
        self.up = nn.Linear(rank, layer.out_features, bias=False)
        nn.init.zeros_(self.up.weight)  # so that nothing changes at first

    def forward(self, inputs: Tensor) -> Tensor:
        """W x + B A x."""
        return self.layer(inputs) + self.up(self.down(inputs))


def adapted(model: nn.Module, rank: int = 4) -> nn.Module:
    """The model with adapters in its attention, all else frozen."""
    model.requires_grad_(False)
    for name, module in list(model.named_modules()):
        if name.endswith(("query", "value")):
            model.set_submodule(name, LowRank(module, rank))
    return model


def by_peft(model: nn.Module) -> nn.Module:
    """The same by the package peft."""
    from peft import LoraConfig, get_peft_model

    places = LoraConfig(r=4, lora_alpha=4, target_modules=["query", "value"])
    return get_peft_model(model, places)


def sequences(count: int, seed: int, first: int, second: int) -> TensorDataset:
    """Sequences, and whether the first token is in them more often than the second."""
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, 8, (count, 16), generator=generator)
    more = (ids == first).sum(1) > (ids == second).sum(1)
    return TensorDataset(ids, more.long())


def bert(width: int = 32) -> nn.Module:
    """A tiny transformer, whose weights each run draws."""
    config = BertConfig(
        vocab_size=8, hidden_size=width, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=2 * width, max_position_embeddings=16,
    )  # fmt: skip
    return BertForSequenceClassification(config)


def pretrained(width: int) -> nn.Module:
    """One that tells whether token 1 stands more often than token 2."""
    kept: list[nn.Module] = []
    adam = partial(torch.optim.AdamW, lr=2e-3)
    strategy = pe.Strategy("pretrain", optimizer=adam, epochs=6)
    splits = pe.Splits(sequences(512, 1, 1, 2), sequences(64, 2, 1, 2))
    task = pe.Task("1 or 2", datasets={"d": splits}, num_classes=2)
    pe.finetune(
        partial(bert, width), task, strategy, baseline=False, resources=False,
        on_end=lambda model, run: kept.append(model),
    )  # fmt: skip
    return kept[0]


def main() -> None:
    """Pretrain, adapt, compare."""
    splits = pe.Splits(*(sequences(n, seed, 1, 3) for n, seed in ((96, 3), (128, 4))))
    task = pe.Task("1 or 3", datasets={"few": splits}, num_classes=2)
    adam = partial(torch.optim.AdamW, lr=3e-3)
    ways: dict[str, Callable[[nn.Module], nn.Module]] = {"low rank": adapted}
    if find_spec("peft"):
        ways["peft"] = by_peft
    else:
        print("peft is not installed; its LoRA is left out (pip install peft)")
    full = pe.Strategy("full", optimizer=adam, epochs=4, batch_size=32)
    strategies = [
        full,
        *(replace(full, name=name, prepare=way) for name, way in ways.items()),
    ]
    models: dict[str, Model] = {
        "wide": pretrained(32),
        "narrow": pretrained(16),
        "scratch": bert,
    }
    runs = pe.sweep(models, [task], strategies, range(2), progress=False)
    for run in runs:
        trained = run.cost.num_trainable_parameters
        print(
            f"{run.model:8} {run.strategy:9} {trained:6} {run.scores['accuracy']:.3f}"
        )
    print(pe.PersistenceEvaluator().compare(runs))


if __name__ == "__main__":
    main()
