"""Fits on frozen features of labels and of tokens: those of scikit-learn."""

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from test_handed import net
from test_kind_multilabel import labelled
from test_kind_multilabel import task as labels_task
from test_kind_tokens import Encoder, Tagger, pad, ragged, tagged
from test_kind_tokens import task as tokens_task
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe

FITS = [pe.probe(), pe.nearest_neighbours(5)]


def points(split):
    with torch.no_grad():
        return net().body(split.tensors[0]).numpy(), split.tensors[1].numpy()


def tokens(split):
    """Features and tags of each token that has one, by hand, and the network's."""
    torch.manual_seed(0)
    with torch.no_grad():
        features = Tagger().features(split.tensors[0])
    kept = split.tensors[1] != -100
    return features[kept].numpy(), split.tensors[1][kept].numpy()


def logistic(penalty, size):
    linear = LogisticRegression(C=1 / (penalty * size), max_iter=1000)
    return make_pipeline(StandardScaler(), linear)


def test_a_probe_of_labels_is_a_logistic_regression_of_each():
    """With one penalty there is no choice."""
    train, valid = labelled(90, 3), labelled(80, 4)
    run = pe.finetune(net(), labels_task(train, valid), pe.probe(penalties=[0.01]))
    (rows, targets), (queries, wanted) = points(train), points(valid)
    fits = [logistic(0.01, len(rows)).fit(rows, column) for column in targets.T]
    logits = np.stack([each.decision_function(queries) for each in fits], 1)
    expected = {
        "average_precision": sk.average_precision_score(wanted, logits),
        "auroc": sk.roc_auc_score(wanted, logits),
        "f1": sk.f1_score(wanted, logits > 0, average="macro"),
    }
    assert run.scores == pytest.approx(expected, abs=1e-6)
    assert run.settings["trainable"] == "head"


def test_a_label_that_all_or_none_have_is_predicted_so():
    """What cannot be fitted is no error, and no guess."""
    inputs, targets = labelled(40, 3).tensors
    targets[:, 0], targets[:, 1] = 1, 0
    task = labels_task(TensorDataset(inputs, targets), labelled(30, 4))
    for fit in FITS:
        run = pe.finetune(net(), task, fit)
        assert run.status == "completed"
        assert np.isfinite(list(run.scores.values())).all()
    # F1 of the first label, which all are given, of the second, which none is.
    wanted = labelled(30, 4).tensors[1].numpy()
    run = pe.finetune(net(), task, pe.probe(penalties=[0.01]))
    rows, queries = points(TensorDataset(inputs, targets)), points(labelled(30, 4))
    third = logistic(0.01, 40).fit(rows[0], rows[1][:, 2]).predict(queries[0])
    found = np.stack([np.ones(30), np.zeros(30), third], 1)
    expected = sk.f1_score(wanted, found, average="macro", zero_division=0)
    assert run.scores["f1"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("k", [1, 7])
def test_neighbours_vote_on_each_label(k):
    """By more than half of them."""
    train, valid = labelled(90, 3), labelled(80, 4)
    run = pe.finetune(net(), labels_task(train, valid), pe.nearest_neighbours(k))
    (rows, targets), (queries, wanted) = points(train), points(valid)
    found = KNeighborsClassifier(k, metric="cosine").fit(rows, targets)
    expected = sk.f1_score(wanted, found.predict(queries), average="macro")
    assert run.scores["f1"] == pytest.approx(expected, abs=0.01)


def test_fits_on_tokens_are_those_of_scikit_learn():
    """Tokens without a tag are neither fitted nor counted."""
    train, valid = tagged(40, 1), tagged(30, 2)
    torch.manual_seed(0)
    model, task = Tagger(), tokens_task(train, valid)
    (rows, targets), (queries, wanted) = tokens(train), tokens(valid)
    run = pe.finetune(model, task, pe.probe(penalties=[0.01]), device="cpu")
    fitted = logistic(0.01, len(rows)).fit(rows, targets)
    expected = fitted.score(queries, wanted)
    assert run.scores["token_accuracy"] == pytest.approx(expected, abs=1e-6)
    assert "entity_f1" in run.scores
    assert run.settings["trainable"] == "head"
    voted = pe.finetune(model, task, pe.nearest_neighbours(7), device="cpu")
    near = KNeighborsClassifier(7, metric="cosine").fit(rows, targets)
    found = near.score(queries, wanted)
    assert voted.scores["token_accuracy"] == pytest.approx(found, abs=0.01)
    assert voted.baseline == run.baseline


def test_padded_sequences_and_a_bare_encoder_are_fitted(tmp_path):
    """In a sweep with a store, whose second call fits nothing."""
    model = pe.Pretrained(Encoder(), head="new", collate=pad)
    task = tokens_task(ragged(40, 1), ragged(30, 2))
    runs = pe.sweep({"m": model}, [task], FITS, store=tmp_path / "r.db", progress=False)
    assert [run.status for run in runs] == ["completed"] * 2
    assert all(run.scores["token_accuracy"] > 0.5 for run in runs)
    again = pe.sweep(
        {"m": model}, [task], FITS, store=tmp_path / "r.db", progress=False
    )
    assert again == runs


@pytest.mark.parametrize("fit", FITS, ids=lambda fit: fit.name)
@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (pe.Segmentation(2), "one a pixel, are too many to keep; train the head"),
        (pe.LanguageModelling(), "keeps its own head; take it as it is by zero_shot"),
        (pe.Retrieval(), "keeps its own head; take it as it is by zero_shot"),
    ],
)
def test_where_no_fit_is_defined_the_error_says_why(kind, message, fit):
    """In words, before anything is read."""
    images = torch.rand(4, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    samples = {
        pe.Segmentation: TensorDataset(images, (images[:, 0] > 0.5).long()),
        pe.LanguageModelling: TensorDataset(torch.arange(12).view(4, 3)),
        pe.Retrieval: TensorDataset(images, images),
    }[type(kind)]
    splits = pe.Splits(samples, samples, allow_overlap=True)
    task = pe.Task("t", datasets={"d": splits}, kind=kind)
    with pytest.raises(ValueError, match=message):
        pe.finetune(nn.Conv2d(3, 2, 1), task, fit)
