"""What a race has decided, and on what ground."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, final

from pretrain_eval._habits import refusal
from pretrain_eval._runs import Run
from pretrain_eval._scoring.reports import counted
from pretrain_eval._selection.race import Race, Round, shown


@final
@dataclass(frozen=True)
class Choice:
    """The model that a race leaves, how surely it is the best, and what it has cost.

    Attributes:
        model: Use it.
        p_best: How probably each model is the best for new draws of what `over` says, of
            those that are not separable; 0 for the others.
        regret_limit: How much worse than the best of the models that ran at full length
            it is at most, at `confidence`, for new draws of what `over` says; NaN where
            that is not known.
        confidence: Of that limit.
        cost_share: What was spent, as a share of the grid's optimizer steps.
        not_separable: Models that ran at full length and were not told from it.
        stopped: Why the race has ended.
        rounds: The trail.
        runs: Every run that was made or read, those cut short with the status "pruned".
        filtered: Models that were not trained, since estimates ranked them last.
        evidence: The names of those estimators and static baselines.
        over: "seeds", and "examples" where it is known on how many validation examples
            the scores were counted, as of accuracies.
        seeds_limit: As `regret_limit`, for new seeds on these validation examples.

    The sentence says what the limit covers: models that estimates filtered or a short
    round dropped are beyond it.
    """

    _: KW_ONLY
    model: str
    p_best: Mapping[str, float]
    regret_limit: float
    confidence: float
    cost_share: float
    not_separable: tuple[str, ...]
    stopped: str
    rounds: tuple[Round, ...]
    runs: tuple[Run, ...] = ()
    filtered: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()
    over: tuple[str, ...] = ("seeds",)
    seeds_limit: float = math.nan

    if not TYPE_CHECKING:
        __getattr__ = refusal("choice")

    def __str__(self) -> str:
        both = "examples" in self.over
        new = "seeds and examples" if both else "seeds on these validation examples"
        limit = f"at most {shown(self.regret_limit)} worse than the best"
        if math.isnan(self.regret_limit):
            limit = "how much worse than the best is not known"
        alone = f" ({shown(self.seeds_limit)} for new seeds alone)" if both else ""
        lines = [
            f"Use {self.model}; P(best) = {self.p_best[self.model]:.2f} for new {new};"
            f" {limit} at {self.confidence:.0%}{alone}.",
            f"{self.cost_share:.0%} of the grid's cost; the race stopped because"
            f" {self.stopped}.",
        ]
        if self.not_separable:
            lines.append(f"Not separable: {', '.join(self.not_separable)}.")
        cut = [name for each in self.rounds if each.short for name in each.dropped]
        uncovered = "neither the limit nor P(best) covers"
        if self.filtered:
            lines.append(
                f"{_models(self.filtered)} filtered before any training, by rank under"
                f" {', '.join(self.evidence)}: {uncovered} {_them(self.filtered)}."
            )
        if cut:
            lines.append(
                f"{_models(cut)} dropped after a short round, by rank: {uncovered}"
                f" {_them(cut)}."
            )
        return "\n".join(lines)

    def report(self) -> str:
        """The trail, round by round."""
        lines = [str(self), ""]
        if self.filtered:
            lines.append(f"filtered: {', '.join(self.filtered)}")
        for number, each in enumerate(self.rounds, start=1):
            lines.append(f"round {number}: {each.sentence}")
            order = sorted(each.means, key=lambda name: -each.means[name])
            for name in order:
                why = f"  dropped: {each.dropped[name]}" if name in each.dropped else ""
                lines.append(f"  {name:<24} {each.means[name]:.3f}{why}")
        return "\n".join(lines)


def _models(names: Sequence[str]) -> str:
    return f"{counted(len(names), 'model')} {'was' if len(names) == 1 else 'were'}"


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"


def choice_of(race: Race, runs: tuple[Run, ...]) -> Choice:
    """What a race that has ended says."""
    last = race.rounds[-1]
    return Choice(
        model=last.leader,
        p_best=race.p_best(),
        regret_limit=last.regret_limit,
        confidence=race.rules.confidence,
        cost_share=last.cost_share,
        not_separable=race.not_separable,
        stopped=race.stopped,
        rounds=tuple(race.rounds),
        runs=runs,
        filtered=race.filtered,
        evidence=race.evidence.names,
        over=race.over,
        seeds_limit=last.seeds_limit,
    )
