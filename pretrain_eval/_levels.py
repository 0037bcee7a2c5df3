"""What a metric is worth: its level by chance, its ceiling, and the share between."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from pretrain_eval._records import Run

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


class Levels(NamedTuple):
    """Where chance and perfection lie, as the user stated it.

    Attributes:
        chance: See `GridEvaluator.chance`.
        ceiling: See `GridEvaluator.ceiling`.
    """

    chance: Chance
    ceiling: float | None

    def chance_of(self, run: Run, key: str) -> float | None:
        """The chance level of a metric of a run; None where it is unknown."""
        if self.chance is None:
            return run.chance.get(key)
        if isinstance(self.chance, Mapping):
            return self.chance.get(run.task, run.chance.get(key))
        if self.chance == "uniform":
            classes = run.settings.get("num_classes")
            if type(classes) is not int or classes < 1:
                raise ValueError(
                    f"{run.name}: chance='uniform' needs settings['num_classes'], got"
                    f" {classes!r}"
                )
            return 1 / classes
        return float(self.chance)

    def ends(self, run: Run, key: str) -> tuple[float, float] | None:
        """Chance and ceiling, c and u; None where the ceiling is not beyond chance."""
        level = self.chance_of(run, key)
        if level is None:
            if is_loss(key):
                raise ValueError(
                    f"{run.name}: the loss {key!r} needs its chance level; give chance="
                )
            level = 0.0
        top = 1.0 if self.ceiling is None else self.ceiling
        if level == top or (level < top) == is_loss(key):
            return None
        return level, top

    def normalised(self, run: Run, key: str, value: float | None) -> float | None:
        """The share (m − c) / (u − c), signed; None where it is undefined."""
        ends = None if value is None else self.ends(run, key)
        if value is None or ends is None:
            return None
        return (value - ends[0]) / (ends[1] - ends[0])

    def unknown(self, runs: Iterable[Run], keys: Sequence[str]) -> int:
        """How many runs hold one of the metrics and not its chance level."""
        return sum(
            any(
                (key in run.scores or key in run.curve or run.status == "diverged")
                and self.chance_of(run, key) is None
                for key in keys
            )
            for run in runs
        )
