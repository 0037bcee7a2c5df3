"""What estimates say of candidates before any is trained: an order, and a shortlist."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import final

import numpy as np

from pretrain_eval._selection.estimates import Estimates

# What the runs of a race itself may change, where it has several tasks.
_FROM_RUNS = "rank_on_other_tasks"


@final
@dataclass(frozen=True)
class Evidence:
    """Mean ranks of models under estimators and static baselines.

    Attributes:
        names: Of the estimators and baselines that rank.
        ranks: By model, 1 the best: the mean over names, tasks and datasets. A model
            that none of them knows has no rank.
        passes: By task and dataset, how often training samples were read through a
            model, of all models together, as a share of the split.
    """

    names: tuple[str, ...] = ()
    ranks: Mapping[str, float] = field(default_factory=dict)
    passes: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def ordered(self, models: Iterable[str]) -> list[str]:
        """The models, best first; those without a rank at the end, as they come."""
        return sorted(models, key=lambda name: self.ranks.get(name, math.inf))

    def filtered(self, models: Sequence[str], share: float, at_least: int) -> list[str]:
        """The models that are not worth a training: the last of those with a rank.

        Args:
            models: The candidates.
            share: Of them that are kept.
            at_least: How many are kept at least.
        """
        excess = len(models) - max(at_least, math.ceil(share * len(models)))
        known = [name for name in self.ordered(models) if name in self.ranks]
        return known[len(known) - excess :] if 0 < excess <= len(known) else []


def evidence_of(
    estimates: Estimates | Sequence[Estimates],
    models: Sequence[str],
    datasets: Mapping[str, Sequence[str]],
) -> Evidence:
    """What estimates say of the candidates of a race.

    On every dataset each name ranks the models that it has a value for, two or more;
    equal values share a rank.

    Args:
        estimates: One a task, or fewer.
        models: The candidates; others are not looked at.
        datasets: Those of each task of the race.

    Raises:
        TypeError: These are no estimates.
        ValueError: They are of a task that is not raced, or twice of one.
    """
    given = [estimates] if isinstance(estimates, Estimates) else list(estimates)
    _check(given, datasets)
    ranks: dict[str, list[float]] = defaultdict(list)
    passes: dict[tuple[str, str], float] = defaultdict(float)
    names: dict[str, None] = {}
    for each in given:
        for name in each.names:
            if name == _FROM_RUNS and len(datasets) > 1:
                continue
            for label in datasets[each.task]:
                found = each.ranks(name, label, models)
                names |= dict.fromkeys([name] if found else [])
                for model, rank in found.items():
                    ranks[model].append(rank)
        for (model, label), share in each.passes.items():
            if model in models and label in datasets[each.task]:
                passes[each.task, label] += share
    means = {model: float(np.mean(own)) for model, own in ranks.items()}
    return Evidence(tuple(names), means, passes)


def _check(given: Sequence[object], datasets: Mapping[str, Sequence[str]]) -> None:
    tasks = []
    for each in given:
        if not isinstance(each, Estimates):
            raise TypeError(
                "estimates= expects what estimate() gives, or several of them, got"
                f" {each!r:.200}"
            )
        tasks.append(each.task)
    unknown = [task for task in tasks if task not in datasets]
    if unknown:
        raise ValueError(
            f"estimates= are of task {unknown[0]!r}, which is not raced; the race is on"
            f" {list(datasets)}"
        )
    if len(set(tasks)) < len(tasks):
        raise ValueError(f"estimates= expects one a task, got several of {tasks}")
