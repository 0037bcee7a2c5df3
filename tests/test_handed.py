"""Trainings of the user's own, and those without one: in a grid like any other."""

import os
import signal
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import points, three_classes
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe

FULL = pe.Strategy("full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=2)


def net(outputs=5):
    """A body and a head, the same each time."""
    torch.manual_seed(0)
    network = nn.Sequential()
    network.body = nn.Sequential(nn.Linear(4, 16), nn.ReLU())
    network.head = nn.Linear(16, outputs)
    return network


def constant(model, task, dataset, seed, trial):
    """Scores by what it was called with."""
    assert isinstance(model, nn.Sequential)
    return {"return": 10.0 * seed, "accuracy": 0.5}


def test_a_function_of_ones_own_makes_the_runs_of_its_strategy(tmp_path):
    """Names, seed, cost, chance and settings are filled in, and a store keeps it."""
    own = pe.Strategy("own", train=constant)
    sweep = partial(
        pe.sweep,
        {"net": net()},
        [three_classes()],
        [own, FULL],
        range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = sweep()
    assert [(r.strategy, r.seed) for r in runs] == [
        ("own", 0),
        ("own", 1),
        ("full", 0),
        ("full", 1),
    ]
    assert runs[1].scores == {"return": 10.0, "accuracy": 0.5}
    assert runs[1].chance["accuracy"] == runs[2].chance["accuracy"]
    assert list(runs[1].scales) == ["accuracy"]  # nobody said which return is better
    assert runs[0].cost.num_parameters == sum(p.numel() for p in net().parameters())
    assert runs[0].cost.seconds >= 0
    assert "test_handed.constant" in runs[0].settings["train"]
    assert sweep() == runs


def test_a_failure_in_it_is_a_record():
    """What it raises is kept with its name, and the others go on."""

    def train(model, task, dataset, seed, trial):
        if seed == 0:
            raise KeyError("no such key")
        return {"accuracy": 1.0}

    runs = pe.sweep(
        {"net": net()},
        [three_classes()],
        [pe.Strategy("own", train=train)],
        range(2),
        progress=False,
    )
    assert [run.status for run in runs] == ["error", "completed"]
    assert "no such key" in runs[0].message


@pytest.mark.parametrize("result", [None, {}, 0.5, [("accuracy", 1.0)]])
def test_what_is_neither_scores_nor_a_run_is_refused(result):
    """The message says what came."""
    own = pe.Strategy("own", train=lambda *_: result)
    with pytest.raises(TypeError, match="must return scores by metric or a Run"):
        pe.finetune(net(), three_classes(), own)


def test_randomness_in_it_is_the_seeds_and_is_given_back():
    """The same seed draws the same, and the caller's generator does not move."""
    draw = pe.Strategy(
        "draw",
        train=lambda *_: {"accuracy": float(torch.rand(())), "f1": np.random.rand()},
    )
    model, task = net(), three_classes()  # which seed it themselves
    before = torch.random.get_rng_state()
    runs = [pe.finetune(model, task, draw, seed=seed) for seed in (0, 0, 1)]
    assert runs[0].scores == runs[1].scores != runs[2].scores
    assert torch.equal(torch.random.get_rng_state(), before)


def test_a_training_of_ones_own_is_scored_as_ours():
    """`Trial` gives the network with its head, the splits, and the whole record."""

    def train(model, task, dataset, seed, trial):
        optimizer = torch.optim.SGD(trial.network.parameters(), lr=0.1)
        inputs, targets = trial.splits.train.tensors
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.cross_entropy(trial.network(inputs), targets).backward()
            optimizer.step()
        trial.check_time()
        return trial.report(trial.network)

    run = pe.finetune(net(), three_classes(), pe.Strategy("own", train=train))
    ours = pe.finetune(net(), three_classes(), FULL)
    assert run.scores["accuracy"] > run.chance["accuracy"]
    assert run.scores.keys() == ours.scores.keys()
    assert run.baseline == ours.baseline
    assert run.scales == ours.scales
    assert run.outcomes.examples == ours.outcomes.examples
    assert sum(count for _, _, count in run.confusion) == 40


def test_a_task_without_samples_needs_no_kind():
    """An environment is a label; a strategy that needs samples is refused."""
    task = pe.Task("cartpole", datasets={"v1": None}, chance={"return": 9.5})
    own = pe.Strategy("own", train=constant)
    runs = pe.sweep({"net": net()}, [task], [own], range(3), progress=False)
    assert [run.chance for run in runs] == [{"return": 9.5}] * 3
    evaluator = pe.PersistenceEvaluator(metric="return", better="higher", ceiling=20.0)
    assert evaluator.score(runs).score == pytest.approx(0.5 / 10.5)
    with pytest.raises(ValueError, match=r"\['cartpole/v1'\] do not have"):
        pe.sweep({"net": net()}, [task], [own, FULL])
    with pytest.raises(ValueError, match="has no samples"):
        pe.finetune(net(), task, FULL)


def test_a_model_need_not_be_of_torch():
    """What a builder returns goes to the function as it is."""
    own = pe.Strategy("own", train=lambda model, *_: {"accuracy": model["level"]})
    runs = pe.sweep(
        {"low": lambda: {"level": 0.25}, "high": lambda: {"level": 0.75}},
        [pe.Task("t", datasets={"d": None})],
        [own],
        progress=False,
    )
    assert [run.scores["accuracy"] for run in runs] == [0.25, 0.75]
    assert runs[0].cost.num_parameters is None


def features(split):
    """What the head reads, by hand."""
    with torch.no_grad():
        return net().body(split.tensors[0]).numpy(), split.tensors[1].numpy()


def test_a_probe_is_the_logistic_regression_of_scikit_learn():
    """With one penalty there is no choice: the accuracy of the library's own fit."""
    task = three_classes(train=200, valid=300)
    splits = task.datasets["points"]
    run = pe.finetune(net(), task, pe.probe(penalties=[0.01]))
    (rows, targets), (queries, wanted) = map(features, splits.parts.values())
    linear = LogisticRegression(C=1 / (0.01 * len(rows)), max_iter=1000)
    fitted = make_pipeline(StandardScaler(), linear).fit(rows, targets)
    assert run.scores["accuracy"] == fitted.score(queries, wanted)
    assert run.settings["trainable"] == "head"
    chosen = pe.finetune(net(), task, pe.probe())
    assert chosen.scores["accuracy"] >= run.scores["accuracy"] - 0.05


def test_a_probe_that_is_certain_has_no_infinite_outputs():
    """A class whose probability rounds to 0 is out of the question, and no NaN."""
    near, far = torch.tensor([[-1.0], [1.0]] * 8), torch.tensor([[-1e9], [1e9]] * 4)
    labels = torch.tensor([0, 1])
    splits = pe.Splits(
        TensorDataset(near + torch.arange(16.0)[:, None] / 100, labels.repeat(8)),
        TensorDataset(far + torch.arange(8.0)[:, None] * 1e6, labels.repeat(4)),
    )
    task = pe.Task("far", datasets={"d": splits}, num_classes=2)
    run = pe.finetune(pe.Pretrained(torch.nn.Flatten(), head="new"), task, pe.probe())
    assert run.status == "completed", run.message
    assert run.scores["accuracy"] == 1.0


def test_a_probe_of_numbers_is_ridge_regression():
    """α = λn, as the docstring says."""
    train, valid = points(100, 1), points(80, 2)
    parts = [
        TensorDataset(p.tensors[0], p.tensors[0] @ torch.ones(4, 2))
        for p in (train, valid)
    ]
    task = pe.Task("sums", datasets={"d": pe.Splits(*parts)}, num_outputs=2)
    run = pe.finetune(net(), task, pe.probe(penalties=[0.1]))
    (rows, targets), (queries, wanted) = map(features, parts)
    fitted = make_pipeline(StandardScaler(), Ridge(alpha=0.1 * len(rows)))
    fitted.fit(rows, targets)
    errors = (fitted.predict(queries) - wanted) ** 2
    assert run.scores["mse"] == pytest.approx(errors.mean(), rel=1e-4)


@pytest.mark.parametrize("k", [1, 7, 10_000])
def test_neighbours_vote_as_those_of_scikit_learn(k):
    """By cosine, each vote alike, all samples where k is more."""
    task = three_classes(train=90, valid=300)
    (rows, targets), (queries, wanted) = map(
        features, task.datasets["points"].parts.values()
    )
    run = pe.finetune(net(), task, pe.nearest_neighbours(k))
    fitted = KNeighborsClassifier(min(k, 90), metric="cosine").fit(rows, targets)
    assert run.scores["accuracy"] == pytest.approx(
        fitted.score(queries, wanted), abs=0.01
    )


def test_a_probe_of_few_samples_and_a_class_of_one():
    """A class that cannot be left out leaves the middle penalty."""
    train = TensorDataset(torch.randn(3, 4), torch.tensor([0, 1, 2]))
    splits = pe.Splits(train, points(30, 2))
    task = pe.Task("t", datasets={"d": splits}, num_classes=4)
    assert pe.finetune(net(), task, pe.probe()).status == "completed"


def test_what_needs_no_training_says_for_which_tasks():
    """Zero-shot needs a model's own head; a probe a head of ours."""
    with pytest.raises(ValueError, match="needs a model whose own head answers"):
        pe.finetune(net(), three_classes(), pe.zero_shot())
    splits = three_classes().datasets["points"]
    own = pe.Task(
        "own",
        datasets={"d": splits},
        forward=lambda model, batch: (model(batch[0]), batch[1]),
        loss=nn.functional.cross_entropy,
        metrics=pe.Accuracy(),
    )
    run = pe.finetune(net(3), own, pe.zero_shot())
    assert run.scores == run.baseline
    with pytest.raises(ValueError, match="own head; take it as it is by zero_shot"):
        pe.finetune(net(), own, pe.probe())
    with pytest.raises(ValueError, match="positive penalties"):
        pe.probe(penalties=[0.0])
    with pytest.raises(ValueError, match="k must be an int"):
        pe.nearest_neighbours(0)


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
import torch
import pretrain_eval as pe

folder = Path(sys.argv[1])

def train(model, task, dataset, seed, trial):
    with (folder / "log").open("a") as log:
        log.write(f"{seed}\\n")
    if seed == 3 and not (folder / "killed").exists():
        (folder / "killed").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return {"accuracy": seed / 10}

torch.manual_seed(0)
runs = pe.sweep(
    {"net": torch.nn.Linear(2, 2)},
    [pe.Task("t", datasets={"d": None})],
    [pe.Strategy("own", train=train)],
    range(6),
    store=folder / "runs.db",
    progress=False,
)
print([run.scores["accuracy"] for run in runs])
"""


def test_a_kill_in_it_loses_and_repeats_nothing(tmp_path):
    """After SIGKILL in the fourth run, a second call does the three that are left."""
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT).replace("\\\\n", "\\n"))
    root = str(Path(pe.__file__).parents[1])
    call = partial(
        subprocess.run,
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
        timeout=120,
        check=False,
    )
    assert call().returncode == -signal.SIGKILL
    again = call()
    assert again.stdout.strip() == "[0.0, 0.1, 0.2, 0.3, 0.4, 0.5]", again.stderr
    assert (tmp_path / "log").read_text().split() == ["0", "1", "2", "3", "3", "4", "5"]
