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


def chance_levels(
    class_counts: Sequence[int], *, k: int | None = None
) -> dict[str, float]:
    """Metrics of a predictor that ignores its input, by metric key.

    With C classes of which the largest has share π of the reported split: accuracy π,
    macro recall (balanced accuracy) 1/C, macro precision π/C, macro F1
    2π / (1 + π) / C, all of the majority predictor; AUROC ½; average precision
    (macro) 1/C, the mean prevalence; R², MCC and Cohen's kappa 0; top-k k/C.

    Args:
        class_counts: Examples of each class in the reported split.
        k: Gives the level of "top_k" as well.

    Raises:
        ValueError: There are fewer than two classes, or a count is negative.

    >>> levels = chance_levels([3, 1])
    >>> levels["accuracy"], levels["recall"], round(levels["f1"], 6)
    (0.75, 0.5, 0.428571)
    """
    counts = list(class_counts)
    if len(counts) < 2 or min(counts) < 0 or not sum(counts):
        raise ValueError(
            "chance_levels expects the number of examples of two or more classes, got"
            f" {counts}"
        )
    size, share = len(counts), max(counts) / sum(counts)
    levels = {
        "accuracy": share,
        "balanced_accuracy": 1 / size,
        "recall": 1 / size,
        "precision": share / size,
        "f1": 2 * share / (1 + share) / size,
        "auroc": 0.5,
        "average_precision": 1 / size,
        "r2": 0.0,
        "mcc": 0.0,
        "kappa": 0.0,
    }
    if k is not None:
        if not 1 <= k <= size:
            raise ValueError(f"k must lie in 1..{size}, got {k}")
        levels["top_k"] = k / size
    return levels


def is_loss(key: str) -> bool:
    """Whether a metric of this name is better when smaller.

    >>> is_loss("mse"), is_loss("accuracy")
    (True, False)
    """
    return key in _LOSSES


class ChanceLevels(NamedTuple):
    """Where chance and perfection lie, as the user stated it.

    Attributes:
        chance: See `Evaluator.chance`.
        ceiling: See `Evaluator.ceiling`.
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
