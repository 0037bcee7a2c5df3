"""Kept weights: files from which the scored model comes back."""

from functools import partial
from pathlib import Path

import pytest
import torch
from networks import Small, three_classes
from test_ways import Blocks, low_rank
from torch import nn

import pretrain_eval as pe

pytest.importorskip("safetensors", reason="pip install 'pretrain-eval[weights]'")

SGD = partial(torch.optim.SGD, lr=0.1)
STRATEGIES = [
    pe.Strategy("full", optimizer=SGD, epochs=1),
    pe.Strategy("head", optimizer=SGD, epochs=1, trainable="head"),
    pe.Strategy("average", optimizer=SGD, epochs=2, ema=0.5),
    pe.Strategy("adapted", optimizer=SGD, epochs=1, prepare=low_rank),
]


def accuracy(network, task):
    """On the reported split, by hand."""
    assert not network.training
    inputs, targets = task.datasets["points"].reported.tensors
    with torch.no_grad():
        return float((network(inputs).argmax(1) == targets).double().mean())


@pytest.mark.parametrize("workers", [1, 2])
def test_a_sweep_keeps_the_models_that_it_scored(tmp_path, workers):
    """Each file gives the model whose score the run has, found again by its key."""
    model, task = Blocks(), three_classes()
    body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    sweep = partial(
        pe.sweep,
        {"blocks": model, "body": pe.Pretrained(body, head="new")},
        [task],
        [each for each in STRATEGIES if each.prepare is None],
        range(2),
        store=tmp_path / "runs.db",
        save=tmp_path / "weights",
        workers=workers,
        progress=False,
    )
    runs = sweep()
    assert len({run.weights for run in runs}) == 12
    for run in runs:
        network = pe.load(run, {"blocks": model, "body": body}[run.model])
        assert accuracy(network, task) == pytest.approx(run.scores["accuracy"])
    assert sweep() == runs
    Path(runs[3].weights).unlink()
    again = sweep()
    assert Path(again[3].weights).exists()
    assert again[3].scores == runs[3].scores


def test_an_adapted_model_comes_back_with_its_strategy(tmp_path):
    """Adapters are made again by the strategy, then get their weights."""
    model, task = Blocks(), three_classes()
    adapted = STRATEGIES[-1]
    (run,) = pe.sweep({"m": model}, [task], [adapted], save=tmp_path, progress=False)
    network = pe.load(run, model, strategy=adapted)
    assert accuracy(network, task) == pytest.approx(run.scores["accuracy"])
    with pytest.raises(ValueError, match="'adapted' prepares its model"):
        pe.load(run, model)


def test_what_cannot_be_loaded_is_said(tmp_path):
    """No weights, another model, a lost file, a file of something else."""
    model, task = Blocks(), three_classes()
    plain = pe.finetune(model, task, STRATEGIES[0])
    with pytest.raises(ValueError, match="its weights were not kept"):
        pe.load(plain, model)
    (run,) = pe.sweep(
        {"m": model}, [task], STRATEGIES[:1], save=tmp_path, progress=False
    )
    with pytest.raises(ValueError, match="give load the pretrained model"):
        pe.load(run)
    other = nn.Sequential()
    other.head = nn.Linear(4, 2)
    with pytest.raises(ValueError, match="are of another model"):
        pe.load(run, other)
    Path(run.weights).write_bytes(b"nothing")
    with pytest.raises(ValueError, match="holds no weights of a run"):
        pe.load(run, model)
    Path(run.weights).unlink()
    with pytest.raises(FileNotFoundError, match="no longer at"):
        pe.load(run, model)


def test_only_the_weights_of_chosen_runs_are_kept(tmp_path):
    """A function of the run says which; a resume does nothing anew."""
    grid = partial(
        pe.sweep,
        {"m": Small()},
        [three_classes()],
        STRATEGIES[:1],
        range(3),
        store=tmp_path / "runs.db",
        save=tmp_path / "weights",
        keep=lambda run: run.seed == 1,
        progress=False,
    )
    runs = grid(workers=2)
    files = list((tmp_path / "weights").iterdir())
    assert [str(file) for file in files] == [runs[1].weights]
    assert [bool(run.weights) for run in runs] == [False, True, False]
    assert grid() == runs
    files[0].unlink()
    again = grid()  # it is the only one that is done again
    assert again[0] == runs[0]
    assert again[2] == runs[2]
    assert list((tmp_path / "weights").iterdir()) == files
    model = pe.load(again[1], Small())
    splits = three_classes().datasets["points"]
    found = pe.validate(
        model, torch.utils.data.DataLoader(splits.valid, 8), pe.Accuracy()
    )
    assert found["accuracy"] == again[1].scores["accuracy"]


def test_a_race_keeps_the_weights_of_its_choice(tmp_path):
    """Those of other models go, but for files that were there before."""
    torch.manual_seed(0)
    models = {name: Small(width) for name, width in (("narrow", 2), ("wide", 16))}
    grid = (models, [three_classes()], STRATEGIES[:1], range(2))
    folder = tmp_path / "weights"
    choice = pe.choose(*grid, save=folder, store=tmp_path / "runs.db", progress=False)
    kept = {run.weights for run in choice.runs if run.weights}
    assert {str(file) for file in folder.iterdir()} == kept
    whole = [r for r in choice.runs if r.model == choice.model]
    assert kept == {run.weights for run in whole if run.status == "completed"}
    again = pe.choose(*grid, save=folder, store=tmp_path / "runs.db", progress=False)
    assert (again.model, again.rounds) == (choice.model, choice.rounds)
    assert {str(file) for file in folder.iterdir()} == kept
    loser = next(name for name in models if name != choice.model)
    pe.sweep({loser: models[loser]}, *grid[1:], save=folder, progress=False)
    before = set(folder.iterdir())
    pe.choose(*grid, save=folder, store=tmp_path / "runs.db", progress=False)
    assert set(folder.iterdir()) == before


def test_to_keep_some_needs_a_folder():
    """Said before any run."""
    with pytest.raises(ValueError, match="give save="):
        pe.sweep({"m": Small()}, [three_classes()], STRATEGIES[:1], keep=bool)
    with pytest.raises(TypeError, match="a function of a run"):
        pe.sweep(
            {"m": Small()}, [three_classes()], STRATEGIES[:1], save="x", keep="best"
        )
