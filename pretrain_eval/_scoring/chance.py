"""What a metric is worth: its level by chance, its ceiling, and the share between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.formulas.statistics import Array

Chance = Literal["uniform"] | float | Mapping[str, float] | None

_LOSSES = frozenset(
    [
        "loss",
        "cross_entropy",
        "nll",
        "perplexity",
        "brier",
        "ece",
        "error",
        "mse",
        "rmse",
        "mae",
    ]
)


def is_loss(key: str) -> bool:
    """Whether a metric of this name is better when smaller.

    >>> is_loss("mse"), is_loss("accuracy")
    (True, False)
    """
    return key in _LOSSES


class Levels(NamedTuple):
    """Where chance and perfection lie, as the user stated it.

    Attributes:
        chance: See `GridEvaluator.chance`.
        ceiling: See `GridEvaluator.ceiling`.
    """

    chance: Chance
    ceiling: float | None

    def chances(self, runs: Sequence[Run], keys: Sequence[str]) -> list[float | None]:
        """The chance level of one metric of each run; None where it is unknown."""
        if self.chance is None:
            return [run.chance.get(key) for run, key in zip(runs, keys, strict=True)]
        if isinstance(self.chance, Mapping):
            return [
                self.chance.get(run.task, run.chance.get(key))
                for run, key in zip(runs, keys, strict=True)
            ]
        if self.chance == "uniform":
            return [1 / _num_classes(run) for run in runs]
        return [float(self.chance)] * len(runs)

    def ends(self, runs: Sequence[Run], keys: Sequence[str]) -> tuple[Array, float]:
        """Chance and ceiling, c and u; c is NaN where u does not lie beyond it."""
        levels = self.chances(runs, keys)
        losses = {key for key in set(keys) if is_loss(key)}
        if losses and None in levels:
            for run, key, level in zip(runs, keys, levels, strict=True):
                if level is None and key in losses:
                    raise ValueError(
                        f"{run.name}: the loss {key!r} needs its chance level; give"
                        " chance="
                    )
        chance = np.array([0.0 if level is None else level for level in levels])
        top = 1.0 if self.ceiling is None else self.ceiling
        smaller = np.array([key in losses for key in keys])
        undefined = (chance == top) | ((chance < top) == smaller)
        return np.where(undefined, np.nan, chance), top

    def normalised(
        self, runs: Sequence[Run], keys: Sequence[str], values: Array
    ) -> Array:
        """The shares (m − c) / (u − c), signed; NaN where m is or c and u are not known.

        Args:
            runs: The runs.
            keys: The metric of each.
            values: What each measured, m, of shape (..., num_runs); a run of which one
                is NaN has no share.
        """
        known = np.flatnonzero(~np.isnan(values).reshape(-1, len(runs)).any(axis=0))
        index = known.tolist()
        chance, top = self.ends([runs[i] for i in index], [keys[i] for i in index])
        shares = np.full(values.shape, np.nan)
        shares[..., known] = (values[..., known] - chance) / (top - chance)
        return shares

    def unknown(self, runs: Sequence[Run], keys: Sequence[str]) -> int:
        """How many runs hold one of the metrics and not its chance level."""
        found: set[int] = set()
        for key in keys:
            held = [
                index
                for index, run in enumerate(runs)
                if key in run.scores or key in run.curve or run.status == "diverged"
            ]
            levels = self.chances([runs[i] for i in held], [key] * len(held))
            if None in levels:
                lacking = zip(held, levels, strict=True)
                found.update(index for index, level in lacking if level is None)
        return len(found)


def _num_classes(run: Run) -> int:
    classes = run.settings.get("num_classes")
    if type(classes) is not int or classes < 1:
        raise ValueError(
            f"{run.name}: chance='uniform' needs settings['num_classes'], got"
            f" {classes!r}"
        )
    return classes
