"""From runs to a score and a ranking: two functions say what, the rest is given."""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from pretrain_eval._runs import Run
from pretrain_eval._scoring.formulas.intervals import (
    percentiles,
    resampled_scores,
    t_quantile,
)
from pretrain_eval._scoring.formulas.ranking import standing
from pretrain_eval._scoring.formulas.statistics import Array, Cell, Index
from pretrain_eval._scoring.grid import Grid, cell_of, crossed
from pretrain_eval._scoring.model_runs import USABLE, ModelRuns, RunsByModel, by_model
from pretrain_eval._scoring.reports.comparison import Comparison, Difference
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.table import listing

NUM_DRAWS = 2000


class Measured(NamedTuple):
    """A report with what a comparison needs beyond it.

    Attributes:
        report: The report.
        draws: Draws of the score over new seeds; None with one seed a cell.
        tasks: What each task adds to the score, if the score is their mean.
        grid: The rows that were read, where the evaluator lays them out so.
    """

    report: Report
    draws: Array | None = None
    tasks: Mapping[str, float] = {}
    grid: Grid | None = None


class Pieces(NamedTuple):
    """The runs of one model and those of its twin from random weights."""

    own: ModelRuns
    twin: ModelRuns | None = None


class Evaluator(ABC):
    """Turns finished runs into one score a model; subclasses give two functions.

    Attributes:
        protocol: Name of the protocol.
        confidence: Of every interval.
        seed: Of every random draw; the same seed gives the same bytes.
        scratch: Name of the model that starts from random weights, the twin against
            which lifts are measured; or a mapping from each model to its twin.

    >>> class WorstCaseEvaluator(Evaluator):
    ...     protocol = "worst case"
    ...
    ...     def parts(self, runs):
    ...         return {
    ...             f"{run.task}/{run.dataset}": run.scores["accuracy"] for run in runs
    ...         }
    ...
    ...     def combine(self, parts):
    ...         return min(parts.values())
    >>> runs = [
    ...     Run(
    ...         model="a",
    ...         task="t",
    ...         dataset=name,
    ...         strategy="full",
    ...         seed=0,
    ...         scores={"accuracy": accuracy},
    ...     )
    ...     for name, accuracy in {"clean": 0.75, "noisy": 0.5}.items()
    ... ]
    >>> WorstCaseEvaluator().score(runs).score
    0.5
    """

    protocol: ClassVar[str]
    confidence: float = 0.95
    seed: int = 0
    scratch: str | Mapping[str, str] | None = None

    @abstractmethod
    def parts(self, runs: Sequence[Run]) -> Mapping[str, float]:
        """The named quantities of one model.

        Args:
            runs: The model's runs that have a result, sorted; a diverged run holds
                the chance levels as its scores.
        """

    @abstractmethod
    def combine(self, parts: Mapping[str, float]) -> float | None:
        """The score in [0, 1], larger is better, from the parts alone."""

    def score(self, runs: Iterable[Run]) -> Report:
        """The report of one model.

        Args:
            runs: The runs of one model, and those of its scratch twin if one is named.

        Raises:
            ValueError: There is no run, a run stands twice, the runs are of several
                models, or no run holds what the protocol reads.
        """
        return self._measure(self._of_one_model(by_model(runs), "score")).report

    def compare(self, runs: Iterable[Run]) -> Comparison:
        """The models ranked, with what these runs cannot tell apart.

        Args:
            runs: The runs of two or more models. A scratch twin is ranked as well; a
                model of which no run finished is not, and a note says so.

        Raises:
            ValueError: As `score`, for any of the models.
        """
        return self._compare(by_model(runs))

    def _compare(self, runs: RunsByModel) -> Comparison:
        pieces = self._pieces(runs)
        failed = [model for model, each in pieces.items() if not each.own.usable]
        if len(failed) < len(pieces):
            pieces = {m: each for m, each in pieces.items() if m not in failed}
        holes = _holes({model: each.own.cells for model, each in pieces.items()})
        measured = {
            model: self._measure(each, holes[model]) for model, each in pieces.items()
        }
        ranked = sorted(measured, key=lambda model: _rank(measured[model].report))
        field = [measured[model] for model in ranked]
        reports = tuple(each.report for each in field)
        return Comparison(
            protocol=self.protocol,
            reports=reports,
            differences=self._differences(ranked, pieces, measured),
            confidence=self.confidence,
            acceptability=self._acceptability(reports),
            cost=runs.cost,
            notes=_notes(field, runs, failed) + self._remarks(field),
            **self._standing(field),  # type: ignore[arg-type]
        )

    def _measure(self, pieces: Pieces, holes: Sequence[Cell] = ()) -> Measured:
        # The way for any parts and combine: runs are drawn anew within their cells.
        runs, model = pieces.own.runs, pieces.own.model
        usable = [
            dataclasses.replace(run, scores=run.chance)
            if run.status == "diverged"
            else run
            for run in runs
            if run.status in USABLE
        ]
        if not usable:
            raise ValueError(f"no run of {model} has a result")
        parts = dict(self.parts(usable))
        score = self.combine(parts)
        codes = {cell: i for i, cell in enumerate(sorted(set(map(cell_of, usable))))}
        cell = np.array([codes[cell_of(run)] for run in usable])
        size = float(np.bincount(cell).mean())
        draws = None
        if score is not None and size > 1:
            rough = resampled_scores(
                cell,
                lambda drawn: self.combine(self.parts([usable[i] for i in drawn])) or 0,
                NUM_DRAWS // 4,
                self._rng(model),
            )
            # Runs spread less around their own mean than around the truth, and how much
            # they spread is itself estimated.
            factor = math.sqrt(size / (size - 1)) * self._stretch(cell)
            draws = score + factor * (rough - score)
        missing = len(runs) - len(usable) + len(holes)
        report = Report(
            protocol=self.protocol,
            model=model,
            score=score,
            parts=parts,
            # Nothing is known of these parts but that a score lies in [0, 1].
            bounds=(0.0, 1.0) if missing else None,
            interval=None
            if draws is None
            else self._drawn(*percentiles(draws, self.confidence)),
            num_runs=len(runs),
            num_scored=len(usable),
            num_diverged=pieces.own.num_diverged,
            num_missing=missing,
            cost=pieces.own.cost,
            notes=ONE_SEED if size == 1 else (),
        )
        return Measured(report, draws)

    def _acceptability(
        self, reports: Sequence[Report]
    ) -> Mapping[str, tuple[float, ...]]:
        """Share of random weights under which each model takes each rank."""
        return {}

    def _remarks(self, measured: Sequence[Measured]) -> tuple[str, ...]:
        """Sentences of the protocol about a comparison."""
        return ()

    def _stretch(self, cell: Index) -> float:
        tail = (1 + self.confidence) / 2
        freedom = cell.size - np.unique(cell).size
        return t_quantile(tail, freedom) / t_quantile(tail, math.inf)

    def _drawn(self, low: float, high: float) -> Interval:
        return self._interval(low, high, "seeds", "stratified bootstrap")

    def _interval(self, low: float, high: float, over: str, method: str) -> Interval:
        return Interval(
            low=float(low),
            high=float(high),
            confidence=self.confidence,
            over=over,
            method=method,
        )

    def _rng(self, model: str) -> np.random.Generator:
        # By model, so that no score depends on which others are compared.
        return np.random.default_rng([self.seed, zlib.crc32(model.encode())])

    def _twin_of(self, model: str) -> str | None:
        if isinstance(self.scratch, Mapping):
            return self.scratch.get(model)
        return None if self.scratch == model else self.scratch

    def _pieces(self, runs: RunsByModel) -> dict[str, Pieces]:
        twins = {self._twin_of(model) for model in runs.of} - {None}
        if twins - set(runs.of):
            raise ValueError(
                f"scratch names {sorted(map(str, twins - set(runs.of)))}, of which there"
                f" is no run; the runs are of {list(runs.of)}"
            )
        return {
            model: Pieces(own, runs.of.get(self._twin_of(model) or ""))
            for model, own in runs.of.items()
        }

    def _of_one_model(self, runs: RunsByModel, method: str) -> Pieces:
        pieces = self._pieces(runs)
        twins = {self._twin_of(model) for model in pieces}
        models = [model for model in pieces if model not in twins] or list(pieces)
        if len(models) > 1:
            raise ValueError(
                f"{type(self).__name__}.{method} expects the runs of one model, got"
                f" {models}; use compare() for several"
            )
        return pieces[models[0]]

    def _standing(self, field: Sequence[Measured]) -> dict[str, object]:
        draws = [each.draws for each in field if each.draws is not None]
        reports = [each.report for each in field]
        if len(field) < 2 or len(draws) < len(field):
            return {}
        floors = np.array([report.floor for report in reports])
        shifts = floors - np.array([report.score for report in reports])
        found = standing(
            floors,
            np.stack(draws) + shifts[:, None],
            self.confidence,
            ceilings=np.array([report.ceiling for report in reports]),
        )
        names = [report.model for report in reports]
        pairs = zip(names[1:], found.separable[1:], strict=True)
        return {
            "p_best": dict(zip(names, found.p_best.tolist(), strict=True)),
            "regret": found.regret,
            "regret_limit": found.regret_limit,
            "not_separable": tuple(name for name, told in pairs if not told),
        }

    def _differences(
        self,
        ranked: Sequence[str],
        pieces: Mapping[str, Pieces],
        measured: Mapping[str, Measured],
    ) -> tuple[Difference, ...]:
        known: dict[tuple[str, frozenset[Cell]], Measured] = {}

        def on(model: str, common: frozenset[Cell]) -> Measured:
            own, twin = pieces[model]
            if common == own.usable:
                return measured[model]
            if (model, common) not in known:
                known[model, common] = self._measure(Pieces(own.within(common), twin))
            return known[model, common]

        found: list[Difference] = []
        for place, first in enumerate(ranked):
            pairs = []
            for second in ranked[place + 1 :]:
                common = pieces[first].own.usable & pieces[second].own.usable
                if common:
                    pair = on(first, common), on(second, common)
                    pairs.append((*pair, len(common)))
            found += self._paired(pairs)
        return tuple(found)

    def _paired(
        self, pairs: Sequence[tuple[Measured, Measured, int]]
    ) -> Iterator[Difference]:
        gaps = [_gaps(first.draws, second.draws) for first, second, _ in pairs]
        known = [each for each in gaps if each is not None]
        # All at once: for one pair the call takes longer than the sorting.
        ends = iter(percentiles(np.stack(known), self.confidence).T if known else ())
        for (first, second, num_cells), gap in zip(pairs, gaps, strict=True):
            interval = None if gap is None else self._drawn(*next(ends))
            scores = first.report.score, second.report.score
            if scores[0] is None or scores[1] is None:
                continue
            common = sorted(set(first.tasks) & set(second.tasks))
            yield Difference(
                first=first.report.model,
                second=second.report.model,
                difference=scores[0] - scores[1],
                interval=interval,
                new_tasks=self._over_values(
                    np.array([first.tasks[t] - second.tasks[t] for t in common])
                ),
                p_better=None if gap is None else _share_above(gap),
                num_cells=num_cells,
            )

    def _over_values(self, values: Array) -> Interval | None:
        # Mean ± t · s / √n over tasks, as drawn from many like them.
        if values.size < 2:
            return None
        error = float(values.std(ddof=1)) / math.sqrt(values.size)
        half = t_quantile((1 + self.confidence) / 2, values.size - 1) * error
        center = math.fsum(values) / values.size
        return self._interval(center - half, center + half, "tasks", "t over tasks")


