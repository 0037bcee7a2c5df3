"""How far a mean may wander over many looks before it is no chance any more.

At each look, the examples of the last 1, 2, 4, … looks, and of all looks, are held
against everything before them, the reference first. The largest of these statistics is
what a look says:

    reference │ look 1 │ look 2 │ look 3 │ look 4
    ───────────────── before ───────────│ window     of 1
    ──────────── before ───────│ ──── window ────    of 2
    ── before │ ──────────── window ─────────────    of all

How large it grows without any change is simulated with the same sizes, reference and
looks, and the limit of each look is where 1/horizon of the rate is spent, by what has
not crossed an earlier limit. So the rate holds over all looks together, whatever the
sizes, and the reference's own chance is in it.

Sources: Lan and DeMets, Discrete sequential boundaries for clinical trials, Biometrika
1983 (spending); Willsky and Jones, A generalized likelihood ratio approach to the
detection and estimation of jumps in linear systems, IEEE TAC 1976 (windows).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, NamedTuple

import numpy as np
from numpy.random import Generator

from pretrain_eval._scoring.formulas.statistics import Array

Kind = Literal["bits", "numbers", "vector"]

LONGEST = 32  # looks in the longest window, but that of all looks
_PATHS = 40_000
_VECTOR_PATHS = 20_000


class Reach(NamedTuple):
    """What a look says.

    Attributes:
        statistic: The largest over the windows, `(num_paths,)`.
        window: How many looks the window of it has.
    """

    statistic: Array
    window: Array


@dataclass(frozen=True)
class Unchanged:
    """A series whose examples stay what the reference's are.

    Sums are of counts, "bits"; of values in standard deviations of the reference around
    its mean, "numbers"; or of whitened rows, "vector".

    Attributes:
        kind: Of one example.
        sign: 1 where less is worse, -1 where more is, 0 where either is a change.
        num_examples: Of the reference.
        num_ones: In the reference; bits alone.
        skewness: Of the reference's values; numbers alone.
        kurtosis: Their excess kurtosis; numbers alone.
        width: Entries of a row.
    """

    kind: Kind
    sign: int
    num_examples: int
    num_ones: int = 0
    skewness: float = 0.0
    kurtosis: float = 0.0
    width: int = 1

    @property
    def num_paths(self) -> int:
        """How many series are simulated."""
        return _VECTOR_PATHS if self.kind == "vector" else _PATHS

    def reference(self, rng: Generator) -> tuple[Array, Array]:
        """Sums of references, `(num_paths, width)`, and the nature of each path.

        That of bits is the share of ones from which its looks are drawn, from Jeffreys'
        posterior of the reference that there is; else the spread that its reference
        shows.
        """
        if self.kind == "bits":
            ones, zeros = self.num_ones, self.num_examples - self.num_ones
            shares = rng.beta(ones + 0.5, zeros + 0.5, self.num_paths)
            return np.full((self.num_paths, 1), float(ones)), shares
        sums = self.draw(self.num_examples, rng, np.ones(self.num_paths))
        if self.kind == "vector":  # Hotelling's: a covariance of so many rows
            freedom = self.num_examples - self.width
            squares = rng.chisquare(freedom, len(sums)) / (self.num_examples - 1)
            return sums, np.sqrt(squares)
        means = sums[:, 0] / math.sqrt(self.num_examples)
        wide = max(self.kurtosis + 2, self.skewness**2 + 1e-9)
        tie = self.skewness / math.sqrt(wide)  # of the mean and the variance
        other = rng.standard_normal(len(sums))
        moved = tie * means + math.sqrt(1 - min(tie**2, 1.0)) * other
        squares = 1 + math.sqrt(wide / self.num_examples) * moved
        return sums, np.sqrt(np.maximum(squares, 0.05))

    def draw(self, size: int, rng: Generator, nature: Array) -> Array:
        """Sums of `size` examples, `(num_paths, width)`, of paths of some nature."""
        shape = (self.num_paths, self.width)
        if self.kind == "bits":
            return rng.binomial(size, nature[:, None], shape).astype(np.float64)
        skewness = self.skewness / math.sqrt(size)
        if self.kind == "vector" or abs(skewness) < 1e-3:
            # In single precision, which is twice as fast.
            made: Array = rng.standard_normal(shape, np.float32)  # type: ignore[assignment]
            return math.sqrt(size) * made
        # Pearson's third type: the first three moments of the sum are right.
        form = 4 / skewness**2
        standard = (rng.standard_gamma(form, shape) - form) / math.sqrt(form)
        return math.sqrt(size) * math.copysign(1, skewness) * standard

    def statistic(
        self,
        before: Array,
        num_before: int,
        window: Array,
        num_window: int,
        nature: Array,
    ) -> Array:
        """How far a window's mean lies from the mean before, in standard errors.

        Args:
            before: Sums, `(num_paths, width)`.
            num_before: Examples in them.
            window: Sums.
            num_window: Examples in them.
            nature: Of each path, as `reference` gives it; of data 1.
        """
        gap = before / num_before - window / num_window
        error = math.sqrt(1 / num_before + 1 / num_window)
        if self.kind == "vector":
            length = np.sqrt(np.einsum("pw,pw->p", gap, gap))
            return np.asarray(length / (error * nature))
        if self.kind == "bits":
            share = (before + window + 0.5) / (num_before + num_window + 1)
            nature = np.sqrt(share * (1 - share))[:, 0]
        z = gap[:, 0] / (error * nature)
        return np.asarray(self.sign * z if self.sign else np.abs(z))


def reaches(
    unchanged: Unchanged, sums: Iterator[Array], sizes: Sequence[int], nature: Array
) -> Iterator[Reach]:
    """What each look says of series.

    Args:
        unchanged: What their statistic is.
        sums: Of the reference and of each look, `(num_paths, width)`.
        sizes: Examples in the reference and in each look.
        nature: As `Unchanged.statistic` takes it.
    """
    totals = {0: next(sums)}
    numbers = {0: sizes[0]}
    for look in range(1, len(sizes)):
        totals[look] = totals[look - 1] + next(sums)
        numbers[look] = numbers[look - 1] + sizes[look]
        lengths = _windows(look)
        statistics = [
            unchanged.statistic(
                totals[look - length],
                numbers[look - length],
                totals[look] - totals[look - length],
                numbers[look] - numbers[look - length],
                nature,
            )
            for length in lengths
        ]
        largest = np.argmax(statistics, axis=0)
        yield Reach(np.max(statistics, axis=0), np.asarray(lengths)[largest])
        if look > LONGEST:
            del totals[look - LONGEST]


@lru_cache(maxsize=256)
def limits(
    unchanged: Unchanged, sizes: tuple[int, ...], rate: float, horizon: int
) -> tuple[float, ...]:
    """What each look's statistic must exceed to be an alarm.

    Args:
        unchanged: What is simulated.
        sizes: Examples of each look.
        rate: How probable an alarm is in `horizon` looks where nothing changes.
        horizon: Over so many looks.

    Returns:
        A limit a look.
    """
    sums, nature = unchanged.reference(np.random.default_rng(0))

    def drawn() -> Iterator[Array]:
        yield sums
        for number, size in enumerate(sizes, start=1):
            yield unchanged.draw(size, np.random.default_rng([0, number]), nature)

    found = []
    alive = np.ones(len(sums), dtype=bool)
    allowed = 0.0
    for reach in reaches(unchanged, drawn(), [unchanged.num_examples, *sizes], nature):
        allowed += alive.sum() * rate / horizon
        most = int(allowed) - int((~alive).sum())
        ordered = np.sort(reach.statistic[alive])[::-1]
        limit = float(ordered[most]) if most < len(ordered) else -math.inf
        alive &= reach.statistic <= limit
        found.append(limit)
    return tuple(found)


def _windows(look: int) -> list[int]:
    """Lengths of the windows that end at a look: powers of two, and all looks."""
    powers = [1 << power for power in range(look.bit_length())]
    return [length for length in powers if length < min(look, LONGEST + 1)] + [look]
