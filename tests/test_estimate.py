"""Cheap evidence: what one pass of each model says, and whether it may be believed."""

import gc
import math
import weakref
from functools import partial

import numpy as np
import pytest
import torch
import torchvision
from networks import Small, points, three_classes
from scipy import stats
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval import functional
from pretrain_eval._selection.statics import published_accuracy, ranks_on_other_tasks


class Columns(nn.Module):
    """A backbone that hands on some columns, and a head of five source classes."""

    def __init__(self, columns, outputs=5):
        super().__init__()
        self.columns, self.passes = list(columns), 0
        self.head = nn.Linear(len(self.columns), outputs)

    def forward(self, inputs):
        self.passes += len(inputs)
        return self.head(inputs[:, self.columns])


MODELS = {"all": Columns(range(4)), "some": Columns([0, 3]), "none": Columns([3])}
estimated = partial(pe.estimate, progress=False, device="cpu")


def by_name(estimates, name):
    return {each.model: each for each in estimates.of(name)}


def run(model, score, task="largest", dataset="points", strategy="full", **more):
    return pe.Run(
        model=model, task=task, dataset=dataset, strategy=strategy,
        seed=more.pop("seed", 0), scores={"accuracy": score}, **more,
    )  # fmt: skip


def test_values_are_those_of_the_formulas_on_the_training_split():
    """Features, and for LEEP the answers of the model's own head."""
    task = three_classes()
    splits = task.datasets["points"]
    inputs, targets = splits.train.tensors
    found = estimated(MODELS, task, pairs=0)
    for name, model in MODELS.items():
        rows = inputs[:, model.columns]
        for formula in ("logme", "h_score", "gbc", "knn_accuracy", "lda_accuracy"):
            expected = getattr(functional, formula)(rows, targets)
            value = by_name(found, formula)[name].value
            assert value == pytest.approx(expected, abs=1e-6), formula
        chances = model.head(rows).detach().double().softmax(1)
        for formula in ("leep", "nce"):
            expected = getattr(functional, formula)(chances, targets)
            value = by_name(found, formula)[name].value
            assert value == pytest.approx(expected, abs=1e-5)
    assert found.best("logme") == found.best("lda_accuracy") == "all"


def test_the_static_baselines_are_always_there():
    """Also where nothing else is asked for."""
    found = estimated(MODELS, three_classes(), by=[])
    assert found.names == [
        "log_parameters",
        "log_macs",
        "published_accuracy",
        "rank_on_other_tasks",
    ]
    parameters = by_name(found, "log_parameters")
    assert parameters["all"].value == pytest.approx(math.log10(4 * 3 + 3))
    assert by_name(found, "log_macs")["all"].value == pytest.approx(math.log10(12))
    assert "torchvision" in by_name(found, "published_accuracy")["all"].note
    with pytest.raises(ValueError, match="defined for no model"):
        found.best("published_accuracy")


def test_published_accuracy_is_read_off_the_weights():
    """By name, by weights enum, and through Pretrained; others state none."""
    weights = torchvision.models.ResNet18_Weights.IMAGENET1K_V1
    assert published_accuracy(weights) == pytest.approx(0.69758)
    assert published_accuracy("resnet18") == pytest.approx(0.69758)
    assert published_accuracy(pe.Pretrained("resnet18")) == pytest.approx(0.69758)
    assert published_accuracy(nn.Linear(2, 2)) is None
    assert published_accuracy("no such model") is None


def test_ranks_are_those_on_the_other_tasks_alone():
    """One task is left out; ties share a rank; lower is better for losses."""
    runs = [
        run("all", 0.9, "a"), run("some", 0.5, "a"), run("none", 0.5, "a"),
        run("all", 0.2, "b"), run("some", 0.8, "b", seed=1),
        run("some", 0.0, "largest"), run("all", 0.9, "largest"),
        run("none", 0.1, "c"),
    ]  # fmt: skip
    ranks = ranks_on_other_tasks(runs, "largest", ["all", "some", "none"])
    assert ranks == {"all": 1.5, "some": 1.75, "none": 2.5}
    found = estimated(MODELS, three_classes(), by=[], runs=runs)
    assert found.best("rank_on_other_tasks") == "all"


