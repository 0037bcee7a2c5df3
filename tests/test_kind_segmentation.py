"""One class a pixel: trained, scored and compared as torchmetrics does."""

import copy
from functools import partial

import pytest
import torch
from networks import PROTOCOLS, draw_of, equal_weights, scored, train_by_hand
from sklearn.neighbors import NearestCentroid
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics import functional as judge
from torchvision.models.segmentation import (
    FCN,
    DeepLabV3,
    lraspp_mobilenet_v3_large,
)
from torchvision.models.segmentation.deeplabv3 import DeepLabHead
from torchvision.models.segmentation.fcn import FCNHead

import pretrain_eval as pe
from pretrain_eval._metrics import seed_all

SGD = partial(torch.optim.SGD, lr=0.1, momentum=0.9)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=8)
PROBE = pe.Strategy("probe", optimizer=SGD, epochs=2, batch_size=8, trainable="head")


class Backbone(nn.Module):
    """Two maps, as torchvision's segmentation models read them."""

    def __init__(self, width=8):
        super().__init__()
        self.first = nn.Conv2d(3, width, 3, stride=2, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, images):
        aux = self.norm(self.first(images)).relu()
        return {"out": self.second(aux).relu(), "aux": aux}


def fcn(width=8, aux=True):
    second = FCNHead(width, 21) if aux else None
    return FCN(Backbone(width), FCNHead(width, 21), second)


class Plain(nn.Module):
    """A backbone of one map."""

    def __init__(self, width=8):
        super().__init__()
        self.body = Backbone(width)

    def forward(self, images):
        return self.body(images)["out"]


def shapes(num_samples, seed, size=16):
    """A bright square on noise, and one of another colour; their edges are ignored."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.3 * torch.randn(num_samples, 3, size, size, generator=generator)
    masks = torch.zeros(num_samples, size, size, dtype=torch.long)
    for image, mask in zip(images, masks, strict=True):
        for colour in (0, 1):
            y, x = torch.randint(0, size - 6, (2,), generator=generator).tolist()
            image[colour, y : y + 5, x : x + 5] += 2
            mask[y : y + 5, x : x + 5] = colour + 1
            mask[y, x : x + 5] = 255
    return TensorDataset(images, masks)


def task(train=None, valid=None, **settings):
    splits = pe.Splits(train or shapes(24, 1), valid or shapes(20, 2))
    kind = pe.Segmentation(3, **settings)
    return pe.Task("shapes", datasets={"squares": splits}, kind=kind)


def oracle(outputs, targets):
    """What torchmetrics makes of scores of each pixel."""
    over = {"num_classes": 3, "ignore_index": 255}
    iou = judge.jaccard_index(outputs, targets, task="multiclass", **over)
    found, kept = outputs.argmax(1), targets != 255
    f1 = judge.f1_score(
        found[kept], targets[kept], task="multiclass", num_classes=3, average="macro"
    )
    accuracy = judge.accuracy(
        outputs, targets, task="multiclass", average="micro", **over
    )
    values = {"miou": iou, "dice": f1, "pixel_accuracy": accuracy}
    return {key: float(value) for key, value in values.items()}


@pytest.mark.parametrize("classes", [3, 2])
@pytest.mark.parametrize("seed", range(3))
def test_scores_are_those_of_torchmetrics(seed, classes):
    """On random scores over two batches, ignored pixels, also without class 2."""
    generator = torch.Generator().manual_seed(seed)
    outputs = torch.randn(6, 3, 5, 7, generator=generator)
    outputs[:, classes:] = -10
    targets = torch.randint(0, classes, (6, 5, 7), generator=generator)
    targets[torch.rand(6, 5, 7, generator=generator) < 0.2] = 255
    metrics = pe.MetricCollection(**pe.Segmentation(3).metrics())
    metrics.update(outputs[:4], targets[:4])
    metrics.update(outputs[4:], targets[4:])
    assert list(metrics.compute()) == ["miou", "dice", "pixel_accuracy"]
    assert metrics.compute() == pytest.approx(oracle(outputs, targets), abs=1e-6)


@pytest.mark.parametrize("model", [fcn, lraspp_mobilenet_v3_large, Plain])
def test_a_run_has_scores_chance_and_scales(model):
    """Scores are torchmetrics' of the last weights; chance is the majority's."""
    kept = []
    if model is lraspp_mobilenet_v3_large:
        model = partial(model, weights=None, weights_backbone=None)
    run = pe.finetune(
        model,
        task(),
        FULL,
        head="new" if model is Plain else None,
        on_end=lambda model, _: kept.append(copy.deepcopy(model)),
    )
    images, targets = shapes(20, 2).tensors
    with torch.no_grad():
        found = kept[0].eval()(images)
    outputs = found["out"] if isinstance(found, dict) else found
    assert run.scores == pytest.approx(oracle(outputs, targets), abs=1e-6)
    constant = torch.zeros(20, 3, 16, 16)
    constant[:, 0] = 1
    assert run.chance == pytest.approx(oracle(constant, targets), abs=1e-6)
    assert list(run.scores) == list(run.scales) == list(run.baseline)
    assert run.cost.macs
    assert run.cost.peak_memory
    assert run.num_examples == 20


def test_the_heads_of_torchvisions_models_are_found():
    """Both heads of an auxiliary loss, both of LRASPP, and DeepLab's last layer."""
    lraspp = lraspp_mobilenet_v3_large(weights=None, weights_backbone=None)
    deeplab = DeepLabV3(Backbone(), DeepLabHead(8, 21))
    for model, path in [
        (fcn(), "classifier.4,aux_classifier.4"),
        (fcn(aux=False), "classifier.4"),
        (lraspp, "classifier.high_classifier,classifier.low_classifier"),
        (deeplab, "classifier.4"),
    ]:
        run = pe.finetune(model, task(), PROBE)
        assert run.settings["head"] == path
        trained = sum(
            3 * (model.get_submodule(one).in_channels + 1) for one in path.split(",")
        )
        assert run.cost.num_trainable_parameters == trained


