"""The cells of a grid, checked before the first run, and the key of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

import torch

from pretrain_eval._metrics import evaluating, preserved_rng, seed_all
from pretrain_eval._sweep.cell import Cell
from pretrain_eval._training import (
    Model,
    Strategy,
    Task,
    build,
    choose_device,
    computed,
    first_inputs,
    prepare,
)


def checked_cells(
    models: Mapping[str, Model] | Sequence[str],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: tuple[int, ...],
    heads: Mapping[str, str],
    device: torch.device | str | None,
) -> list[Cell]:
    """The grid's cells, once everything that can be checked beforehand has been."""
    _check_members("models", list(models))
    if not isinstance(models, Mapping):
        models = {name: name for name in models}
    _check_members("tasks", [_name(task, Task) for task in tasks])
    _check_members("strategies", [_name(each, Strategy) for each in strategies])
    _check_members("seeds", list(seeds))
    wrong = [seed for seed in seeds if type(seed) is not int or seed < 0]
    if wrong:
        raise ValueError(f"sweep expects seeds to be ints of at least 0, got {wrong}")
    unknown = sorted(set(heads) - set(models))
    if unknown:
        raise ValueError(
            f"heads names models {unknown} that are not swept: {list(models)}"
        )
    for name, model in models.items():
        _check_model(name, model, heads.get(name), tasks, strategies, device)
    return list(_cells(models, tasks, strategies, seeds, heads))


def _cells(
    models: Mapping[str, Model],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: tuple[int, ...],
    heads: Mapping[str, str],
) -> Iterator[Cell]:
    for name, model in models.items():
        for task in tasks:
            for label in task.datasets:
                for strategy in strategies:
                    for seed in seeds:
                        yield Cell(
                            model_name=name,
                            model=model,
                            head=heads.get(name),
                            task=task,
                            dataset=label,
                            strategy=strategy,
                            seed=seed,
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


def _check_model(
    name: str,
    model: Model,
    head: str | None,
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    device: torch.device | str | None,
) -> None:
    """Put samples of every dataset through the model, as the training will."""
    kinds = {(each.amp, each.channels_last): each for each in strategies}.values()
    with preserved_rng():
        seed_all(0)
        network = build(model).to(choose_device(device))
        for task in tasks:
            for label, splits in task.datasets.items():
                try:
                    for strategy in strategies:
                        prepare(network, task, splits, strategy, head)
                    # Two samples tell the shapes; more would only take longer.
                    inputs = first_inputs(splits, strategies[0].batch_size)[:2]
                    inputs = inputs.to(choose_device(device))
                    with evaluating(network), torch.no_grad():
                        for strategy in kinds:
                            outputs = computed(network, inputs, strategy)
                except Exception as error:
                    raise ValueError(
                        f"model {name!r} does not fit {task.name}/{label}: {error}"
                    ) from error
                if outputs.shape != (len(inputs), task.output_size):
                    raise ValueError(
                        f"model {name!r} gives {tuple(outputs.shape)} for"
                        f" {len(inputs)} samples of {task.name}/{label}, which needs"
                        f" {(len(inputs), task.output_size)}"
                    )
