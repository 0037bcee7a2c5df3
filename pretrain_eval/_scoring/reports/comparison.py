"""Several models ranked, and what cannot be told apart, in words and tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from typing_extensions import override

from pretrain_eval._habits import refusal
from pretrain_eval._scoring.reports import papers, sentence
from pretrain_eval._scoring.reports.page import Section
from pretrain_eval._scoring.reports.ranking import Ranking
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
class Comparison(Tabular, Ranking):
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
        first = [self[model] for model in (self.best, *self.practically_equal)]
        parts = [
            sentence.recommendation(self.verdict, first, self.cheapest),
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
            f"{100 * self.confidence:g} % interval",
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
