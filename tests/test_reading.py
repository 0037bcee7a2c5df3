"""How samples of any form reach a model: splits, targets, transforms, new heads."""

from functools import partial

import numpy as np
import pytest
import torch
from networks import Small, points, three_classes
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

import pretrain_eval as pe

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=1)
HEAD = pe.Strategy("head", optimizer=SGD, epochs=1, trainable="head")


class Form(Dataset):
    """The samples of a tensor dataset in another form."""

    def __init__(self, dataset, form):
        self.dataset, self.form = dataset, form

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, index):
        inputs, target = self.dataset[index]
        return self.form(inputs, int(target))


def labelled(inputs, target):
    return {"inputs": inputs, "labels": target}


def longer(inputs, target):
    return inputs, target, "a note"


def rated(inputs, target):
    return {"inputs": inputs, "rating": target, "id": 7}


def frame(dataset):
    """A table with a column a number."""
    pandas = pytest.importorskip("pandas", reason="pip install 'pretrain-eval[pandas]'")
    inputs, targets = dataset.tensors
    columns = {f"x{i}": inputs[:, i].numpy() for i in range(4)}
    return pandas.DataFrame({**columns, "rating": targets.numpy()})


class ByName(nn.Module):
    """Takes its inputs by name, whatever else there is."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 2)

    def forward(self, inputs=None, id=None, **columns):  # a column's name
        if inputs is None:
            inputs = torch.stack([columns[f"x{i}"] for i in range(4)], 1).float()
        return {"logits": self.head(self.body(inputs).relu())}


class Plain(ByName):
    """The same, by position."""

    def forward(self, inputs, note=None):
        return self.head(self.body(inputs).relu())


def parts():
    return points(40, 1), points(30, 2)


def finetuned(splits, model, strategy=FULL, **options):
    task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    return pe.finetune(model, task, strategy, device="cpu", **options)


def as_labelled():
    return pe.Splits(*(Form(part, labelled) for part in parts())), ByName()


def as_lists():
    return pe.Splits(
        *([part[i] for i in range(len(part))] for part in parts())
    ), Plain()


def as_longer():
    return pe.Splits(*(Form(p, longer) for p in parts()), target=1), _Noted()


def as_rated():
    return pe.Splits(
        *(Form(part, rated) for part in parts()), target="rating"
    ), ByName()


def as_frames():
    return pe.Splits(*map(frame, parts()), target="rating"), ByName()


def as_table():
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    tables = [
        datasets.Dataset.from_dict(
            {"inputs": p.tensors[0].tolist(), "label": p.tensors[1].tolist()}
        ).with_format("torch")
        for p in parts()
    ]
    return pe.Splits(*tables), ByName()


class _Noted(Plain):
    def forward(self, inputs, note):
        assert set(note) == {"a note"}
        return super().forward(inputs)


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=["full", "head"])
@pytest.mark.parametrize(
    "make", [as_labelled, as_lists, as_longer, as_rated, as_frames, as_table]
)
def test_samples_of_any_form_give_the_run_of_plain_tensors(make, strategy):
    """Mappings, tuples, lists, tables: the same samples, the same numbers."""
    splits, model = make()
    run = finetuned(splits, model, strategy)
    plain = finetuned(pe.Splits(*parts()), Plain(), strategy)
    assert run.scores == plain.scores
    assert run.baseline == plain.baseline
    assert run.chance == plain.chance
    assert run.history["grad_norm"] == pytest.approx(plain.history["grad_norm"])
    assert (run.cost.macs, run.cost.peak_memory is None) == (plain.cost.macs, False)


def test_loaders_of_mappings_are_read_as_they_are():
    """A collate function that makes mappings of tuples, or tuples of mappings."""

    def by_name(samples):
        inputs, targets = zip(*samples, strict=True)
        return {"inputs": torch.stack(inputs), "labels": torch.stack(targets)}

    def as_pairs(samples):
        return (
            torch.stack([s["inputs"] for s in samples]),
            torch.tensor([s["what"] for s in samples]),
        )

    named = [DataLoader(part, 8, collate_fn=by_name) for part in parts()]
    odd = [Form(part, lambda x, y: {"inputs": x, "what": y}) for part in parts()]
    paired = [DataLoader(part, 8, collate_fn=as_pairs) for part in odd]
    plain = [DataLoader(part, 8) for part in parts()]
    expected = finetuned(pe.Splits(*plain), Plain()).scores
    assert finetuned(pe.Splits(*named), ByName()).scores == expected
    assert finetuned(pe.Splits(*paired), Plain()).scores == expected


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("stars", r"target='stars' is no entry of a sample; it has \['inputs'"),
        (5, "target=5 is no entry"),
    ],
)
def test_a_target_that_is_not_there_is_refused_with_what_is(target, message):
    """The message lists the entries."""
    splits = pe.Splits(*(Form(part, rated) for part in parts()), target=target)
    with pytest.raises(ValueError, match=message):
        pe.Task("t", datasets={"d": splits}, num_classes=3)


def test_a_sample_without_a_target_says_what_to_give():
    """A mapping without labels, and a sample that is a tensor alone."""
    no_labels = pe.Splits(*(Form(part, rated) for part in parts()))
    with pytest.raises(ValueError, match=r"'labels', got \['inputs', 'rating', 'id'\]"):
        pe.Task("t", datasets={"d": no_labels}, num_classes=3)
    bare = pe.Splits(*(Form(part, lambda x, y: {"x"}) for part in parts()))
    with pytest.raises(
        ValueError, match=r"\(inputs, targets\) or a mapping .* got set"
    ):
        pe.Task("t", datasets={"d": bare}, num_classes=3)


def scaled(factor, inputs):
    return inputs * factor


def test_each_model_of_a_sweep_reads_raw_samples_in_its_own_way(tmp_path):
    """Two models, two transforms, one grid: each the run of its own samples."""
    raw = [points(40, 1), points(30, 2)]
    task = pe.Task("t", datasets={"d": pe.Splits(*raw)}, num_classes=3)
    model = Plain()
    runs = pe.sweep(
        {
            "as it is": model,
            "double": pe.Pretrained(model, transform=partial(scaled, 2)),
            "half": pe.Pretrained(model, transform=partial(scaled, 0.5)),
        },
        [task],
        [FULL, HEAD],
        store=tmp_path / "runs.db",
        workers=2,
        progress=False,
    )
    assert [run.status for run in runs] == ["completed"] * 6
    for run, factor in zip(runs, (1, 1, 2, 2, 0.5, 0.5), strict=True):
        samples = [TensorDataset(p.tensors[0] * factor, p.tensors[1]) for p in raw]
        strategy = {"full": FULL, "head": HEAD}[run.strategy]
        twin = finetuned(pe.Splits(*samples), model, strategy)
        assert (run.scores, run.baseline) == (twin.scores, twin.baseline)
    with pe.RunStore(tmp_path / "runs.db") as store:
        assert len(store) == 6  # each way of reading has keys of its own


def spelled(samples):
    """Words of different lengths as one padded batch with a mask."""
    words, targets = zip(*samples, strict=True)
    width = max(map(len, words))
    ids = torch.tensor([[ord(c) % 32 for c in w.ljust(width, "`")] for w in words])
    return {
        "ids": ids,
        "attention_mask": (ids != 0).long(),
        "labels": torch.tensor(targets),
    }


class Reader(nn.Module):
    """Embeds letters; no head."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(32, 8)

    def forward(self, ids, attention_mask):
        return {"last_hidden_state": self.embedding(ids), "pooler_output": None}