def test_runs_may_lie_in_a_store(tmp_path):
    """Its path, or the store itself."""
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as store:
        store.add("1", run("all", 0.9, "a"))
        store.add("2", run("some", 0.5, "a"))
        one = estimated(MODELS, three_classes(), by=[], runs=store)
    two = estimated(MODELS, three_classes(), by=[], runs=path)
    for found in (one, two):
        assert found.best("rank_on_other_tasks") == "all"


def test_a_null_value_is_what_permuted_labels_give():
    """An accuracy is then near that of the classes' shares."""
    found = by_name(estimated(MODELS, three_classes(train=300)), "knn_accuracy")
    assert found["all"].null == pytest.approx(1 / 3, abs=0.1)
    assert found["all"].low > found["all"].null
    assert found["none"].low < found["none"].null < found["none"].high


def test_intervals_hold_for_new_examples():
    """The mean over many data sets is inside 19 of 20, or a little more."""
    from pretrain_eval._selection.estimators import OF_CLASSES, measured

    def drawn(seed, count=150):
        rng = np.random.default_rng(seed)
        labels = rng.integers(3, size=count)
        return rng.normal(size=(count, 5)) + 0.7 * np.eye(5)[labels], labels

    for name in ("nearest_mean_accuracy", "logme", "lda_accuracy"):
        formula = OF_CLASSES[name]
        truth = np.mean([formula(*drawn(seed)) for seed in range(1000, 1300)])
        inside = 0
        for seed in range(100):
            found = measured(name, formula, *drawn(seed), seed, 10)
            inside += found.low <= truth <= found.high
        assert 87 <= inside <= 100, (name, inside)


def test_the_unshrunk_h_score_says_that_it_is_saturated():
    """With fewer samples than features it is C − 1, whatever they are."""
    rng = torch.Generator().manual_seed(0)
    wide = TensorDataset(torch.randn(30, 40, generator=rng), torch.arange(30) % 3)
    valid = TensorDataset(torch.randn(9, 40, generator=rng), torch.arange(9) % 3)
    task = pe.Task("wide", datasets={"d": pe.Splits(wide, valid)}, num_classes=3)
    found = estimated({"m": Columns(range(40))}, task, by=["h_score_unshrunk"])
    one = found.of("h_score_unshrunk")[0]
    assert one.value == pytest.approx(2.0)
    assert "saturated: C − 1" in one.note


