"""The page of what was found says what the table of real fine-tunings says."""

import importlib
import re
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

import pretrain_eval as pe

BENCHMARKS = Path(__file__).parent / "benchmarks"


@pytest.fixture(scope="module")
def found() -> ModuleType:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        return importlib.import_module("what_we_found")
    finally:
        sys.path.remove(str(BENCHMARKS))


@pytest.fixture(scope="module")
def page(found: ModuleType) -> str:
    return str(found.PAGE.read_text("utf-8"))


def test_each_table_of_the_page_is_what_its_command_prints(
    found: ModuleType, page: str
) -> None:
    """Every section stands there, below its command, as the file gives it now."""
    for name in found.SECTIONS:
        assert f"`python tests/benchmarks/what_we_found.py {name}`" in page
    assert found.written(page) == page


def test_the_page_has_no_other_measured_number(page: str) -> None:
    """Outside of tables no decimal and no share stands, which could drift."""
    prose = [line for line in page.splitlines() if not line.startswith("|")]
    assert not re.findall(r"\d*\.\d+|\d+ ?%", re.sub(r"`[^`]*`", "", "\n".join(prose)))


def test_a_gain_is_the_difference_of_means_over_the_seeds(found: ModuleType) -> None:
    """By hand from the lines of the file, for the first task."""
    task = next(iter(found.TASKS))
    scores: dict[str, list[float]] = {}
    for run in found.read_runs():
        if (run.task, run.dataset, run.strategy) == (task, found.BASE[task], "probe"):
            scores.setdefault(run.model, []).append(run.scores["accuracy"])
    assert {len(values) for values in scores.values()} == {found.MORE_SEEDS}
    means = {model: float(np.mean(values)) for model, values in scores.items()}
    best = max(v for model, v in means.items() if "twin" not in model)
    twin = max(v for model, v in means.items() if "twin" in model)
    row = found.gains().splitlines()[2]
    assert f"{best:.3f}" in row
    assert f"{twin:.3f}" in row
    assert f"{best - twin:+.3f}" in row


def test_every_line_is_a_run_of_a_whole_grid(found: ModuleType) -> None:
    """No cell lacks, none stands twice, and a race can be held over each task's base."""
    runs = found.read_runs()
    places = [(r.model, r.task, r.dataset, r.strategy, r.seed) for r in runs]
    assert len(places) == len(set(places))
    for task, asked in found.TASKS.items():
        for number in asked.per_class:
            seeds = found.MORE_SEEDS if number == asked.base else 5
            for strategy in ("frozen", "probe"):
                cell = found.scores()[task, f"{number} per class", strategy]
                assert {len(by_seed) for by_seed in cell.values()} == {seeds}
        base = found.runs_of(task, "frozen", range(5))
        assert pe.replay(base).model in {run.model for run in base}
    assert sum(p.stat().st_size for p in BENCHMARKS.glob("real_*.jsonl")) <= 3e6
