"""Boxes in images: torchvision's detectors trained, scored and compared."""

import copy
from functools import partial

import pytest
import torch
from networks import PROTOCOLS, draw_of, equal_weights, scored, train_by_hand
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import (
    AnchorGenerator,
    DefaultBoxGenerator,
)
from torchvision.models.detection.backbone_utils import (
    mobilenet_backbone,
    resnet_fpn_backbone,
)
from torchvision.models.detection.ssd import SSD

import pretrain_eval as pe

pytest.importorskip("pycocotools", reason='pip install "pretrain-eval[detection]"')

SGD = partial(torch.optim.SGD, lr=0.01, momentum=0.9)
ADAM = partial(torch.optim.AdamW, lr=1e-2)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=4)
ROI = pe.Strategy(
    "roi", optimizer=SGD, epochs=2, batch_size=4, trainable=["roi_heads", "head"]
)
SMALL = {"min_size": 64, "max_size": 64}


class Squares(Dataset):
    """One or two bright squares of two colours on noise, in images of two sizes."""

    def __init__(self, num_samples, seed):
        self.num_samples, self.seed = num_samples, seed

    def __len__(self):
        return self.num_samples

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(1000 * self.seed + index)
        image = 0.2 * torch.rand(3, 64, 48 + 16 * (index % 2), generator=generator)
        boxes, labels = [], []
        for colour in range(1 + index % 2):
            y, x = torch.randint(0, 30, (2,), generator=generator).tolist()
            image[colour, y : y + 18, x : x + 18] = 1
            boxes.append([x, y, x + 18, y + 18])
            labels.append(colour + 1)
        return image, {
            "boxes": torch.tensor(boxes).float(),
            "labels": torch.tensor(labels),
        }


def few(anchors=((16,), (32,))):
    return AnchorGenerator(anchors, ((1.0,),) * len(anchors))


def resnet_rcnn():
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, returned_layers=[2], trainable_layers=5
    )
    return rcnn(backbone)


def mobilenet_rcnn():
    backbone = mobilenet_backbone(
        backbone_name="mobilenet_v3_small",
        weights=None,
        fpn=True,
        returned_layers=[2],
        trainable_layers=6,
    )
    return rcnn(backbone)


def rcnn(backbone):
    return FasterRCNN(
        backbone,
        num_classes=3,
        rpn_anchor_generator=few(),
        rpn_pre_nms_top_n_test=30,
        rpn_post_nms_top_n_test=10,
        rpn_pre_nms_top_n_train=30,
        rpn_post_nms_top_n_train=20,
        box_detections_per_img=5,
        **SMALL,
    )


def retinanet():
    backbone = resnet_fpn_backbone(
        backbone_name="resnet18", weights=None, returned_layers=[2], trainable_layers=5
    )
    return RetinaNet(backbone, num_classes=3, anchor_generator=few(), **SMALL)


def ssd():
    layers = [
        layer
        for width, inputs in ((8, 3), (16, 8), (32, 16))
        for layer in (nn.Conv2d(inputs, width, 3, stride=2, padding=1), nn.ReLU())
    ]
    boxes = DefaultBoxGenerator([[1]], scales=[0.3, 0.5])
    return SSD(nn.Sequential(*layers), boxes, (64, 64), num_classes=3)


def task(train=None, valid=None):
    splits = pe.Splits(train or Squares(8, 1), valid or Squares(6, 2))
    return pe.Task("squares", datasets={"d": splits}, kind=pe.Detection(3))


def pairs(samples):
    return tuple(zip(*samples, strict=True))


def oracle(model, samples):
    """What torchmetrics makes of a model's boxes, of images in one batch."""
    from torchmetrics.detection import MeanAveragePrecision

    judge = MeanAveragePrecision()
    model.eval()
    with torch.no_grad():
        images, targets = pairs(samples[i] for i in range(len(samples)))
        judge.update(model(list(images)), list(targets))
    found = judge.compute()
    return {key: float(found[key]) for key in ("map", "map_50", "map_75")}


@pytest.mark.parametrize("model", [resnet_rcnn, mobilenet_rcnn, retinanet, ssd])
def test_torchvisions_detectors_run_as_they_are(model):
    """Scores are pycocotools' of the last weights; the cost is counted."""
    kept = []
    run = pe.finetune(
        model, task(), FULL, on_end=lambda model, _: kept.append(copy.deepcopy(model))
    )
    assert run.status == "completed"
    assert run.scores == pytest.approx(oracle(kept[0], Squares(6, 2)), abs=1e-6)
    assert list(run.scores) == ["map", "map_50", "map_75"]
    assert set(run.baseline) == set(run.scores) == set(run.chance)
    assert run.cost.macs
    assert run.cost.peak_memory
    assert run.num_examples == 6
    assert run.settings["head"] == ""


