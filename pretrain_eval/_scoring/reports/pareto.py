"""Score against cost: which models no other beats, and which is the cheapest."""

from __future__ import annotations

from collections.abc import Sequence

from pretrain_eval._runs import FrozenDict
from pretrain_eval._scoring.budget import COSTS
from pretrain_eval._scoring.reports.report import Report


def front(reports: Sequence[Report]) -> FrozenDict[str, tuple[str, ...]]:
    """By cost, the models that no other beats on score and on that cost."""
    fronts = {}
    alike = len({each.num_runs for each in reports}) == 1
    for name, attribute in COSTS.items():
        amounts = [getattr(each.cost, attribute) for each in reports]
        unknown = any(amount is None for amount in amounts)
        unscored = any(each.score is None for each in reports)
        if unknown or unscored or (name == "seconds" and not alike):
            continue
        fronts[name] = tuple(
            own.model
            for own in reports
            if not any(_beats(other, own, attribute) for other in reports)
        )
    return FrozenDict(fronts)


def differ_in_size(first: Report, second: Report) -> bool:
    """Whether parameters or MACs are known to differ."""
    pairs = [
        (getattr(first.cost, name), getattr(second.cost, name))
        for name in ("num_parameters", "macs")
    ]
    return any(None not in pair and pair[0] != pair[1] for pair in pairs)


def cheapest(reports: Sequence[Report]) -> str | None:
    """The one with the fewest parameters, then MACs, where all know them."""
    if not reports:
        return None
    names = [
        name
        for name in ("num_parameters", "macs")
        if all(getattr(each.cost, name) is not None for each in reports)
    ]
    # The first of equals, which is the better-ranked.
    found = min(reports, key=lambda each: [getattr(each.cost, name) for name in names])
    return found.model


def _beats(other: Report, own: Report, attribute: str) -> bool:
    costs = getattr(other.cost, attribute), getattr(own.cost, attribute)
    if attribute == "seconds" and not differ_in_size(other, own):
        costs = (0, 0)
    better = (other.score or 0.0) - (own.score or 0.0)
    no_worse = better >= 0 and costs[0] <= costs[1]
    return no_worse and (better > 0 or costs[0] < costs[1])
