"""The grid of runs: models × tasks × datasets × strategies × seeds, resumable."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch

from pretrain_eval._finetune import (
    TRAINING_SEMANTICS,
    choose_device,
    finetune,
    first_inputs,
    prepare,
)
from pretrain_eval._fingerprint import (
    fingerprint,
    fingerprint_model,
    fingerprint_splits,
)
from pretrain_eval._models import Model, build
from pretrain_eval._progress import Progress
from pretrain_eval._records import Run
from pretrain_eval._rng import preserved_rng, seed_all
from pretrain_eval._store import RunStore
from pretrain_eval._task import Strategy, Task
from pretrain_eval._validate import evaluating, logits


def sweep(
    models: Mapping[str, Model] | Sequence[str],
    tasks: Sequence[Task],
    strategies: Sequence[Strategy],
    seeds: Iterable[int] = (0,),
    *,
    store: RunStore | str | Path | None = None,
    heads: Mapping[str, str] | None = None,
    device: torch.device | str | None = None,
    progress: bool = True,
) -> tuple[Run, ...]:
    """Fine-tune every model on every task and dataset, by every strategy and seed.

    The whole grid is checked before the first run: names, seeds, heads, and one batch
    through every model for every dataset. With a store each run is kept as it ends, and
    a later call takes from the store what is there.

    Args:
        models: A model by name, as `finetune` takes it; or names of torchvision models.
        tasks: Tasks of different names.
        strategies: Strategies of different names.
        seeds: Different integers of at least 0.
        store: A `RunStore`, or the path of one, made where there is none.
        heads: By model name, the dotted path of the layer to replace, where it cannot
            be told.
        device: Where to train; by default CUDA if there is one, otherwise the CPU.
        progress: Show a bar, where tqdm is installed (`pretrain-eval[progress]`).

    Returns:
        All runs of the grid, in its order.

    Raises:
        ValueError: Something is empty or given twice, a head cannot be told, or a model
            does not fit a task.
    """
    cells = _checked_grid(models, tasks, strategies, tuple(seeds), heads or {}, device)
    opened: AbstractContextManager[RunStore | None]
    opened = RunStore(store) if isinstance(store, str | Path) else nullcontext(store)
    runs = []
    with opened as kept, Progress(len(cells), "runs", show=progress) as shown:
        keys = _Keys() if kept is not None else None
        for cell in cells:
            shown.note(cell.name)
            runs.append(_run(cell, kept, keys, device))
            shown.advance()
    return tuple(runs)


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One run to be."""

    name: str
    model_name: str
    model: Model
    head: str | None
    task: Task
    dataset: str
    strategy: Strategy
    seed: int


def _run(
    cell: Cell,
    store: RunStore | None,
    keys: _Keys | None,
    device: torch.device | str | None,
) -> Run:
    key = keys.of(cell) if keys is not None else ""
    known = store.get(key) if store is not None else None
    if known is not None:
        # The key is the content; the names are today's.
        return dataclasses.replace(
            known,
            model=cell.model_name,
            task=cell.task.name,
            dataset=cell.dataset,
            strategy=cell.strategy.name,
        )
    run = finetune(
        cell.model,
        cell.task,
        cell.strategy,
        seed=cell.seed,
        dataset=cell.dataset,
        name=cell.model_name,
        head=cell.head,
        device=device,
    )
    if store is not None:
        store.add(key, run)
    return run


class _Keys:
    """Keys of cells; each model and dataset is read once."""

    def __init__(self) -> None:
        self._models: dict[str, str] = {}
        self._splits: dict[tuple[str, str], str] = {}

    def of(self, cell: Cell) -> str:
        if cell.model_name not in self._models:
            with preserved_rng():
                seed_all(0)  # a builder's random weights
                self._models[cell.model_name] = fingerprint_model(build(cell.model))
        where = (cell.task.name, cell.dataset)
        if where not in self._splits:
            self._splits[where] = fingerprint_splits(cell.task.datasets[cell.dataset])
        return fingerprint(
            [
                TRAINING_SEMANTICS,
                self._models[cell.model_name],
                cell.head,
                self._splits[where],
                cell.task.num_classes,
                cell.task.num_outputs,
                dict(cell.strategy.configuration),
                cell.seed,
            ]
        )


def _checked_grid(
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
                            name=f"{name} {task.name}/{label} {strategy.name} {seed}",
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
    twice = sorted({str(m) for m in members if members.count(m) > 1})
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
    """Put one batch of every dataset through the model, as the training will."""
    with preserved_rng():
        seed_all(0)
        network = build(model).to(choose_device(device))
        for task in tasks:
            for label, splits in task.datasets.items():
                try:
                    for strategy in strategies:
                        prepare(network, task, splits, strategy, head)
                    inputs = first_inputs(splits, strategies[0])
                    with evaluating(network), torch.no_grad():
                        outputs = logits(network(inputs.to(choose_device(device))))
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
