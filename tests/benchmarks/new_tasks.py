"""Does the limit for new tasks hold on a task that nobody saw?

Chooses on all targets but one, and looks up on the last one how much worse the pick is
than the best there. Real runs, in random subsets of models and seeds, and drawn worlds
with task effects of several sizes. Asked: exceeded in at most 10 %.

    python tests/benchmarks/new_tasks.py [table.jsonl ...]
"""

import json
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

import pretrain_eval as pe

HERE = Path(__file__).parent
REPEATS = 20


def runs_of(path: Path) -> pe.Runs:
    """The runs of a file of JSON lines."""
    lines = path.read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if line.strip()]
    return pe.Runs(pe.Run.from_dict(each.get("run", each)) for each in found)


def groups(runs: pe.Runs) -> Iterator[pe.Runs]:
    """The runs of models that have all their targets in common."""
    targets: dict[str, frozenset[tuple[str, str]]] = {}
    for model in dict.fromkeys(run.model for run in runs):
        own = runs.filter(model=model)
        targets[model] = frozenset((run.task, run.dataset) for run in own)
    for wanted in dict.fromkeys(targets.values()):
        yield pe.Runs(run for run in runs if targets[run.model] == wanted)


def as_tasks(runs: Iterable[pe.Run]) -> pe.Runs:
    """Each target a task of its own: domains of one task are new targets too."""
    return pe.Runs(
        pe.Run.from_dict(run.to_dict() | {"task": f"{run.task}/{run.dataset}"})
        for run in runs
    )


def exceeded(runs: pe.Runs) -> list[bool]:
    """For each target left out, whether the limit of the others is exceeded on it."""
    found = []
    for held in sorted({run.task for run in runs}):
        rest = [run for run in runs if run.task != held]
        if len({run.task for run in rest}) < 3:
            continue
        choice = pe.PersistenceEvaluator(over=("tasks",)).compare(rest)
        there = pe.compare([run for run in runs if run.task == held])
        scores = {each.model: each.score or 0.0 for each in there}
        if choice.regret_limit is None or choice.best not in scores:
            continue
        regret = max(scores.values()) - scores[choice.best]
        found.append(regret > choice.regret_limit)
    return found


def subsets(runs: pe.Runs, seed: int) -> Iterator[pe.Runs]:
    """Random models and seeds of a group, as few as people have."""
    rng = np.random.default_rng(seed)
    models = sorted({run.model for run in runs})
    seeds = sorted({run.seed for run in runs})
    if len(models) < 2:
        return
    for _ in range(REPEATS):
        size = int(rng.integers(2, len(models) + 1))
        some = set(rng.choice(models, size, replace=False))
        few = set(rng.choice(seeds, min(3, len(seeds)), replace=False).tolist())
        kept = pe.Runs(r for r in runs if r.model in some and r.seed in few)
        yield kept


def worlds(effect: float, number: int) -> Iterator[pe.Runs]:
    """Six models on five tasks: a model is good at some tasks by luck of that size."""
    for world in range(number):
        rng = np.random.default_rng([world, int(1000 * effect)])
        quality = rng.normal(0.7, 0.03, 6)
        task = rng.normal(0, 0.08, 5)
        luck = rng.normal(0, effect, (6, 5))
        yield pe.Runs(
            pe.Run(
                model=f"m{m}",
                task=f"t{t}",
                dataset="d",
                strategy="s",
                seed=s,
                scores={"accuracy": float(np.clip(value, 0, 1))},
                chance={"accuracy": 0.0},
            )
            for m in range(6)
            for t in range(5)
            for s in range(3)
            for value in [quality[m] + task[t] + luck[m, t] + rng.normal(0, 0.01)]
        )


def show(name: str, found: Sequence[bool]) -> None:
    if found:
        print(f"{name:<44}{np.mean(found):>10.3f}{len(found):>8}")


def main() -> None:
    warnings.simplefilter("ignore")
    given = [Path(name) for name in sys.argv[1:]] or sorted(HERE.glob("*table.jsonl"))
    paths = [*given, HERE / "choose.jsonl"]
    print(f"{'targets left out':<44}{'exceeded':>10}{'cases':>8}")
    for path in dict.fromkeys(paths):
        for group in groups(runs_of(path)):
            strategies = sorted({run.strategy for run in group})
            found = [
                each
                for strategy in strategies
                for subset in subsets(as_tasks(group.filter(strategy=strategy)), 1)
                for each in exceeded(subset)
            ]
            models = len({run.model for run in group})
            show(f"{path.name}: {models} models, by strategy", found)
    for effect in (0.005, 0.02, 0.06):
        found = [each for world in worlds(effect, 60) for each in exceeded(world)]
        show(f"drawn worlds, a model's luck on a task {effect}", found)


if __name__ == "__main__":
    main()
