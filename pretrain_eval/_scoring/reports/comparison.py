"""Several models ranked, and what cannot be told apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import KW_ONLY, dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from typing_extensions import override

from pretrain_eval._habits import refusal
from pretrain_eval._runs import Cost, FrozenDict, Record, is_name
from pretrain_eval._scoring.formulas.new_task import limit_on_a_new_task
from pretrain_eval._scoring.reports import papers, sentence, settling
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
from pretrain_eval._scoring.reports.page import Section
from pretrain_eval._scoring.reports.pareto import cheapest, front
from pretrain_eval._scoring.reports.report import (
    Report,
    in_table,
    report_row,
)
from pretrain_eval._scoring.reports.table import (
    Row,
    Sheet,
    Table,
    Tabular,
    duration,
    listing,
    number,
    quantity,
    signed,
)


@dataclass(frozen=True)
class Comparison(Tabular, Record):
    """The models under one protocol, best first, and what cannot be told apart.

    Attributes:
        protocol: Name of the protocol.
        reports: One a model, best first; one with missing runs stands where its lower
            bound puts it.
        p_best: Probability that each model is the best; empty where unknown.
        p_best_range: Instead, where runs are missing: that probability with what is
            missing at its worst for the model, and at its best.
        not_separable: Models that these runs cannot tell from the best, best first.
            Together with it they hold the truly best with at least `confidence`.
        differences: Every pair, the better-ranked first.
        regret: Expected distance of the pick from the truly best; None where unknown.
        regret_limit: The distance that is not exceeded with `confidence`; where `over`
            names tasks, on one new task, as `new_task_limit`.
        confidence: For example 0.95.
        rope: Differences up to this do not matter.
        over: What the probabilities and limits would see drawn anew: "seeds",
            "examples", "tasks"; empty where nothing can be said.
        acceptability: Share of random weights under which each model takes each rank,
            first rank first, where the protocol has weights.
        cost: The sums over all runs of the decision, failed ones included.
        tasks: Score of each task, by model.
        cells: (task, dataset, strategy) that some model was run on, crossed.
        seeds: Seeds with a result in each of the cells, by model.
        spreads: What new seeds of each cell add to the variance of the difference from
            the best, by model that cannot be told from it.
        notes: What a reader has to know, in sentences.

    >>> reports = [
    ...     Report(protocol="p", model=m, score=s)
    ...     for m, s in {"a": 0.75, "b": 0.5}.items()
    ... ]
    >>> print(Comparison(protocol="p", reports=tuple(reports)).decision)
    Use a for now, inconclusive; how sure that is cannot be said with one seed a cell.
    """

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
        return cheapest(self._equal_reports)

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

    def winners(self) -> Sheet:
        """The best model of each task, with its score there and its lead."""
        return papers.winners(self.protocol, self.tasks)

    def pairwise(self) -> Sheet:
        """All pairs: difference, interval, probabilities, p and Holm-adjusted p."""
        return papers.pairwise(self.protocol, self.differences, self.over)

    def ranks(self) -> Sheet:
        """Mean ranks over tasks with Friedman's test and Nemenyi's critical difference.

        Raises:
            ValueError: There are fewer than two models or two tasks that all have.
        """
        return papers.ranks(self.protocol, self.tasks, self.confidence)

    @property
    def decision(self) -> str:
        """The recommendation in one sentence, with its uncertainty and its cost."""
        if self.best is None:
            return f"No model is recommended: {self.protocol} makes no score here."
        equal, percent = self.verdict == "equal", f"{100 * self.confidence:g} %"
        known = (self.p_best.get(self.best), self.p_best_range.get(self.best))
        about = self.best if equal else ""
        parts = [
            sentence.recommendation(self.verdict, self._equal_reports, self.cheapest),
            *sentence.probability(*known, self.over, about),
        ]
        if equal:
            parts.append(
                f"not separable from {self.best}, within {quantity(self.rope)} of it at"
                f" {percent}: {listing(self.not_separable)}"
            )
        elif self.regret_limit is not None:
            parts.append(sentence.at_most(self.regret_limit, percent))
        elif len(self.reports) > 1:
            parts.append("how sure that is cannot be said with one seed a cell")
        if self.cost.total_seconds is not None:
            spent = duration(self.cost.total_seconds)
            parts.append(f"the whole decision cost {spent}")
        if self.not_separable and not equal:
            rivals = [each for each in self.reports if each.model in self.not_separable]
            parts.append(sentence.alternatives(self.reports[0], rivals))
        return "; ".join(parts) + "."

    @property
    def _equal_reports(self) -> list[Report]:
        """The best, then what is practically equal to it."""
        equal = (self.best, *self.practically_equal)
        return [each for each in self.reports if each.model in equal]

    def difference(self, first: str | None, second: str | None) -> Difference | None:
        """The pair, in the order of the ranking; None where no cell is common."""
        pairs = ((first, second), (second, first))
        return next((d for d in self.differences if (d.first, d.second) in pairs), None)

    @property
    @override
    def lead(self) -> str:
        return self.decision

    @override
    def sections(self) -> list[Section]:
        own = [Section("Ranking", self.table().to_html())]
        more = [("Best by task", self.winners), ("All pairs", self.pairwise)]
        if len(self.reports) > 1 and self._num_tasks() > 1:
            more.insert(1, ("Mean ranks over tasks", self.ranks))
        for heading, make in more:
            try:
                sheet = make()
            except ValueError:  # no task is common to all
                continue
            if sheet.records:
                folded = len(sheet.records) > 20
                own.append(Section(heading, sheet.to_html(), folded))
        for each in self.reports:
            body = each.table().to_html()
            own.append(Section(f"What makes the score of {each.model}", body, True))
        return own

    if not TYPE_CHECKING:
        __getattr__ = refusal("comparison")

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

    def table(self) -> Table:
        """The ranking, one model a row, with the decision below."""
        notes = (self.decision, *self.notes)
        if self.best is None:
            return self._without_scores(notes)
        counts = {
            name: [getattr(report, f"num_{name}") for report in self.reports]
            for name in ("diverged", "missing")
        }
        shown = [name for name, column in counts.items() if any(column)]
        # New tasks are another question, of which three give an answer.
        tasks = ("new tasks",) if self._num_tasks() >= 3 else ()
        header = (
            "model",
            "score",
            self._interval_name(),
            *tasks,
            "P(best)",
            "to the best",
        )
        rows = [
            (*self._row(report, bool(tasks)), *(str(counts[name][i]) for name in shown))
            for i, report in enumerate(self.reports)
        ]
        if self.verdict == "inconclusive" and len(self.reports) > 1:
            notes = (notes[0], self.settle, *notes[1:])
        if self.new_task_limit is not None and "tasks" not in self.over:
            notes = (*notes, self._on_a_new_task(self.new_task_limit))
        if self.practically_equal:
            notes = (*notes, self._equality())
        if self.not_separable:
            notes = (*notes, "= cannot be told from the best by these runs.")
        title = f"{self.protocol}, best first"
        best = (0,) if self.verdict == "use" and len(self.reports) > 1 else ()
        return Table(title, (*header, *shown), tuple(rows), notes, best)

    def _on_a_new_task(self, limit: float) -> str:
        percent = f"{100 * self.confidence:g} %"
        return (
            f"On one more task of this kind {self.best} is at most {quantity(limit)} worse"
            f" than the best of these models there, at {percent}."
        )

    def _without_scores(self, notes: tuple[str, ...]) -> Table:
        known = [{**each.parts, **each.details} for each in self.reports]
        names = [name for name in known[0] if all(name in each for each in known)]
        header = ("", *(report.model for report in self.reports))
        rows = [(name, *(quantity(each[name]) for each in known)) for name in names]
        return Table(f"{self.protocol}, no score", header, tuple(rows), notes)

    def _interval_name(self) -> str:
        return f"{100 * self.confidence:g} % interval"

    def _num_tasks(self) -> int:
        over = {each.interval.over for each in self.reports if each.interval}
        if over == {"tasks"}:
            return 0  # the interval is of new tasks already
        return max((len(own) for own in self.tasks.values()), default=0)

    def _equality(self) -> str:
        better = [m for m in self.practically_equal if m not in self.not_separable]
        note = f"≈ practically equal to the best: within {quantity(self.rope)} of it."
        if not better:
            return note
        verb = "is" if len(better) == 1 else "are"
        return (
            f"{note} {listing(better)} {verb} statistically worse, practically equal."
        )

    def _row(self, report: Report, tasks: bool) -> tuple[str, ...]:
        gap = self.difference(self.best, report.model)
        words = ""
        if gap is not None and report.model != self.best:
            words = signed(-gap.difference)
            words += " =" if report.model in self.not_separable else ""
            words += " ≈" if report.model in self.practically_equal else ""
        return (
            report.model,
            number(report.score),
            in_table(report.interval),
            *([in_table(report.new_tasks)] if tasks else []),
            number(self.p_best.get(report.model), 2),
            words,
        )

    def rows(self) -> list[Row]:
        """The ranking as rows of plain values."""
        return [
            {
                "rank": rank,
                **report_row(each),
                "p_best": self.p_best.get(each.model),
                "separable": None
                if not self.p_best
                else each.model not in (self.best, *self.not_separable),
            }
            for rank, each in enumerate(self.reports, 1)
        ]


def _of_models(reports: tuple[Report, ...]) -> bool:
    """Whether there is a report, and no model has two."""
    return 0 < len(reports) == len({report.model for report in reports})
