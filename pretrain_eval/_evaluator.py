"""From runs to a score and a ranking: two functions say what, the rest is given."""

from __future__ import annotations

import dataclasses
import itertools
import math
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, NamedTuple

import numpy as np

from pretrain_eval._grid import cell_of, crossed, ordered
from pretrain_eval._records import Cost, Run
from pretrain_eval._report import Comparison, Difference, Interval, Report
from pretrain_eval._statistics import Array, Cell, resampled_scores

NUM_DRAWS = 4000


class Measured(NamedTuple):
    """A report with the draws from which a comparison is made."""

    report: Report
    draws: Array | None


class Evaluator(ABC):
    """Turns finished runs into one score per model; subclasses give two functions.

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
        runs = ordered(runs)
        models = self._candidates(runs)
        if len(models) > 1:
            raise ValueError(
                f"{type(self).__name__}.score expects the runs of one model, got"
                f" {models}; use compare() for several"
            )
        return self._measure(*self._split(runs, models[0])).report

    def compare(self, runs: Iterable[Run]) -> Comparison:
        """The models ranked, with what these runs cannot tell apart.

        Args:
            runs: The runs of two or more models. A scratch twin is ranked as well.

        Raises:
            ValueError: As `score`, for any of the models.
        """
        runs = ordered(runs)
        models = sorted({run.model for run in runs})
        pieces = {model: self._split(runs, model) for model in models}
        holes = self._holes({model: own for model, (own, _) in pieces.items()})
        measured = {
            model: self._measure(own, twin, holes[model])
            for model, (own, twin) in pieces.items()
        }
        ranked = sorted(models, key=lambda m: _rank_key(measured[m].report))
        pairs = self._pairs(ranked, pieces, measured)
        p_best, regret, limit = _chances(ranked, measured, self.confidence)
        return Comparison(
            protocol=self.protocol,
            reports=tuple(measured[model].report for model in ranked),
            p_best=p_best,
            differences=pairs,
            regret=regret,
            regret_limit=limit,
            confidence=self.confidence,
            acceptability=self._acceptability([measured[m].report for m in ranked]),
            cost=total_cost(runs, per_model=False),
            notes=_comparison_notes([measured[m].report for m in ranked], runs),
        )

    def _measure(
        self, runs: Sequence[Run], twin: Sequence[Run] = (), holes: Sequence[Cell] = ()
    ) -> Measured:
        # The way for any parts and combine: runs are drawn anew within their cells.
        usable = [_at_chance(run) for run in runs if run.status in USABLE]
        if not usable:
            raise ValueError(f"no run of {runs[0].model} has a result")
        parts = dict(self.parts(usable))
        score = self.combine(parts)
        cells = [cell_of(run) for run in usable]
        codes = {cell: index for index, cell in enumerate(sorted(set(cells)))}
        cell = np.array([codes[each] for each in cells])
        largest = np.bincount(cell).mean()
        draws = None
        if score is not None and largest > 1:
            point = score
            rough = resampled_scores(
                cell,
                lambda drawn: self.combine(self.parts([usable[i] for i in drawn])) or 0,
                NUM_DRAWS // 8,
                self._rng(runs[0].model),
            )
            scale = math.sqrt(largest / (largest - 1))
            draws = point + scale * (rough - point)
        return Measured(
            Report(
                protocol=self.protocol,
                model=runs[0].model,
                score=score,
                parts=parts,
                interval=None if draws is None else self._percentiles(draws),
                num_runs=len(runs),
                num_scored=len(usable),
                num_diverged=sum(run.status == "diverged" for run in runs),
                num_missing=len(runs) - len(usable) + len(holes),
                cost=total_cost(runs),
            ),
            draws,
        )

    def _percentiles(self, draws: Array, over: str = "seeds") -> Interval:
        tail = (1 - self.confidence) / 2
        low, high = np.quantile(draws, [tail, 1 - tail]).tolist()
        return Interval(
            low=low,
            high=high,
            confidence=self.confidence,
            over=over,
            method="stratified bootstrap",
        )

    def _rng(self, model: str) -> np.random.Generator:
        # By model, so that no score depends on which others are compared.
        return np.random.default_rng([self.seed, zlib.crc32(model.encode())])

    def _acceptability(self, reports: Sequence[Report]) -> Mapping[str, float]:
        return {}

    def _twin_of(self, model: str) -> str | None:
        if isinstance(self.scratch, Mapping):
            return self.scratch.get(model)
        return None if self.scratch == model else self.scratch

    def _candidates(self, runs: Sequence[Run]) -> list[str]:
        models = sorted({run.model for run in runs})
        twins = {self._twin_of(model) for model in models}
        return [model for model in models if model not in twins] or models

    def _split(
        self, runs: Sequence[Run], model: str
    ) -> tuple[tuple[Run, ...], tuple[Run, ...]]:
        twin = self._twin_of(model)
        own = tuple(run for run in runs if run.model == model)
        return own, tuple(run for run in runs if run.model == twin)

    def _holes(self, owned: Mapping[str, Sequence[Run]]) -> dict[str, list[Cell]]:
        # What a model lacks of the grid that the others were run on.
        found = {model: {cell_of(r) for r in own} for model, own in owned.items()}
        full = set(crossed(itertools.chain.from_iterable(found.values())))
        return {
            model: sorted(full - set(crossed(cells))) for model, cells in found.items()
        }

    def _pairs(
        self,
        ranked: Sequence[str],
        pieces: Mapping[str, tuple[tuple[Run, ...], tuple[Run, ...]]],
        measured: Mapping[str, Measured],
    ) -> tuple[Difference, ...]:
        usable = {
            m: {cell_of(r) for r in p[0] if r.status in USABLE}
            for m, p in pieces.items()
        }
        known: dict[tuple[str, frozenset[Cell]], Measured] = {}

        def on(model: str, common: set[Cell]) -> Measured:
            if common == usable[model]:
                return measured[model]
            key = model, frozenset(common)
            if key not in known:
                own, twin = pieces[model]
                kept = [run for run in own if cell_of(run) in common]
                known[key] = self._measure(kept, twin)
            return known[key]

        pairs = []
        for first, second in itertools.combinations(ranked, 2):
            common = usable[first] & usable[second]
            if common:
                pair = on(first, common), on(second, common)
                if pair[0].report.score is not None is not pair[1].report.score:
                    pairs.append(self._difference(*pair, len(common)))
        return tuple(pairs)

    def _difference(self, first: Measured, second: Measured, cells: int) -> Difference:
        interval, p_better = None, None
        if first.draws is not None and second.draws is not None:
            size = min(first.draws.size, second.draws.size)
            gaps = first.draws[:size] - second.draws[:size]
            interval = self._percentiles(gaps)
            p_better = float((gaps > 0).mean() + (gaps == 0).mean() / 2)
        return Difference(
            first=first.report.model,
            second=second.report.model,
            difference=(first.report.score or 0.0) - (second.report.score or 0.0),
            interval=interval,
            p_better=p_better,
            num_cells=cells,
        )


USABLE = ("completed", "diverged")


def total_cost(runs: Sequence[Run], *, per_model: bool = True) -> Cost:
    """Times and samples added up; sizes of the one model, if there is one."""

    def known(name: str) -> list[float]:
        values = [getattr(run.cost, name) for run in runs]
        return [value for value in values if value is not None]

    sums = {
        name: math.fsum(known(name)) if known(name) else None
        for name in ("seconds", "num_samples")
    }
    if sums["num_samples"] is not None:
        sums["num_samples"] = int(sums["num_samples"])
    names = ("num_parameters", "num_trainable_parameters", "macs", "peak_memory")
    sizes = {name: max(known(name), default=None) for name in names if per_model}
    return Cost(**sums, **sizes)  # type: ignore[arg-type]


def _at_chance(run: Run) -> Run:
    if run.status != "diverged":
        return run
    return dataclasses.replace(run, scores=run.chance)


def _rank_key(report: Report) -> tuple[bool, float, str]:
    # A model with missing cells stands where its lower bound puts it.
    if report.score is None:
        return True, 0.0, report.model
    standing = report.score
    if report.num_missing and report.bounds is not None:
        standing = report.bounds[0]
    return False, -standing, report.model


def _chances(
    ranked: Sequence[str], measured: Mapping[str, Measured], confidence: float
) -> tuple[dict[str, float], float | None, float | None]:
    kept = [measured[model] for model in ranked]
    if len(kept) < 2 or any(each.draws is None for each in kept):
        return {}, None, None
    size = min(each.draws.size for each in kept if each.draws is not None)
    columns = []
    for each in kept:
        if each.draws is not None:
            standing = -_rank_key(each.report)[1]
            columns.append(each.draws[:size] + (standing - (each.report.score or 0.0)))
    joint = np.stack(columns)
    top = joint.max(axis=0)
    first = joint == top
    share = (first / first.sum(axis=0)).mean(axis=1)
    regret = top - joint[0]
    limit = float(np.quantile(regret, confidence))
    return dict(zip(ranked, share.tolist(), strict=True)), float(regret.mean()), limit


def _comparison_notes(
    reports: Sequence[Report], runs: Sequence[Run]
) -> tuple[str, ...]:
    notes = []
    diverged = sum(report.num_diverged for report in reports)
    if diverged:
        notes.append(f"{diverged} of {len(runs)} runs diverged and count as chance.")
    partial = [report.model for report in reports if report.num_missing]
    if partial:
        notes.append(
            f"Runs are missing for {', '.join(partial)}: ranked by the lower bound."
        )
    unknown = sum(run.cost.seconds is None for run in runs)
    if unknown:
        notes.append(f"The time of {unknown} of {len(runs)} runs was not measured.")
    return tuple(notes)
