"""A race over runs that exist: what it would have decided, at what cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from pretrain_eval._runs import Run, Runs
from pretrain_eval._scoring.formulas import Array
from pretrain_eval._selection.choice import Choice, choice_of
from pretrain_eval._selection.estimates import Estimates
from pretrain_eval._selection.evidence import evidence_of
from pretrain_eval._selection.measures import (
    Block,
    block_of,
    datasets_of,
    direction,
    first_key,
    last_value,
)
from pretrain_eval._selection.race import Measured, Race, Rules
from pretrain_eval._sweep import cut_short


def replay(
    runs: Iterable[Run],
    *,
    seeds: Sequence[int] | None = None,
    metric: str | None = None,
    confidence: float = 0.95,
    tolerance: float = 0.01,
    budget: float = 1.0,
    short: float = 0.25,
    keep: float = 0.375,
    estimates: Estimates | Sequence[Estimates] = (),
    shortlist: float = 0.5,
) -> Choice:
    """Race over recorded runs instead of training: what `choose` would have decided.

    A run's validation curve gives its score at any epoch. The reported split is not
    read.

    Args:
        runs: Of a whole grid: every model on the same tasks, datasets, strategies and
            seeds.
        seeds: The order in which they are run; by default as they are.
        metric: The key that is read of the curves; by default the first that all have.
        confidence: See `choose`.
        tolerance: See `choose`.
        budget: The most that may be spent, as a share of the grid.
        short: The share of its epochs that a run of the first round has.
        keep: The share of the models that go on after the first round.
        estimates: See `choose`.
        shortlist: See `choose`.

    Raises:
        TypeError: Estimates are none.
        ValueError: Runs are missing or without a curve, a direction is unknown,
            estimates are of other tasks, or a number is out of range.
    """
    rules = Rules(
        confidence=confidence,
        tolerance=tolerance,
        budget=budget,
        short=short,
        keep=keep,
        shortlist=shortlist,
    )
    field = Recorded.of(Runs(runs), seeds, metric, rules.short)
    evidence = evidence_of(estimates, field.models, datasets_of(field.blocks))
    race = Race(field, rules, evidence=evidence)
    race.run()
    return choice_of(race, field.runs)


@final
@dataclass(frozen=True)
class Recorded:
    """The runs of a grid as a field of a race.

    Attributes:
        runs: All of them.
        models: Their models.
        seeds: In the order in which they are run.
        blocks: Task, dataset and strategy.
        by_place: Each run by model, block and seed.
        key: What is read of the curves.
        sign: −1 where lower is better.
        short: The share of the epochs of a short run.
    """

    runs: tuple[Run, ...]
    models: tuple[str, ...]
    seeds: tuple[int, ...]
    blocks: tuple[Block, ...]
    by_place: Mapping[tuple[str, Block, int], Run]
    key: str
    sign: int
    short: float

    @classmethod
    def of(
        cls,
        runs: tuple[Run, ...],
        seeds: Sequence[int] | None,
        metric: str | None,
        short: float,
    ) -> Recorded:
        """The field of a whole grid."""
        if not runs:
            raise ValueError("replay expects runs, got none")
        by_place = {(run.model, block_of(run), run.seed): run for run in runs}
        models = tuple(dict.fromkeys(run.model for run in runs))
        blocks = tuple(dict.fromkeys(block_of(run) for run in runs))
        found = tuple(dict.fromkeys(run.seed for run in runs))
        order = found if seeds is None else tuple(seeds)
        places = [(m, b, s) for m in models for b in blocks for s in order]
        missing = [place for place in places if place not in by_place]
        if missing:
            model, block, seed = missing[0]
            raise ValueError(
                f"replay needs every model on every task, dataset, strategy and seed;"
                f" {len(missing)} runs are missing, such as {model} on"
                f" {'/'.join(block[:2])}, {block[2]}, seed {seed}"
            )
        key = metric or first_key(runs)
        sign = direction([by_place[place] for place in places], key)
        return cls(runs, models, order, blocks, by_place, key, sign, short)

    @property
    def tasks(self) -> tuple[str, ...]:
        """Of each block."""
        return tuple(task for task, _, _ in self.blocks)

    @property
    def num_examples(self) -> Array:
        """Not known: a record says on how many its reported split was measured."""
        return np.full(len(self.blocks), np.nan)

    @property
    def total_steps(self) -> float:
        """Of all runs that may be asked for."""
        return sum(
            _steps(self.by_place[model, block, seed])
            for model in self.models
            for block in self.blocks
            for seed in self.seeds
        )

    @property
    def is_long(self) -> bool:
        """Whether some run has a point between the first and the last."""
        return any(_short_row(run, self.short) is not None for run in self.runs)

    def epoch_steps(self, task: str, dataset: str) -> float:
        """Of the runs there, which have as many batches each."""
        run = next(r for r in self.runs if (r.task, r.dataset) == (task, dataset))
        return _steps(run) / max(1, len(run.curve.get("step", ())) - 1)

    def measure(
        self, models: Sequence[str], seed: int, *, short: bool
    ) -> dict[str, Measured]:
        """What the curves say at that length."""
        found = {}
        for model in models:
            runs = [self.by_place[model, block, seed] for block in self.blocks]
            found[model] = Measured(
                np.array([self._value(run, short) for run in runs]),
                sum(self._steps(run, short, seed) for run in runs),
            )
        return found

    def _value(self, run: Run, short: bool) -> float:
        row = _short_row(run, self.short) if short else None
        return self.sign * last_value(run, self.key, row)

    def _steps(self, run: Run, short: bool, seed: int) -> float:
        row = _short_row(run, self.short)
        begun = 0.0 if row is None else run.curve["step"][row]
        if short:
            return begun if row is not None else _steps(run)
        # What a short round has done goes on and is not done again.
        done = self.is_long and seed == self.seeds[0]
        return _steps(run) - (begun if done and row is not None else 0.0)


def _steps(run: Run) -> float:
    steps = run.curve.get("step", ())
    return float(steps[-1]) if steps else 1.0


def _short_row(run: Run, short: float) -> int | None:
    """The row of the curve where a short run ends; None where there is none between."""
    num_epochs = len(run.curve.get("step", ())) - 1
    row = cut_short(num_epochs, short)
    return row if row < num_epochs else None