def test_what_is_not_defined_has_a_note_and_no_value():
    """A model without a head of source classes; a class of one sample."""
    body = nn.Sequential(nn.Linear(4, 6), nn.ReLU())
    headless = pe.Pretrained(body, head="new")
    inputs = torch.randn(20, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.tensor([0] * 10 + [1] * 9 + [2])
    task = pe.Task(
        "few", num_classes=3,
        datasets={"d": pe.Splits(TensorDataset(inputs, labels), points(9, 1))},
    )  # fmt: skip
    found = estimated({"m": headless}, task)
    leep, gbc = found.of("leep")[0], found.of("gbc")[0]
    assert math.isnan(leep.value)
    assert "no head of source classes" in leep.note
    assert math.isnan(gbc.value)
    assert "classes that vary" in gbc.note
    assert "not defined" in str(found)


def test_numbers_have_logme_and_a_ridge_probe():
    """And no estimator of classes."""
    inputs = torch.randn(60, 4, generator=torch.Generator().manual_seed(0))
    train = TensorDataset(inputs, inputs[:, :1] * 2)
    valid = TensorDataset(inputs[:9] + 1, inputs[:9, :1])
    task = pe.Task("twice", datasets={"d": pe.Splits(train, valid)}, num_outputs=1)
    found = estimated({"first": Columns([0, 1]), "last": Columns([2, 3])}, task)
    assert found.best("logme") == found.best("probe_r2") == "first"
    with pytest.raises(ValueError, match=r"knows \['logme', 'probe_r2'\]"):
        estimated(MODELS, task, by=["leep"])


def test_other_kinds_have_static_baselines_alone():
    """An estimator that is asked for is an error before any work."""
    task = pe.Task(
        "own", forward=lambda model, batch: (model(batch[0]), batch[1]),
        loss=nn.functional.cross_entropy, metrics=pe.Accuracy(),
        datasets={"d": pe.Splits(points(20, 1), points(9, 2))},
    )  # fmt: skip
    found = estimated(MODELS, task)
    assert "logme" not in found.names
    assert found.best("log_parameters") == "all"
    with pytest.raises(ValueError, match="by=\\[\\] gives its static"):
        estimated(MODELS, task, by=["logme"])


def test_nothing_that_was_given_is_changed():
    """Weights, modes and the random state stay."""
    model = Small()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    estimated({"small": model}, three_classes(), by=["logme"], pairs=2)
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


def test_the_same_call_gives_the_same_values():
    """All draws are by the seed; num_samples bounds what formulas read."""
    task = three_classes(train=200)
    one, two = (
        estimated(MODELS, task, by=["logme", "parc"], num_samples=50) for _ in range(2)
    )
    for first, second in zip(one.estimates, two.estimates, strict=True):
        left, right = ({**vars(e), "seconds": 0} for e in (first, second))
        assert str(left) == str(right)
    whole = estimated(MODELS, task, by=["logme"], num_samples=None)
    assert whole.of("logme")[0].value != one.of("logme")[0].value


def test_agreement_is_kendalls_tau_and_the_regret_of_the_pick():
    """Means over strategies, in each over seeds; the diverged count as chance."""
    found = estimated(MODELS, three_classes(), by=["logme", "gbc"], pairs=0)
    runs = [
        run("all", 0.8), run("all", 0.6, seed=1), run("all", 0.9, strategy="head"),
        run("some", 0.95), run("some", 0.95, strategy="head"),
        pe.Run(model="none", task="largest", dataset="points", strategy="full", seed=0,
               status="diverged", chance={"accuracy": 0.3}),
        run("all", 0.0, task="another"),
    ]  # fmt: skip
    sheet = found.agreement(runs)
    rows = {row["estimator"]: row for row in sheet.rows()}
    truth = {"all": 0.8, "some": 0.95, "none": 0.3}
    values = {each.model: each.value for each in found.of("logme")}
    expected = stats.weightedtau(
        [truth[m] for m in MODELS], [values[m] for m in MODELS]
    ).statistic
    assert rows["logme"]["tau"] == pytest.approx(expected)
    assert rows["logme"]["regret"] == pytest.approx(0.15)
    assert rows["logme"]["num_models"] == 3
    assert rows["log_parameters"]["regret"] == pytest.approx(0.15)
    assert rows["published_accuracy"]["tau"] is None
    assert "agreement with fine-tuning, accuracy" in str(sheet)
    with pytest.raises(ValueError, match="two models or more on task 'largest'"):
        found.agreement([run("all", 0.5)])


def test_agreement_knows_that_an_error_is_better_low():
    """The pick of least error has no regret."""
    found = estimated(MODELS, three_classes(), by=["logme"], pairs=0)
    runs = [
        pe.Run(model=model, task="largest", dataset="points", strategy="full", seed=0,
               scores={"log_loss": loss})
        for model, loss in {"all": 0.1, "some": 0.4, "none": 0.9}.items()
    ]  # fmt: skip
    rows = {row["estimator"]: row for row in found.agreement(runs).rows()}
    assert rows["logme"]["regret"] == 0.0
    assert rows["logme"]["tau"] == pytest.approx(1.0)


def test_estimates_print_and_export():
    """A row a model and estimator."""
    found = estimated(MODELS, three_classes(), by=["logme"], pairs=2)
    assert str(found).startswith("estimates for largest\nmodel")
    frame = found.to_pandas()
    assert list(frame["name"][:5]) == [*list(found.names)]
    assert len(frame) == 15
    with pytest.raises(ValueError, match="there are estimates by"):
        found.best("leep")


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"by": "logme"}, TypeError, "by as a list of names"),
        ({"by": ["lgme"]}, ValueError, r"got \['lgme'\]"),
        ({"num_samples": 2}, ValueError, "num_samples of at least 4"),
        ({"pairs": -1}, ValueError, "pairs of at least 0"),
        ({"seed": -1}, ValueError, "seed as an int of at least 0"),
        ({"runs": "no/such.db"}, FileNotFoundError, "no does not exist"),
        ({"heads": {"other": "x"}}, ValueError, "heads names models"),
    ],
)
def test_wrong_input_is_refused_before_any_model_reads(more, error, message):
    """One sentence says what was expected and what came."""

    def never():
        raise AssertionError("was built")

    with pytest.raises(error, match=message):
        estimated({"m": never}, three_classes(), **more)


