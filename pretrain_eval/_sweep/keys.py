"""The key of each cell: what decides its result, and no other name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum

import torch
from torch import Tensor, nn

from pretrain_eval._metrics import preserved_rng, seed_all
from pretrain_eval._training import (
    SEED_SEMANTICS,
    TRAINING_SEMANTICS,
    Cell,
    describe,
    fingerprint,
    fingerprint_model,
    fingerprint_splits,
)
from pretrain_eval.zoo import Model, Pretrained, build


class Keys:
    """Keys of cells; each model and dataset is read once.

    Args:
        note: Told what is read, which takes its time where it is large.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._models: dict[str, str] = {}
        self._splits: dict[tuple[str, str], str] = {}
        self._contents: dict[tuple[str, ...], str] = {}

    def of(self, cell: Cell) -> str:
        """What decides the cell's result, as one short text.

        Of names only those that draws come from.
        """
        *names, seed = cell.names.values()
        cells = (cell.draws, *names)  # those of every seed
        if cells not in self._contents:
            _, *drawn_by = names
            content = [
                *(
                    [SEED_SEMANTICS]
                    if cell.draws == "seed"
                    else [TRAINING_SEMANTICS, *drawn_by]
                ),
                *self._source(cell),
                cell.task.num_classes,
                cell.task.num_outputs,
                dict(cell.strategy.configuration),
                *_kind(cell),
            ]
            self._contents[cells] = fingerprint(content)
        return fingerprint([self._contents[cells], seed])

    def features_of(self, cell: Cell) -> str:
        """What decides the features that the cell's head reads, as one short text."""
        return fingerprint(self._source(cell))

    def _source(self, cell: Cell) -> list[str | None]:
        """The model, its head and the samples."""
        if cell.model_name not in self._models:
            self._note(f"reading the weights of {cell.model_name}")
            with preserved_rng():
                seed_all(0)  # a builder's random weights
                self._models[cell.model_name] = _content(cell)
        names = (cell.task.name, cell.dataset)
        if names not in self._splits:
            self._note(f"reading the samples of {'/'.join(names)}")
            splits = cell.task.datasets[cell.dataset]
            self._splits[names] = "" if splits is None else fingerprint_splits(splits)
        return [self._models[cell.model_name], cell.head, self._splits[names]]


def _content(cell: Cell) -> str:
    """The model's weights, and how it reads a sample."""
    model = cell.model
    made = build(model, module=cell.strategy.train is None)
    digest = (
        fingerprint_model(made)
        if isinstance(made, nn.Module)
        else fingerprint([model, made])
    )
    if not isinstance(model, Pretrained):
        return digest
    reading = [model.head, model.transform, model.collate]
    return fingerprint([digest, *reading]) if any(reading) else digest


def _kind(cell: Cell) -> list[object]:
    """The kind of a task that its numbers do not say."""
    return [] if cell.task.is_named else [describe(cell.task.kind)]


class Draws:
    """Which models draw their weights; each is looked at once."""

    def __init__(self) -> None:
        self._drawn: dict[str, bool] = {}

    def of(self, cell: Cell) -> str:
        """What the cell's weights are drawn from, where they are; otherwise nothing."""
        if cell.model_name not in self._drawn:
            self._drawn[cell.model_name] = draws_weights(cell.model)
        return str(cell.draw) if self._drawn[cell.model_name] else ""


def draws_weights(model: Model) -> bool:
    """Whether each draw builds other weights."""
    if isinstance(model, Pretrained):
        model = model.build
    if isinstance(model, str | Enum) or (
        isinstance(model, nn.Module) and not isinstance(model, type)
    ):
        return False
    with preserved_rng():
        seed_all(0)
        first = _state(model)
        seed_all(1)
        second = _state(model)
    return first.keys() != second.keys() or any(
        not torch.equal(value, second[name]) for name, value in first.items()
    )


def _state(model: Model) -> Mapping[str, Tensor]:
    """The weights of a fresh model; none where it is no module of torch."""
    made = build(model, module=False)
    return made.state_dict() if isinstance(made, nn.Module) else {}
