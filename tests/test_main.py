"""The main job's small form, as a user calls it: `pretrain-eval demo --small`."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import pretrain_eval as pe

CELLS = 4 * 2 * 3 * 2  # models, tasks, datasets, strategies


def command(folder: Path) -> list[str]:
    return [
        *(sys.executable, "-m", "pretrain_eval", "demo"),
        *("--small", "--folder", str(folder), "--seeds", "1", "--quiet"),
    ]


def kept(folder: Path) -> list[pe.Run]:
    if not (folder / "runs.db").exists():
        return []
    with pe.RunStore(folder / "runs.db") as store:
        return list(store)


@pytest.fixture(scope="module")
def killed_and_resumed(
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Path, list[pe.Run], str]:
    """The folder, the runs that were there when it was killed, what was printed."""
    folder = tmp_path_factory.mktemp("job") / "results"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    job = subprocess.Popen(command(folder), stdout=subprocess.PIPE, env=environment)
    deadline = time.monotonic() + 300
    while len(kept(folder)) < 5 and time.monotonic() < deadline:
        time.sleep(0.1)
    job.send_signal(signal.SIGKILL)
    job.communicate()
    before = kept(folder)
    again = subprocess.run(
        command(folder), capture_output=True, text=True, check=True, env=environment
    )
    return folder, before, again.stdout


def test_a_killed_job_repeats_nothing_and_loses_nothing(
    killed_and_resumed: tuple[Path, list[pe.Run], str],
) -> None:
    """Runs that were finished at SIGKILL are there unchanged, down to their seconds."""
    folder, before, _ = killed_and_resumed
    after = kept(folder)
    assert 5 <= len(before) < CELLS
    assert len(after) == CELLS
    assert all(run in after for run in before)


def test_the_job_prints_five_scores_and_a_decision(
    killed_and_resumed: tuple[Path, list[pe.Run], str],
) -> None:
    """The table names protocols and models; the sentence names one of them."""
    _, _, printed = killed_and_resumed
    for word in (
        *("optimizability", "usability", "variability", "reusability", "persistence"),
        *("supervised", "rotation", "photographs", "scratch"),
    ):
        assert word in printed
    assert "Use " in printed
    assert "the whole decision cost" in " ".join(printed.split())


def test_the_printed_persistence_is_that_of_the_stored_runs(
    killed_and_resumed: tuple[Path, list[pe.Run], str],
) -> None:
    """P(M) of each model, recomputed from the store by hand, stands in the exports."""
    folder, _, _ = killed_and_resumed
    cells: dict[str, list[float]] = {}
    for run in kept(folder):
        cells.setdefault(run.model, []).append(run.scores["accuracy"])
    expected = {model: sum(column) / 12 for model, column in cells.items()}
    with (folder / "scores.csv").open(encoding="utf-8") as file:
        rows = [r for r in csv.DictReader(file) if r["protocol"] == "persistence"]
    assert {r["model"]: float(r["score"]) for r in rows} == pytest.approx(expected)
    card = pe.Scorecard.from_json((folder / "scores.json").read_text(encoding="utf-8"))
    assert card["persistence"].reports[0].model == max(
        expected, key=lambda model: expected[model]
    )
    assert json.loads(card.to_json())


def test_the_right_pretraining_helps(
    killed_and_resumed: tuple[Path, list[pe.Run], str],
) -> None:
    """The figure is drawn, and pretraining on digits beats none with a frozen body."""
    folder, _, _ = killed_and_resumed
    assert (folder / "decision.png").stat().st_size > 10_000

    def probed(model: str) -> float:
        scores = [
            run.scores["accuracy"]
            for run in kept(folder)
            if run.model == model and run.strategy == "head-only"
        ]
        return sum(scores) / len(scores)

    assert probed("supervised") > probed("scratch") + 0.05