def test_a_model_that_does_not_fit_is_refused_before_the_first_is_read():
    """It is named."""
    model = Columns(range(4))
    with pytest.raises(ValueError, match="'wrong' does not fit"):
        estimated({"right": model, "wrong": Columns([9])}, three_classes())


def test_of_two_hundred_models_one_or_two_live_at_a_time():
    """Each is built, read and let go."""
    alive, most = weakref.WeakSet(), 0

    def build():
        nonlocal most
        model = Columns([0, 3])
        alive.add(model)
        most = max(most, len(alive))
        return model

    models = {f"m{number}": build for number in range(200)}
    found = estimated(models, three_classes(train=40), by=["logme"], pairs=0)
    gc.collect()
    assert len(found.of("logme")) == len(found.seconds) == 200
    assert most <= 2
    assert not alive


def test_the_own_head_answers_for_drawn_samples_alone():
    """Its answers to a million samples would not fit into memory."""
    seen = []

    class Counted(nn.Linear):
        def forward(self, rows):
            seen.append(len(rows))
            return super().forward(rows)

    model = Columns(range(4))
    model.head = Counted(4, 5)
    task = three_classes(train=300)
    found = estimated({"m": model}, task, by=["leep"], num_samples=50, pairs=0)
    assert not math.isnan(found.of("leep")[0].value)
    assert max(seen) < 300
    assert 50 in seen


class Mapped(torch.utils.data.Dataset):
    """A million rows in a file with holes, of which only what is asked for is read."""

    def __init__(self, path, count=1_000_000, width=2048):
        self.rows = np.memmap(path, np.float32, "w+", shape=(count, width))
        self.targets = torch.arange(count) % 3
        self.read = 0

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, index):
        self.read += 1
        row = torch.from_numpy(np.array(self.rows[index]))
        # A file with holes holds zeros: what tells classes apart is added.
        row[:64] = torch.randn(64, generator=torch.Generator().manual_seed(index))
        row[index % 3] += 2.0
        return row, self.targets[index]


def test_of_a_million_mapped_rows_the_drawn_ones_are_read_and_held(tmp_path):
    """1,000,000 x 2,048 numbers are 8 GB; what is held at a time stays below 200 MB."""
    import tracemalloc

    train = Mapped(tmp_path / "rows")
    few = points(9, 1).tensors[1]
    valid = TensorDataset(torch.randn(9, 2048), few)
    splits = pe.Splits(train, valid, allow_overlap=True)
    task = pe.Task("mapped", datasets={"d": splits}, num_classes=3)
    train.read = 0
    tracemalloc.start()
    found = estimated(
        {"m": Columns(range(2048), outputs=4)}, task, num_samples=300, pairs=0,
        by=["nearest_mean_accuracy", "leep"],
    )  # fmt: skip
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 200e6
    assert 300 <= train.read <= 400
    assert found.passes == {("m", "d"): 300 / 1_000_000}
    accuracy = by_name(found, "nearest_mean_accuracy")["m"].value
    assert accuracy > 0.6


def test_a_loader_is_read_whole_and_formulas_see_the_same_draw():
    """Its batches are made, so that samples cannot be taken out of it."""
    train, valid = points(60, 1), points(30, 2)
    loader = torch.utils.data.DataLoader(train, batch_size=7)
    tasks = [
        pe.Task("t", datasets={"d": pe.Splits(each, valid)}, num_classes=3)
        for each in (train, loader)
    ]
    one, two = (
        estimated(MODELS, task, by=["logme", "leep"], num_samples=20, pairs=0)
        for task in tasks
    )
    for name in ("logme", "leep"):
        values = [each.value for each in one.of(name)]
        assert [e.value for e in two.of(name)] == pytest.approx(values, abs=1e-6)
    assert set(one.passes.values()) == {20 / 60}
    assert set(two.passes.values()) == {1.0}


class Deep(nn.Module):
    """Two inner layers, the first of which holds what the last has lost."""

    def __init__(self):
        super().__init__()
        self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
        self.head = nn.Linear(4, 5)
        with torch.no_grad():
            self.first.weight.copy_(torch.eye(4))
            self.first.bias.zero_()
            self.second.weight.zero_()
            self.second.weight[:, 3] = 1.0  # of no use for the classes

    def forward(self, inputs):
        return self.head(self.second(self.first(inputs)))


