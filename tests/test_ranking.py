"""Who is best and who cannot be told apart, on draws with a known answer."""

from __future__ import annotations

import numpy as np
import pytest

from pretrain_eval._scoring.formulas.ranking import standing

RNG = np.random.default_rng(0)


def draws_around(scores: list[float], scale: float) -> np.ndarray:
    """Independent normal draws around each score."""
    noise = RNG.standard_normal((len(scores), 20_000))
    return np.array(scores)[:, None] + scale * noise


def test_p_best_of_two_is_the_normal_tail() -> None:
    """P(A > B) for a gap of one standard error of the difference is Φ(1)."""
    scores = [0.5, 0.4]
    found = standing(np.array(scores), draws_around(scores, 0.1 / 2**0.5), 0.95)
    assert found.p_best == pytest.approx([0.841, 0.159], abs=0.01)


def test_regret_of_two_equal_models_is_half_their_mean_distance() -> None:
    """E max(0, B − A) for A − B ~ N(0, 1) is 1 / √(2π)."""
    scores = [0.0, 0.0]
    found = standing(np.array(scores), draws_around(scores, 2**-0.5), 0.95)
    assert found.regret == pytest.approx(0.3989, abs=0.01)
    assert found.regret_limit == pytest.approx(1.645, abs=0.04)


def test_draws_that_tie_share_the_first_place() -> None:
    """Two equal constants are each the best in half of the draws."""
    found = standing(np.zeros(2), np.zeros((2, 10)), 0.95)
    assert found.p_best.tolist() == [0.5, 0.5]
    assert found.separable == [False, False]


@pytest.mark.parametrize(("gap", "told"), [(1.8, False), (2.2, True)])
def test_two_models_part_where_their_interval_does(gap: float, told: bool) -> None:
    """Two models are separable from 1.96 standard errors of the difference on."""
    scores = [gap, 0.0]
    found = standing(np.array(scores), draws_around(scores, 2**-0.5), 0.95)
    assert found.separable[1] is told


def test_many_models_need_larger_gaps() -> None:
    """What parts two models does not part twenty: the best of many is lucky."""
    scores = [2.2, *[0.0] * 19]
    found = standing(np.array(scores), draws_around(scores, 2**-0.5), 0.95)
    assert not any(found.separable[1:])


def test_what_is_missing_may_be_at_its_best() -> None:
    """A model whose upper bound reaches the best is not separable and adds regret."""
    scores = np.array([1.0, 0.0])
    draws = draws_around(scores.tolist(), 0.05)
    assert standing(scores, draws, 0.95).separable == [False, True]
    open_ = standing(scores, draws, 0.95, ceilings=np.array([1.0, 1.1]))
    assert open_.separable == [False, False]
    assert open_.regret == pytest.approx(0.1, abs=0.02)


def test_constant_scores_are_told_apart_exactly() -> None:
    """Without any spread a difference is certain."""
    scores = np.array([0.5, 0.5, 0.4])
    found = standing(scores, np.repeat(scores[:, None], 10, axis=1), 0.95)
    assert found.separable == [False, False, True]
