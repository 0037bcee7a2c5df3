"""The shell's door: `pretrain-eval` and its exit codes."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import pretrain_eval as pe
from pretrain_eval.__main__ import main

RACE = """
from functools import partial

import torch
from torch.utils.data import TensorDataset

import pretrain_eval as pe


def network(width):
    layers = [torch.nn.Linear(4, width), torch.nn.ReLU(), torch.nn.Linear(width, 2)]
    return torch.nn.Sequential(*layers)


def part(number, seed):
    inputs = torch.randn(number, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs[:, 0] > 0).long())


models = {"narrow": partial(network, 1), "wide": partial(network, 32)}
heads = dict.fromkeys(models, "2")
splits = pe.Splits(part(64, 1), part(60, 2), part(80, 3))
tasks = [pe.Task("signs", datasets={"one": splits}, num_classes=2)]
adam = partial(torch.optim.AdamW, lr=1e-2)
strategies = [pe.Strategy("full", optimizer=adam, epochs=2, batch_size=32)]
seeds = 2
"""


def run(model: str, seed: int, accuracy: float) -> pe.Run:
    return pe.Run(
        model=model,
        task="t",
        dataset="d",
        strategy="full",
        seed=seed,
        scores={"accuracy": accuracy},
        chance={"accuracy": 0.5},
        cost=pe.Cost(seconds=2.0),
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Two models that are far apart, and a run that failed."""
    path = tmp_path / "runs.db"
    failed = {"task": "t", "dataset": "d", "strategy": "full", "seed": 9}
    runs = [
        *(run("good", seed, 0.9 + seed / 1000) for seed in range(4)),
        *(run("bad", seed, 0.6 + seed / 1000) for seed in range(4)),
    ]
    with pe.RunStore(path) as kept:
        for number, each in enumerate(runs):
            kept.add(str(number), each)
        lost = pe.Run(model="bad", status="error", message="no room", **failed)
        kept.add("lost", lost)
    return path


@pytest.mark.parametrize(
    ("rope", "pair", "code"),
    [("0", ("good", "bad"), 0), ("0.5", ("good",), 1), ("0", ("good",), 2)],
)
def test_the_exit_code_is_the_verdict(
    tmp_path: Path,
    rope: str,
    pair: tuple[str, ...],
    code: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """0 use, 1 practically equal, 2 inconclusive, as Comparison.exit_code says."""
    path = tmp_path / "some.db"
    levels = {"good": 0.9, "bad": 0.6} if len(pair) == 2 else {"good": 0.9, "as": 0.9}
    with pe.RunStore(path) as kept:
        for model, level in levels.items():
            for seed in range(4):
                # Of alike models the seeds tell nothing.
                jump = 0.01 * ((seed * 7 + len(model)) % 4)
                kept.add(f"{model}{seed}", run(model, seed, level + jump))
    assert main(["compare", str(path), "--rope", rope]) == code
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        pe.compare(path, pe.PersistenceEvaluator(rope=float(rope))).decision in printed
    )


