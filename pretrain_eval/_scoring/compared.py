"""Several models under one protocol: ranking, differences, who can be told apart."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from pretrain_eval._scoring.dominant import dominant_run
from pretrain_eval._scoring.formulas.intervals import percentiles
from pretrain_eval._scoring.formulas.power import shares
from pretrain_eval._scoring.formulas.ranking import share_first, standing
from pretrain_eval._scoring.formulas.statistics import Array, Cell
from pretrain_eval._scoring.grid import crossed
from pretrain_eval._scoring.model_runs import ModelRuns, num_untimed, total_cost
from pretrain_eval._scoring.protocol import Protocol, Scored
from pretrain_eval._scoring.reports.comparison import Comparison
from pretrain_eval._scoring.reports.difference import Difference
from pretrain_eval._scoring.reports.report import Interval, Report
from pretrain_eval._scoring.reports.table import counted, listing
from pretrain_eval._scoring.scored import over_tasks, scored, sources_of, sum_of
from pretrain_eval._scoring.undecided import luck_on_examples, undecided

Models = Mapping[str, ModelRuns]


def compared(protocol: Protocol, models: Models) -> Comparison:
    """The models ranked, with what their runs cannot tell apart."""
    twins = twins_of(protocol, models)
    failed = [model for model, own in models.items() if not own.usable]
    if len(failed) == len(models):
        failed = []  # each of them is an error that says why
    asked = {model: own for model, own in models.items() if model not in failed}
    _check_common_tasks(asked)
    holes = _holes(asked)
    found = {
        model: scored(protocol, own, twins.get(model), holes[model])
        for model, own in asked.items()
    }
    ranked = dict(sorted(found.items(), key=lambda item: _rank(item[1].report)))
    field = list(ranked.values())
    reports = tuple(each.report for each in field)
    over = sources_of(protocol, [each.noise for each in field])
    runs = [run for own in models.values() for run in own.runs]
    stands = _standing(protocol, field, over)
    comparison = Comparison(
        protocol=protocol.protocol,
        reports=reports,
        differences=tuple(_Pairs(protocol, asked, twins, ranked, over).differences()),
        confidence=protocol.confidence,
        rope=protocol.rope,
        over=over,
        acceptability=protocol.acceptability(reports),
        cost=total_cost(runs, sizes=False),
        notes=(
            *_notes(protocol, field, failed, over),
            *_untimed(num_untimed(runs), len(runs)),
            *protocol.remarks(field),
        ),
        **stands,
        **undecided(protocol, models, ranked, stands.get("not_separable", ())),
    )
    limit = comparison.new_task_limit
    if "tasks" not in over or limit is None or comparison.regret_limit is None:
        return comparison
    # Who asks about new tasks has one of them before him, not the mean of all.
    return dataclasses.replace(
        comparison, regret_limit=max(comparison.regret_limit, limit)
    )


def _check_common_tasks(models: Models) -> None:
    tasks = {
        model: {task for task, _, _ in own.usable} for model, own in models.items()
    }
    for (first, own), (second, theirs) in itertools.combinations(tasks.items(), 2):
        if own and theirs and not own & theirs:
            raise ValueError(
                f"{first} and {second} have no task in common: {sorted(own)} and"
                f" {sorted(theirs)}; a comparison needs runs on the same tasks"
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


def _standing(
    protocol: Protocol, field: Sequence[Scored], over: Sequence[str]
) -> dict[str, Any]:
    if len(field) < 2 or not over or any(each.report.score is None for each in field):
        return {}
    noise = np.stack([sum_of(each.noise, over) for each in field])
    reports = [each.report for each in field]
    names = [report.model for report in reports]
    floors = np.array([report.floor for report in reports])
    ceilings = np.array([report.ceiling for report in reports])
    stands = standing(
        floors, floors[:, None] + noise, protocol.confidence, ceilings=ceilings
    )
    others = zip(names[1:], stands.separable[1:], strict=True)
    told = {
        "regret": stands.regret,
        "regret_limit": stands.regret_limit,
        "not_separable": tuple(name for name, separable in others if not separable),
    }
    if (floors == ceilings).all():
        return told | {"p_best": dict(zip(names, stands.p_best.tolist(), strict=True))}
    return told | {"p_best_range": _ranges(names, floors, ceilings, noise)}


def _ranges(
    names: Sequence[str], floors: Array, ceilings: Array, noise: Array
) -> dict[str, tuple[float, float]]:
    # P(best) of each model with what is missing at its worst, and at its best.
    ranges = {}
    for index, name in enumerate(names):
        ends = []
        for own, others in ((floors, ceilings), (ceilings, floors)):
            scores = others.copy()
            scores[index] = own[index]
            ends.append(float(share_first(scores[:, None] + noise)[index]))
        ranges[name] = ends[0], ends[1]
    return ranges


class _Pairs:
    """Every two models on the cells that both have."""

    def __init__(
        self,
        protocol: Protocol,
        models: Models,
        twins: Models,
        ranked: Mapping[str, Scored],
        over: Sequence[str],
    ) -> None:
        self._protocol, self._models, self._twins = protocol, models, twins
        self._ranked, self._over = ranked, over
        self._on_common: dict[tuple[str, frozenset[Cell]], Scored] = {}
        self._lucks: dict[tuple[str, tuple[Cell, ...]], float] = {}

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
        pairs = [
            (first, second, num_cells)
            for first, second, num_cells in pairs
            if None not in (first.report.score, second.report.score)
        ]
        by_source = {
            "seeds": self._intervals(pairs, ("seeds",)),
            "examples": self._intervals(pairs, ("examples",)),
            "interval": self._intervals(pairs, self._over),
        }
        chances = self._chances(pairs)
        for place, (first, second, num_cells) in enumerate(pairs):
            common = sorted(set(first.tasks) & set(second.tasks))
            by_task = np.array([first.tasks[t] - second.tasks[t] for t in common])
            known: dict[str, Any] = {n: found[place] for n, found in by_source.items()}
            known |= chances[place]
            yield Difference(
                first=first.report.model,
                second=second.report.model,
                difference=_gap(first, second),
                new_tasks=over_tasks(self._protocol, by_task),
                errors=_errors(first, second, by_task) | self._luck(first, second),
                sizes=self._sizes(first, second, by_task.size),
                num_cells=num_cells,
                **known,
            )

    def _chances(
        self, pairs: Sequence[tuple[Scored, Scored, int]]
    ) -> list[dict[str, float]]:
        # All at once, as the intervals.
        gaps = [_gaps(first, second, self._over) for first, second, _ in pairs]
        drawn = [each for each in gaps if each is not None]
        if not drawn:
            return [{} for _ in gaps]
        columns = shares(np.stack(drawn), self._protocol.rope)
        rows = iter(np.stack(columns).T.tolist())
        names = "p_better", "p_equal", "p_worse", "p_value"
        return [
            {} if each is None else dict(zip(names, next(rows), strict=True))
            for each in gaps
        ]

    def _sizes(self, first: Scored, second: Scored, num_tasks: int) -> dict[str, int]:
        grids, known = (first.grid, second.grid), first.noise.keys() & second.noise
        sizes = {
            "seeds": min(round(grid.cell.size / grid.present.size) for grid in grids),
            "examples": min(grid.num_examples for grid in grids),
        }
        sizes = {name: size for name, size in sizes.items() if name in known}
        return sizes | ({"tasks": num_tasks} if num_tasks > 1 else {})

    def _luck(self, first: Scored, second: Scored) -> dict[str, float]:
        if not {"seeds", "examples"} <= first.noise.keys() & second.noise.keys():
            return {}
        variance = math.fsum(map(self._luck_of, (first, second)))
        return {"luck": math.sqrt(variance)} if variance else {}

    def _luck_of(self, each: Scored) -> float:
        asked = each.report.model, each.grid.cells.names
        if asked not in self._lucks:
            self._lucks[asked] = luck_on_examples(self._protocol, each.grid)
        return self._lucks[asked]

    def _intervals(
        self, pairs: Sequence[tuple[Scored, Scored, int]], over: Sequence[str]
    ) -> list[Interval | None]:
        gaps = [_gaps(first, second, over) for first, second, _ in pairs]
        drawn = [each for each in gaps if each is not None]
        # All at once: for one pair the call takes longer than the sorting.
        confidence = self._protocol.confidence
        ends = percentiles(np.stack(drawn), confidence).T.tolist() if drawn else []
        intervals: list[Interval | None] = []
        for (first, second, _), each in zip(pairs, gaps, strict=True):
            if each is None:
                intervals.append(None)
                continue
            gap = _gap(first, second)
            low, high = ends.pop(0)
            # What skewed draws would leave out is what was measured.
            interval = self._protocol.interval(
                min(low, gap), max(high, gap), " and ".join(over), "joint draws"
            )
            intervals.append(interval)
        return intervals


def _gap(first: Scored, second: Scored) -> float:
    return (first.report.score or 0.0) - (second.report.score or 0.0)


def _gaps(first: Scored, second: Scored, over: Sequence[str]) -> Array | None:
    if not over or not all(
        name in each.noise for each in (first, second) for name in over
    ):
        return None
    gaps: Array = sum_of(first.noise, over) - sum_of(second.noise, over)
    return _gap(first, second) + gaps


def _errors(first: Scored, second: Scored, by_task: Array) -> dict[str, float]:
    # Without Student's mixing, so that the errors of few seeds are comparable.
    errors = {}
    for name in ("seeds", "examples"):
        if name in first.noise and name in second.noise:
            own, other = (_unmixed(each, name) for each in (first, second))
            errors[name] = float((own - other).std())
    if by_task.size > 1:
        errors["tasks"] = float(by_task.std(ddof=1)) / math.sqrt(by_task.size)
    return errors


def _unmixed(each: Scored, source: str) -> Array:
    if source == "seeds" and each.unmixed is not None:
        return each.unmixed
    return each.noise[source]


def _notes(
    protocol: Protocol,
    field: Sequence[Scored],
    failed: Sequence[str],
    over: Sequence[str],
) -> list[str]:
    reports, notes = [each.report for each in field], []
    if failed:
        notes.append(f"No run of {listing(failed)} has a result: not ranked.")
    how = "it is ranked by its lower bound and held against others by its upper one"
    for before, counts, after in (
        ("Diverged runs", [each.num_diverged for each in reports], ""),
        (
            "Collapsed runs left out",
            [len(each.grid.collapsed) for each in field],
            "; the scores are of the others",
        ),
        ("Missing runs", [each.num_missing for each in reports], f"; {how}"),
    ):
        pairs = zip(counts, reports, strict=True)
        told = [f"{count} of {each.model}" for count, each in pairs if count]
        if told:
            notes.append(f"{before}: {listing(told)}{after}.")
    for each in field[:2]:  # whose interval the decision hangs on
        found = dominant_run(each.grid)
        if found is not None:
            run, share = found
            notes.append(
                f"{share:.0%} of the variance over seeds of {each.report.model} is one"
                f" run's: {run.name}; see whether it is as it should be."
            )
    constant = [
        each.report.model
        for each in field
        if "seeds" in each.noise and not each.noise["seeds"].any()
    ]
    if constant and len(field) > 1 and tuple(over) == ("seeds",):
        notes.append(
            f"No seed changes the score of {listing(constant)}: P(best) takes it as"
            " exact, which it is not for new examples."
        )
    unknown = [name for name in protocol.over if name not in over]
    if over and unknown:
        notes.append(
            f"What new {' and '.join(unknown)} would change is not known of every model."
        )
    return notes


def _untimed(number: int, num_runs: int) -> list[str]:
    if not number:
        return []
    return [f"The time of {number} of {counted(num_runs, 'run')} was not measured."]
