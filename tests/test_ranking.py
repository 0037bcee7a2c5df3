"""Who is best and who cannot be told apart, on draws with a known answer."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import integrate, stats

from pretrain_eval._scoring.formulas.ranking import share_first, standing

RNG = np.random.default_rng(0)


def draws_around(scores: list[float], scale: float) -> np.ndarray:
    """Independent normal draws around each score."""
    noise = RNG.standard_normal((len(scores), 20_000))
    return np.array(scores)[:, None] + scale * noise


def test_the_share_of_draws_is_the_normal_tail() -> None:
    """A is above B, one standard error of the difference lower, in Φ(1) of the draws."""
    found = share_first(draws_around([0.5, 0.4], 0.1 / 2**0.5))
    assert found == pytest.approx([0.841, 0.159], abs=0.01)


@pytest.mark.parametrize("gap", [0.0, 1.0, 2.0, 4.0])
def test_p_best_of_two_leaves_room_for_luck(gap: float) -> None:
    """P(A > B) is E Φ(√(1 − B) gap) over the share B that may be luck."""
    scores = [gap, 0.0]
    draws = draws_around(scores, 2**-0.5)
    found = standing(np.array(scores), draws, 0.95).p_best

    def weight(share: float) -> float:
        return float(share**0.5 * np.exp(-share * gap**2 / 2))

    def part(share: float) -> float:
        return weight(share) * float(stats.norm.cdf((1 - share) ** 0.5 * gap))

    expected = integrate.quad(part, 0, 1)[0] / integrate.quad(weight, 0, 1)[0]
    assert found[0] == pytest.approx(expected, abs=0.01)
    assert found.sum() == pytest.approx(1, abs=1e-12)


def test_a_far_model_does_not_hide_that_the_others_are_alike() -> None:
    """P(best) of two alike is the same beside a third that is far below."""
    noise = RNG.standard_normal((3, 20_000))
    near, far = np.array([1.0, 0.0]), np.array([1.0, 0.0, -40.0])
    two = standing(near, near[:, None] + noise[:2], 0.95).p_best
    three = standing(far, far[:, None] + noise, 0.95).p_best
    assert three == pytest.approx([*two, 0.0], abs=0.01)


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
