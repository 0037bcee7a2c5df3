"""The parts of the sentence that recommends a model."""

from __future__ import annotations

from collections.abc import Sequence

from pretrain_eval._scoring.reports.pareto import differ_in_size
from pretrain_eval._scoring.reports.report import Report
from pretrain_eval._scoring.reports.table import listing

# What to say of a cost, and below which share. Times vary from one call to the next.
_CHEAPER = {
    "num_parameters": ("has {:.2g}× the parameters", 0.95),
    "macs": ("needs {:.2g}× the multiply-accumulates", 0.95),
    "seconds": ("took {:.2g}× the time", 0.75),
}


def recommendation(verdict: str, equal: Sequence[Report], cheapest: str | None) -> str:
    """Which model to use.

    Args:
        verdict: "use", "equal" or "inconclusive".
        equal: The best, then what is practically equal to it.
        cheapest: The one of these to take where they are equal.
    """
    best = equal[0]
    if verdict == "use":
        return f"Use {best.model}"
    if verdict == "inconclusive":
        return f"Use {best.model} for now, inconclusive"
    rest = listing([each.model for each in equal if each.model != cheapest])
    cheap = any(differ_in_size(best, each) for each in equal[1:])
    words = ", the cheapest" if cheap else ""
    return f"Use {cheapest}{words}, practically equal to {rest}"


def probability(
    p_best: float | None,
    between: tuple[float, float] | None,
    over: Sequence[str],
    about: str = "",
) -> list[str]:
    """How probably it is the best, for new what; nothing where that is unknown.

    Args:
        p_best: The probability, if it is known.
        between: Its range instead, where runs are missing.
        over: What would be drawn anew.
        about: Name of the model, where the sentence recommends another.
    """
    anew = f" for new {' and '.join(over)}" if over else ""
    whose = f"P(best) of {about}" if about else "P(best)"
    if p_best is not None:
        return [f"{whose} = {p_best:.2f}{anew}"]
    if between is not None:
        low, high = between
        return [
            f"{whose} lies between {low:.2f} and {high:.2f}{anew}, by what is missing"
        ]
    return []


def at_most(regret_limit: float, percent: str) -> str:
    """How much worse than the truly best it is at most."""
    limit = "0.0005" if regret_limit < 0.0005 else f"{regret_limit:.3f}"
    return f"at most {limit} worse than the best at {percent}"


def alternatives(best: Report, rivals: Sequence[Report]) -> str:
    """The cheapest of those that cannot be told from the best, if it is cheaper."""
    for name, (words, cheaper) in _CHEAPER.items():
        own = getattr(best.cost, name)
        known = [each for each in rivals if getattr(each.cost, name) is not None]
        if name == "seconds":
            # Between models of one size the machine's load would speak.
            known = [each for each in known if differ_in_size(each, best)]
        if not own or not known:
            continue
        rival = min(known, key=lambda each: (getattr(each.cost, name), each.model))
        share = getattr(rival.cost, name) / own
        if share < cheaper:
            others = [each.model for each in rivals if each is not rival]
            verb = "is" if len(others) == 1 else "are"
            also = f" (nor {verb} {listing(others)})" if others else ""
            what = words.format(share)
            return f"{rival.model} {what} and is not separable from it{also}"
    verb = "is" if len(rivals) == 1 else "are"
    return f"{listing([each.model for each in rivals])} {verb} not separable from it"
