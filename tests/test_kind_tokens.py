"""One class a token: trained, scored and compared as its oracles do."""

import copy
from functools import partial

import pytest
import torch
from networks import PROTOCOLS, draw_of, equal_weights, scored, train_by_hand
from sklearn import metrics as sk
from sklearn.neighbors import NearestCentroid
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

LABELS = ["O", "B-PER", "I-PER"]
SGD = partial(torch.optim.SGD, lr=0.3, momentum=0.9)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=8)
PROBE = pe.Strategy("probe", optimizer=SGD, epochs=2, batch_size=8, trainable="head")


class Tagger(nn.Module):
    """An encoder of tokens and a head, as transformers' models are called."""

    def __init__(self, width=6, outputs=5):
        super().__init__()
        self.embedding = nn.Embedding(12, width, padding_idx=0)
        self.mixer = nn.Conv1d(width, width, 3, padding=1)
        self.head = nn.Linear(width, outputs)

    def features(self, input_ids, attention_mask=None):
        states = self.embedding(input_ids)
        if attention_mask is not None:
            states = states * attention_mask[:, :, None]
        return torch.tanh(self.mixer(states.mT).mT)

    def forward(self, input_ids, attention_mask=None):
        return self.head(self.features(input_ids, attention_mask))


class Encoder(Tagger):
    """The same without a head."""

    def __init__(self, width=6):
        super().__init__(width)
        del self.head

    def forward(self, input_ids, attention_mask=None):
        return {"last_hidden_state": self.features(input_ids, attention_mask)}


def tagged(num_samples, seed, length=7):
    """Numbers whose tag says whether they, and the ones before, are high."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(1, 12, (num_samples, length), generator=generator)
    high = tokens > 7
    inner = high & torch.cat([torch.zeros(num_samples, 1).bool(), high[:, :-1]], 1)
    tags = high.long() + inner.long()
    tags[torch.rand(tags.shape, generator=generator) < 0.1] = -100
    return TensorDataset(tokens, tags)


def ragged(num_samples, seed):
    """The same as mappings of lists, each cut to a length of its own."""
    tensors = tagged(num_samples, seed).tensors
    return [
        {"input_ids": t[: 2 + i % 6].tolist(), "labels": y[: 2 + i % 6].tolist()}
        for i, (t, y) in enumerate(zip(*tensors, strict=True))
    ]


def pad(samples):
    """What transformers' DataCollatorForTokenClassification makes of them."""
    longest = max(len(sample["labels"]) for sample in samples)

    def filled(name, value):
        rows = [s[name] + [value] * (longest - len(s[name])) for s in samples]
        return torch.tensor(rows)

    ids = filled("input_ids", 0)
    return {
        "input_ids": ids,
        "attention_mask": (ids > 0).long(),
        "labels": filled("labels", -100),
    }


def task(train=None, valid=None, labels=LABELS):
    splits = pe.Splits(train or tagged(40, 1), valid or tagged(30, 2))
    kind = pe.TokenClassification(3, labels=labels)
    return pe.Task("high", datasets={"numbers": splits}, kind=kind)


def oracle(outputs, targets):
    """Accuracy and macro F1 of scikit-learn, entity F1 of seqeval where there is one."""
    kept = targets != -100
    found, wanted = outputs.argmax(-1)[kept], targets[kept]
    scores = {
        "token_accuracy": sk.accuracy_score(wanted, found),
        "f1": sk.f1_score(wanted, found, average="macro", labels=range(3)),
    }
    try:
        from seqeval.metrics import f1_score
    except ImportError:
        return scores
    rows = zip(outputs.argmax(-1), targets, strict=True)
    pairs = [(o[t != -100].tolist(), t[t != -100].tolist()) for o, t in rows]
    named = [
        [[LABELS[i] for i in row] for row in rows] for rows in zip(*pairs, strict=True)
    ]
    return {"entity_f1": f1_score(named[1], named[0]), **scores}


def agrees(scores, expected):
    return {key: scores[key] for key in expected} == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_scores_are_those_of_scikit_learn_and_seqeval(seed):
    """On random scores, positions dropped, in two batches."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(20, 6, 3, generator=generator)
    targets = torch.randint(0, 3, (20, 6), generator=generator)
    targets[torch.rand(20, 6, generator=generator) < 0.3] = -100
    metrics = pe.MetricCollection(**pe.TokenClassification(3, labels=LABELS).metrics())
    metrics.update(outputs[:12], targets[:12])
    metrics.update(outputs[12:], targets[12:])
    assert list(metrics.compute()) == ["entity_f1", "token_accuracy", "f1"]
    assert agrees(metrics.compute(), oracle(outputs, targets))


def test_a_run_has_scores_chance_and_scales():
    """Scores are the oracles' of the last weights; chance is the majority's."""
    kept = []
    run = pe.finetune(
        Tagger, task(), FULL, on_end=lambda model, _: kept.append(copy.deepcopy(model))
    )
    tokens, targets = tagged(30, 2).tensors
    with torch.no_grad():
        outputs = kept[0].eval()(tokens)
    assert agrees(run.scores, oracle(outputs, targets))
    assert list(run.scores) == ["entity_f1", "token_accuracy", "f1"] == list(run.scales)
    constant = torch.zeros_like(outputs)
    constant[..., targets[targets != -100].bincount().argmax()] = 1
    assert agrees(run.chance, {**oracle(constant, targets), "entity_f1": 0.0})
    assert run.num_examples == 30
    assert run.outcomes is None


def test_before_is_the_nearest_class_mean_over_tokens():
    """The baseline is scikit-learn's NearestCentroid on features of tokens."""
    model = Tagger().eval()
    (tokens, tags), (queries, targets) = tagged(40, 1).tensors, tagged(30, 2).tensors
    with torch.no_grad():
        features, asked = model.features(tokens), model.features(queries)
    centres = NearestCentroid().fit(features[tags != -100], tags[tags != -100])
    found = torch.as_tensor(centres.predict(asked.flatten(0, 1))).view(targets.shape)
    expected = oracle(nn.functional.one_hot(found, 3).float(), targets)
    assert agrees(pe.finetune(model, task(), FULL).baseline, expected)


