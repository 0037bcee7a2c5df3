"""Who speaks, in which language: five languages, four voices, four prompts of each."""

import sys
from functools import partial

import torch

import pretrain_eval as pe
from pretrain_eval import demo

if lacking := demo.missing("speech"):
    line = demo.install_line("speech")
    sys.exit(print(f"skipped, lacks {', '.join(lacking)}: {line}"))


def asked(question: str) -> pe.Task:
    """Raw samples and answers; a voice has one language but for one voice of two."""
    samples, answers = demo.prompts(question)
    parts = {"num_reported": 100, "num_watched": 60}
    return pe.Task(
        question,
        datasets={"prompts": demo.drawn(samples, answers, per_class=4, **parts)},
        num_classes=len(set(answers.tolist())),
    )


# Each reads samples by its own transform: here the same mel spectrum.
models = {name: demo.speech_model(name) for name in demo.SPEECH_MODELS}
tasks = [asked("speaker"), asked("language")]
head = pe.Strategy(
    "head",
    optimizer=partial(torch.optim.AdamW, lr=1e-2),
    epochs=100,
    batch_size=16,
    trainable="head",
)
runs = pe.sweep(models, tasks, [head], seeds=range(3), device="cpu")
comparison = pe.PersistenceEvaluator().compare(runs)
print(comparison)
for other in ("mean spectrum", "random twin"):
    if gap := comparison.difference("speaker encoder", other):
        print(
            f"{gap.first} has {gap.difference:+.3f} over {gap.second}, {gap.interval}"
        )

# The same question without the whole grid.
print(pe.choose(models, tasks, [head], seeds=range(3), device="cpu"))
