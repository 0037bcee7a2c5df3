"""Really pretrained models and real data: what they are drawn from, and their job."""

import csv
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval import demo
from pretrain_eval.demo import job

LACKING = demo.missing()
needs_all = pytest.mark.skipif(
    bool(LACKING), reason=f"lacks {LACKING}: {demo.install_line()}"
)
TARGETS = np.repeat([0, 1, 2], 20)
SAMPLES = TensorDataset(torch.arange(60.0)[:, None], torch.from_numpy(TARGETS))


def chosen(split: object) -> set[int]:
    return {int(split[i][0]) for i in range(len(split))}  # type: ignore[index, arg-type]


def draw(seed: int) -> pe.Splits:
    return demo.drawn(
        SAMPLES, TARGETS, per_class=4, num_reported=15, num_watched=6, seed=seed
    )


def test_a_seed_draws_the_labelled_examples_and_nothing_else() -> None:
    """Reported and watched examples stay; labelled ones change, as many of each class."""
    first, second = draw(0), draw(1)
    assert chosen(first.test) == chosen(second.test)
    assert chosen(first.valid) == chosen(second.valid)
    assert chosen(first.train) != chosen(second.train)
    assert chosen(first.train) == chosen(draw(0).train)
    for splits in (first, second):
        parts = [chosen(part) for part in splits.parts.values()]
        assert [len(part) for part in parts] == [12, 6, 15]
        assert len(set.union(*parts)) == 33
        assert sorted(TARGETS[list(parts[0])]) == [0] * 4 + [1] * 4 + [2] * 4


def test_too_few_examples_are_an_error() -> None:
    """It says how many are asked for; one fewer is taken."""
    assert demo.drawn(SAMPLES, TARGETS, per_class=10, num_reported=30)
    with pytest.raises(ValueError, match="11 labelled examples of class 0"):
        demo.drawn(SAMPLES, TARGETS, per_class=11, num_reported=30)
    with pytest.raises(ValueError, match="to report and watch"):
        demo.drawn(SAMPLES, TARGETS, per_class=1, num_reported=61)


def test_seeds_of_a_sweep_over_draws_stand_in_one_cell(tmp_path: Path) -> None:
    """Each seed's run is of other labels, under the same names and paired examples."""

    def tasks(seed: int) -> list[pe.Task]:
        return [pe.Task("place", datasets={"d": draw(seed)}, num_classes=3)]

    models = {"line": pe.Pretrained(torch.nn.Flatten(), head="new")}
    fits = [pe.probe()]
    store = tmp_path / "runs.db"
    runs = demo.sweep_draws(models, tasks, fits, (0, 1), store=store, progress=False)
    assert [run.seed for run in runs] == [0, 1]
    assert len({(run.task, run.dataset, run.strategy) for run in runs}) == 1
    outcomes = [run.outcomes for run in runs]
    assert outcomes[0] is not None
    assert outcomes[1] is not None
    assert outcomes[0].examples == outcomes[1].examples
    again = demo.sweep_draws(models, tasks, fits, (0, 1), store=store, progress=False)
    assert again == runs


def test_what_is_missing_is_said_with_its_line_and_the_small_job_runs(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    """Without a package nothing fails: the line installs it, the old job answers."""
    asked = []
    monkeypatch.setattr(job.demo, "missing", lambda: ["wordllama"])
    monkeypatch.setattr(job.small, "run", lambda *args, **names: asked.append(args))
    assert job.main(["--folder", str(tmp_path), "--seeds", "2"]) == 0
    printed = capsys.readouterr().out
    assert "Not installed: wordllama" in printed
    assert demo.install_line() in printed
    assert asked == [(tmp_path, 2)]


@pytest.mark.parametrize("name", ["requirements.txt", "corpora.txt"])
def test_every_package_of_the_demo_is_pinned_by_hash(name: str) -> None:
    """A line names one version, and at least one sha256 follows."""
    text = demo.requirements().with_name(name).read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    blocks = re.split(r"\n(?=\S)", "\n".join(lines))
    assert blocks
    for block in blocks:
        assert re.match(r"[\w-]+==[\w.]+ \\\n\s+--hash=sha256:[0-9a-f]{64}", block)


def test_the_library_alone_asks_for_none_of_the_demo() -> None:
    """What `pip install pretrain-eval` brings names no package of the demo."""
    project = (Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8")
    (alone,) = re.findall(r"^dependencies = \[(.*?)^\]", project, re.M | re.S)
    pinned = re.findall(r"^([\w-]+)==", demo.requirements().read_text("utf-8"), re.M)
    assert len(pinned) == 7
    for package in (*pinned, "scikit-image", "transformers", "vaderSentiment"):
        assert package not in alone
        assert f'"{package}' not in alone


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: demo.image_model("ResNet"), "EfficientNet-Lite0"),
        (lambda: demo.text_model("BERT"), "MiniLM"),
        (lambda: demo.sentences("poems"), "movies"),
    ],
)
def test_an_unknown_name_is_answered_with_the_known_ones(
    make: object, match: str
) -> None:
    """The error lists what there is."""
    with pytest.raises(ValueError, match=match):
        make()  # type: ignore[operator]


@pytest.fixture(scope="module")
def answered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """The folder, and what the job printed the first and the second time."""
    folder = tmp_path_factory.mktemp("demo") / "results"
    command = [sys.executable, "-m", "pretrain_eval", "--folder", str(folder)]
    command += ["--seeds", "1", "--quiet"]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    printed = [
        subprocess.run(
            command, capture_output=True, text=True, check=True, env=environment
        ).stdout
        for _ in range(2)
    ]
    return folder, printed[0], printed[1]


@needs_all
def test_the_scores_of_the_job_are_those_of_its_runs(
    answered: tuple[Path, str, str],
) -> None:
    """P(M) of each model, recomputed from the store by hand, stands in the tables."""
    folder, printed, _ = answered
    with pe.RunStore(folder / "runs.db") as store:
        runs = list(store)
    tasks = {"images": {"textures", "faces"}, "texts": {"sentiment"}}
    for name, asked in (tasks | {"digits": {"digits"}}).items():
        cells = defaultdict(list)
        for run in runs:
            if run.task in asked:
                cells[run.model].append(run.scores["accuracy"])
        with (folder / f"{name}.csv").open(encoding="utf-8") as file:
            rows = [r for r in csv.DictReader(file) if r["protocol"] == "persistence"]
        found = {row["model"]: float(row["score"]) for row in rows}
        means = {model: float(np.mean(column)) for model, column in cells.items()}
        assert found == pytest.approx(means)
        page = (folder / "report.html").read_text(encoding="utf-8")
        assert all(model in page and model in printed for model in means)


@needs_all
def test_a_second_call_trains_nothing_and_says_the_same(
    answered: tuple[Path, str, str],
) -> None:
    """All runs are found, so that only the seconds of the call differ."""
    _, first, second = answered
    assert first.splitlines()[:-1] == second.splitlines()[:-1]


@needs_all
def test_the_random_twin_loses_where_pretraining_should_help(
    answered: tuple[Path, str, str],
) -> None:
    """On textures and on sentiment the best model is far above the twin."""
    folder, _, _ = answered
    with pe.RunStore(folder / "runs.db") as store:
        runs = list(store)
    for task in ("textures", "sentiment"):
        scores = defaultdict(list)
        for run in runs:
            if run.task == task:
                scores[run.model].append(run.scores["accuracy"])
        means = {model: float(np.mean(column)) for model, column in scores.items()}
        assert max(means.values()) > means["random twin"] + 0.1
