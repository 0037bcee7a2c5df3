"""Who stands where among several models, how surely, and what would settle it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import Literal

import numpy as np

from pretrain_eval._runs import Cost, FrozenDict, Record, is_name
from pretrain_eval._scoring.formulas.new_task import limit_on_a_new_task
from pretrain_eval._scoring.reports import settling
from pretrain_eval._scoring.reports.checked import (
    by_name,
    check,
    each_is,
    freeze,
    is_count,
    is_number,
    is_share,
    is_size,
    is_text,
    or_none,
    restore,
    restore_each,
)
from pretrain_eval._scoring.reports.difference import Difference
from pretrain_eval._scoring.reports.pareto import cheapest, front
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import listing


@dataclass(frozen=True)
class Ranking(Record):
    """The models best first; its fields are explained in `Comparison`."""

    _: KW_ONLY
    protocol: str
    reports: tuple[Report, ...]
    p_best: Mapping[str, float] = field(default_factory=dict)
    p_best_range: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    not_separable: tuple[str, ...] = ()
    differences: tuple[Difference, ...] = ()
    regret: float | None = None
    regret_limit: float | None = None
    confidence: float = 0.95
    rope: float = 0.0
    over: tuple[str, ...] = ()
    acceptability: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    cost: Cost = field(default_factory=Cost)
    tasks: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    cells: tuple[tuple[str, str, str], ...] = ()
    seeds: Mapping[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    spreads: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check(self, "a name", is_name, "protocol")
        restore_each(self, Report, "reports")
        restore_each(self, Difference, "differences")
        restore(self, Cost, "cost")
        check(self, "one report a model, of one at least", _of_models, "reports")
        self._check_chances({report.model for report in self.reports})
        self._check_grid()
        freeze(self, "p_best", "p_best_range", "acceptability", "seeds", "spreads")
        tasks = {model: FrozenDict(own) for model, own in self.tasks.items()}
        object.__setattr__(self, "tasks", FrozenDict(tasks))

    def _check_chances(self, models: set[str]) -> None:
        """Refuse what is not said of the models that are ranked, or no probability."""

        def own(name: object) -> bool:
            return is_name(name) and name in models

        what = f"by model, of {sorted(models)}"
        check(self, f"probabilities {what}", by_name(is_share, own), "p_best")
        shares = by_name(each_is(is_share), own)
        check(self, f"tuples of shares {what}", shares, "acceptability")
        pairs = by_name(each_is(is_share, 2), own)
        check(self, f"two probabilities {what}", pairs, "p_best_range")
        check(self, f"some of {sorted(models)}", each_is(own), "not_separable")
        for gap in self.differences:
            if not {gap.first, gap.second} <= models:
                raise ValueError(
                    f"Comparison.differences must be of two of {sorted(models)}, got"
                    f" {gap.first!r} and {gap.second!r}"
                )
        check(self, "a number or None", or_none(is_number), "regret", "regret_limit")
        check(self, "a number between 0 and 1", is_share, "confidence")
        check(self, "a number of at least 0", is_size, "rope")
        check(self, "a tuple of names", each_is(is_name), "over")
        check(self, "a tuple of sentences", each_is(is_text), "notes")

    def _check_grid(self) -> None:
        """Refuse what does not fit the cells."""
        num_cells = len(self.cells) if isinstance(self.cells, tuple) else 0
        check(self, "triples of names", each_is(each_is(is_name, 3)), "cells")
        seeds = by_name(each_is(each_is(is_count), num_cells))
        check(self, f"the seeds of {num_cells} cells by model", seeds, "seeds")
        spreads = by_name(each_is(is_number, num_cells))
        check(self, f"a number for {num_cells} cells by model", spreads, "spreads")
        tasks = by_name(by_name(is_number))
        check(self, "numbers by task, by model", tasks, "tasks")

    @property
    def best(self) -> str | None:
        """The recommended model; None where the protocol makes no score."""
        first = self.reports[0]
        return None if first.score is None else first.model

    @property
    def verdict(self) -> Literal["use", "equal", "inconclusive"]:
        """Whether the runs decide.

        "use": the best can be told from every other model, or stands alone. "equal":
        those that cannot be told from it lie within the rope of it, each with at least
        `confidence`, so that the cheapest is to be taken. Else "inconclusive".
        """
        if self.best is None:
            return "inconclusive"
        if len(self.reports) == 1:
            return "use"
        if self.regret_limit is None:
            return "inconclusive"
        if not self.not_separable:
            return "use"
        near = set(self.not_separable) <= set(self.practically_equal)
        # Of cells that one model lacks nobody knows how near it lies.
        return "equal" if near and not self.p_best_range else "inconclusive"

    @property
    def exit_code(self) -> int:
        """The verdict for scripts, 0 use, 1 practically equal, 2 inconclusive."""
        return ("use", "equal", "inconclusive").index(self.verdict)

    @property
    def practically_equal(self) -> tuple[str, ...]:
        """Models within the rope of the best with at least `confidence`, best first."""
        gaps = {
            each.model: self.difference(self.best, each.model)
            for each in self.reports[1:]
        }
        return tuple(
            model
            for model, gap in gaps.items()
            if self.rope and gap is not None and (gap.p_equal or 0) >= self.confidence
        )

    @property
    def settle(self) -> str:
        """What would settle what is open, in one sentence; what is settled, so."""
        if self.verdict == "use":
            return f"Nothing is open: use {self.best}."
        if self.verdict == "equal":
            return f"They are practically equal: take the cheapest, {self.cheapest}."
        if self.best is None:
            return "It is open: the protocol makes no score of these runs."
        if self.regret_limit is None:
            return (
                "It is open: a second seed of each cell would say how sure the pick is."
            )
        missing = [each for each in self.reports if each.num_missing]
        if self.p_best_range and missing:
            lost = listing([f"{each.num_missing} of {each.model}" for each in missing])
            return f"Complete what is missing first, as next_runs() lists it: {lost}."
        rival = next(m for m in self.not_separable if m not in self.practically_equal)
        gap, needed = self.difference(self.best, rival), self.needed(rival)
        growth = None if gap is None else self._growth(gap)
        return settling.what_settles(gap, needed, growth, self.reports)

    @property
    def new_task_limit(self) -> float | None:
        """How much worse than the best it may be on one more task of the same kind.

        A prediction limit that is not exceeded with `confidence`, over the tasks that
        all models have; None with fewer than three of them, or one model.
        """
        if self.best is None or self.best not in self.tasks:
            return None
        common = set.intersection(*(set(own) for own in self.tasks.values()))
        rows = {
            model: np.array([own[task] for task in sorted(common)])
            for model, own in self.tasks.items()
        }
        pick = rows.pop(self.best)
        others = np.array(list(rows.values())).reshape(len(rows), len(common))
        return limit_on_a_new_task(pick, others, self.confidence)

    @property
    def cheapest(self) -> str | None:
        """The smallest of the best and those practically equal, in parameters, MACs."""
        equal = (self.best, *self.practically_equal)
        return cheapest([each for each in self.reports if each.model in equal])

    @property
    def pareto(self) -> Mapping[str, tuple[str, ...]]:
        """The models that no other beats on score and on a cost, by cost.

        The costs are "parameters", "macs", "peak_memory" and "seconds", where they are
        known of every model. Models of equal parameters and MACs count as equally
        fast, and seconds only where all have as many runs: what else tells their times
        apart is the machine's load.
        """
        return front(self.reports)

    def needed(self, model: str, *, power: float = 0.8) -> dict[str, int | None]:
        """How many more of each source would tell a model from the best.

        Args:
            model: One of those that are ranked, not the best.
            power: With what probability, if they differ as much as was measured.

        Returns:
            By "seeds" (more in each cell of both), "examples" (more in all) and
            "tasks", as far as they are known and `over` names them; None where no
            number of them is enough. Empty where no cell is common.
        """
        gap = self.difference(self.best, model)
        if gap is None:
            return {}
        return gap.needed(
            self.over,
            confidence=self.confidence,
            power=power,
            num_models=len(self.reports),
        )

    def next_runs(self) -> list[tuple[str, str, str, str, int]]:
        """The (model, task, dataset, strategy, seed) to run next, most useful first.

        First those that are missing. Then, for what cannot be told from the best, one
        new seed of both in each cell, the cell first that adds most to the variance of
        their difference; none where seeds are not what stands between them.
        """
        helped = {
            model: spreads
            for model, spreads in self.spreads.items()
            if model not in self.practically_equal and self._seeds_help(model)
        }
        if self.regret_limit is None and not self.over and self.best is not None:
            # One seed a cell: a second one of every model says most.
            others = [each.model for each in self.reports[1:]]
            helped = dict.fromkeys(others, (1.0,) * len(self.cells))
        return settling.next_runs(self.cells, self.seeds, helped, self.best)

    def _growth(self, gap: Difference) -> float | None:
        return gap.growth(
            self.over, confidence=self.confidence, num_models=len(self.reports)
        )

    def _seeds_help(self, model: str) -> bool:
        # Alone, or together with examples where neither is enough.
        gap, needed = self.difference(self.best, model), self.needed(model)
        if gap is None or needed.get("seeds") is not None:
            return True
        both = gap.errors.get("seeds", 0.0) > 0 and needed.get("examples") is None
        return both and "seeds" in self.over and self._growth(gap) is not None

    def difference(self, first: str | None, second: str | None) -> Difference | None:
        """The pair, in the order of the ranking; None where no cell is common."""
        pairs = ((first, second), (second, first))
        return next((d for d in self.differences if (d.first, d.second) in pairs), None)

    def __getitem__(self, model: str) -> Report:
        """The report of a model."""
        for each in self.reports:
            if each.model == model:
                return each
        raise KeyError(
            f"no {model!r} here; the models are {[each.model for each in self.reports]},"
            " and reports[0] is the best one's"
        )

    def __iter__(self) -> Iterator[Report]:
        """The reports, best first."""
        return iter(self.reports)

    def __len__(self) -> int:
        return len(self.reports)

    def __contains__(self, model: object) -> bool:
        """Whether a model, or its report, is ranked here."""
        return any(model in (each.model, each) for each in self.reports)


def _of_models(reports: tuple[Report, ...]) -> bool:
    """Whether there is a report, and no model has two."""
    return 0 < len(reports) == len({report.model for report in reports})
