"""Runs laid out in cells."""

from __future__ import annotations

import numpy as np
import pytest
from scoring import make_run

from pretrain_eval._scoring.formulas.statistics import mean_by_cell
from pretrain_eval._scoring.grid import (
    Cells,
    crossed,
    effective_examples,
    modes_of,
    ordered,
    with_chance,
)

CELLS = (("s", "d", "x"), ("s", "e", "x"), ("t", "d", "x"))


def test_runs_are_sorted_by_what_they_are() -> None:
    """By model, task, dataset, strategy and seed; seeds as numbers."""
    runs = [make_run(seed=10), make_run(seed=9), make_run("s", seed=11)]
    assert [run.seed for run in ordered(runs)] == [11, 9, 10]


def test_macro_means_leave_out_what_is_not_measured() -> None:
    """A cell that is NaN has no weight, and its task's other cells have more."""
    cells = Cells(CELLS)
    assert float(cells.macro(np.array([0.2, 0.4, 0.9]))) == pytest.approx(0.6)
    assert float(cells.macro(np.array([0.2, np.nan, 0.9]))) == pytest.approx(0.55)
    assert np.isnan(cells.macro(np.full(3, np.nan)))


def test_macro_means_of_draws_are_those_of_each() -> None:
    """Many rows at once give what each row gives."""
    cells = Cells(CELLS)
    rows = np.random.default_rng(0).uniform(size=(5, 3))
    expected = [float(cells.macro(row)) for row in rows]
    assert cells.macro(rows) == pytest.approx(expected, abs=1e-15)
    assert cells.by_task(rows)["s"] == pytest.approx(rows[:, :2].mean(axis=1))
    assert cells.by_dataset(rows)["t", "d"] == pytest.approx(rows[:, 2])


def test_cells_are_asked_by_column_or_by_values() -> None:
    """A name stands for the means of that column; parts of the cells keep theirs."""
    means = {"z": np.array([0.2, 0.4, 0.9])}
    cells = Cells(CELLS, {"x": "head"}, means)
    assert "z" in cells
    assert "P" not in cells
    assert cells.macro("z") == cells.macro(means["z"])
    assert cells.only([2])["z"].tolist() == [0.9]
    assert cells.of_mode("head").names == CELLS
    assert not cells.of_mode("all").names
    assert cells.over_datasets(means["z"]) == pytest.approx(0.6)


def test_means_by_cell_skip_nan() -> None:
    """The mean of the known values; NaN where there is none."""
    values = np.array([0.2, np.nan, 0.4, np.nan])
    found = mean_by_cell(values, np.array([0, 0, 0, 1]), 2)
    assert found[0] == pytest.approx(0.3)
    assert np.isnan(found[1])


def test_crossing_keeps_datasets_in_their_tasks() -> None:
    """Every dataset of a task meets every strategy, and no other task's datasets."""
    found = crossed([("s", "d", "x"), ("t", "e", "y")])
    assert found == (("s", "d", "x"), ("s", "d", "y"), ("t", "e", "x"), ("t", "e", "y"))


def test_modes_come_from_settings() -> None:
    """The head alone is feature extraction; all else, and silence, is fine-tuning."""
    runs = [
        make_run(strategy="probe"),
        make_run(strategy="full"),
        make_run(strategy="last", settings={"trainable": "last block"}),
        make_run(strategy="bare", settings={}),
    ]
    expected = {"probe": "head", "full": "all", "last": "all", "bare": "all"}
    assert modes_of(runs) == expected


def test_chance_belongs_to_the_dataset() -> None:
    """A run that knows none takes that of its own dataset, not of another."""
    runs = (
        make_run(chance={"accuracy": 0.3}),
        make_run(seed=1, chance={}),
        make_run(dataset="e", chance={}),
    )
    found = with_chance(runs)
    assert [dict(run.chance) for run in found] == [{"accuracy": 0.3}] * 2 + [{}]


def test_effective_examples_by_hand() -> None:
    """1 / Σ w² / n over datasets; the smallest size counts; unknown is None."""
    cells = Cells(CELLS)
    runs = [
        make_run("s", "d", "x", num_examples=100),
        make_run("s", "d", "x", seed=1, num_examples=50),
        make_run("s", "e", "x", num_examples=100),
        make_run("t", "d", "x", num_examples=400),
    ]
    expected = 1 / (0.25**2 / 50 + 0.25**2 / 100 + 0.5**2 / 400)
    assert effective_examples(runs, cells) == pytest.approx(expected, abs=1e-9)
    assert effective_examples(runs[:-1], cells) is None