def test_the_loop_does_what_a_hand_written_one_does():
    """Ragged samples, masks and padding: equal weights to the bit."""
    start, kept = Tagger(), []
    model = pe.Pretrained(start, collate=pad)
    pe.finetune(
        model,
        task(ragged(40, 1), ragged(30, 2)),
        FULL,
        on_end=lambda model, _: kept.append(model),
    )
    twin = copy.deepcopy(start)
    draw = draw_of(task(), FULL)
    seed_all(draw)
    torch.empty((), dtype=torch.int64).random_()  # a loader that is opened draws
    twin.head = nn.Linear(6, 3)

    def loss(model, batch):
        scores = model(batch["input_ids"], attention_mask=batch["attention_mask"])
        return nn.CrossEntropyLoss()(scores.view(-1, 3), batch["labels"].view(-1))

    loader = DataLoader(ragged(40, 1), 8, shuffle=True, collate_fn=pad)
    train_by_hand(twin, loader, SGD(twin.parameters()), loss, draw=draw)
    assert equal_weights(kept[0], twin)


def test_a_bare_encoder_gets_a_head():
    """The new head reads each token's own features, with masks or without."""
    for model, data in [
        (pe.Pretrained(Encoder, head="new"), (tagged(40, 1), tagged(30, 2))),
        (
            pe.Pretrained(Encoder, head="new", collate=pad),
            (ragged(40, 1), ragged(30, 2)),
        ),
    ]:
        run = pe.finetune(model, task(*data), PROBE)
        assert run.cost.num_trainable_parameters == 6 * 3 + 3
        assert set(run.baseline) == set(run.scores)


def test_it_is_swept_stored_resumed_and_scored(tmp_path):
    """Both strategies, in workers, from the store the second time, all protocols."""
    models = {
        "tagger": pe.Pretrained(Tagger(), collate=pad),
        "encoder": pe.Pretrained(Encoder(4), head="new", collate=pad),
    }
    grid = partial(
        pe.sweep,
        models,
        [task(ragged(40, 1), ragged(30, 2))],
        [FULL, PROBE],
        seeds=range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = grid(workers=2)
    assert {run.status for run in runs} == {"completed"}
    assert grid() == runs
    assert all(run.cost.macs and run.cost.peak_memory for run in runs)
    assert scored(runs) == [protocol.protocol for protocol in PROTOCOLS]
    assert "entity_f1" in str(pe.VariabilityEvaluator().compare(runs).reports[0])


def test_one_encoder_gets_the_head_of_each_task():
    """Of samples in one, of tokens in another, in one sweep."""
    inputs = [d.tensors[0] for d in (tagged(40, 1), tagged(30, 2))]
    parity = pe.Splits(*(TensorDataset(x, x[:, 0] % 2) for x in inputs))
    runs = pe.sweep(
        {"encoder": pe.Pretrained(Encoder, head="new")},
        [pe.Task("parity", datasets={"d": parity}, num_classes=2), task()],
        [PROBE],
        progress=False,
    )
    assert [run.cost.num_trainable_parameters for run in runs] == [14, 21]


def test_without_labels_accuracy_is_first():
    """Entities need their names; tokens do not."""
    run = pe.finetune(Tagger, task(labels=None), FULL)
    assert list(run.scores) == ["token_accuracy", "f1"]


WRONG = [
    (torch.zeros(40).long(), "one a token"),
    (torch.zeros(40, 7), "integer class targets"),
    (torch.full((40, 7), 3), "holds the label 3; num_classes=3 allows 0..2, and -100"),
    (torch.full((40, 7), -1), "holds the label -1"),
    (torch.full((40, 7), -100), "train holds tokens of 0 classes"),
    (torch.ones(40, 7).long(), "train holds tokens of 1 classes"),
]


@pytest.mark.parametrize(("targets", "message"), WRONG)
def test_wrong_targets_are_named_before_any_work(targets, message):
    """Shape, type and range."""
    with pytest.raises(ValueError, match=message):
        task(train=TensorDataset(tagged(40, 1).tensors[0], targets))


def test_wrong_labels_and_models_are_named():
    """As many labels as classes; a score for each token."""
    with pytest.raises(ValueError, match="labels are expected to name 3 classes"):
        pe.TokenClassification(3, labels=["O", "B-PER"])
    with pytest.raises(ValueError, match="labels are expected to be 'O'"):
        pe.TokenClassification(2, labels=["O", "PER"])
    pooled = nn.Sequential(nn.Embedding(12, 6), nn.Flatten(), nn.Linear(42, 3))
    with pytest.raises(ValueError, match="a score is expected for each token"):
        pe.finetune(pooled, task(), FULL, head="2")
