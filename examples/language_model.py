"""Which pretraining helps to write the documentation of one module?

Two tiny models of GPT-2's form learn to write Python's own docstrings on the spot, one
from the modules of text and one from those of numbers; a scratch twin knows nothing.
They are adapted to the docstrings of a module that none has read. Tokens are bytes, so
that bits per byte are exact.
"""

from __future__ import annotations

import importlib
import inspect
from functools import partial

import torch
from torch import nn
from torch.utils.data import TensorDataset
from transformers import GPT2Config, GPT2LMHeadModel

import pretrain_eval as pe
from pretrain_eval.typing import Model

LENGTH = 64
TEXT = ("string", "textwrap", "json", "csv", "configparser", "argparse", "logging")
NUMBERS = ("decimal", "fractions", "statistics", "random", "math", "cmath")


def documentation(*modules: str) -> torch.Tensor:
    """All docstrings of modules as rows of bytes, `(N, LENGTH)`."""
    texts = []
    for name in modules:
        module = importlib.import_module(name)
        for _, member in sorted(inspect.getmembers(module), key=lambda pair: pair[0]):
            members = [
                member,
                *(vars(member).values() if inspect.isclass(member) else ()),
            ]
            texts += [inspect.getdoc(each) or "" for each in members]
    content = "\n".join(dict.fromkeys(texts)).encode()
    rows = len(content) // LENGTH
    flat = torch.frombuffer(bytearray(content[: rows * LENGTH]), dtype=torch.uint8)
    return flat.long().view(rows, LENGTH)


def fresh() -> nn.Module:
    """A tiny causal model of bytes, whose weights each run draws."""
    config = GPT2Config(
        vocab_size=256, n_embd=48, n_layer=1, n_head=4, n_positions=LENGTH,
        bos_token_id=0, eos_token_id=0,
    )  # fmt: skip
    return GPT2LMHeadModel(config)


def pretrained(rows: torch.Tensor, steps: int = 80) -> nn.Module:
    """The model after steps on batches of rows."""
    torch.manual_seed(0)
    model = fresh().train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3)
    for _ in range(steps):
        batch = rows[torch.randint(len(rows), (16,))]
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model


def main() -> None:
    """Pretrain, adapt, compare."""
    rows = documentation("email.message", "email.header", "email.charset")
    rows = rows[torch.randperm(len(rows), generator=torch.Generator().manual_seed(0))]
    # A row is never scored on the first of its bytes.
    kind = pe.LanguageModelling(bytes_per_token=1.0)
    third = 64
    parts = [TensorDataset(rows[i * third : (i + 1) * third]) for i in range(3)]
    task = pe.Task("email", datasets={"docstrings": pe.Splits(*parts)}, kind=kind)
    models: dict[str, Model] = {
        "text": pretrained(documentation(*TEXT)),
        "numbers": pretrained(documentation(*NUMBERS)),
        "scratch": fresh,
    }
    adam = partial(torch.optim.AdamW, lr=1e-3)
    full = pe.Strategy("full", optimizer=adam, epochs=2, batch_size=16)
    runs = pe.sweep(models, [task], [full, pe.zero_shot()], range(2), progress=False)
    for run in runs:
        print(f"{run.model:8} {run.strategy:9} {run.scores['bits_per_byte']:.3f} bits")
    best = pe.PersistenceEvaluator(metric="bits_per_byte", ceiling=0.0)
    print(best.compare(runs))


if __name__ == "__main__":
    main()