ONE_SEED = ("One seed a cell: nothing can be said of new seeds.",)


def _rank(report: Report) -> tuple[bool, float, bool, str]:
    # A model with missing runs stands where its lower bound puts it.
    return report.score is None, -report.floor, report.num_missing > 0, report.model


def _gaps(first: Array | None, second: Array | None) -> Array | None:
    return None if first is None or second is None else first - second


def _share_above(gaps: Array) -> float:
    # Of the draws in which the first is better, ties shared.
    return float((gaps > 0).mean() + (gaps == 0).mean() / 2)


def _holes(owned: Mapping[str, Sequence[Cell]]) -> dict[str, list[Cell]]:
    # What a model lacks of the grid that the others were run on.
    full = set(crossed(itertools.chain.from_iterable(owned.values())))
    return {model: sorted(full - set(crossed(cells))) for model, cells in owned.items()}


def _notes(
    field: Sequence[Measured], runs: RunsByModel, failed: Sequence[str]
) -> tuple[str, ...]:
    reports, notes = [each.report for each in field], []
    if failed:
        notes.append(f"No run of {listing(failed)} has a result: not ranked.")
    diverged = [report for report in reports if report.num_diverged]
    if diverged:
        counts = listing([f"{each.num_diverged} of {each.model}" for each in diverged])
        notes.append(f"Diverged runs: {counts}.")
    partial = [report for report in reports if report.num_missing]
    if partial:
        counts = listing([f"{each.num_missing} of {each.model}" for each in partial])
        how = "it is ranked by its lower bound and held against others by its upper one"
        notes.append(f"Missing runs: {counts}; {how}.")
    constant = [
        each.report.model
        for each in field
        if each.draws is not None and (each.draws == each.draws[0]).all()
    ]
    if constant and len(field) > 1:
        notes.append(
            f"No seed changes the score of {listing(constant)}: P(best) takes it as"
            " exact, which it is not for new examples."
        )
    if runs.num_untimed:
        count = f"{runs.num_untimed} of {len(runs.runs)}"
        notes.append(f"The time of {count} runs was not measured.")
    return tuple(notes)
