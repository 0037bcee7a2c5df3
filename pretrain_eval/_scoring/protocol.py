"""What a protocol says: what it reads of runs, its parts, and the formula of its score.

The rest, from intervals to the ranking, is made of these few functions, which work
alike on one number a cell and on thousands of draws of it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from numbers import Real
from typing import ClassVar, Literal, NamedTuple, final, get_args

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.formulas.statistics import Array
from pretrain_eval._scoring.grid import Cells, Grid
from pretrain_eval._scoring.model_runs import (
    column_of,
    named,
    which_diverged,
)
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.scales import Ceiling, Chance, Direction, Scales


class Scored(NamedTuple):
    """A report with what a comparison needs beyond it.

    Attributes:
        report: The report.
        grid: The rows that were read.
        noise: Draws of the score's deviation, by what would be drawn anew: "seeds",
            "examples", "tasks"; what is unknown is not there. Draws of several models
            are joint.
        tasks: What each task adds to the score, if the score is a mean.
        unmixed: The draws over seeds as if their spread were known: normal ones.
    """

    report: Report
    grid: Grid
    noise: Mapping[str, Array]
    tasks: Mapping[str, float]
    unmixed: Array | None = None


Source = Literal["seeds", "examples", "tasks"]


@dataclass(frozen=True, kw_only=True)
class Protocol(ABC):
    """What a protocol says of itself; its fields are explained in `Evaluator`.

    Attributes:
        protocol: Name of the protocol.
        reads: How an error names what a run must hold, `{keys}` being the metrics.
        below_zero: What a score below 0 says of a model.
        usual: The metrics that are read where none is named.
    """

    protocol: ClassVar[str]
    reads: ClassVar[str] = "the score {keys}"
    below_zero: ClassVar[str] = "worse than chance"
    usual: ClassVar[tuple[str, ...]] = ("accuracy",)

    metric: str | Mapping[str, str] | None = None
    better: Direction = None
    chance: Chance = None
    ceiling: Ceiling = None
    scratch: str | Mapping[str, str] | None = None
    diverged: Literal["chance", "drop", "raise"] = "chance"
    collapsed: Literal["keep", "drop"] = "keep"
    strict: bool = False
    confidence: float = 0.95
    rope: float = 0.0
    over: Sequence[Source] = ("seeds", "examples")
    seeds: Literal["common"] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if not (_is_number(self.confidence) and 0 < self.confidence < 1):
            raise ValueError(
                f"confidence must lie between 0 and 1, got {self.confidence!r}"
            )
        if not (_is_number(self.rope) and 0 <= self.rope < math.inf):
            raise ValueError(
                "rope must be a difference of scores of at least 0, below which none"
                f" matters, got {self.rope!r}"
            )
        if self.diverged not in ("chance", "drop", "raise"):
            raise ValueError(
                f"diverged must be 'chance', 'drop' or 'raise', got {self.diverged!r}"
            )
        if self.collapsed not in ("keep", "drop"):
            raise ValueError(
                f"collapsed must be 'keep' or 'drop', got {self.collapsed!r}"
            )
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(f"seed must be an int of at least 0, got {self.seed!r}")
        if (
            isinstance(self.over, str)
            or not self.over
            or not set(self.over) <= set(get_args(Source))
        ):
            raise ValueError(
                f"over must name some of {list(get_args(Source))}, got {self.over!r}"
            )
        if self.seeds not in (None, "common"):
            raise ValueError(f"seeds must be 'common' or None, got {self.seeds!r}")
        stated = self.better.values() if isinstance(self.better, Mapping) else ()
        for better in (*stated, *([self.better] if not stated else ())):
            if better not in ("higher", "lower", None):
                raise ValueError(f"better must be 'higher' or 'lower', got {better!r}")

    # What makes the score.

    def read(self, runs: Sequence[Run]) -> Mapping[str, Array]:
        """One value a run in each column, NaN where it is not measured.

        By default one column, "z": the metric as its share of the way from chance to
        the ceiling.

        Args:
            runs: Completed ones, and diverged ones where these count as chance.
        """
        return {"z": self.normalised(runs)}

    @abstractmethod
    def parts(self, cells: Cells) -> Mapping[str, Array]:
        """The named quantities that the score is made of, each of shape (...).

        Args:
            cells: What was read, as means over the seeds of each cell, of shape
                (..., num_cells).
        """

    def combine(self, parts: Mapping[str, Array]) -> Array | None:
        """The score, larger is better, from the parts alone.

        By default their mean, weighted by `mean_of` where it names some of them.

        Args:
            parts: Numbers or arrays of one shape.

        Returns:
            The score, of that shape: 1 is perfect, 0 is chance or no change, and what
            is worse lies below 0. None where these parts make no score.
        """
        named_weights = {n: w for n, w in self.mean_of.items() if n in parts}
        weights = named_weights or dict.fromkeys(parts, 1.0)
        terms = np.array([weight * parts[name] for name, weight in weights.items()])
        # A sum that is rounded once does not depend on the order of the parts.
        total = np.array(math.fsum(terms)) if terms.ndim == 1 else terms.sum(axis=0)
        mean: Array = total / math.fsum(weights.values())
        return mean

    def outside(self, runs: Sequence[Run]) -> Mapping[str, str]:
        """Strategies that it is not about, whose runs are left out and not missing.

        Args:
            runs: Those of all models.

        Returns:
            By strategy, what its runs have instead, as the end of a sentence.
        """
        return {}

    # What is known of it.

    @property
    def limits(self) -> Mapping[str, tuple[float, float]]:
        """The columns that the score is made of, with the worst and the best of a run.

        A run that holds none of them is missing, and what it could have measured gives
        the bounds.
        """
        return {"z": (0.0, 1.0)}

    @property
    def mean_of(self) -> Mapping[str, float]:
        """The columns of whose macro means the score is the mean, each with its weight.

        With it the interval is Student's t and each task has its share of the score;
        empty, for any other score, it is the bootstrap.
        """
        return {}

    def moves(self, runs: Sequence[Run]) -> Mapping[str, tuple[Sequence[str], Array]]:
        """What new examples move: by column each run's metric, and how far with it.

        The second is the change of the column when the metric rises by 1. A score that
        is made of columns that are not here says nothing of new examples.
        """
        keys = self.keys_of(runs)
        if not self.scales.have_shares(runs, keys):
            return {}
        chance, top = self.scales.ends(runs, keys)
        return {"z": (keys, 1 / (top - chance))}

    # What is shown beside it.

    def details(self, grid: Grid, report: Report) -> Mapping[str, float]:
        """Quantities that make no part of the score."""
        return {}

    def notes(self, grid: Grid) -> Sequence[str]:
        """What a reader has to know about this protocol's score, in sentences."""
        return ()

    def examples(self, grid: Grid) -> Interval | None:
        """The interval of the score for new examples, where it is known."""
        return None

    def remarks(self, scored: Sequence[Scored]) -> Sequence[str]:
        """What a reader has to know about a comparison, in sentences."""
        return ()

    def acceptability(
        self, reports: Sequence[Report]
    ) -> Mapping[str, tuple[float, ...]]:
        """Share of random weights under which each model takes each rank."""
        return {}

    def against(self, grid: Grid, twin: Grid) -> Mapping[str, Array]:
        """Further columns, of what was read held against the twin from scratch."""
        return {}

    # What a protocol can ask for.

    @property
    def keys(self) -> tuple[str, ...]:
        """The metrics that are read."""
        if isinstance(self.metric, Mapping):
            return tuple(dict.fromkeys(self.metric.values()))
        return self.usual if self.metric is None else (self.metric,)

    @final
    def keys_of(self, runs: Sequence[Run]) -> list[str]:
        """The metric that is read from each run; "" where its task has none."""
        if isinstance(self.metric, Mapping):
            return [self.metric.get(run.task, "") for run in runs]
        return [self.keys[0]] * len(runs)

    @cached_property
    def scales(self) -> Scales:
        """Direction, chance and perfection of the metrics."""
        return Scales(self.better, self.chance, self.ceiling)

    @final
    def measured(self, runs: Sequence[Run], keys: Sequence[str] | None = None) -> Array:
        """A metric of each run after fine-tuning; chance where it diverged."""
        keys = self.keys_of(runs) if keys is None else keys
        values = column_of([run.scores for run in runs], keys)
        self.scales.check(runs, keys, values)
        failed = np.flatnonzero(which_diverged(runs) & named(keys)).tolist()
        if failed:
            lost, theirs = [runs[i] for i in failed], [keys[i] for i in failed]
            values[failed] = self.scales.levels(lost, theirs)
        return values

    @final
    def normalised(self, runs: Sequence[Run]) -> Array:
        """Each run's metric as its share of the way from chance to the ceiling."""
        keys = self.keys_of(runs)
        values = column_of([run.scores for run in runs], keys)
        failed = which_diverged(runs)
        values[failed] = np.nan
        shares = self.scales.normalised(runs, keys, values)
        shares[failed & named(keys)] = 0.0
        return shares

    @final
    def interval(self, low: float, high: float, over: str, method: str) -> Interval:
        """A range at the evaluator's confidence."""
        return Interval(
            low=float(low),
            high=float(high),
            confidence=self.confidence,
            over=over,
            method=method,
        )

    @final
    def twin_of(self, model: str) -> str | None:
        """The name of the model from random weights that a model is held against."""
        if isinstance(self.scratch, Mapping):
            return self.scratch.get(model)
        return None if self.scratch == model else self.scratch


def _is_number(value: object) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)
