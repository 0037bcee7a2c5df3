"""Who is best, how surely, and who cannot be told apart: formulas on joint draws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pretrain_eval._scoring.formulas.intervals import quantiles
from pretrain_eval._scoring.formulas.statistics import Array


class Standing(NamedTuple):
    """What joint draws say about several models.

    Attributes:
        p_best: Share of the draws in which each model is first, ties shared.
        regret: Mean distance of the first model from the best of each draw.
        regret_limit: The distance that is not exceeded with the stated confidence.
        separable: Whether each model can be told from the best.
    """

    p_best: Array
    regret: float
    regret_limit: float
    separable: list[bool]


def share_first(draws: Array) -> Array:
    """Share of the draws in which each model is first, ties shared, (num_models,)."""
    first = draws == draws.max(axis=0)
    shares: Array = (first / first.sum(axis=0)).mean(axis=1)
    return shares


def standing(
    scores: Array, draws: Array, confidence: float, *, ceilings: Array | None = None
) -> Standing:
    """The standing of models of which the first is the pick.

    A model is separable where it can be excluded from being the best: for some other
    model l, (x_l − x_m) / s_lm exceeds the quantile of its largest value over all l
    under the draws centred at 0. Taken together the models that remain hold the best
    one with at least the stated confidence, however many are compared (Hsu's multiple
    comparisons with the best); for two models it is the interval of their difference.

    Args:
        scores: (num_models,) the scores, the pick first.
        draws: (num_models, num_draws) draws of the scores.
        confidence: For example 0.95.
        ceilings: The most that each score could be if what is missing were at its best;
            regret and separation are judged against them, the pick's own excepted.
    """
    most = scores if ceilings is None else np.concatenate([scores[:1], ceilings[1:]])
    lifted = draws + (most - scores)[:, None]
    regret = lifted.max(axis=0) - draws[0]
    return Standing(
        p_best=share_first(draws),
        regret=float(regret.mean()),
        regret_limit=float(np.quantile(regret, confidence)),
        separable=[
            _is_separable(index, scores, most, draws, confidence)
            for index in range(scores.size)
        ],
    )


def _is_separable(
    index: int, scores: Array, most: Array, draws: Array, confidence: float
) -> bool:
    others = [other for other in range(scores.size) if other != index]
    if not others:
        return False
    centred = draws - scores[:, None]
    spread = centred[others] - centred[index]
    # Half the central 68 %: a scale that heavy tails do not move.
    low, high = quantiles(spread, [0.1587, 0.8413])
    scale = (high - low) / 2
    gaps = scores[others] - most[index]
    certain = scale == 0
    if (certain & (gaps > 0)).any():
        return True
    if certain.all():
        return False
    varied = ~certain
    worst = (spread[varied] / scale[varied, None]).max(axis=0)
    critical = np.quantile(worst, (1 + confidence) / 2)
    return bool((gaps[varied] / scale[varied] > critical).any())
