"""The key of each cell: what decides its result, and no name."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum

import torch
from torch import nn

from pretrain_eval._metrics import preserved_rng, seed_all
from pretrain_eval._sweep.cell import Cell
from pretrain_eval._training import (
    TRAINING_SEMANTICS,
    Model,
    build,
    fingerprint,
    fingerprint_model,
    fingerprint_splits,
)


class Keys:
    """Keys of cells; each model and dataset is read once.

    Args:
        note: Told what is read, which takes its time where it is large.
    """

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note
        self._models: dict[str, str] = {}
        self._splits: dict[tuple[str, str], str] = {}
        self._known: dict[tuple[str, ...], str] = {}

    def of(self, cell: Cell) -> str:
        """What decides the cell's result, and no name, as one short text."""
        names = (
            cell.model_name,
            cell.task.name,
            cell.dataset,
            cell.strategy.name,
        )
        if names not in self._known:
            self._known[names] = self._all_but_the_seed(cell)
        return fingerprint([self._known[names], cell.seed])

    def features_of(self, cell: Cell) -> str:
        """What decides the features that the cell's head reads, as one short text."""
        where = (cell.task.name, cell.dataset)
        self._read(cell)
        return fingerprint(
            [self._models[cell.model_name], cell.head, self._splits[where]]
        )

    def _read(self, cell: Cell) -> None:
        if cell.model_name not in self._models:
            self._note(f"reading the weights of {cell.model_name}")
            with preserved_rng():
                seed_all(0)  # a builder's random weights
                self._models[cell.model_name] = fingerprint_model(build(cell.model))
        where = (cell.task.name, cell.dataset)
        if where not in self._splits:
            self._note(f"reading the samples of {cell.task.name}/{cell.dataset}")
            self._splits[where] = fingerprint_splits(cell.task.datasets[cell.dataset])

    def _all_but_the_seed(self, cell: Cell) -> str:
        self._read(cell)
        return fingerprint(
            [
                TRAINING_SEMANTICS,
                self._models[cell.model_name],
                cell.head,
                self._splits[cell.task.name, cell.dataset],
                cell.task.num_classes,
                cell.task.num_outputs,
                dict(cell.strategy.configuration),
            ]
        )


class Draws:
    """Which models have other weights for every seed; each is looked at once."""

    def __init__(self) -> None:
        self._known: dict[str, bool] = {}

    def seed_of(self, cell: Cell) -> str:
        """The cell's seed where it draws the weights, and otherwise nothing."""
        if cell.model_name not in self._known:
            self._known[cell.model_name] = draws_weights(cell.model)
        return str(cell.seed) if self._known[cell.model_name] else ""


def draws_weights(model: Model) -> bool:
    """Whether each seed builds other weights."""
    if isinstance(model, str | Enum) or (
        isinstance(model, nn.Module) and not isinstance(model, type)
    ):
        return False
    with preserved_rng():
        seed_all(0)
        first = build(model).state_dict()
        seed_all(1)
        second = build(model).state_dict()
    return first.keys() != second.keys() or any(
        not torch.equal(value, second[name]) for name, value in first.items()
    )
