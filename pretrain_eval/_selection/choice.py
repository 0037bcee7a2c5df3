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
        p_best: How probably each model is the best for new seeds, of those that were
            not dropped; 0 for those that were.
        regret_limit: How much worse than the best of the models that ran at full length
            it is at most, at `confidence`, for new seeds on the validation examples;
            NaN where that is not known.
        confidence: Of that limit.
        cost_share: What was spent, as a share of the grid's optimizer steps.
        not_separable: Models that were not dropped beside it.
        stopped: Why the race has ended.
        rounds: The trail.
        runs: Every run that was made or read, those cut short with the status "pruned".
        filtered: Models that were not trained, since estimates ranked them last.
        evidence: The names of those estimators and static baselines.

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

    if not TYPE_CHECKING:
        __getattr__ = refusal("choice")

    def __str__(self) -> str:
        limit = f"at most {shown(self.regret_limit)} worse than the best"
        if math.isnan(self.regret_limit):
            limit = "how much worse than the best is not known"
        lines = [
            f"Use {self.model}; P(best) = {self.p_best[self.model]:.2f} for new seeds on"
            f" these validation examples; {limit} at {self.confidence:.0%}.",
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
    left = [name for name in last.models if name not in last.dropped]
    return Choice(
        model=last.leader,
        p_best=race.p_best(),
        regret_limit=last.regret_limit,
        confidence=race.rules.confidence,
        cost_share=last.cost_share,
        not_separable=tuple(name for name in left if name != last.leader),
        stopped=race.stopped,
        rounds=tuple(race.rounds),
        runs=runs,
        filtered=race.filtered,
        evidence=race.evidence.names,
    )
