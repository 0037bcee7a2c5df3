"""Learning curves: worked areas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from pretrain_eval._scoring.formulas.curves import (
    areas_under,
    points_before_failure,
    time_share,
    times_to,
)


def area_under(
    times: Sequence[float], heights: Sequence[float], **keywords: Any
) -> float:
    """The area under one curve, by the function for several."""
    twice = np.array([heights, np.zeros(len(heights))]).reshape(2, len(heights))
    area, nothing = areas_under(times, twice, **keywords).tolist()
    assert nothing == 0
    return float(area)


def test_area_by_hand() -> None:
    """Two trapezoids over x = log(1 + 10 t/T) / log(11)."""
    x = math.log(6) / math.log(11)
    expected = x * (0.2 + 0.6) / 2 + (1 - x) * (0.6 + 0.8) / 2
    assert area_under([0, 5, 10], [0.2, 0.6, 0.8]) == pytest.approx(expected, abs=1e-12)


def test_area_is_numpys_trapezoid() -> None:
    """Any points, against numpy's rule on the same x."""
    rng = np.random.default_rng(0)
    times = np.sort(rng.choice(1000, 12, replace=False)).tolist()
    times[0] = 0
    heights = rng.uniform(-0.2, 1, 12).tolist()
    x = np.log1p(10 * np.array(times) / times[-1]) / np.log(11)
    expected = np.sum((x[1:] - x[:-1]) * (np.array(heights)[1:] + heights[:-1]) / 2)
    assert area_under(times, heights) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("keywords", "expected"),
    [
        ({"epochs": 2}, 0.5),  # two epochs of five steps: nothing is missing
        ({"epochs": 4}, 0.75),  # stopped at half: the last value is held
        ({"epochs": 4, "diverged": True}, 0.25),  # 0 for the other half
        ({"diverged": True}, 0.0),  # no plan: nothing tells how long it was to go on
        ({}, 0.5),
    ],
)
def test_a_curve_that_ends_early(keywords: dict[str, Any], expected: float) -> None:
    """The last value is held where a run stopped, and 0 after divergence."""
    area = area_under([0, 5, 10], [0.0, 0.5, 1.0], linear=True, **keywords)
    assert area == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("times", "heights", "expected"),
    [([0], [0.4], 0.4), ([7], [0.4], 0.4), ([], [], 0)],
)
def test_a_curve_of_one_point_is_flat(
    times: list[float], heights: list[float], expected: float
) -> None:
    """One point is held over the whole time."""
    assert area_under(times, heights) == pytest.approx(expected, abs=1e-12)


def test_early_progress_counts_more() -> None:
    """A rise in the first tenth gains seven times what the last tenth does."""
    times = [0, 10, 90, 100]
    flat = area_under(times, [0.0, 0.5, 0.5, 0.5])
    early = area_under(times, [0.1, 0.5, 0.5, 0.5]) - flat
    late = area_under(times, [0.0, 0.5, 0.5, 0.6]) - flat
    assert early == pytest.approx(0.1 * math.log(2) / math.log(11) / 2, abs=1e-12)
    assert late == pytest.approx(0.1 * math.log(11 / 10) / math.log(11) / 2, abs=1e-12)


def test_time_runs_from_0_to_1() -> None:
    """The ends are fixed, and half the x is spent on the first quarter of the steps."""
    assert time_share(0, 40) == 0
    assert time_share(40, 40) == 1
    assert time_share(10, 40) > 0.5
    assert time_share(10, 40, linear=True) == 0.25


def test_times_to_levels() -> None:
    """The first crossing of the straight lines between the points; NaN where none."""
    levels = np.array([0.0, 0.25, 0.75, 1.1])
    heights = np.array([[0.0, 0.5, 1.0, 0.2]] * 4)
    found = times_to([0, 5, 10, 15], heights, levels)
    assert found.tolist() == pytest.approx([0.0, 2.5, 7.5, math.nan], nan_ok=True)


def test_times_are_those_of_each_curve() -> None:
    """Curves that are read together do not touch each other."""
    heights = np.array([[0.0, 1.0], [0.5, 1.0], [0.0, 0.0]])
    found = times_to([0, 10], heights, np.array([0.5, 0.5, 0.5]))
    assert found.tolist() == pytest.approx([5.0, 0.0, math.nan], nan_ok=True)


def test_points_before_failure() -> None:
    """What follows the first value that is not finite is not read."""
    found = points_before_failure((0, 5, 10), (0.5, math.nan, 0.9))
    assert found == ((0,), (0.5,))
