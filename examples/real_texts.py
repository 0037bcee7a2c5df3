"""Which text encoder for 100 labelled tweets? Each reads them by its own tokenizer."""

import sys
from functools import partial

import torch

import pretrain_eval as pe
from pretrain_eval import demo

if lacking := demo.missing("texts"):
    line = demo.install_line("texts")
    sys.exit(print(f"skipped, lacks {', '.join(lacking)}: {line}"))

tweets, positive = demo.sentences("tweets")
models = {name: demo.text_model(name) for name in demo.TEXT_MODELS}
parts = {"num_reported": 200, "num_watched": 100}
sentiment = pe.Task(
    "sentiment",
    datasets={"tweets": demo.drawn(tweets, positive, per_class=50, **parts)},
    num_classes=2,
)
head = pe.Strategy(
    "head",
    optimizer=partial(torch.optim.AdamW, lr=1e-2),
    epochs=20,
    batch_size=16,
    trainable="head",
)
runs = pe.sweep(models, [sentiment], [head], seeds=range(3), device="cpu")
comparison = pe.PersistenceEvaluator().compare(runs)
print(comparison)
if gap := comparison.difference(comparison.best, "random twin"):
    print(f"{gap.first} has {gap.difference:+.3f} over {gap.second}, {gap.interval}")

# The same question without the whole grid.
print(pe.choose(models, [sentiment], [head], seeds=range(3), device="cpu"))
