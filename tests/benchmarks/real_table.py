"""A table of real fine-tunings: really pretrained models on real data, kept as lines.

    python tests/benchmarks/real_table.py make [TASK ...]   runs what is not done yet, into
        real_table.db beside this file; several processes share the work
    python tests/benchmarks/real_table.py write             writes the lines from the store
    python tests/benchmarks/real_table.py                   counts what is there

It needs the demo's packages: python -m pretrain_eval.demo images texts clothes speech.

`real_table.jsonl` holds a run a line, as `pe.Run.from_json` reads it (`read_runs` reads
all): `task` is a name of `TASKS`, `dataset` is "N per class", `strategy` one of

    frozen   the head, by AdamW at .01, batches of 16, 20 epochs; every dataset, 5 seeds,
             and 10 of the one that `TASKS` calls the base
    probe    `pe.probe()`, a head that is fitted to the end; likewise, but no curve
    full     the whole network, by AdamW, on the base, 5 seeds; textures and speaker

A seed draws the labelled examples too; reported and watched examples are the same for
all. `curve` has the validation accuracy by epoch, to four digits; `outcomes` are kept of
probes on the base. Models of `IMAGES` have candidates at 64 and at 32 pixels, those
of `TEXTS` also the lower half of MiniLM. `replay` takes the runs of one kind of task,
one dataset and a strategy that has a curve, of seeds that all of them have.

`real_estimates.jsonl` holds a value a line: what `pe.estimate` says of the labelled
examples of the base that a seed (0, 1 or 2) draws.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

import pretrain_eval as pe
from pretrain_eval import demo

HERE = Path(__file__).parent
TABLE = HERE / "real_table.jsonl"
ESTIMATES = HERE / "real_estimates.jsonl"
STORE = HERE / "real_table.db"
TWIN = "random twin"
SEEDS, MORE_SEEDS, DRAWS = 5, 10, 3


@dataclasses.dataclass(frozen=True)
class Asked:
    """A task of the table.

    Attributes:
        kind: Of what: "images", "texts" or "speech".
        samples: Gives the samples with their classes.
        num_reported: Examples of the reported split.
        num_watched: Examples of the validation split.
        per_class: Labelled examples of each class, by dataset.
        base: The one of them with most seeds and strategies.
        tuned: Whether whole networks are tuned too.
    """

    kind: str
    samples: Callable[[], tuple[Any, Any]]
    num_reported: int
    num_watched: int
    per_class: tuple[int, ...]
    base: int
    tuned: bool = True


IMAGES, TEXTS, SPEECH = (2, 4, 8, 16), (10, 20, 40), (1, 2, 4, 8)
TASKS = {
    "textures": Asked("images", demo.textures, 75, 45, IMAGES, 8),
    "faces": Asked("images", demo.face_images, 80, 40, IMAGES, 8, tuned=False),
    "clothes": Asked("images", demo.clothes, 150, 50, IMAGES, 8, tuned=False),
    **{
        domain: Asked(
            "texts",
            partial(demo.sentences, domain),
            150,
            80,
            TEXTS if domain in ("tweets", "editorials") else (10, 40),
            40,
            tuned=False,
        )
        for domain in demo.DOMAINS
    },
    "speaker": Asked("speech", partial(demo.prompts, "speaker"), 100, 48, SPEECH, 4),
    "language": Asked(
        "speech",
        partial(demo.prompts, "language"),
        100,
        50,
        SPEECH,
        4,
        tuned=False,
    ),
}
BASE = {name: f"{asked.base} per class" for name, asked in TASKS.items()}


def models(kind: str) -> dict[str, pe.Pretrained]:
    """The candidates of a kind of task, by name."""
    if kind == "images":
        return {
            name if size == 64 else f"{name}, {size} px": demo.image_model(name, size)
            for size in (64, 32)
            for name in demo.IMAGE_MODELS
        }
    if kind == "speech":
        return {name: demo.speech_model(name) for name in demo.SPEECH_MODELS}
    found = {name: demo.text_model(name) for name in demo.TEXT_MODELS}
    whole = found["MiniLM"]
    half = dataclasses.replace(whole, build=partial(lower, whole.build), name="")
    return {**found, "MiniLM, lower half": half}


def lower(build: Callable[[], Any]) -> Any:
    """The first three of six layers."""
    network = build()
    network.encoder.layer = network.encoder.layer[:3]
    return network


def strategies(kind: str) -> dict[str, pe.Strategy]:
    """By name; one learning rate a kind of task, tuned for no model."""
    rate, epochs, size = {
        "images": (1e-3, 8, 12),
        "texts": (2e-4, 4, 16),
        "speech": (1e-3, 8, 10),
    }[kind]
    adam, quick = (partial(torch.optim.AdamW, lr=each) for each in (rate, 1e-2))
    return {
        "frozen": pe.Strategy(
            "frozen", optimizer=quick, epochs=20, batch_size=16, trainable="head"
        ),
        "probe": pe.probe(),
        "full": pe.Strategy("full", optimizer=adam, epochs=epochs, batch_size=size),
    }


def task(name: str, seed: int, per_class: Iterable[int]) -> pe.Task:
    """A task with the labelled examples that a seed draws."""
    asked = TASKS[name]
    samples, labels = asked.samples()
    splits = {
        f"{number} per class": demo.drawn(
            samples,
            labels,
            per_class=number,
            num_reported=asked.num_reported,
            num_watched=asked.num_watched,
            seed=seed,
        )
        for number in per_class
    }
    return pe.Task(name, datasets=splits, num_classes=len(set(labels.tolist())))


def make(names: Iterable[str]) -> None:
    """Run what is not done yet; the longest part, whole networks, comes last."""
    for part in (_frozen, _estimated, _tuned):
        for name in names:
            print(part.__name__.strip("_"), name, flush=True)
            part(name)


def _frozen(name: str) -> None:
    asked = TASKS[name]
    fits = strategies(asked.kind)
    heads = [fits["frozen"], fits["probe"]]
    for seeds, sizes in (
        (range(SEEDS), asked.per_class),
        (range(SEEDS, MORE_SEEDS), (asked.base,)),
    ):
        _swept(name, heads, seeds, sizes)


def _tuned(name: str) -> None:
    asked = TASKS[name]
    if asked.tuned:
        full = strategies(asked.kind)["full"]
        _swept(name, [full], range(SEEDS), (asked.base,))


def _swept(
    name: str, fits: list[pe.Strategy], seeds: Iterable[int], sizes: Iterable[int]
) -> None:
    demo.sweep_draws(
        models(TASKS[name].kind),
        lambda seed: [task(name, seed, sizes)],
        fits,
        seeds,
        store=STORE,
        progress=False,
    )


def _estimated(name: str) -> None:
    """Keep what estimators say, once."""
    file = STORE.with_name(f"real_estimates.{name}.partial")
    if file.exists():
        return
    lines = []
    for seed in range(DRAWS):
        found = pe.estimate(
            models(TASKS[name].kind),
            task(name, seed, (TASKS[name].base,)),
            pairs=0,
            seed=seed,
            progress=False,
        )
        for each in found.estimates:
            row = each.row()
            kept = {key: row[key] for key in ("model", "task", "dataset", "name")}
            kept |= {"value": row["value"], "better": row["better"], "seed": seed}
            lines.append(json.dumps(kept | {"seconds": round(each.seconds, 4)}))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def lean(run: pe.Run) -> str:
    """A run as a line, without what nothing here reads."""
    curve = {
        key: [round(value, 4) for value in run.curve[key]]
        for key in ("step", "accuracy")
        if key in run.curve
    }
    based = run.strategy == "probe" and run.dataset == BASE[run.task]
    fields = dataclasses.replace(
        run,
        curve=curve,
        **{key: _accuracy(run, key) for key in ("scores", "chance", "scales")},
        baseline={},
        history={},
        confusion=(),
        settings={},
        versions={},
        outcomes=run.outcomes if based else None,
    ).to_dict()
    empty = ({}, [], "", None)
    return json.dumps({key: kept for key, kept in fields.items() if kept not in empty})


def _accuracy(run: pe.Run, field: str) -> dict[str, Any]:
    values = getattr(run, field)
    return {key: values[key] for key in ("accuracy",) if key in values}


def write() -> None:
    """The lines of all runs and estimates that are there."""
    with pe.RunStore(STORE) as store:
        found = list(store)
    found.sort(
        key=lambda run: (
            list(TASKS).index(run.task),
            int(run.dataset.split()[0]),
            run.strategy,
            run.model,
            run.seed,
        )
    )
    TABLE.write_text("".join(lean(run) + "\n" for run in found), encoding="utf-8")
    parts = [STORE.with_name(f"real_estimates.{name}.partial") for name in TASKS]
    text = "".join(part.read_text(encoding="utf-8") for part in parts if part.exists())
    ESTIMATES.write_text(text, encoding="utf-8")


def read_runs(file: Path = TABLE) -> list[pe.Run]:
    """The runs of the table."""
    return [pe.Run.from_json(line) for line in _lines(file)]


def read_estimates(file: Path = ESTIMATES) -> Iterator[dict[str, Any]]:
    """The values of the estimators, as plain fields."""
    return map(json.loads, _lines(file))


def _lines(file: Path) -> list[str]:
    return file.read_text(encoding="utf-8").splitlines()


def count() -> None:
    """Print how many runs there are of each task and strategy."""
    found = read_runs()
    for name in TASKS:
        numbers = {
            strategy: sum(run.strategy == strategy for run in found if run.task == name)
            for strategy in ("frozen", "probe", "full")
        }
        print(f"{name:<12} " + "  ".join(f"{s} {n}" for s, n in numbers.items()))
    failed = sum(run.status != "completed" for run in found)
    print(f"{len(found)} runs, {failed} not completed, {TABLE.stat().st_size} bytes")


if __name__ == "__main__":
    command, *names = sys.argv[1:] or ["count"]
    if command == "make":
        make(names or TASKS)
    else:
        {"write": write, "count": count}[command]()