WORDS = ["a", "bee", "cat", "dolphin", "eel", "fox", "gnu", "hedgehog", "ibis", "jay"]


def words(start):
    return [(word + "x" * start, len(word) % 2) for word in WORDS * 3]


def test_raw_text_becomes_batches_by_the_models_own_collate():
    """Strings of different lengths, padded by batch, pooled over what the mask keeps."""
    model = pe.Pretrained(Reader, head="new", collate=spelled)
    splits = pe.Splits(words(0), words(1))
    for strategy in (FULL, HEAD):
        run = finetuned(splits, model, strategy)
        assert run.status == "completed"
        assert run.num_examples == 30
    reader = Reader()
    batch = spelled(words(0)[:4])
    hidden, mask = reader.embedding(batch["ids"]), batch["attention_mask"][:, :, None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    kept = []
    finetuned(splits, model, HEAD, on_end=lambda network, run: kept.append(network))
    network = kept[0]
    found = network(batch["ids"], attention_mask=batch["attention_mask"])
    assert torch.allclose(found, network.head(mean), atol=1e-6)


def test_a_model_that_reads_in_its_own_way_needs_samples():
    """A loader's batches are made already."""
    loaders = [DataLoader(part, 8) for part in parts()]
    model = pe.Pretrained(Plain(), transform=abs)
    with pytest.raises(ValueError, match="must hold samples, not be a DataLoader"):
        finetuned(pe.Splits(*loaders), model)


BACKBONES = {
    "vector": (nn.Sequential(nn.Flatten(), nn.Linear(48, 6), nn.ReLU()), 6),
    "map": (nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU()), 6),
    "map pooled": (
        nn.Sequential(nn.Conv2d(3, 5, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1)),
        5,
    ),
    "encoder": (
        nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 5, 3), nn.ReLU()
        ),
        5,
    ),
}


