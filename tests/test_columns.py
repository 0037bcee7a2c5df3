"""What many runs measured, as columns."""

from __future__ import annotations

import math

import pytest
from scoring import make_run

from pretrain_eval._scoring.model_runs import column, column_of, named, which_diverged


def test_columns_hold_nan_where_nothing_is() -> None:
    """None and an absent key are NaN; numbers keep every bit."""
    nan = pytest.approx([0.1, math.nan], nan_ok=True, abs=0)
    assert column([0.1, None]).tolist() == nan
    assert column_of([{"a": 0.1, "b": 2.0}, {"b": 3.0}], ["a", "a"]).tolist() == nan
    assert column_of([{"a": 0.1}, {"b": 3.0}], ["a", "b"]).tolist() == [0.1, 3.0]
    assert column([]).size == 0


def test_which_runs_diverged() -> None:
    """Those of that status alone."""
    runs = [make_run(), make_run(status="diverged"), make_run(status="error")]
    assert which_diverged(runs).tolist() == [False, True, False]


def test_which_keys_name_something() -> None:
    """The empty key stands for a task without a metric."""
    assert named(["accuracy", ""]).tolist() == [True, False]