def test_the_best_layer_need_not_be_the_last():
    """By cross-validation, by name, and of several names the best; each says which."""
    task = three_classes(train=120)
    inputs, targets = task.datasets["points"].train.tensors
    models = {"deep": Deep(), "plain": Columns(range(4))}
    call = partial(estimated, models, task, by=["knn_accuracy", "leep"], pairs=0)
    expected = functional.knn_accuracy(inputs, targets)
    last, best, mean = (by_name(call(layers=w), "knn_accuracy")["deep"]
                        for w in ("last", "best", "mean"))  # fmt: skip
    assert (last.layer, best.layer, mean.layer) == ("", "first", "mean of 3")
    assert best.value == pytest.approx(expected)
    assert last.value < best.value
    second = models["deep"].second(inputs).detach()
    average = functional.knn_accuracy((inputs + 2 * second) / 3, targets)
    assert mean.value == pytest.approx(average)
    for paths in ("first", ["second", "first"]):
        found = call(layers={"deep": paths})
        assert by_name(found, "knn_accuracy")["deep"].layer == "first"
        assert by_name(found, "knn_accuracy")["plain"].layer == ""
        # What the head answers does not depend on the layer.
        assert by_name(found, "leep")["deep"].layer == ""
        leep = by_name(call(), "leep")["deep"].value
        assert by_name(found, "leep")["deep"].value == pytest.approx(leep, abs=1e-6)
    assert "layer" in str(found)
    assert "layer" not in str(call())


def test_maps_are_averaged_over_positions_and_tokens_over_the_mask():
    """One row a sample, whatever a layer gives."""
    from pretrain_eval._training.layers import heard

    class Tokens(nn.Module):
        def __init__(self):
            super().__init__()
            self.block = nn.Identity()

        def forward(self, tokens, attention_mask):
            return self.block(tokens).sum()

    tokens = torch.arange(12.0).reshape(2, 3, 2)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    with heard(model := Tokens(), ("block",)) as found:
        model(tokens, attention_mask=mask)
    rows = [[1.0, 2.0], [6.0, 7.0]]
    assert found["block"].tolist() == rows
    maps = torch.randn(2, 3, 4, 5)
    with heard(model := nn.Sequential(nn.Identity()), ("0",)) as found:
        model(maps)
    assert torch.allclose(found["0"], maps.mean((2, 3)))


@pytest.mark.parametrize(
    ("build", "layers", "place"),
    [
        # Channels last: the stem (a convolution, moved), a block, a merging, the norm.
        ("swin_t", {"features.0": 96, "features.1.1": 96, "features.2": 192}, -1),
        ("swin_v2_t", {"features.3": 192, "norm": 768}, -1),
        # Channels second, with linear layers inside.
        ("convnext_tiny", {"features.0": 96, "features.1.0": 96, "features.2": 192}, 1),
        ("resnet18", {"layer1": 64, "layer2.0": 128}, 1),
    ],
)
def test_maps_are_averaged_over_positions_wherever_channels_are(build, layers, place):
    """One number a channel: of a layer's own maps, seen by a hook, their mean."""
    from pretrain_eval._training.layers import heard

    network = getattr(torchvision.models, build)(weights=None).eval()
    images = torch.randn(2, 3, 64, 64)
    maps = {}
    for name in layers:
        keep = lambda _, __, given, name=name: maps.update({name: given})  # noqa: E731
        network.get_submodule(name).register_forward_hook(keep)
    with torch.no_grad(), heard(network, tuple(layers)) as found:
        network(images)
    for name, width in layers.items():
        positions = {1, 2, 3} - {place % 4}
        assert found[name].shape == (2, width)
        torch.testing.assert_close(found[name], maps[name].mean(tuple(positions)))


@pytest.mark.parametrize(
    ("layers", "error", "message"),
    [
        ("first", ValueError, r"one of \['last', 'mean', 'best'\]"),
        (3, TypeError, "a mapping from models"),
        ({"deep": 3}, TypeError, "a mapping from models"),
        ({"deep": []}, TypeError, "a mapping from models"),
        ({"other": "first"}, ValueError, r"layers names models \['other'\]"),
        ({"deep": "third"}, ValueError, r"has no layers \['third'\]; it has"),
    ],
)
def test_layers_that_are_not_there_are_refused(layers, error, message):
    """With those that are."""
    with pytest.raises(error, match=message):
        estimated({"deep": Deep()}, three_classes(), layers=layers)
