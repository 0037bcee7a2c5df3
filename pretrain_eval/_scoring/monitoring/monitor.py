"""A deployed model, looked at again and again: has it dropped, has what it sees changed?"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, final

from pretrain_eval._habits import refusal
from pretrain_eval._runs import Better, Record, is_name
from pretrain_eval._scoring.formulas.statistics import Array
from pretrain_eval._scoring.monitoring.predictions import (
    AnyPredictions,
    Columns,
    Scores,
    read,
)
from pretrain_eval._scoring.monitoring.signal import Point, Signal
from pretrain_eval._scoring.reports.checked import (
    check,
    each_is,
    is_positive,
    is_rate,
    restore_each,
)
from pretrain_eval._scoring.reports.table import (
    Row,
    Table,
    Tabular,
    counted,
    listing,
    number,
    quantity,
)

_MOST_LOOKS = 2000


@final
@dataclass(frozen=True, repr=False)
class Monitor(Tabular, Record):
    """A deployed model's looks, and what they say.

    Made by `monitor`; frozen, `look` gives another one. `to_json` and `from_json` keep
    it between the runs of a scheduler: it holds means, no examples.

    Attributes:
        metric: The metric's key.
        better: Which of its values are better.
        scores: What float outputs are; None is logits where the metric is of classes.
        false_alarms: How probable any alarm is in `horizon` looks where nothing changes,
            over all signals and looks together, from 0 to 1.
        horizon: A number of looks, such as the weeks of a year.
        signals: What is watched: the metric, where there are labels, then confidence
            and features.
        looks: Names of the looks, in the order in which they came.
    """

    _: KW_ONLY
    metric: str
    better: Better
    scores: Scores | None
    false_alarms: float
    horizon: int
    signals: tuple[Signal, ...]
    looks: tuple[str, ...] = ()

    if not TYPE_CHECKING:
        __getattr__ = refusal("monitor")

    def __post_init__(self) -> None:
        check(self, "a name", is_name, "metric")
        check(self, "'higher' or 'lower'", lambda b: b in ("higher", "lower"), "better")
        known = ("logits", "probabilities", None)
        check(self, f"one of {known}", lambda scores: scores in known, "scores")
        check(self, "a number between 0 and 1", is_rate, "false_alarms")
        check(self, "a whole number of at least 1", is_positive, "horizon")
        check(self, "a tuple of names", each_is(is_name), "looks")
        restore_each(self, Signal, "signals")
        names = [signal.name for signal in self.signals]
        what = "one signal or more, of different names"
        check(self, what, lambda _: 0 < len(names) == len(set(names)), "signals")
        seen = {point.look for signal in self.signals for point in signal.points}
        check(self, "the names of all looks", lambda looks: seen <= set(looks), "looks")

    def __repr__(self) -> str:
        """One line: what is watched, how often it was looked at, and what was found."""
        found = ("as before", "drifted", "dropped")[self.exit_code]
        return f"Monitor({self.metric}, {counted(len(self.looks), 'look')}: {found})"

    def look(self, name: str, predictions: AnyPredictions) -> Monitor:
        """The monitor after one more look.

        Args:
            name: Of the date, week or batch. Where a look of this name has no labels
                yet, the same predictions again, with targets, give it some.
            predictions: As `monitor` takes them.

        Raises:
            ValueError: A look of this name has been counted, or the predictions are of
                another form than the reference.
        """
        return self.after({name: predictions})

    def after(self, looks: Mapping[str, AnyPredictions]) -> Monitor:
        """The monitor after several more looks, in their order."""
        columns = {}
        for name, predictions in looks.items():
            if not is_name(name):
                raise ValueError(f"a look is expected to have a name, got {name!r}")
            columns[name] = read(name, predictions, self.metric, self.scores)
        for name in columns.keys() & set(self.looks):
            self._check_late(name, columns[name])
        names = tuple(dict.fromkeys((*self.looks, *columns)))
        if len(names) > _MOST_LOOKS:
            raise ValueError(
                f"a monitor holds {_MOST_LOOKS} looks at most, got {len(names)}; pool"
                " batches into hours, days or weeks, or take a new reference"
            )
        signals = tuple(self._watched(signal, columns) for signal in self.signals)
        return dataclasses.replace(self, signals=signals, looks=names)

    def _watched(self, signal: Signal, columns: Mapping[str, Columns]) -> Signal:
        counted_looks = {point.look for point in signal.points}
        new = [
            (name, values)
            for name, each in columns.items()
            if name not in counted_looks
            and (values := _of(signal.name, self.metric, each)) is not None
        ]
        return signal.watched(new) if new else signal

    def _check_late(self, name: str, columns: Columns) -> None:
        """Refuse a look that has been counted, but for labels that come late."""
        labels = self.metric in self and columns.values is not None
        if not labels or _point(self[self.metric], name) is not None:
            raise ValueError(
                f"the look {name!r} has been counted; further examples are a look of"
                " another name"
            )

    def __contains__(self, name: object) -> bool:
        return any(signal.name == name for signal in self.signals)

    def __getitem__(self, name: str) -> Signal:
        """The signal of a name.

        Raises:
            KeyError: It is not watched.
        """
        for signal in self.signals:
            if signal.name == name:
                return signal
        raise KeyError(f"{name!r} is not watched, but {[s.name for s in self.signals]}")

    @property
    def dropped(self) -> bool | None:
        """Whether the metric has got worse; None where no look has labels."""
        if self.metric not in self or not self[self.metric].points:
            return None
        return self[self.metric].alarm is not None

    @property
    def drifted(self) -> tuple[str, ...]:
        """Names of the other signals that have changed."""
        return tuple(s.name for s in self.signals if s.name != self.metric and s.alarm)

    @property
    def exit_code(self) -> int:
        """For a scheduler: 2 where the metric has dropped, 1 where others drifted, 0."""
        return 2 if self.dropped else 1 if self.drifted else 0

    @property
    def verdict(self) -> str:
        """What the looks say, in sentences."""
        sentences = [self._of_metric()]
        if self.drifted:
            words = [self._of_drift(self[name]) for name in self.drifted]
            sentences.append(" ".join(words))
            if self.dropped is None:
                sentences.append(
                    "Drift is no drop: labels of these looks would tell what it costs."
                )
        elif others := [s.name for s in self.signals if s.points and s.better is None]:
            sentences.append(f"No drift of {listing(others)}.")
        return " ".join(sentences)

    @property
    def lead(self) -> str:
        """What a page says first."""
        return self.verdict

    def _of_metric(self) -> str:
        if self.dropped is None:
            return (
                f"Whether {self.metric} has dropped is not known: no look has labels."
            )
        signal = self[self.metric]
        before, after, size = signal.split()
        if signal.alarm is None:
            sizes = sorted(point.num_examples for point in signal.points)
            return (
                f"No drop of {self.metric} in {counted(len(sizes), 'look')}:"
                f" {quantity(after)}, before {quantity(before)}; a change of"
                f" {quantity(signal.visible() or 0.0)} would be seen within 4 looks of"
                f" {sizes[len(sizes) // 2]:,} examples in 80 %."
            )
        word = "dropped" if self.better == "higher" else "risen"
        return (
            f"{self.metric} has {word} by {quantity(abs(after - before))} since"
            f" {signal.since}: {quantity(after)} on {size:,} examples, before"
            f" {quantity(before)}."
        )

    def _of_drift(self, signal: Signal) -> str:
        if signal.kind == "vector":
            return f"The {signal.name} have drifted since {signal.since}."
        before, after, _ = signal.split()
        return (
            f"The {signal.name} has drifted since {signal.since}: {quantity(after)},"
            f" before {quantity(before)}."
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """What a reader has to know, in sentences."""
        told = [
            f"Where nothing changes, {100 * self.false_alarms:g} % of"
            f" {self.horizon} looks hold an alarm (*) at most, over all columns."
        ]
        for signal in self.signals:
            times = signal.dispersion
            if times is not None and signal.alarm is None:
                told.append(
                    f"The {signal.name} swings between looks {times:.1f} times as much"
                    " as that of independent examples: examples of one look are alike,"
                    " and alarms come too easily."
                )
        return tuple(told)

    def table(self) -> Table:
        """A look a row: examples, the metric, confidence, and how far features moved."""
        header = ("look", "examples", *(s.name for s in self.signals))
        first = ("reference", *_reference(self.signals))
        rows = [first, *(self._row(name) for name in self.looks)]
        marked = tuple(
            place
            for place, name in enumerate(self.looks, start=1)
            if any(p.is_alarm for s in self.signals for p in s.points if p.look == name)
        )
        return Table(
            f"{self.metric} of a deployed model, {counted(len(self.looks), 'look')}",
            header,
            tuple(rows),
            (self.verdict, *self.notes),
            marked,
        )

    def _row(self, name: str) -> tuple[str, ...]:
        points = [_point(signal, name) for signal in self.signals]
        sizes = [point.num_examples for point in points if point is not None]
        words = ["–" if point is None else _word(point) for point in points]
        return (name, f"{max(sizes, default=0):,}", *words)

    def rows(self) -> list[Row]:
        """A signal of a look a row, with its statistic and limit."""
        return [
            {
                "look": point.look,
                "signal": signal.name,
                "num_examples": point.num_examples,
                "value": point.value,
                "statistic": point.statistic,
                "limit": point.limit,
                "window": point.window,
                "alarm": int(point.is_alarm),
            }
            for signal in self.signals
            for point in signal.points
        ]


def _of(name: str, metric: str, columns: Columns) -> Array | None:
    """The column of a signal; None where the look has none."""
    if name == metric:
        return columns.values
    if name == "confidence":
        return columns.confidence
    return columns.rows.get(name)


def _point(signal: Signal, look: str) -> Point | None:
    return next((point for point in signal.points if point.look == look), None)


def _word(point: Point) -> str:
    if point.value is None:
        word = f"{number(point.statistic, 1)} of {number(point.limit, 1)}"
    else:
        word = quantity(point.value)
    return f"{word} *" if point.is_alarm else word


def _reference(signals: tuple[Signal, ...]) -> tuple[str, ...]:
    words = ["–" if s.value is None else quantity(s.value) for s in signals]
    return (f"{max(s.num_examples for s in signals):,}", *words)
