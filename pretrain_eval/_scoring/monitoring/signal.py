"""One thing that is watched: what it was, and what each look showed of it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

import numpy as np
from typing_extensions import Self

from pretrain_eval._runs import Better, Record, is_name
from pretrain_eval._scoring.formulas.intervals import chi_quantile, t_quantile
from pretrain_eval._scoring.formulas.statistics import Array
from pretrain_eval._scoring.monitoring.alarms import Kind, Unchanged, limits, reaches
from pretrain_eval._scoring.monitoring.rows import Directions
from pretrain_eval._scoring.reports.checked import (
    check,
    each_is,
    is_count,
    is_finite,
    is_number,
    is_positive,
    is_rate,
    is_share,
    is_size,
    or_none,
    restore,
    restore_each,
)
from pretrain_eval._scoring.reports.table import counted

_ENDS = (0.005, 0.995)  # shares of a reference beyond which numbers are clipped
_FEWEST = 30  # examples of a reference
_SURELY = 1e-3  # how rare a swing between looks must be by chance to be told


@dataclass(frozen=True)
class Point(Record):
    """What one look showed of a signal.

    Attributes:
        look: Its name.
        num_examples: How many it had.
        value: The mean over them; None of features.
        mean: What is tested: the mean of clipped numbers, of each coordinate of a vector.
        statistic: How far the last looks lie from all before them, in standard errors;
            the largest over windows of 1, 2, 4, … and all looks.
        limit: Above it the look is an alarm.
        window: The number of looks of that window.
    """

    _: KW_ONLY
    look: str
    num_examples: int
    value: float | None
    mean: tuple[float, ...]
    statistic: float
    limit: float
    window: int

    def __post_init__(self) -> None:
        check(self, "a name", is_name, "look")
        check(self, "a whole number of at least 1", is_positive, "num_examples")
        check(self, "a whole number of at least 0", is_count, "window")
        check(self, "a tuple of finite numbers", each_is(is_finite), "mean")
        check(self, "a finite number or None", or_none(is_finite), "value")
        check(self, "a number", is_number, "statistic", "limit")

    @property
    def is_alarm(self) -> bool:
        """Whether chance is no explanation."""
        return self.statistic > self.limit


@dataclass(frozen=True, repr=False)
class Signal(Record):
    """A mean that is watched, from a reference on.

    Numbers beyond the middle 99 % of the reference's count as its ends where they are
    tested, so that a few extreme ones are no alarm; what is shown is the plain mean.

    Attributes:
        name: The metric's key, "confidence", "outputs" or "features".
        kind: Of an example: "bits", 0 or 1; "numbers"; or a "vector".
        better: Which values are better; None where any change is one.
        rate: How probable an alarm is in `horizon` looks where nothing changes.
        horizon: A number of looks.
        num_examples: Of the reference.
        value: The reference's mean; None of features.
        mean: What looks are tested against, as `Point.mean`.
        low: Smaller numbers count as this one.
        high: Larger ones as this one.
        deviation: Standard deviation of a clipped example; 1 for a vector.
        skewness: Of the examples; 0 for a vector.
        kurtosis: Excess kurtosis of the examples; 0 for a vector.
        directions: What rows are projected on; None for numbers.
        points: The looks, in the order in which they came.
    """

    _: KW_ONLY
    name: str
    kind: Kind
    better: Better | None
    rate: float
    horizon: int
    num_examples: int
    value: float | None
    mean: tuple[float, ...]
    low: float = -math.inf
    high: float = math.inf
    deviation: float = 1.0
    skewness: float = 0.0
    kurtosis: float = 0.0
    directions: Directions | None = None
    points: tuple[Point, ...] = ()

    def __post_init__(self) -> None:
        check(self, "a name", is_name, "name")
        check(self, f"one of {_KINDS}", lambda kind: kind in _KINDS, "kind")
        check(self, f"one of {_BETTER}", lambda better: better in _BETTER, "better")
        check(self, "a number between 0 and 1", is_rate, "rate")
        check(self, "a whole number of at least 1", is_positive, "horizon")
        what = f"a whole number of at least {_FEWEST}"
        enough = lambda size: is_positive(size) and size >= _FEWEST  # noqa: E731
        check(self, what, enough, "num_examples")
        check(self, "a finite number or None", or_none(is_finite), "value")
        check(self, "a number", is_number, "low", "high")
        check(self, "a finite number", is_finite, "deviation", "skewness", "kurtosis")
        check(self, "a number of at least 0", is_size, "deviation")
        restore(self, Directions, "directions", optional=True)
        restore_each(self, Point, "points")
        self._check_form()

    def _check_form(self) -> None:
        """What is of a vector, and what of numbers."""
        is_vector = self.kind == "vector"
        what = "there" if is_vector else "None"
        check(self, what, lambda rows: (rows is not None) == is_vector, "directions")
        check(self, "None" if is_vector else "a number", self._is_value, "value")
        width = self.directions.width if self.directions is not None else 1
        check(self, f"{width} finite numbers", each_is(is_finite, width), "mean")
        for point in self.points:
            if len(point.mean) != width or not self._is_value(point.value):
                raise ValueError(
                    f"Signal.points must be of the form of {self.name}, got {point!r:.80}"
                )
        names = [point.look for point in self.points]
        windows = [point.window <= at for at, point in enumerate(self.points, start=1)]
        once = len(set(names)) == len(names)
        check(self, "of looks that are told once", lambda _: once, "points")
        check(self, "of looks in their windows", lambda _: all(windows), "points")
        if self.kind == "bits":
            check(self, "(a share,)", each_is(is_share), "mean")

    def _is_value(self, value: float | None) -> bool:
        return (value is None) == (self.kind == "vector")

    def __repr__(self) -> str:
        """One line: its name, the looks, and since when it has changed."""
        found = f"since {self.since}" if self.alarm else "as before"
        return f"Signal({self.name}, {counted(len(self.points), 'look')}: {found})"

    @classmethod
    def of(
        cls, name: str, values: Array, better: Better | None, rate: float, horizon: int
    ) -> Self:
        """A signal from its reference.

        Args:
            name: What it is.
            values: One an example, `(num_examples,)`, or `(num_examples, num_features)`.
            better: Which values are better; None where any change is one.
            rate: Of false alarms.
            horizon: In so many looks.

        Raises:
            ValueError: There are few examples, or they are all alike.
        """
        size = len(values)
        if size < _FEWEST:
            raise ValueError(
                f"{name}: a reference needs {_FEWEST} examples or more, got {size}"
            )
        if values.ndim == 2:
            made = Directions.of(values)
            return cls(
                name=name,
                kind="vector",
                better=None,
                rate=rate,
                horizon=horizon,
                num_examples=size,
                value=None,
                mean=(0.0,) * made.width,
                directions=made,
            )
        bits = bool(np.isin(values, (0.0, 1.0)).all())
        low, high = (0.0, 1.0) if bits else np.quantile(values, _ENDS).tolist()
        if not bits and low == high:
            raise ValueError(
                f"{name}: 99 % of the reference's values are alike, {low:g}; of so few"
                " others no mean can be watched"
            )
        clipped = np.clip(values, low, high)
        deviation = float(clipped.std(ddof=1))
        standard = (clipped - clipped.mean()) / (deviation or 1.0)
        return cls(
            name=name,
            kind="bits" if bits else "numbers",
            better=better,
            rate=rate,
            horizon=horizon,
            num_examples=size,
            value=float(values.mean()),
            mean=(float(clipped.mean()),),
            low=low,
            high=high,
            deviation=deviation,
            skewness=float((standard**3).mean()),
            kurtosis=float((standard**4).mean()) - 3,
        )

    def watched(self, looks: Sequence[tuple[str, Array]]) -> Self:
        """The signal after further looks.

        Args:
            looks: Name and values of each, in the order in which they came.

        Raises:
            ValueError: Values are of another form than those of the reference.
        """
        new = [self._told(look, values) for look, values in looks]
        told = [*self.points, *new]
        sizes = tuple(point.num_examples for point in told)
        unchanged = self._unchanged()
        sums = [self._sums(self.num_examples, self.mean)]
        sums += [self._sums(point.num_examples, point.mean) for point in told]
        reached = reaches(
            unchanged, iter(sums), (self.num_examples, *sizes), np.ones(1)
        )
        found = limits(unchanged, sizes, self.rate, self.horizon)
        points = tuple(
            dataclasses.replace(
                point,
                statistic=float(reach.statistic[0]),
                limit=limit,
                window=int(reach.window[0]),
            )
            for point, reach, limit in zip(told, reached, found, strict=True)
        )
        kept = len(self.points)
        return dataclasses.replace(self, points=(*self.points, *points[kept:]))

    @property
    def alarm(self) -> Point | None:
        """The first alarm."""
        return next((point for point in self.points if point.is_alarm), None)

    @property
    def since(self) -> str | None:
        """The look from which on the first alarm sees a change."""
        alarm = self.alarm
        if alarm is None:
            return None
        return self.points[self.points.index(alarm) + 1 - alarm.window].look

    def split(self) -> tuple[float, float, int]:
        """The value before the first alarm's window, that from it on, and its examples.

        Without an alarm the reference's, and that of all looks.
        """
        names = [point.look for point in self.points]
        start = names.index(self.since) if self.since is not None else 0
        before, after = self.points[:start], self.points[start:]
        _, earlier = _mean([(self.num_examples, self.value), *map(_sized, before)])
        size, later = _mean([_sized(point) for point in after])
        return earlier, later, size

    def limits_of(self, point: Point) -> tuple[float, float]:
        """Between which means the look by itself is no alarm, in the metric's unit.

        Of numbers about that, since extreme ones are clipped where they are tested.

        Args:
            point: One of the points.
        """
        earlier = self.points[: self.points.index(point)]
        number, middle = _mean([(self.num_examples, self.value), *map(_sized, earlier)])
        error = self._spread * math.sqrt(1 / number + 1 / point.num_examples)
        reach = point.limit * error
        low = middle - reach if self.better != "lower" else -math.inf
        high = middle + reach if self.better != "higher" else math.inf
        return low, high

    def visible(self, looks: int = 4, power: float = 0.8) -> float | None:
        """The least change, in the metric's unit, that so many further looks would show.

        Args:
            looks: Of the usual size, that of the median look.
            power: With this probability.

        Returns:
            None for a vector, or before the first look.
        """
        if self.kind == "vector" or not self.points:
            return None
        sizes = [p.num_examples for p in self.points]
        number = self.num_examples + sum(sizes)
        window = looks * float(np.median(sizes))
        error = self._spread * math.sqrt(1 / number + 1 / window)
        return (self.points[-1].limit + t_quantile(power, math.inf)) * error

    @property
    def dispersion(self) -> float | None:
        """Variance between looks, over what independent examples would make of it.

        None where chance explains it, and with fewer than eight looks.
        """
        if self.kind == "vector" or len(self.points) < 8:
            return None
        sizes = np.array([p.num_examples for p in self.points], dtype=float)
        means = np.array([p.mean[0] for p in self.points])
        middle = (sizes * means).sum() / sizes.sum()
        freedom = len(sizes) - 1
        swing = float((sizes * (means - middle) ** 2).sum()) / self._spread**2
        most = float(chi_quantile(np.array(1 - _SURELY), freedom))
        return swing / freedom if swing > most else None

    @property
    def _spread(self) -> float:
        """Standard deviation of an example, not 0 where all were right."""
        if self.kind != "bits":
            return self.deviation
        share = (self.num_examples * self.mean[0] + 0.5) / (self.num_examples + 1)
        return math.sqrt(share * (1 - share))

    def _told(self, look: str, values: Array) -> Point:
        """A look before it is tested.

        Raises:
            ValueError: The values are of another form than the reference's.
        """
        value: float | None = None
        mean: tuple[float, ...]
        if self.directions is not None:
            if values.shape[1:] != (self.directions.num_features,):
                raise ValueError(
                    f"{look}: {self.name} are {values.shape[1:]} numbers an example, the"
                    f" reference's {self.directions.num_features}"
                )
            mean = tuple(self.directions.coordinates(values).mean(axis=0).tolist())
        elif self.kind == "bits" and not np.isin(values, (0.0, 1.0)).all():
            raise ValueError(
                f"{look}: {self.name} must be 0 or 1 for each example, as in the reference"
            )
        else:
            value = float(values.mean())
            mean = (float(np.clip(values, self.low, self.high).mean()),)
        return Point(
            look=look,
            num_examples=len(values),
            value=value,
            mean=mean,
            statistic=0.0,
            limit=math.inf,
            window=0,
        )

    def _sums(self, size: int, mean: Sequence[float]) -> Array:
        means = np.asarray(mean)[None, :]
        if self.kind == "numbers":
            means = (means - self.mean[0]) / self.deviation
        return np.asarray(size * means)

    def _unchanged(self) -> Unchanged:
        ones = round(self.num_examples * self.mean[0])
        return Unchanged(
            kind=self.kind,
            sign={"higher": 1, "lower": -1, None: 0}[self.better],
            num_examples=self.num_examples,
            num_ones=ones if self.kind == "bits" else 0,
            skewness=self.skewness,
            kurtosis=self.kurtosis,
            width=len(self.mean),
        )


def _sized(point: Point) -> tuple[int, float | None]:
    return point.num_examples, point.value


def _mean(sized: Sequence[tuple[int, float | None]]) -> tuple[int, float]:
    """The number of examples, and their mean."""
    number = sum(size for size, _ in sized)
    return number, sum(size * (value or 0.0) for size, value in sized) / number


_KINDS = ("bits", "numbers", "vector")
_BETTER = ("higher", "lower", None)
