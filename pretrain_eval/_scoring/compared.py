"""Several models under one protocol: ranking, differences, who can be told apart."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pretrain_eval._scoring.formulas.intervals import percentiles
from pretrain_eval._scoring.formulas.ranking import standing
from pretrain_eval._scoring.formulas.statistics import Array, Cell
from pretrain_eval._scoring.grid import crossed
from pretrain_eval._scoring.model_runs import ModelRuns, num_untimed, total_cost
from pretrain_eval._scoring.protocol import Protocol, Scored
from pretrain_eval._scoring.reports.comparison import Comparison, Difference
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import listing
from pretrain_eval._scoring.scored import over_tasks, scored

Models = Mapping[str, ModelRuns]


def compared(protocol: Protocol, models: Models) -> Comparison:
    """The models ranked, with what their runs cannot tell apart."""
    twins = twins_of(protocol, models)
    failed = [model for model, own in models.items() if not own.usable]
    if len(failed) == len(models):
        failed = []  # each of them is an error that says why
    field = {model: own for model, own in models.items() if model not in failed}
    holes = _holes(field)
    found = {
        model: scored(protocol, own, twins.get(model), holes[model])
        for model, own in field.items()
    }
    ranked = dict(sorted(found.items(), key=lambda item: _rank(item[1].report)))
    reports = tuple(each.report for each in ranked.values())
    pairs = _Pairs(protocol, field, twins, ranked)
    runs = [run for own in models.values() for run in own.runs]
    return Comparison(
        protocol=protocol.protocol,
        reports=reports,
        differences=tuple(pairs.differences()),
        confidence=protocol.confidence,
        acceptability=protocol.acceptability(reports),
        cost=total_cost(runs, sizes=False),
        notes=(
            *_notes(list(ranked.values()), failed),
            *_untimed(num_untimed(runs), len(runs)),
            *protocol.remarks(list(ranked.values())),
        ),
        **_standing(protocol, list(ranked.values())),
    )


def one_model(
    protocol: Protocol, models: Models, method: str
) -> tuple[ModelRuns, ModelRuns | None]:
    """The runs of the only model, and those of its twin.

    Args:
        protocol: What is asked.
        models: The runs by model.
        method: What to call the asker in the error where there are several.
    """
    twins = twins_of(protocol, models)
    names = [twin.model for twin in twins.values()]
    asked = [model for model in models if model not in names] or list(models)
    if len(asked) > 1:
        raise ValueError(
            f"{type(protocol).__name__}.{method} expects the runs of one model, got"
            f" {asked}; use compare() for several"
        )
    return models[asked[0]], twins.get(asked[0])


def twins_of(protocol: Protocol, models: Models) -> dict[str, ModelRuns]:
    """The runs of the twin from scratch of each model that has one."""
    names = {model: protocol.twin_of(model) for model in models}
    absent = {name for name in names.values() if name is not None} - models.keys()
    if absent:
        raise ValueError(
            f"scratch names {sorted(absent)}, of which there is no run; the runs are of"
            f" {list(models)}"
        )
    return {model: models[name] for model, name in names.items() if name is not None}


def _rank(report: Report) -> tuple[bool, float, bool, str]:
    # A model with missing runs stands where its lower bound puts it.
    return report.score is None, -report.floor, report.num_missing > 0, report.model


def _holes(models: Models) -> dict[str, list[Cell]]:
    # What a model lacks of the grid that the others were run on.
    every = itertools.chain.from_iterable(own.cells for own in models.values())
    full = set(crossed(every))
    return {
        model: sorted(full.difference(own.full.names)) for model, own in models.items()
    }


def _standing(protocol: Protocol, field: Sequence[Scored]) -> dict[str, Any]:
    draws = [each.draws for each in field if each.draws is not None]
    reports = [each.report for each in field]
    if len(field) < 2 or len(draws) < len(field):
        return {}
    floors = np.array([report.floor for report in reports])
    shifts = floors - np.array([report.score for report in reports])
    stands = standing(
        floors,
        np.stack(draws) + shifts[:, None],
        protocol.confidence,
        ceilings=np.array([report.ceiling for report in reports]),
    )
    names = [report.model for report in reports]
    others = zip(names[1:], stands.separable[1:], strict=True)
    return {
        "p_best": dict(zip(names, stands.p_best.tolist(), strict=True)),
        "regret": stands.regret,
        "regret_limit": stands.regret_limit,
        "not_separable": tuple(name for name, separable in others if not separable),
    }


class _Pairs:
    """Every two models on the cells that both have."""

    def __init__(
        self,
        protocol: Protocol,
        models: Models,
        twins: Models,
        ranked: Mapping[str, Scored],
    ) -> None:
        self._protocol, self._models, self._twins = protocol, models, twins
        self._ranked = ranked
        self._on_common: dict[tuple[str, frozenset[Cell]], Scored] = {}

    def differences(self) -> Iterator[Difference]:
        """The better-ranked first, its differences from all below it together."""
        names = list(self._ranked)
        for place, first in enumerate(names):
            pairs = []
            for second in names[place + 1 :]:
                common = self._models[first].usable & self._models[second].usable
                if common:
                    both = self._on(first, common), self._on(second, common)
                    pairs.append((*both, len(common)))
            yield from self._differences(pairs)

    def _on(self, model: str, common: frozenset[Cell]) -> Scored:
        own = self._models[model]
        if common == own.usable:
            return self._ranked[model]
        if (model, common) not in self._on_common:
            self._on_common[model, common] = scored(
                self._protocol, own.within(common), self._twins.get(model)
            )
        return self._on_common[model, common]

    def _differences(
        self, pairs: Sequence[tuple[Scored, Scored, int]]
    ) -> Iterator[Difference]:
        gaps = [_gaps(first.draws, second.draws) for first, second, _ in pairs]
        drawn = [each for each in gaps if each is not None]
        # All at once: for one pair the call takes longer than the sorting.
        confidence = self._protocol.confidence
        ends = iter(percentiles(np.stack(drawn), confidence).T if drawn else ())
        for (first, second, num_cells), gap in zip(pairs, gaps, strict=True):
            low, high = (0.0, 0.0) if gap is None else next(ends)
            scores = first.report.score, second.report.score
            if scores[0] is None or scores[1] is None:
                continue
            common = sorted(set(first.tasks) & set(second.tasks))
            by_task = [first.tasks[task] - second.tasks[task] for task in common]
            interval = self._protocol.interval(
                low, high, "seeds", "stratified bootstrap"
            )
            yield Difference(
                first=first.report.model,
                second=second.report.model,
                difference=scores[0] - scores[1],
                interval=None if gap is None else interval,
                new_tasks=over_tasks(self._protocol, np.array(by_task)),
                p_better=None if gap is None else _share_above(gap),
                num_cells=num_cells,
            )


def _gaps(first: Array | None, second: Array | None) -> Array | None:
    return None if first is None or second is None else first - second


def _share_above(gaps: Array) -> float:
    # Of the draws in which the first is better, ties shared.
    return float((gaps > 0).mean() + (gaps == 0).mean() / 2)


def _notes(field: Sequence[Scored], failed: Sequence[str]) -> list[str]:
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
    return notes


def _untimed(number: int, num_runs: int) -> list[str]:
    if not number:
        return []
    return [f"The time of {number} of {num_runs} runs was not measured."]