def test_before_is_the_nearest_class_mean_over_pixels():
    """The baseline is scikit-learn's on the maps that the head reads."""
    model = fcn().eval()
    (images, masks), (queries, targets) = shapes(24, 1).tensors, shapes(20, 2).tensors
    with torch.no_grad():
        head = nn.Sequential(*list(model.classifier)[:4])
        read, asked = (head(model.backbone(x)["out"]) for x in (images, queries))
    small = masks[:, 1::2, 1::2]  # the middle of each two by two
    rows = read.movedim(1, -1)[small != 255]
    centres = NearestCentroid().fit(rows, small[small != 255])
    found = centres.predict(asked.movedim(1, -1).flatten(0, 2))
    classes = torch.as_tensor(found).view(20, 8, 8)
    scores = F.interpolate(
        F.one_hot(classes, 3).movedim(-1, 1).float(), (16, 16), mode="bilinear"
    )
    baseline = pe.finetune(model, task(), FULL).baseline
    assert baseline == pytest.approx(oracle(scores, targets), abs=1e-6)


def test_the_loop_does_what_a_hand_written_one_does():
    """With the auxiliary loss: equal weights to the bit."""
    start, kept = fcn(), []
    pe.finetune(start, task(), FULL, on_end=lambda model, _: kept.append(model))
    twin = copy.deepcopy(start)
    seed_all(draw_of(task(), FULL))
    torch.empty((), dtype=torch.int64).random_()  # a loader that is opened draws
    twin.classifier[4] = nn.Conv2d(2, 3, 1)
    twin.aux_classifier[4] = nn.Conv2d(2, 3, 1)

    def loss(model, batch):
        criterion = nn.CrossEntropyLoss(ignore_index=255)
        found = {name: criterion(y, batch[1]) for name, y in model(batch[0]).items()}
        return found["out"] + 0.4 * found["aux"]

    loader = DataLoader(shapes(24, 1), 8, shuffle=True)
    train_by_hand(
        twin, loader, SGD(twin.parameters()), loss, draw=draw_of(task(), FULL)
    )
    assert equal_weights(kept[0], twin)


def two_rates(named_parameters):
    """As torchvision's script has it: the auxiliary head learns ten times as fast."""
    named = list(named_parameters)
    aux = [p for name, p in named if name.startswith("aux_classifier")]
    rest = [p for name, p in named if not name.startswith("aux_classifier")]
    groups = [{"params": rest}, {"params": aux, "lr": 0.1}]
    return torch.optim.SGD(groups, lr=0.01, momentum=0.9, weight_decay=1e-4)


