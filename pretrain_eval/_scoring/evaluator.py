"""From runs to a score and a ranking: what every evaluator answers."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from typing import TYPE_CHECKING, Any, final

from typing_extensions import Self

from pretrain_eval._habits import refusal
from pretrain_eval._runs import Run
from pretrain_eval._scoring.compared import compared, one_model, twins_of
from pretrain_eval._scoring.grid import Grid
from pretrain_eval._scoring.model_runs import ModelRuns, by_model
from pretrain_eval._scoring.protocol import Protocol
from pretrain_eval._scoring.reading import grid_of
from pretrain_eval._scoring.reports.comparison import Comparison
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import counted
from pretrain_eval._scoring.scored import scored

AnyRuns = Iterable[Run] | Mapping[str, ModelRuns] | str | PathLike[str]


@dataclass(frozen=True, kw_only=True)
class Evaluator(Protocol):
    """Turns finished runs into one score a model; a subclass says what makes it.

    A subclass names its `protocol` and gives `parts`, from the mean over the seeds of
    each cell of the grid, and `combine`, from the parts to the score. Both work on one
    number and on many draws alike, so that numpy's functions along axis 0 are what is
    wanted. Intervals, bounds, lift, ranking and the fields below are given.

    Attributes:
        metric: Key of the metric that is read, or a mapping that gives each task its
            own. None reads a task's first score: that of its first run, or
            accuracy where any of its runs has it first.
        better: Whether the "higher" or the "lower" value of a metric is better; None
            reads it from the runs. A mapping gives each task or metric its own, here
            and in the next two. A metric of which nobody says it is an error.
        chance: The level of a predictor that ignores its input: None reads it from
            the runs (0 where no run of the dataset knows it, which is noted),
            "uniform" is 1/C, a number is that level.
        ceiling: The value of a perfect predictor; None is the best of the metric's
            range. A metric without a finite range, such as a loss, needs it stated
            wherever it is normalised.
        scratch: Name of the model from random weights, the twin against which lifts are
            measured; or a mapping from each model to its twin.
        diverged: A diverged run counts as "chance", is left out as missing ("drop"),
            or is an error ("raise"). It is counted in any case.
        collapsed: "drop" asks how good a model is where its training does not
            collapse: runs that lie farther below the best seed of their cell than
            chance allows are left out, and named. By default they count, since a
            training that can collapse is worse for it.
        strict: Whether a missing run is an error.
        confidence: Of every interval.
        rope: Differences of scores up to this do not matter: models that lie so near
            with `confidence` are practically equal.
        seed: Of every random draw; the same seed gives the same bytes.

    >>> import numpy as np
    >>> class WorstCaseEvaluator(Evaluator):
    ...     protocol = "worst case"
    ...
    ...     def parts(self, cells):
    ...         domains = cells.by_dataset("z")
    ...         return {"/".join(name): domain for name, domain in domains.items()}
    ...
    ...     def combine(self, parts):
    ...         return np.min(list(parts.values()), axis=0)
    >>> runs = [
    ...     Run(
    ...         model="a",
    ...         task="t",
    ...         dataset=name,
    ...         strategy="full",
    ...         seed=seed,
    ...         scores={"accuracy": accuracy + seed / 8},
    ...         chance={"accuracy": 0.0},
    ...     )
    ...     for name, accuracy in {"clean": 0.75, "noisy": 0.5}.items()
    ...     for seed in range(3)
    ... ]
    >>> WorstCaseEvaluator(confidence=0.9).score(runs).score
    0.625
    """

    @final
    def score(self, runs: AnyRuns) -> Report:
        """The report of one model.

        Args:
            runs: The runs of one model, and those of its scratch twin if one is named;
                or the path of a store of them.

        Raises:
            ValueError: There is no run, a run stands twice, the runs are of several
                models, or no run holds what the protocol reads.
        """
        models, left = self._within(by_model(runs))
        asked = self._asked_of(models)
        report = scored(asked, *one_model(asked, models, "score")).report
        return dataclasses.replace(report, notes=(*report.notes, *left))

    @final
    def compare(self, runs: AnyRuns) -> Comparison:
        """The models ranked, with what these runs cannot tell apart.

        Args:
            runs: The runs of two or more models, or the path of a store of them. A scratch twin is ranked as well; a
                model of which no run finished is not, and a note says so.

        Raises:
            ValueError: As `score`, for any of the models.
        """
        models, left = self._within(by_model(runs))
        found = compared(self._asked_of(models), models)
        return dataclasses.replace(found, notes=(*found.notes, *left))

    @final
    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The fields that make another one, as scikit-learn's `clone` does.

        Args:
            deep: Means nothing: no field is an estimator.
        """
        return {
            each.name: getattr(self, each.name) for each in dataclasses.fields(self)
        }

    if not TYPE_CHECKING:
        __getattr__ = refusal("evaluator")

    @final
    def grids(self, runs: AnyRuns) -> dict[str, Grid]:
        """What is read of each model's runs, laid out in cells."""
        models, _ = self._within(by_model(runs))
        asked, twins = self._asked_of(models), twins_of(self, models)
        return {
            model: grid_of(asked, own, twins.get(model))
            for model, own in models.items()
        }

    def _within(
        self, models: Mapping[str, ModelRuns]
    ) -> tuple[Mapping[str, ModelRuns], list[str]]:
        # The runs that the protocol is about, and a sentence for each strategy that it
        # is not about. A model without any other run keeps them, and is refused.
        every = [run for own in models.values() for run in own.runs]
        outside = self.outside(every)
        if not outside:
            return models, []
        rest = {
            model: own.without(outside)
            if any(run.strategy not in outside for run in own.runs)
            else own
            for model, own in models.items()
        }
        counts = Counter(run.strategy for run in every)
        return rest, [
            f"{counted(counts[strategy], 'run')} of {strategy}"
            f" {'has' if counts[strategy] == 1 else 'have'} {why}."
            for strategy, why in outside.items()
        ]

    def _asked_of(self, models: Mapping[str, ModelRuns]) -> Self:
        # Where no metric is named: each task's first score.
        if self.metric is not None:
            return self
        firsts: dict[str, list[str]] = {}
        for own in models.values():
            for run in own.runs:
                firsts.setdefault(run.task, []).extend(list(run.scores)[:1])
        usual = self.keys[0]
        metric = {
            task: usual if usual in found or not found else found[0]
            for task, found in firsts.items()
        }
        if set(metric.values()) <= {usual}:
            return self
        return dataclasses.replace(self, metric=metric)
