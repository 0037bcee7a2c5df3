"""Which pretraining helps to tell what a docstring is about?

Real texts that Python ships: sentences of the standard library's docstrings, and whether
their module is about the network or about text. Two tiny transformers are pretrained on
the spot by filling in masked words, one on docstrings and one on the same words
shuffled; a scratch twin is not. Raw texts go in; each model cuts them into tokens
itself, with an attention mask, by `Pretrained(collate=...)`.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections import Counter
from functools import partial

import torch
from torch import Tensor, nn
from transformers import BertConfig, BertForMaskedLM, BertForSequenceClassification

import pretrain_eval as pe

NETWORK = ("http.client", "urllib.request", "smtplib", "socketserver", "ssl", "ftplib")
TEXT = ("string", "textwrap", "difflib", "csv", "json", "configparser")
OTHERS = ("logging", "argparse", "threading", "subprocess", "collections", "pathlib")
LENGTH, PAD, UNKNOWN, MASK, IGNORED = 24, 0, 1, 2, -100


def sentences(*modules: str) -> list[str]:
    """The sentences of all docstrings of modules, each once."""
    found: dict[str, None] = {}
    for name in modules:
        module = importlib.import_module(name)
        for _, member in sorted(inspect.getmembers(module), key=lambda pair: pair[0]):
            members = [
                member,
                *(vars(member).values() if inspect.isclass(member) else ()),
            ]
            for each in members:
                for text in re.split(r"[.\n]{2,}|\. ", inspect.getdoc(each) or ""):
                    if len(text.split()) > 3:
                        found[text] = None
    return list(found)


def words(text: str) -> list[str]:
    """Words of letters, in lower case."""
    return re.findall("[a-z]+", text.lower())


UNLABELLED = sentences(*OTHERS, *NETWORK[:2], *TEXT[:2])
COUNTS = Counter(word for text in UNLABELLED for word in words(text))
PLACES = {word: i + 3 for i, (word, _) in enumerate(COUNTS.most_common(500))}


def tokens(texts: list[str]) -> dict[str, Tensor]:
    """Ids of words, filled up, and a mask of what is one."""
    rows = [[PLACES.get(w, UNKNOWN) for w in words(text)][:LENGTH] for text in texts]
    width = max(map(len, rows))
    ids = torch.tensor([row + [PAD] * (width - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": (ids != PAD).long()}


def tokenise(samples: list[tuple[str, int]]) -> dict[str, Tensor]:
    """A batch of raw samples, by name."""
    texts, targets = zip(*samples, strict=True)
    return {**tokens(list(texts)), "labels": torch.tensor(targets)}


CONFIGURATION = BertConfig(
    vocab_size=503, hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
    intermediate_size=64, max_position_embeddings=LENGTH,
)  # fmt: skip


def fresh() -> BertForSequenceClassification:
    """A classifier whose weights each run draws."""
    return BertForSequenceClassification(CONFIGURATION)


def pretrained(shuffled: bool, steps: int = 120) -> nn.Module:
    """A classifier whose body has filled in masked words."""
    torch.manual_seed(0)
    model = BertForMaskedLM(CONFIGURATION).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        batch = tokens(UNLABELLED[step * 32 % (len(UNLABELLED) - 32) :][:32])
        ids, kept = batch["input_ids"], batch["attention_mask"] == 1
        if shuffled:
            ids = ids.masked_scatter(kept, ids[kept][torch.randperm(int(kept.sum()))])
        hidden = kept & (torch.rand(ids.shape) < 0.2)
        batch["input_ids"] = ids.masked_fill(hidden, MASK)
        loss = model(**batch, labels=ids.masked_fill(~hidden, IGNORED)).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    classifier = fresh()
    classifier.bert.load_state_dict(model.bert.state_dict(), strict=False)
    return classifier


def main() -> None:
    """Pretrain, adapt, compare."""
    samples = [
        (text, label)
        for label, modules in enumerate((NETWORK[2:], TEXT[2:]))
        for text in sentences(*modules)
        if words(text)
    ]
    order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0))
    drawn = [samples[i] for i in order.tolist()]
    splits = pe.Splits(drawn[:128], drawn[128:256], drawn[256:456])
    task = pe.Task("about", datasets={"docstrings": splits}, num_classes=2)
    reading = partial(pe.Pretrained, collate=tokenise)
    models = {
        "docstrings": reading(pretrained(shuffled=False)),
        "shuffled words": reading(pretrained(shuffled=True)),
        "scratch": reading(fresh),
    }
    adam = partial(torch.optim.AdamW, lr=2e-3)
    full = pe.Strategy("full", optimizer=adam, epochs=5, batch_size=16)
    runs = pe.sweep(models, [task], [full, pe.probe()], range(2), progress=False)
    for run in runs:
        print(f"{run.model:15} {run.strategy:6} accuracy {run.scores['accuracy']:.3f}")
    print(pe.PersistenceEvaluator().compare(runs))


if __name__ == "__main__":
    main()