def test_torchvisions_script_ends_at_equal_weights():
    """Two rates, a polynomial schedule by steps and half the auxiliary loss."""
    polynomial = partial(torch.optim.lr_scheduler.PolynomialLR, power=0.9)
    script = pe.Strategy(
        "script", optimizer=two_rates, schedule=polynomial, epochs=2, batch_size=8
    )
    start, kept = fcn(), []
    halved = task(aux_weight=0.5)
    pe.finetune(start, halved, script, on_end=lambda model, _: kept.append(model))
    twin = copy.deepcopy(start)
    seed_all(draw_of(halved, script))
    torch.empty((), dtype=torch.int64).random_()  # a loader that is opened draws
    twin.classifier[4] = nn.Conv2d(2, 3, 1)
    twin.aux_classifier[4] = nn.Conv2d(2, 3, 1)
    loader = DataLoader(shapes(24, 1), 8, shuffle=True)
    optimizer = two_rates(twin.named_parameters())
    schedule = polynomial(optimizer, 2 * len(loader))
    for epoch in (1, 2):
        seed_all(draw_of(halved, script), epoch)
        twin.train()
        for images, targets in loader:
            outputs = twin(images)
            losses = {
                name: F.cross_entropy(scores, targets, ignore_index=255)
                for name, scores in outputs.items()
            }
            loss = losses["out"] + 0.5 * losses["aux"]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    assert equal_weights(kept[0], twin)


@pytest.mark.parametrize(
    ("head", "message"),
    [
        ("classifier", "is followed by 'aux_classifier.4'"),
        ("aux_classifier", "3, 'h', 'w'"),
    ],
)
def test_a_head_of_another_width_is_refused(head, message):
    """One that keeps its 21 classes would learn three of them in silence."""
    with pytest.raises(ValueError, match=message):
        pe.finetune(fcn(), task(), FULL, head=head)


def test_of_an_image_a_few_hundred_pixels_make_the_means():
    """Evenly spread over those that are not ignored."""
    features = torch.arange(2 * 40 * 40.0).view(2, 1, 40, 40)
    masks = torch.zeros(2, 80, 80, dtype=torch.long)
    masks[1] = 255
    masks[1, :4, :2] = 1
    rows, classes = pe.Segmentation(2).rows(features, masks)
    assert classes.tolist() == [0] * 256 + [1] * 2
    assert rows[:256, 0].diff().unique().tolist() == [6, 7]
    assert rows[256:, 0].tolist() == [1600, 1640]


def test_it_is_swept_stored_resumed_and_scored(tmp_path):
    """Both strategies, in workers, from the store the second time, all protocols."""
    models = {"fcn": fcn(), "plain": pe.Pretrained(Plain(), head="new")}
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
    assert scored(runs) == [protocol.protocol for protocol in PROTOCOLS]
    assert "miou" in str(pe.VariabilityEvaluator().compare(runs).reports[0])


WRONG = [
    (torch.zeros(24).long(), "one a pixel, \\(H, W\\)"),
    (torch.zeros(24, 1, 16, 16).long(), "got shape \\(1, 16, 16\\)"),
    (torch.zeros(24, 16, 16), "integer class targets"),
    (torch.full((24, 16, 16), 3), "holds the label 3; num_classes=3 allows 0..2, and"),
    (torch.full((24, 16, 16), -1), "holds the label -1"),
    (torch.full((24, 16, 16), 255), "train holds pixels of 0 classes"),
    (torch.zeros(24, 16, 16).long(), "train holds pixels of 1 classes"),
]


@pytest.mark.parametrize(("targets", "message"), WRONG)
def test_wrong_targets_are_named_before_any_work(targets, message):
    """Shape, type and range."""
    with pytest.raises(ValueError, match=message):
        task(train=TensorDataset(shapes(24, 1).tensors[0], targets))


def test_bytes_are_classes_too():
    """As masks come from image files."""
    train, valid = (
        TensorDataset(d.tensors[0], d.tensors[1].byte())
        for d in (shapes(24, 1), shapes(20, 2))
    )
    as_bytes = pe.finetune(fcn(), task(train, valid), PROBE)
    assert as_bytes.scores == pe.finetune(fcn(), task(train, valid), PROBE).scores
    with pytest.raises(ValueError, match="ignore_index must be none of the classes"):
        pe.Segmentation(3, ignore_index=0)