def test_show_lists_models_and_what_failed(
    store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A row a model, and the message of a failed run; filters narrow it."""
    assert main(["show", str(store)]) == 0
    printed = capsys.readouterr().out
    assert "Runs(9 of 2 models" in printed
    assert "error: bad on t/d, full, seed 9: no room" in printed
    assert main(["show", str(store), "--model", "good"]) == 0
    assert "bad" not in capsys.readouterr().out
    assert main(["show", str(store), "--model", "none"]) == 0
    assert "Runs(none)" in capsys.readouterr().out


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "json", "html"])
@pytest.mark.parametrize("protocol", ["persistence", "all"])
def test_every_form_names_the_models(
    store: Path, form: str, protocol: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A comparison, or all five, in each form that a record has."""
    code = main(["compare", str(store), "--format", form, "--protocol", protocol])
    assert code == pe.compare(store).exit_code
    printed = capsys.readouterr().out
    assert "good" in printed
    assert "bad" in printed


def test_a_report_is_a_page(store: Path, tmp_path: Path) -> None:
    """With the decision, in the form that its name ends with."""
    assert main(["report", str(store), str(tmp_path / "report.html")]) == 0
    assert "Use good" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert main(["report", str(store), str(tmp_path / "report.doc")]) == 64


def test_exports_and_copies_hold_all_runs(store: Path, tmp_path: Path) -> None:
    """CSV has a row a run; JSON lines, a backup and a recovered store are equal."""
    with pe.RunStore(store) as kept:
        runs = kept.runs()
    for name in ("runs.csv", "runs.jsonl"):
        assert main(["export", str(store), str(tmp_path / name)]) == 0
    assert len((tmp_path / "runs.csv").read_text().splitlines()) == 1 + len(runs)
    with pe.RunStore(tmp_path / "read.db") as read:
        read.read_jsonl(tmp_path / "runs.jsonl")
        assert read.runs() == runs
    for command in ("backup", "recover"):
        copy = tmp_path / f"{command}.db"
        assert main([command, str(store), str(copy)]) == 0
        with pe.RunStore(copy) as kept:
            assert kept.runs() == runs
        assert main([command, str(store), str(copy)]) == 64


def test_a_race_of_a_file_resumes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A second call finds every run, and prints the same choice."""
    file = tmp_path / "race.py"
    file.write_text(RACE)
    call = ["choose", str(file), "--store", str(tmp_path / "runs.db"), "--quiet"]
    code = main([*call, "--tolerance", "0.001"])
    first = capsys.readouterr().out
    assert code in (0, 1, 2)
    assert "Use " in first
    before = pe.compare(tmp_path / "runs.db").cost.seconds
    assert main([*call, "--tolerance", "0.001"]) == code
    assert capsys.readouterr().out == first
    assert pe.compare(tmp_path / "runs.db").cost.seconds == before


def test_a_watch_goes_on_from_week_to_week(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The file keeps the looks, and the exit code says what they found."""
    rng = np.random.default_rng(0)
    watch = tmp_path / "watch.json"

    def arrays(name: str, share: float, size: int = 400) -> str:
        np.savez(tmp_path / name, values=rng.random(size) < share)
        return str(tmp_path / name)

    call = ["monitor", str(watch)]
    assert main([*call, "--reference", arrays("before.npz", 0.9, 2000)]) == 0
    assert main([*call, "--look", "W1", arrays("one.npz", 0.9)]) == 0
    before = watch.read_text()
    page = tmp_path / "watch.html"
    code = main([*call, "--look", "W2", arrays("two.npz", 0.6), "--report", str(page)])
    assert code == 2
    assert "accuracy has dropped" in capsys.readouterr().out
    assert "accuracy has dropped" in page.read_text()
    assert main(call) == 2
    assert pe.Monitor.from_json(watch.read_text()).looks == ("W1", "W2")
    assert watch.read_text() != before
    capsys.readouterr()
    text = tmp_path / "text.npz"
    text.write_text("no arrays")
    for words, wrong in {
        "a new watch is a new file": [*call, "--reference", str(text)],
        "'W2' has been counted": [*call, "--look", "W2", str(tmp_path / "two.npz")],
        "must be an .npz file": [*call, "--look", "W3", str(text)],
        "none.npz: there is no such file": [*call, "--look", "W3", "none.npz"],
        "--reference predictions.npz makes it": ["monitor", str(tmp_path / "x.json")],
    }.items():
        kept = watch.read_text()
        assert main(wrong) == 64
        assert words in capsys.readouterr().err
        assert watch.read_text() == kept
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_wrong_call_ends_with_a_code_that_is_no_verdict(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line on the standard error, without a traceback, and nothing is made."""
    lacking = tmp_path / "lacking.py"
    lacking.write_text("models = {}")
    wrong = {
        "there is no such run store": ["compare", str(tmp_path / "typo.db")],
        "is not a run store": ["show", str(lacking)],
        "lacks tasks, strategies": ["choose", str(lacking)],
        "there is no such file": ["choose", str(tmp_path / "none.py")],
        "ends with csv, jsonl, parquet": ["export", str(store), "runs.xls"],
        "reads the score 'f2'": ["compare", str(store), "--metric", "f2"],
    }
    before = sorted(tmp_path.iterdir())
    for words, call in wrong.items():
        assert main(call) == 64, call
        printed = capsys.readouterr()
        assert printed.out == ""
        assert "Traceback" not in printed.err
        assert words in printed.err, printed.err
    assert sorted(tmp_path.iterdir()) == before
    for call in (["compare"], ["nonsense"], ["show", str(store), "--seed", "x"]):
        with pytest.raises(SystemExit) as ended:
            main(call)
        assert ended.value.code == 64
    with pytest.raises(FileNotFoundError):
        main(["--traceback", "compare", str(tmp_path / "typo.db")])


def test_help_and_version_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a command the help teaches by examples; each command has its own."""
    assert main([]) == 0
    assert "pretrain-eval compare runs.db" in capsys.readouterr().out
    for call in (["--version"], ["show", "--help"], ["demo", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(call)
        assert ended.value.code == 0
    assert pe.__version__ in capsys.readouterr().out


def test_the_module_and_the_script_are_one(store: Path) -> None:
    """`python -m pretrain_eval` is the installed command, without colour in a pipe."""
    done = subprocess.run(
        [sys.executable, "-m", "pretrain_eval", "show", str(store)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("Runs(9 of 2 models")
    assert "\033" not in done.stdout


def test_completion_needs_a_package_or_says_which(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The words for a shell, or the line that installs what makes them."""
    code = main(["--print-completion", "bash"])
    printed = capsys.readouterr()
    if code == 64:
        assert 'pip install "pretrain-eval[completion]"' in printed.err
    else:
        assert "compare" in printed.out
