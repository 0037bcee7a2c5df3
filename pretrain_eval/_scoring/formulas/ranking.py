"""Who is best, how surely, and who cannot be told apart: formulas on joint draws."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pretrain_eval._scoring.formulas.intervals import quantiles
from pretrain_eval._scoring.formulas.statistics import Array


class Standing(NamedTuple):
    """What joint draws say about several models.

    Attributes:
        p_best: Share of the draws in which each model is first, ties shared, those that
            may be the best drawn towards each other.
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
    return np.asarray((first / first.sum(axis=0)).mean(axis=1))


def drawn_together(scores: Array, draws: Array) -> Array:
    """Draws of models that may be alike: around x̄ + (1 − B) (x − x̄), √(1 − B) as wide.

    The measured best of alike models is the luckiest, and draws around what was
    measured believe its luck. With true scores N(μ, τ²) and errors of variance σ² the
    share B = σ² / (σ² + τ²) of each distance from the mean is luck. τ is unknown: B is
    uniform on [0, 1] beforehand (Daniels' uniform shrinkage), and with M scores x it is
    Γ((M + 1) / 2) of rate Σ (x − x̄)² / 2σ², held below 1; a draw has one B. Distances
    of many σ stay as they are.

    Args:
        scores: (num_models,) the scores.
        draws: (num_models, num_draws) draws around them.

    Returns:
        Shape (num_models, num_draws).
    """
    from scipy import special  # not at import: it takes 0.1 s

    common = (draws - scores[:, None]).mean(axis=0)
    noise = draws - scores[:, None] - common
    # Half the central 68 %: a scale that heavy tails do not move.
    low, high = quantiles(noise, [0.1587, 0.8413])
    variance = float((((high - low) / 2) ** 2).sum()) / max(scores.size - 1, 1)
    if variance == 0:
        return draws
    distances = scores - scores.mean()
    shape, rate = (scores.size + 1) / 2, float(distances @ distances) / variance / 2
    # A hundred shares in every order that draws come in are as good as one a draw.
    places = (np.random.default_rng(0).permutation(noise.shape[1]) % 100 + 0.5) / 100
    levels, place = np.unique(places, return_inverse=True)
    below_one = float(special.gammainc(shape, rate))
    if below_one > 1e-200:
        luck = special.gammaincinv(shape, levels * below_one) / rate
    else:  # the rate is nothing beside the shape: equal scores
        luck = levels ** (1 / shape)
    kept = 1 - np.minimum(luck, 1.0)[place]
    pulled = kept * distances[:, None] + np.sqrt(kept) * noise
    return np.asarray(scores.mean() + common + pulled)


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
    separable = [
        _is_separable(index, scores, most, draws, confidence)
        for index in range(scores.size)
    ]
    # Those far away say nothing of how alike the rest is.
    alike = [i for i, told in enumerate(separable) if i < 2 or not told]
    pulled = draws.copy()
    pulled[alike] = drawn_together(scores[alike], draws[alike])
    return Standing(
        p_best=share_first(pulled),
        regret=float(regret.mean()),
        regret_limit=float(np.quantile(regret, confidence)),
        separable=separable,
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


def task_ranks(scores: Array) -> Array:
    """Rank of each model in each task, 1 the best, ties averaged.

    Args:
        scores: (num_models, num_tasks), larger is better.

    >>> task_ranks(np.array([[0.9, 0.5], [0.8, 0.5]])).tolist()
    [[1.0, 1.5], [2.0, 1.5]]
    """
    better = (scores[None] > scores[:, None]).sum(axis=1)
    tied = (scores[None] == scores[:, None]).sum(axis=1)
    return np.asarray(better + (tied + 1) / 2)


def friedman(ranks: Array) -> tuple[float, float]:
    """Friedman's χ² of ranks over tasks, corrected for ties, and its p-value.

    (k − 1) Σ_j (R_j − N (k + 1) / 2)² / Σ_ij (r_ij − (k + 1) / 2)², R_j the sum of the
    ranks of model j over N tasks.

    Args:
        ranks: (num_models, num_tasks).

    Returns:
        Both; 0 and 1 where all models are tied everywhere.
    """
    from scipy import special  # not at import: it takes 0.1 s

    count, tasks = ranks.shape
    centred = ranks - (count + 1) / 2
    spread = float((centred**2).sum()) / tasks
    if not spread:
        return 0.0, 1.0
    between = float((centred.sum(axis=1) ** 2).sum()) / tasks
    statistic = (count - 1) * between / spread
    return statistic, float(special.chdtrc(count - 1, statistic))


def nemenyi(num_models: int, num_tasks: int, confidence: float) -> float:
    """The critical difference of mean ranks, q · √(k (k + 1) / 6N).

    q is the quantile of the studentized range of k models, over √2. Source: Demšar
    2006, Statistical Comparisons of Classifiers over Multiple Data Sets.

    >>> round(nemenyi(5, 10, 0.95), 3)  # q = 2.728
    1.929
    """
    from scipy import stats  # not at import: it takes 0.5 s

    q = float(stats.studentized_range.ppf(confidence, num_models, np.inf))
    scale = num_models * (num_models + 1) / (6 * num_tasks)
    return q / float(np.sqrt(2)) * float(np.sqrt(scale))
