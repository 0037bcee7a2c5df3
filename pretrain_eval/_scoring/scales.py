"""What a metric is worth: its direction, chance and perfection, and the share between."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, TypeVar

import numpy as np

from pretrain_eval._runs import SCALES, Better, Run, Scale
from pretrain_eval._scoring.formulas.statistics import Array

T = TypeVar("T")
Chance = Literal["uniform"] | float | Mapping[str, float] | None
Ceiling = float | Mapping[str, float] | None
Direction = Better | Mapping[str, Better] | None


class Scales(NamedTuple):
    """How values of metrics are read, as the user stated it and the runs know it.

    A mapping is asked for the run's task first, then for the metric's key.

    Attributes:
        better: See `Evaluator.better`.
        chance: See `Evaluator.chance`.
        ceiling: See `Evaluator.ceiling`.
    """

    better: Direction
    chance: Chance
    ceiling: Ceiling

    def of(self, run: Run, key: str) -> Scale:
        """The direction and range of a metric of a run.

        Raises:
            ValueError: Neither the user, nor the run, nor this package knows it.
        """
        known = run.scales.get(key) or SCALES.get(key)
        better = _stated(self.better, run.task, key)
        if better is not None:
            same = known is not None and known.better == better
            if known is not None and same:
                return known
            return Scale(better="higher" if better == "higher" else "lower")
        if known is None:
            raise ValueError(
                f"{run.name}: nothing says whether a larger {key!r} is better; give"
                " better='higher' or better='lower' to the evaluator (or a mapping by"
                f" metric or task), or Run(scales={{{key!r}: Scale(better=...)}})"
            )
        return known

    def ceiling_of(self, run: Run, key: str) -> float | None:
        """The value of a perfect predictor that the user stated, if any."""
        return _stated(self.ceiling, run.task, key)

    def is_raw(self, runs: Sequence[Run], keys: Sequence[str]) -> bool:
        """Whether values are averaged as they are, rather than as normalised shares.

        They are where no ceiling is stated and all metrics are alike: of one direction
        and one best value.
        """
        kinds = set()
        for (_, key), run in _first_of_each(runs, keys).items():
            if self.ceiling_of(run, key) is not None:
                return False
            scale = self.of(run, key)
            kinds.add((scale.better, scale.best))
        return len(kinds) <= 1

    def have_shares(self, runs: Sequence[Run], keys: Sequence[str]) -> bool:
        """Whether every metric has a way from chance to perfection that is known."""
        firsts = _first_of_each(runs, keys).items()
        if any(self._best(run, key) is None for (_, key), run in firsts):
            return False
        levels = zip(self.chances(runs, keys), self.signs(runs, keys), strict=True)
        return not any(level is None and sign < 0 for level, sign in levels)

    def range_of(self, keys: Sequence[str]) -> tuple[float, float]:
        """The worst and the best of signed values, as far as the keys alone tell.

        Those of shares where a ceiling is stated or the metrics are unlike, infinite
        where a metric has no bound or only runs know it.
        """
        known = [SCALES.get(key) for key in keys]
        if self.ceiling is not None or len({each and each.best for each in known}) > 1:
            return 0.0, 1.0
        scale = known[0]
        if scale is None or self.better is not None:
            return -np.inf, np.inf
        sign = 1 if scale.better == "higher" else -1
        worst, best = scale.worst, scale.best
        return (
            -np.inf if worst is None else sign * worst,
            np.inf if best is None else sign * best,
        )

    def signs(self, runs: Sequence[Run], keys: Sequence[str]) -> Array:
        """1 for each metric that is better when higher, −1 when lower."""
        signs = {
            place: 1.0 if self.of(run, place[1]).better == "higher" else -1.0
            for place, run in _first_of_each(runs, keys).items()
        }
        return np.array([signs.get(place, 1.0) for place in _places(runs, keys)])

    def chances(self, runs: Sequence[Run], keys: Sequence[str]) -> list[float | None]:
        """The chance level of one metric of each run; None where it is unknown."""
        pairs = list(zip(runs, keys, strict=True))
        if self.chance is None:
            return [run.chance.get(key) for run, key in pairs]
        if isinstance(self.chance, Mapping):
            levels = self.chance
            stated = [levels.get(run.task, levels.get(key)) for run, key in pairs]
            return [
                run.chance.get(key) if level is None else level
                for level, (run, key) in zip(stated, pairs, strict=True)
            ]
        if self.chance == "uniform":
            return [1 / _num_classes(run) for run in runs]
        return [float(self.chance)] * len(runs)

    def levels(self, runs: Sequence[Run], keys: Sequence[str]) -> Array:
        """The chance level of each run's metric; 0 where nobody knows it.

        Raises:
            ValueError: It is unknown for a metric that is better when lower, of which
                0 would be perfect.
        """
        levels = self.chances(runs, keys)
        if None in levels:
            signs = self.signs(runs, keys)
            for run, key, level, sign in zip(runs, keys, levels, signs, strict=True):
                if level is None and sign < 0:
                    raise ValueError(
                        f"{run.name}: the loss {key!r} needs its chance level; give"
                        " chance="
                    )
        return np.array([0.0 if level is None else level for level in levels])

    def ends(self, runs: Sequence[Run], keys: Sequence[str]) -> tuple[Array, Array]:
        """Chance and ceiling of each run's metric; NaN where they are one number.

        Raises:
            ValueError: A metric has no finite range and no stated ceiling, a ceiling
                lies on the wrong side of chance, or chance is unknown and not 0.
        """
        tops = {
            place: self._top(run, place[1])
            for place, run in _first_of_each(runs, keys).items()
        }
        top = np.array([tops.get(place, np.nan) for place in _places(runs, keys)])
        chance = np.where(np.isnan(top), np.nan, self.levels(runs, keys))
        signs = self.signs(runs, keys)
        wrong = np.flatnonzero(signs * (top - chance) < 0)
        if wrong.size:
            row = int(wrong[0])
            better = "higher" if signs[row] > 0 else "lower"
            raise ValueError(
                f"{runs[row].name}: {keys[row]!r} is better when {better}, so that its"
                f" ceiling, {top[row]:g}, must lie beyond its chance level,"
                f" {chance[row]:g}; give ceiling= as a mapping by metric or task"
            )
        chance[chance == top] = np.nan
        return chance, top

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
        unknown = np.isnan(values).reshape(math.prod(values.shape[:-1]), len(runs))
        known = np.flatnonzero(~unknown.any(axis=0))
        index = known.tolist()
        measured, their = [runs[i] for i in index], [keys[i] for i in index]
        self.check(measured, their, values[..., known])
        chance, top = self.ends(measured, their)
        shares = np.full(values.shape, np.nan)
        shares[..., known] = (values[..., known] - chance) / (top - chance)
        return shares

    def check(self, runs: Sequence[Run], keys: Sequence[str], values: Array) -> None:
        """Refuse values outside the range of their metric.

        Raises:
            ValueError: One is, which names the run; percent are not shares.
        """
        if not runs:
            return
        ranges = {}
        for place, run in _first_of_each(runs, keys).items():
            # Who states a ceiling has stated the unit.
            if self.ceiling_of(run, place[1]) is None:
                scale = self.of(run, place[1])
                ranges[place] = (
                    -np.inf if scale.low is None else scale.low,
                    np.inf if scale.high is None else scale.high,
                )
        anything = -np.inf, np.inf
        of_each = [ranges.get(place, anything) for place in _places(runs, keys)]
        low, high = np.array(of_each).reshape(-1, 2).T
        with np.errstate(invalid="ignore"):
            outside = (values < low - 1e-9) | (values > high + 1e-9)
        wrong = np.flatnonzero(outside.reshape(-1, len(runs)).any(axis=0))
        if wrong.size:
            row = int(wrong[0])
            value = values.reshape(-1, len(runs))[:, row]
            shown = value[~np.isnan(value)][-1]
            raise ValueError(
                f"{runs[row].name}: {keys[row]!r} is {shown:g}, outside its range"
                f" [{low[row]:g}, {high[row]:g}]; give shares rather than percent, or"
                " say Run(scales=...) of another unit"
            )

    def unknown(self, runs: Sequence[Run], keys: Sequence[str]) -> int:
        """How many runs hold one of the metrics and not its chance level."""
        lacking: set[int] = set()
        for key in keys:
            held = [index for index, run in enumerate(runs) if _concerns(run, key)]
            levels = self.chances([runs[i] for i in held], [key] * len(held))
            if None in levels:
                pairs = zip(held, levels, strict=True)
                lacking.update(index for index, level in pairs if level is None)
        return len(lacking)

    def _top(self, run: Run, key: str) -> float:
        best = self._best(run, key)
        if best is None:
            raise ValueError(
                f"{run.name}: {key!r} has no finite range, so that it has no share of"
                " the way from chance to perfection; give ceiling=, the value of a"
                " perfect predictor, for example ceiling=0.0 for a loss, and chance="
            )
        return best

    def _best(self, run: Run, key: str) -> float | None:
        # A loss without an upper end has a perfect value, and no share unless asked.
        scale, stated = self.of(run, key), self.ceiling_of(run, key)
        if stated is not None:
            return stated
        return None if scale.better == "lower" and scale.high is None else scale.best


def _stated(statement: T | Mapping[str, T] | None, task: str, key: str) -> T | None:
    if isinstance(statement, Mapping):
        return statement.get(task, statement.get(key))
    return statement


def _places(runs: Sequence[Run], keys: Sequence[str]) -> list[tuple[str, str]]:
    return [(run.task, key) for run, key in zip(runs, keys, strict=True)]


def _concerns(run: Run, key: str) -> bool:
    return key in run.scores or key in run.curve or run.status == "diverged"


def _first_of_each(
    runs: Sequence[Run], keys: Sequence[str]
) -> dict[tuple[str, str], Run]:
    # A run of each task and metric that speaks for all: one that declares the scale.
    first: dict[tuple[str, str], Run] = {}
    for run, key in zip(runs, keys, strict=True):
        if not key or (key not in SCALES and not _concerns(run, key)):
            continue
        other = first.setdefault((run.task, key), run)
        if key not in run.scales or other is run:
            continue
        if key not in other.scales:
            first[run.task, key] = run
        elif run.scales[key] != other.scales[key]:
            raise ValueError(
                f"{other.name} and {run.name} declare different scales of {key!r}:"
                f" {other.scales[key]} and {run.scales[key]}"
            )
    return first


def _num_classes(run: Run) -> int:
    classes = run.settings.get("num_classes")
    if type(classes) is not int or classes < 1:
        raise ValueError(
            f"{run.name}: chance='uniform' needs settings['num_classes'], got"
            f" {classes!r}"
        )
    return classes
