"""How much better one model is than another, and what would tell them apart."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from pretrain_eval._runs import Record, is_name
from pretrain_eval._scoring.formulas.power import more_needed
from pretrain_eval._scoring.reports.checked import (
    by_name,
    check,
    freeze,
    is_count,
    is_number,
    is_positive,
    is_share,
    is_size,
    or_none,
    restore,
)
from pretrain_eval._scoring.reports.report import Interval


@dataclass(frozen=True)
class Difference(Record):
    """How much better one model is than another on the cells that both have.

    Attributes:
        first: The better-ranked model.
        second: The other.
        difference: Score of the first minus that of the second.
        interval: Of the difference, for what `over` names; None where it is unknown.
        seeds: For new seeds alone; None where a model has one seed.
        examples: For new examples alone; None where they are unknown.
        new_tasks: Of the difference, for new tasks (paired t over task means); None
            with fewer than two common tasks.
        p_better: Probability that the first is truly better, by more than the rope;
            None as `interval`.
        p_equal: Probability that they differ by no more than the rope; 0 without one.
        p_worse: Probability that the first is worse by more than the rope.
        p_value: Two-sided, of no difference; at least 1 / number of draws.
        errors: Standard error of the difference by what would be drawn anew; "luck" is
            the part of that of seeds that more examples would take away.
        sizes: How many of it there are: seeds a cell, examples in all, tasks.
        num_cells: Cells that both have.

    >>> Difference(first="a", second="b", difference=0.25).interval is None
    True
    """

    _: KW_ONLY
    first: str
    second: str
    difference: float
    interval: Interval | None = None
    seeds: Interval | None = None
    examples: Interval | None = None
    new_tasks: Interval | None = None
    p_better: float | None = None
    p_equal: float | None = None
    p_worse: float | None = None
    p_value: float | None = None
    errors: Mapping[str, float] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    num_cells: int = 0

    def __post_init__(self) -> None:
        check(self, "a name", is_name, "first", "second")
        check(self, "a number", is_number, "difference")
        shares = ("p_better", "p_equal", "p_worse", "p_value")
        check(self, "a probability or None", or_none(is_share), *shares)
        check(self, "numbers of at least 0 by name", by_name(is_size), "errors")
        check(self, "positive whole numbers by name", by_name(is_positive), "sizes")
        of_what = sorted(set(self.errors) - {"luck"})
        what = f"the numbers of {of_what}, whose errors are known"
        check(self, what, set(of_what).issubset, "sizes")
        check(self, "a whole number of at least 0", is_count, "num_cells")
        intervals = ("interval", "seeds", "examples", "new_tasks")
        restore(self, Interval, *intervals, optional=True)
        freeze(self, "errors", "sizes")

    def needed(
        self,
        over: Sequence[str],
        *,
        confidence: float = 0.95,
        power: float = 0.8,
        num_models: int = 2,
    ) -> dict[str, int | None]:
        """How many more of each source would separate the two, if they differ so.

        More seeds leave the error over examples as it is, and the other way round; more
        tasks bring seeds and examples of their own.

        Args:
            over: What is drawn anew, as in `Comparison`.
            confidence: That of the comparison.
            power: The probability with which they shall be separated.
            num_models: Of the comparison, all of which are told from the best at once.

        Returns:
            By "seeds" (more in each cell), "examples" (more in all) and "tasks", where
            these are known; None where no number of them is enough.
        """
        test = _test(confidence, power, num_models)
        kept = [name for name in over if name in self.errors and name != "tasks"]
        more = {name: self._more(name, kept, test) for name in kept}
        if "tasks" in self.errors:
            more["tasks"] = self._more_tasks(kept, test)
        return more

    def growth(
        self,
        over: Sequence[str],
        *,
        confidence: float = 0.95,
        power: float = 0.8,
        num_models: int = 2,
    ) -> float | None:
        """How many times as many of all that `over` names, at once, would do.

        Args:
            over: As in `needed`, like the next ones.
            confidence: That of the comparison.
            power: The probability with which they shall be separated.
            num_models: Of the comparison.

        Returns:
            The factor, at least 1; None where none is enough or nothing is known.
        """
        kept = [name for name in over if name in self.errors]
        if not kept:
            return None
        more = more_needed(
            self.difference,
            math.hypot(*(self.errors[name] for name in kept)),
            _PARTS,
            freedom=min(map(self._freedom, kept)),
            **_test(confidence, power, num_models),
        )
        return None if more is None else 1 + more / _PARTS

    def _more(
        self, name: str, kept: Sequence[str], test: Mapping[str, float]
    ) -> int | None:
        others = [other for other in kept if other != name]
        error, rest = self.errors[name], [self.errors[other] for other in others]
        if name == "examples" and rest:
            # Seeds differ less where each is measured on more examples.
            luck = min(self.errors.get("luck", 0.0), rest[0])
            error, rest = math.hypot(error, luck), [math.sqrt(rest[0] ** 2 - luck**2)]
        return more_needed(
            self.difference,
            error,
            self.sizes[name],
            rest=math.hypot(*rest),
            freedom=self._freedom(name),
            rest_freedom=min(map(self._freedom, others), default=math.inf),
            **test,
        )

    def _more_tasks(self, kept: Sequence[str], test: Mapping[str, float]) -> int | None:
        # They must agree on who is better, and average out what else is drawn anew.
        size = self.sizes["tasks"]
        others = math.hypot(*(self.errors[name] for name in kept))
        freedom = min(map(self._freedom, kept), default=math.inf)
        numbers = [
            more_needed(
                self.difference, self.errors["tasks"], size, freedom=size - 1, **test
            ),
            more_needed(self.difference, others, size, freedom=freedom, **test),
        ]
        known = [number for number in numbers if number is not None]
        return max(known) if len(known) == len(numbers) else None

    def _freedom(self, source: str) -> float:
        if source == "examples":
            return math.inf
        means = self.num_cells if source == "seeds" else 1
        return max(means * (self.sizes[source] - 1), 1)


# Growth is found in steps of one in a hundred.
_PARTS = 100


def _test(confidence: float, power: float, num_models: int) -> dict[str, float]:
    # Bonferroni: all models are told from the best at once.
    doubt = (1 - confidence) / max(num_models - 1, 1)
    return {"confidence": 1 - doubt, "power": power}
