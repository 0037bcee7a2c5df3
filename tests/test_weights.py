"""Kept weights: files from which the scored model comes back."""

from functools import partial
from pathlib import Path

import pytest
import torch
from networks import three_classes
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