def images(num_samples, seed):
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(num_samples, 3, 4, 4, generator=generator)
    return TensorDataset(inputs, torch.arange(num_samples) % 2)


@pytest.mark.parametrize("name", BACKBONES)
def test_a_backbone_without_a_head_gets_one_on_its_pooled_features(name):
    """A vector as it is, a map by its mean over positions; no pretrained layer goes."""
    backbone, width = BACKBONES[name]
    kept = []
    task = pe.Task(
        "t", datasets={"d": pe.Splits(images(24, 0), images(12, 1))}, num_classes=2
    )
    run = pe.finetune(
        backbone,
        task,
        HEAD,
        head="new",
        on_end=lambda network, run: kept.append(network),
    )
    network = kept[0]
    assert network.head.in_features == width
    assert run.settings["head"] == "head"
    for own, before in zip(
        network.body.parameters(), backbone.parameters(), strict=True
    ):
        assert torch.equal(own, before)
    features = backbone(images(12, 1).tensors[0])
    pooled = features.flatten(2).mean(2) if features.ndim == 4 else features
    wanted = network.head(pooled)
    assert torch.allclose(network(images(12, 1).tensors[0]), wanted, atol=1e-6)


def test_advice_never_leads_to_replacing_a_pretrained_convolution():
    """Encoders have no head: what is offered is a new one, and a wrong name is refused."""
    encoder = BACKBONES["encoder"][0]
    task = pe.Task(
        "t", datasets={"d": pe.Splits(images(24, 0), images(12, 1))}, num_classes=2
    )
    with pytest.raises(ValueError, match=r"none found; .*head='new' adds one") as error:
        pe.finetune(encoder, task, FULL)
    assert "for example" not in str(error.value)
    for name in ("0", "2"):
        with pytest.raises(ValueError, match="a part of the backbone and no head"):
            pe.finetune(encoder, task, FULL, head=name)
    bottleneck = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten())
    with pytest.raises(ValueError, match="followed by '1', so it is no head"):
        pe.finetune(bottleneck, task, FULL, head="0")


class Odd(nn.Module):
    """The head has a name that nobody knows; it is the only linear layer."""

    def __init__(self):
        super().__init__()
        self.stem, self.prediction = nn.Conv2d(3, 4, 3), nn.Linear(4, 9)

    def forward(self, inputs):
        return self.prediction(self.stem(inputs).mean((2, 3)))


