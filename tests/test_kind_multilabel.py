"""Any number of labels a sample: trained, scored and compared as scikit-learn does."""

import copy
from functools import partial

import numpy as np
import pytest
import torch
from networks import PROTOCOLS, Small, draw_of, equal_weights, scored, train_by_hand
from sklearn import metrics as sk
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

SGD = partial(torch.optim.SGD, lr=0.3, momentum=0.9)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=16)
PROBE = pe.Strategy("probe", optimizer=SGD, epochs=2, batch_size=16, trainable="head")


def labelled(num_samples, seed):
    """Points of four dimensions, with a label for each of three that is high."""
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 4, generator=generator)
    return TensorDataset(inputs, (inputs[:, :3] > torch.tensor([0, 0.5, -0.5])).long())


def task(train=None, valid=None, num_labels=3):
    splits = pe.Splits(train or labelled(48, 1), valid or labelled(40, 2))
    kind = pe.MultiLabel(num_labels)
    return pe.Task("high", datasets={"points": splits}, kind=kind)


def oracle(logits, targets):
    return {
        "average_precision": sk.average_precision_score(targets, logits),
        "auroc": sk.roc_auc_score(targets, logits),
        "f1": sk.f1_score(targets, logits > 0, average="macro"),
    }


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn(seed):
    """On random logits, ties among them, over uneven batches."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(50, 4, generator=generator).round(decimals=1)
    targets = (torch.rand(50, 4, generator=generator) < 0.4).float()
    metrics = pe.MetricCollection(*pe.MultiLabel(4).metrics())
    for start in range(0, 50, 16):
        metrics.update(logits[start : start + 16], targets[start : start + 16])
    expected = oracle(logits.numpy(), targets.numpy())
    assert metrics.compute() == pytest.approx(expected, abs=1e-6)
    assert list(metrics.compute()) == list(expected)


def test_a_label_that_nobody_has_is_left_out_of_the_ranking():
    """The others' average precision and AUROC are what they are without it."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(30, 3, generator=generator)
    targets = (torch.rand(30, 3, generator=generator) < 0.5).long()
    targets[:, 2] = 0
    metrics = pe.MetricCollection(*pe.MultiLabel(3).metrics())
    metrics.update(logits, targets)
    expected = oracle(logits[:, :2].numpy(), targets[:, :2].numpy())
    found = metrics.compute()
    for key in ("average_precision", "auroc"):
        assert found[key] == pytest.approx(expected[key], abs=1e-6)


def test_a_run_has_scores_chance_and_scales():
    """Scores are scikit-learn's of the last weights, chance that of constants."""
    kept = []
    run = pe.finetune(
        Small, task(), FULL, on_end=lambda model, _: kept.append(copy.deepcopy(model))
    )
    inputs, targets = labelled(40, 2).tensors
    with torch.no_grad():
        logits = kept[0].eval()(inputs).numpy()
    assert run.scores == pytest.approx(oracle(logits, targets.numpy()), abs=1e-6)
    constant = np.zeros((40, 3))
    always = sk.f1_score(targets.numpy(), constant + 1, average="macro")
    expected = {**oracle(constant, targets.numpy()), "f1": always}
    assert run.chance == pytest.approx(expected, abs=1e-6)
    assert {scale.better for scale in run.scales.values()} == {"higher"}
    assert list(run.scales) == list(run.scores)
    assert run.settings["kind"] == "MultiLabel(num_labels=3)"


def test_before_is_ridge_on_standardised_features():
    """The baseline is scikit-learn's, decided at one half."""
    model = Small().eval()
    train, valid = labelled(48, 1), labelled(40, 2)
    with torch.no_grad():
        rows, queries = (model.body(d.tensors[0]).numpy() for d in (train, valid))
    ridge = make_pipeline(StandardScaler(), Ridge(alpha=1.0))
    found = ridge.fit(rows, train.tensors[1].numpy().astype(float)).predict(queries)
    expected = oracle(found - 0.5, valid.tensors[1].numpy())
    assert pe.finetune(model, task(), FULL).baseline == pytest.approx(
        expected, abs=1e-6
    )


def test_the_loop_does_what_a_hand_written_one_does():
    """Equal weights to the bit, batch by batch in the same order."""
    start = nn.Sequential()
    start.body, start.head = nn.Linear(4, 8), nn.Linear(8, 3)
    kept = []
    pe.finetune(start, task(), FULL, on_end=lambda model, _: kept.append(model))
    twin = copy.deepcopy(start)
    seed_all(draw_of(task(), FULL))
    torch.empty((), dtype=torch.int64).random_()  # a loader that is opened draws
    twin.head = nn.Linear(8, 3)
    train_by_hand(
        twin,
        DataLoader(labelled(48, 1), 16, shuffle=True),
        SGD(twin.parameters()),
        lambda m, batch: nn.BCEWithLogitsLoss()(m(batch[0]), batch[1].float()),
        draw=draw_of(task(), FULL),
    )
    assert equal_weights(kept[0], twin)


def test_it_is_swept_stored_resumed_and_scored(tmp_path):
    """Both strategies, in workers, from the store the second time, all protocols."""
    models = {"narrow": Small(6), "wide": Small(8)}
    grid = partial(
        pe.sweep,
        models,
        [task()],
        [FULL, PROBE],
        seeds=range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = grid(workers=2)
    assert {run.status for run in runs} == {"completed"}
    assert grid() == runs
    alone = pe.finetune(models["narrow"], task(), PROBE, seed=1, name="narrow")
    assert alone.scores == next(
        run.scores
        for run in runs
        if (run.model, run.strategy, run.seed) == ("narrow", "probe", 1)
    )
    assert scored(runs) == [protocol.protocol for protocol in PROTOCOLS]


WRONG = [
    (torch.zeros(48).long(), "targets of shape \\(N, 3\\)"),
    (torch.zeros(48, 2).long(), "got \\(48, 2\\)"),
    (torch.full((48, 3), 2), "holds the target 2"),
    (torch.full((48, 3), 0.5), "holds the target 0.5"),
    (torch.ones(48, 3).long(), "train has no label that some samples have"),
]


@pytest.mark.parametrize(("targets", "message"), WRONG)
def test_wrong_targets_are_named_before_any_work(targets, message):
    """Shape, values and labels that tell nothing."""
    with pytest.raises(ValueError, match=message):
        task(train=TensorDataset(torch.randn(48, 4), targets))


def test_their_neighbours_pass():
    """Floats 0 and 1, and a single label."""
    inputs, targets = labelled(48, 1).tensors
    assert task(train=TensorDataset(inputs, targets.float())).kind.num_outputs == 3
    one, other = (
        TensorDataset(d.tensors[0], d.tensors[1][:, :1])
        for d in (labelled(48, 1), labelled(40, 2))
    )
    run = pe.finetune(Small, task(one, other, num_labels=1), FULL)
    assert 0 <= run.scores["auroc"] <= 1
    with pytest.raises(ValueError, match="num_labels must be an int of at least 1"):
        pe.MultiLabel(0)
