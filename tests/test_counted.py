"""What few validation examples leave unknown, and what a race says of it."""

import math

import numpy as np
import pytest
from test_race import World, raced

from pretrain_eval._selection.counted import counted_on, variance_over_examples
from pretrain_eval._selection.race import Measured

UNKNOWN = np.array([math.nan])


class Counted(World):
    """Shares of right answers among the same drawn examples of each task."""

    def __init__(self, levels, blocks, seeds, rng, size=60, luck=0.01):
        super().__init__(levels, blocks, seeds, luck, rng)
        shape = (len(levels), blocks)
        chances = np.array(list(levels.values()))[:, None]
        right = rng.binomial(size, np.broadcast_to(chances, shape))
        self.size, self.right = size, dict(zip(levels, right, strict=True))

    def measure(self, models, seed, *, short):
        found = super().measure(models, seed, short=short)
        made = {}
        for name, each in found.items():
            luck = self.rng.normal(0, self.noise, self.num_blocks)
            counts = np.round(self.right[name] + self.size * luck)
            shares = np.clip(counts, 0, self.size) / self.size
            made[name] = Measured(shares, each.steps)
        return made


@pytest.mark.parametrize("size", [10, 45, 637, 3000])
@pytest.mark.parametrize("digits", [4, 12])
def test_the_number_of_examples_is_read_off_shares(size, digits):
    """Also off those that a table rounds to four digits."""
    rng = np.random.default_rng(size)
    shares = (rng.binomial(size, rng.uniform(0.3, 0.9, 20)) / size).round(digits)
    assert counted_on(shares[:, None], UNKNOWN)[0] == size
    assert counted_on(-shares[:, None], UNKNOWN)[0] == size


def test_what_is_no_share_of_few_examples_is_not_counted():
    """Losses, scores of any value, and so few values that they would fit by chance."""
    rng = np.random.default_rng(0)
    for values in (
        rng.random((20, 1)),
        3 + rng.random((20, 1)),
        [[1.0], [1.0]],
        [[0.37]],
    ):
        assert math.isnan(counted_on(np.array(values), UNKNOWN)[0])


def test_a_known_number_is_believed_where_scores_agree_with_it():
    """And is the most that an inferred one may be: tokens are no examples."""
    known = np.array([50.0])
    assert counted_on(np.array([[0.5], [0.98]]), known)[0] == 50
    tokens = np.random.default_rng(0).binomial(400, 0.6, (12, 1)) / 400
    assert counted_on(tokens, known)[0] == 50
    assert math.isnan(counted_on(np.random.default_rng(1).random((12, 1)), known)[0])


def test_the_variance_over_examples_by_hand():
    """P (1 − p) / n of independent tasks; blocks of one task add up their errors."""
    share, size = np.array([0.6, 0.8]), np.array([50.0, 100.0])
    p = (share * size + 0.5) / (size + 1)
    own = p * (1 - p) / size
    apart = variance_over_examples(share, size, ("a", "b"))
    assert apart == pytest.approx(own.sum() / 4)
    together = variance_over_examples(share, size, ("a", "a"))
    assert together == pytest.approx(np.sqrt(own).sum() ** 2 / 4)
    assert variance_over_examples(np.ones(1), np.array([40.0]), "a") > 0
    assert math.isnan(variance_over_examples(share, np.array([50.0, math.nan]), "ab"))


@pytest.mark.parametrize(("blocks", "gap"), [(4, 0.0), (4, 0.03), (8, 0.02)])
def test_the_limit_holds_for_the_examples_that_were_not_drawn(blocks, gap):
    """In 95 % of worlds, where that of new seeds alone does not."""
    rng = np.random.default_rng(1)
    held, alone = [], []
    for _ in range(200):
        levels = {"a": 0.75, "b": 0.75 - gap, "c": 0.75 - 2 * gap}
        _, choice = raced(Counted(levels, blocks, 5, rng), tolerance=0.0)
        regret = 0.75 - levels[choice.model]
        held.append(regret <= choice.regret_limit + 1e-12)
        alone.append(regret <= choice.seeds_limit + 1e-12)
        assert choice.over == ("seeds", "examples")
        assert choice.regret_limit >= choice.seeds_limit
    assert np.mean(held) >= 0.95
    assert np.mean(alone) < np.mean(held) or gap == 0


def test_a_race_ends_where_seeds_tell_no_more_than_examples_leave_open():
    """It says so, counts those that were near, and costs little."""
    rng = np.random.default_rng(2)
    levels = {"a": 0.75, "b": 0.74, "c": 0.73}
    costs, reasons = [], []
    for _ in range(20):
        world = Counted(levels, 6, 5, rng, luck=0.004)
        _, choice = raced(world, tolerance=0.0)
        costs.append(choice.cost_share)
        reasons.append(choice.stopped)
        if choice.stopped.startswith("only"):
            assert set(choice.not_separable) == set(levels) - {choice.model}
        near = [choice.p_best[name] for name in choice.not_separable]
        assert all(chance > 0 for chance in near)
        assert sum(choice.p_best.values()) == pytest.approx(1)
        assert "for new seeds and examples; at most" in str(choice)
        assert "for new seeds alone)" in str(choice)
    assert reasons.count("only more validation examples could tell") > 10
    assert np.mean(costs) < 0.5


def test_a_model_that_seeds_drop_may_stay_near_for_new_examples():
    """It is run no more, and is not told apart."""
    rng = np.random.default_rng(3)
    found = 0
    for _ in range(20):
        world = Counted({"a": 0.78, "b": 0.72}, 6, 5, rng, luck=0.001)
        race, choice = raced(world, tolerance=0.0)
        lost = {name for each in race.rounds for name in each.dropped}
        found += bool(lost & set(choice.not_separable))
    assert found


def test_scores_that_are_no_shares_have_a_limit_of_seeds():
    """And the sentence says that it is of these validation examples."""
    world = World({"a": 0.9, "b": 0.89}, 4, 3, 0.01, np.random.default_rng(4))
    _, choice = raced(world, tolerance=0.0)
    assert choice.over == ("seeds",)
    assert choice.regret_limit == choice.seeds_limit
    assert "for new seeds on these validation examples" in str(choice)
