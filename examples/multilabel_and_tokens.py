"""Which pretraining helps to read Python, prose or code? Labels of lines, and of tokens.

Two encoders of characters learn to fill in hidden ones, one in Python's own manual and
one in its standard library, in front of you. Then they and a twin that was never
pretrained learn two tasks on the same lines of other modules: which kinds of tokens a
line has, and where each is, as Python's own tokenizer says. Offline, about half a
minute on two CPU cores.
"""

import inspect
import io
import keyword
import tokenize
from collections.abc import Callable
from functools import partial
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

import pretrain_eval as pe

LENGTH = 64  # characters of a line
KINDS = ("KEYWORD", "NAME", "NUMBER", "STRING", "COMMENT")
LABELS = ["O", *(f"{tag}-{kind}" for kind in KINDS for tag in "BI")]
OF_TOKEN = {
    tokenize.NUMBER: "NUMBER",
    tokenize.STRING: "STRING",
    tokenize.COMMENT: "COMMENT",
}


class Encoder(nn.Module):
    """Features of each character, `(num_lines, length, width)`, from its neighbours."""

    def __init__(self, width: int = 48) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        self.layers = nn.ModuleList(
            nn.Conv1d(width, width, 5, padding=2 * dilation, dilation=dilation)
            for dilation in (1, 2, 4)
        )

    def forward(self, characters: Tensor) -> Tensor:
        """Features of characters `(num_lines, length)`."""
        features: Tensor = self.embedding(characters).mT
        for layer in self.layers:
            features = features + F.gelu(layer(features))
        return features.mT


def encoded(lines: list[str]) -> Tensor:
    """Characters as numbers, filled up with 0."""
    codes = [list(line[:LENGTH].encode("ascii", "replace")) for line in lines]
    return torch.tensor([row + [0] * (LENGTH - len(row)) for row in codes])


def pretrained(lines: list[str], steps: int = 300) -> Encoder:
    """An encoder that has learned to fill in a sixth of the characters."""
    torch.manual_seed(0)
    encoder, head = Encoder(), nn.Linear(48, 128)
    characters = encoded(lines)
    optimizer = torch.optim.AdamW([*encoder.parameters(), *head.parameters()], lr=3e-3)
    for _ in range(steps):
        batch = characters[torch.randint(len(characters), (64,))]
        hidden = (torch.rand(batch.shape) < 1 / 6) & (batch > 0)
        scores = head(encoder(batch.masked_fill(hidden, 1)))
        loss = F.cross_entropy(scores[hidden], batch[hidden])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(f"pretrained on {len(lines)} lines, last loss {loss.item():.2f}")
    return encoder


def prose() -> list[str]:
    """Lines of Python's manual."""
    from pydoc_data.topics import topics

    text = "\n".join(topics.values()).splitlines()
    return [line for line in text if len(line.strip()) > 20][:6000]


def code(*modules: ModuleType) -> list[str]:
    """Lines of modules."""
    text = "\n".join(map(inspect.getsource, modules)).splitlines()
    return [line for line in text if line.strip()]


def tags(line: str) -> list[int] | None:
    """The class of each character, where a line can be read alone."""
    found = [0] * LENGTH
    try:
        for token in tokenize.generate_tokens(io.StringIO(line).readline):
            kind = OF_TOKEN.get(token.type)
            if token.type == tokenize.NAME:
                kind = "KEYWORD" if keyword.iskeyword(token.string) else "NAME"
            if kind is not None and token.end[0] == 1:
                for place in range(token.start[1], min(token.end[1], LENGTH)):
                    tag = "B" if place == token.start[1] else "I"
                    found[place] = LABELS.index(f"{tag}-{kind}")
    except (tokenize.TokenError, SyntaxError):
        return None  # one that begins or ends elsewhere
    return found


def tasks(train: list[str], reported: list[str]) -> list[pe.Task]:
    """Two questions on the same lines."""
    tokens, lines = [], []
    for chosen in (train, reported):
        tagged = [(line.strip(), tags(line.strip())) for line in chosen]
        pairs = [(line, found) for line, found in tagged if found is not None][:400]
        characters = encoded([line for line, _ in pairs])
        places = torch.tensor([found for _, found in pairs])
        kinds = [(places == LABELS.index(f"B-{kind}")).any(1) for kind in KINDS]
        filled = places.masked_fill(characters == 0, -100)  # padding is no token
        tokens.append(TensorDataset(characters, filled))
        lines.append(TensorDataset(characters, torch.stack(kinds, 1).long()))
    return [
        pe.Task(
            "kinds of a line",
            datasets={"stdlib": pe.Splits(*lines)},
            kind=pe.MultiLabel(len(KINDS)),
        ),
        pe.Task(
            "tokens",
            datasets={"stdlib": pe.Splits(*tokens)},
            kind=pe.TokenClassification(len(LABELS), labels=LABELS),
        ),
    ]


def main() -> None:
    """Pretrain, fine-tune, compare."""
    import argparse
    import ast
    import csv
    import json.decoder
    import textwrap
    import typing

    bodies: dict[str, nn.Module | Callable[[], nn.Module]] = {
        "prose": pretrained(prose()),
        "code": pretrained(code(argparse, typing, ast)),
        "scratch": Encoder,
    }
    models = {name: pe.Pretrained(body, head="new") for name, body in bodies.items()}
    adam = partial(torch.optim.AdamW, lr=3e-3)
    strategies = [
        pe.Strategy("full", optimizer=adam, epochs=4),
        pe.Strategy("head", optimizer=adam, epochs=4, trainable="head"),
    ]
    runs = pe.sweep(
        models,
        tasks(code(csv), code(textwrap, json.decoder)),
        strategies,
        seeds=range(3),
    )
    print(pe.PersistenceEvaluator(scratch="scratch").compare(runs))


if __name__ == "__main__":
    main()
