"""Paired differences of models: how far their mean is off, and draws of it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from pretrain_eval._scoring.formulas import Array, drawn_together

_NUM_DRAWS = 4000


def error_of_mean(gaps: Array, steps: Array) -> tuple[float, float]:
    """The standard error of the mean of paired differences, and its degrees of freedom.

    Of several seeds the blocks are given and the seeds are drawn: the larger of the
    errors over seeds within blocks and of the seeds' means, since blocks of one seed may
    share their luck, such as the labelled examples. Of one seed, blocks stand for draws,
    which makes it wider. It is at least what counting in steps leaves unknown: where two
    models have the same score in every seed, they differ by less than a step, and not by
    nothing. A value lies evenly within its step, so that the variance of a difference is
    steps²/6.

    Args:
        gaps: `(num_seeds, num_blocks)`.
        steps: `(num_blocks,)`, see `resolution`.
    """
    num_seeds, num_blocks = gaps.shape
    counted = float(np.mean(steps**2)) / 6 / gaps.size
    if num_seeds > 1:
        within = float(gaps.var(axis=0, ddof=1).mean()) / gaps.size
        between = float(gaps.mean(axis=1).var(ddof=1)) / num_seeds
        error = math.sqrt(max(within, between, counted))
        return error, float(num_blocks * (num_seeds - 1))
    if num_blocks == 1:
        return math.inf, 0.0
    over_blocks = float(gaps.var(ddof=1)) / num_blocks
    return math.sqrt(max(over_blocks, counted)), float(num_blocks - 1)


def resolution(values: Array) -> Array:
    """The smallest step between two values of each block, 0 where all are equal.

    A score that is counted on n examples has steps of 1/n; of one that is continuous
    the smallest step soon is next to nothing.

    Args:
        values: `(num_values, num_blocks)`, all that were measured; NaN are left out.
    """
    found = []
    for column in values.T:
        gaps = np.diff(np.unique(column[np.isfinite(column)].round(6)))
        found.append(float(gaps.min(initial=math.inf)) if len(gaps) else 0.0)
    return np.array(found)


def drawn(
    values: Array,
    steps: Array,
    aside: Sequence[tuple[float, float]] = (),
    variances: Array | None = None,
) -> Array:
    """Draws of the models' mean scores, `(num_models, num_draws)`.

    Args:
        values: `(num_models, num_seeds, num_blocks)`, the leader's first.
        steps: `(num_blocks,)`, see `resolution`.
        aside: Further models, which ran fewer seeds: how far each is behind the leader,
            and the standard error of that.
        variances: `(num_models,)` of all of them, over validation examples.
    """
    rng = np.random.default_rng(0)
    num_models, num_seeds, num_blocks = values.shape
    means = values.mean(axis=(1, 2))
    if num_seeds > 1:
        rest = values - values.mean(axis=1, keepdims=True)
        freedom = num_blocks * (num_seeds - 1)
    else:
        rest = values - values.mean(axis=2, keepdims=True)
        rest = rest - rest.mean(axis=0, keepdims=True)
        freedom = num_blocks - 1
    if freedom == 0:  # nothing is known
        return rng.standard_normal((num_models + len(aside), _NUM_DRAWS))
    flat = rest.reshape(num_models, -1) / math.sqrt(freedom * num_seeds * num_blocks)
    normal = flat @ rng.standard_normal((flat.shape[1], _NUM_DRAWS))
    counted = math.sqrt(float(np.mean(steps**2)) / 12 / (num_seeds * num_blocks))
    normal += counted * rng.standard_normal(normal.shape)
    if aside:
        behind, errors = np.array(aside).T
        means = np.concatenate([means, means[0] - behind])
        others = rng.standard_normal((len(aside), _NUM_DRAWS))
        normal = np.vstack([normal, errors[:, None] / math.sqrt(2) * others])
    noise = normal * np.sqrt(freedom / rng.chisquare(freedom, _NUM_DRAWS))
    if variances is not None:
        spread = np.sqrt(variances)[:, None]
        noise = noise + spread * rng.standard_normal(noise.shape)
    return drawn_together(means, means[:, None] + noise)