def test_a_detector_learns_what_it_sees():
    """Ten epochs find the squares, and the score is pycocotools'."""
    kept = []
    run = pe.finetune(
        ssd,
        task(Squares(64, 1), Squares(16, 2)),
        pe.Strategy("long", optimizer=ADAM, epochs=10, batch_size=8),
        on_end=lambda model, _: kept.append(copy.deepcopy(model)),
    )
    assert run.baseline["map"] < 0.1
    assert run.scores["map"] > 0.5
    assert run.scores == pytest.approx(oracle(kept[0], Squares(16, 2)), abs=1e-6)


def test_the_loop_does_what_a_hand_written_one_does():
    """The losses summed as in torchvision's script: equal weights to the bit."""
    torch.manual_seed(3)
    start, kept = resnet_rcnn(), []
    pe.finetune(start, task(), FULL, on_end=lambda model, _: kept.append(model))
    twin = copy.deepcopy(start)
    train_by_hand(
        twin,
        DataLoader(Squares(8, 1), 4, shuffle=True, collate_fn=pairs),
        SGD([p for p in twin.parameters() if p.requires_grad]),
        lambda model, batch: sum(model(*batch).values()),
        draw=draw_of(task(), FULL),
    )
    assert equal_weights(kept[0], twin)


def test_loaders_of_ones_own_are_used_as_they_are():
    """Tuples of images and targets, as torchvision's scripts collate them."""
    loaders = [
        DataLoader(data, 4, collate_fn=pairs) for data in (Squares(8, 1), Squares(6, 2))
    ]
    run = pe.finetune(resnet_rcnn, task(*loaders), FULL)
    assert set(run.scores) == {"map", "map_50", "map_75"}


def test_a_model_reads_images_in_its_own_way():
    """A transform goes with the kind's own batches."""
    seen = []

    def darker(image):
        seen.append(image.shape)
        return image / 2

    run = pe.finetune(pe.Pretrained(resnet_rcnn, transform=darker), task(), FULL)
    assert run.status == "completed"
    assert len(set(seen)) == 2


def test_it_is_swept_stored_resumed_and_scored(tmp_path):
    """Both strategies, in workers, from the store the second time, all protocols."""
    models = {"resnet": resnet_rcnn, "mobilenet": mobilenet_rcnn}
    grid = partial(
        pe.sweep,
        models,
        [task()],
        [FULL, ROI],
        seeds=range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = grid(workers=2)
    assert {run.status for run in runs} == {"completed"}
    assert grid() == runs
    roi = next(run for run in runs if run.strategy == "roi")
    assert roi.cost.num_trainable_parameters < roi.cost.num_parameters
    assert scored(runs) == [protocol.protocol for protocol in PROTOCOLS]


def test_the_head_alone_is_refused_with_what_to_say():
    """A detector keeps its head, whose parts have names."""
    probe = pe.Strategy("probe", optimizer=SGD, epochs=1, trainable="head")
    with pytest.raises(ValueError, match="say which layers by trainable="):
        pe.finetune(resnet_rcnn, task(), probe)


def test_a_model_that_is_no_detector_is_refused():
    """It has no losses to give."""

    class Found(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, images, targets=None):
            return [{"scores": self.scale * image.mean()} for image in images]

    with pytest.raises(ValueError, match="expected to return its losses by name"):
        pe.sweep({"found": Found()}, [task()], [FULL], progress=False)


def labelled(**changes):
    box = {"boxes": torch.tensor([[1.0, 1, 9, 9]]), "labels": torch.tensor([1])}
    return [(torch.rand(3, 16, 16), {**box, **changes})] * 2


WRONG = [
    ([(torch.rand(3, 16, 16), 1)] * 2, "mapping with 'boxes' and 'labels'"),
    ([(torch.rand(3, 16, 16), {"boxes": 1})] * 2, "got \\['boxes'\\]"),
    (labelled(boxes=torch.rand(2, 4)), "got \\(2, 4\\) and \\(1,\\)"),
    (labelled(boxes=torch.tensor([[5.0, 5, 4, 4]])), "second corner is not right of"),
    (labelled(boxes=torch.full((1, 4), torch.nan)), "second corner is not right of"),
    (labelled(labels=torch.tensor([3])), "holds the label 3; num_classes=3"),
    (labelled(labels=torch.tensor([0.5])), "holds the label 0.5"),
    (
        labelled(boxes=torch.zeros(0, 4), labels=torch.zeros(0).long()),
        "train has no box in any image",
    ),
]


@pytest.mark.parametrize(("train", "message"), WRONG)
def test_wrong_targets_are_named_before_any_work(train, message):
    """Form, shape, order of corners and range."""
    with pytest.raises(ValueError, match=message):
        task(train=train)


def test_images_without_boxes_pass():
    """As long as others have some."""
    empty = labelled(boxes=torch.zeros(0, 4), labels=torch.zeros(0).long())
    assert task(train=labelled() + empty).kind == pe.Detection(3)
