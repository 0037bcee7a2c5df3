"""The cells of a grid, whose names and seeds are checked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from pretrain_eval._tasks import Task, check_name, check_seed
from pretrain_eval._training import Cell, Drawn, Strategy, check_draws
from pretrain_eval.zoo import Model


def grid_cells(
    models: Mapping[str, Model] | Sequence[str],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: Iterable[int],
    heads: Mapping[str, str],
    draws: Drawn = "cell",
) -> list[Cell]:
    """The product of models, tasks, their datasets, strategies and seeds, in order.

    Raises:
        TypeError: A task or a strategy is none.
        ValueError: Something is missing or given twice, or is no seed.
    """
    check_draws(draws)
    if isinstance(models, str) or not isinstance(models, Mapping | Sequence):
        raise TypeError(
            "sweep expects models as a mapping from names, or a list of torchvision's"
            f" names, got {models!r}"
        )
    for what, given in (("tasks", tasks), ("strategies", strategies), ("seeds", seeds)):
        if isinstance(given, str) or not isinstance(given, Iterable):
            raise TypeError(f"sweep expects {what} as a list, got {given!r:.200}")
    if not isinstance(heads, Mapping):
        raise TypeError(f"sweep expects heads as a mapping from models, got {heads!r}")
    seeds = list(seeds)
    _check_members("models", list(models))
    by_name = models if isinstance(models, Mapping) else {m: m for m in models}
    _check_members("tasks", [_name(task, Task) for task in tasks])
    _check_members("strategies", [_name(s, Strategy) for s in strategies])
    _check_members("seeds", seeds)
    for seed in seeds:
        check_seed("sweep expects each of seeds", seed)
    for name in by_name:
        check_name("sweep: each of models", name)
    unknown = sorted(set(heads) - set(by_name))
    if unknown:
        raise ValueError(
            f"heads names models {unknown} that are not swept: {list(by_name)}"
        )
    for strategy in strategies:
        if strategy.train is None:
            _check_samples(tasks, strategy)
    return [
        Cell(
            model_name=name,
            model=model,
            head=heads.get(name),
            task=task,
            dataset=label,
            strategy=strategy,
            seed=seed,
            draws=draws,
        )
        for name, model in by_name.items()
        for task in tasks
        for label in task.datasets
        for strategy in strategies
        for seed in seeds
    ]


def _check_samples(tasks: Sequence[Task], strategy: Strategy) -> None:
    bare = [
        f"{task.name}/{label}"
        for task in tasks
        for label, splits in task.datasets.items()
        if splits is None
    ]
    if bare:
        raise ValueError(
            f"strategy {strategy.name!r} trains on samples, which {bare} do not have;"
            " give them Splits, or the strategy a train=... of its own"
        )


def _check_members(what: str, members: Sequence[object]) -> None:
    if not members:
        raise ValueError(f"sweep expects {what}, got none")
    counts = Counter(map(str, members))
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise ValueError(f"sweep expects different {what}, got {twice} more than once")


def _name(member: Task | Strategy, kind: type[Task | Strategy]) -> str:
    if not isinstance(member, kind):
        raise TypeError(
            f"sweep expects {kind.__name__} objects, got {type(member).__name__}"
        )
    return member.name