def test_the_only_linear_layer_is_the_head_where_it_is_the_last():
    """Whatever it is called."""
    task = pe.Task(
        "t", datasets={"d": pe.Splits(images(24, 0), images(12, 1))}, num_classes=2
    )
    assert pe.finetune(Odd(), task, FULL).settings["head"] == "prediction"


class Distilled(nn.Module):
    """Two heads, whose outputs are averaged."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 8)
        self.head, self.head_dist = nn.Linear(8, 7), nn.Linear(8, 7)

    def forward(self, inputs):
        hidden = self.body(inputs).relu()
        return (self.head(hidden) + self.head_dist(hidden)) / 2


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=["full", "head"])
def test_two_heads_are_both_replaced(strategy):
    """As distilled transformers have them."""
    kept = []
    run = pe.finetune(
        Distilled(),
        three_classes(),
        strategy,
        on_end=lambda network, run: kept.append(network),
    )
    assert run.settings["head"] == "head,head_dist"
    assert (kept[0].head.out_features, kept[0].head_dist.out_features) == (3, 3)
    assert run.baseline["accuracy"] > 0.5


def test_mixed_targets_train_and_hard_ones_are_scored():
    """Mixup in a collate function: shares of classes for the loss, and no baseline."""

    def mixed(samples):
        inputs, targets = map(torch.stack, zip(*samples, strict=True))
        shares = F.one_hot(targets, 3).float()
        return (inputs + inputs.flip(0)) / 2, (shares + shares.flip(0)) / 2

    train = DataLoader(points(40, 1), 8, collate_fn=mixed)
    run = finetuned(pe.Splits(train, points(30, 2)), Small())
    assert run.status == "completed"
    assert run.baseline == {}
    assert 0 < run.scores["accuracy"] <= 1


def test_one_logit_tells_two_classes_apart_as_two_do():
    """Log-odds: the loss is BCE, the scores are those of two classes."""
    inputs, targets = points(60, 1, 2).tensors
    other = points(50, 2, 2)
    splits = pe.Splits(TensorDataset(inputs, targets), other)
    one = pe.Task(
        "t", datasets={"d": splits}, kind=pe.Classification(2, one_logit=True)
    )
    model, kept = Small(), []
    run = pe.finetune(
        model, one, FULL, on_end=lambda network, run: kept.append(network)
    )
    with torch.no_grad():
        logits = kept[0].eval()(other.tensors[0])[:, 0]
    right = ((logits > 0).long() == other.tensors[1]).double().mean()
    assert run.scores["accuracy"] == float(right)
    two = pe.Task("t", datasets={"d": splits}, num_classes=2)
    assert run.baseline == pe.finetune(model, two, FULL).baseline
    assert kept[0].head.out_features == 1


def test_one_logit_and_two_have_keys_of_their_own(tmp_path):
    """The head differs, so does the run."""
    splits = pe.Splits(points(40, 1, 2), points(30, 2, 2))
    tasks = [
        pe.Task(
            "one", datasets={"d": splits}, kind=pe.Classification(2, one_logit=True)
        ),
        pe.Task("two", datasets={"d": splits}, num_classes=2),
    ]
    with pe.RunStore(tmp_path / "runs.db") as store:
        pe.sweep({"m": Plain()}, tasks, [FULL], store=store, progress=False)
        assert len(store) == 2


def forward(model, batch):
    inputs, targets = batch
    return model(inputs), targets


def test_a_task_in_plain_functions_needs_no_kind():
    """The model keeps its head and is scored before training as it is."""
    splits = pe.Splits(*parts())
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    task = pe.Task(
        "own",
        datasets={"d": splits},
        forward=forward,
        loss=F.cross_entropy,
        metrics={"top": pe.Accuracy(), "f1": pe.F1Score()},
        chance={"top": 1 / 3},
    )
    run = pe.finetune(model, task, FULL)
    assert list(run.scores) == ["top", "f1"]
    assert run.chance == {"top": 1 / 3}
    assert run.baseline == pytest.approx(
        {k: v[0] for k, v in run.curve.items() if k != "step"}
    )
    same = pe.Task("t", datasets={"d": splits}, num_classes=3)
    twin = pe.Task("t", datasets={"d": splits}, num_classes=3, metrics=pe.Accuracy())
    runs = [pe.finetune(Plain(), each, FULL) for each in (same, twin)]
    assert runs[0].scores["accuracy"] == runs[1].scores["accuracy"]
    assert list(runs[1].scores) == ["accuracy"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({}, ValueError, "expects num_classes for classification"),
        ({"num_classes": 3, "num_outputs": 1}, ValueError, "expects one kind"),
        ({"kind": pe.Classification(3), "num_outputs": 1}, ValueError, "one kind"),
        ({"kind": "images"}, TypeError, "as a TaskKind"),
        ({"num_classes": 3, "forward": 1}, TypeError, "forward must be callable"),
        ({"num_classes": 3, "loss": "ce"}, TypeError, "loss must be callable"),
        (
            {"num_classes": 3, "metrics": 3},
            TypeError,
            "metrics: MetricCollection expects",
        ),
        ({"num_classes": 3, "chance": {"e": {"f1": 0.1}}}, ValueError, r"names .*'e'"),
        ({"num_outputs": 2}, ValueError, "1 numbers a sample .*num_outputs says 2"),
    ],
)
def test_wrong_tasks_are_refused(arguments, error, message):
    """Each with what was expected."""
    splits = pe.Splits(*parts())
    with pytest.raises(error, match=message):
        pe.Task("t", datasets={"d": splits}, **arguments)


@pytest.mark.parametrize(
    "arguments",
    [{"build": 3}, {"build": Plain, "transform": 3}, {"build": Plain, "collate": "x"}],
)
def test_wrong_models_are_refused(arguments):
    """What cannot be called is said."""
    with pytest.raises(TypeError, match="Pretrained expects"):
        pe.Pretrained(**arguments)


def test_detectors_of_values_are_counted_where_they_are():
    """A network that reads values on its way has MACs and memory none the less."""

    class Reads(Plain):
        def forward(self, inputs):
            assert np.isfinite(inputs.sum().item())
            return super().forward(inputs)

    run = finetuned(pe.Splits(*parts()), Reads())
    plain = finetuned(pe.Splits(*parts()), Plain())
    assert run.cost.macs == plain.cost.macs
    assert run.cost.peak_memory > 0


def test_a_kind_reads_its_batches_also_where_its_metrics_are_replaced():
    """What a kind says of one forward pass holds beside scores of one's own."""
    inputs, targets = points(40, 1).tensors
    bytes_ = TensorDataset(inputs, targets.to(torch.uint8))
    splits = pe.Splits(bytes_, points(30, 2))
    task = pe.Task("t", datasets={"d": splits}, num_classes=3, metrics=pe.Accuracy())
    _, read = task.kind.read(Plain(), bytes_[:4])
    assert read.dtype == torch.int64
    ids = torch.arange(48).reshape(8, 6) % 5
    texts = [{"input_ids": row} for row in ids]
    others = [{"input_ids": row.flip(0)} for row in ids]
    own = pe.Task(
        "texts",
        datasets={"d": pe.Splits(texts, others)},
        kind=pe.LanguageModelling(),
        metrics=pe.Perplexity(),
    )
    runs = pe.sweep({"m": Speller()}, [own], [FULL], progress=False)
    assert [run.status for run in runs] == ["completed"]
    assert runs[0].cost.macs > 0


class Speller(nn.Module):
    """Scores of the next token."""

    def __init__(self):
        super().__init__()
        self.embedding, self.out = nn.Embedding(5, 4), nn.Linear(4, 5)

    def forward(self, input_ids):
        return self.out(self.embedding(input_ids))
