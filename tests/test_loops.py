"""The scripts that the documents show beside their sweeps: counted, and run."""

import argparse
import difflib
import re
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import PolynomialLR
from torch.utils.data import DataLoader

import pretrain_eval as pe

PAGE = Path(__file__).parent.parent / "docs" / "loops.md"
SECTION = re.compile(r"^## (.*?)\n(.*?)(?=^## |\Z)", re.M | re.S)
BLOCK = re.compile(r"^```py\n(.*?)^```", re.M | re.S)
ROW = re.compile(r"^\| \[.*\]\(#.*\) \| (\d+) \| (\d+) \|$", re.M)
SECTIONS = dict(SECTION.findall(PAGE.read_text(encoding="utf-8")))
NAMES = list(SECTIONS)


def pair(name):
    """The loop and the sweep of a section."""
    loop, sweep = BLOCK.findall(SECTIONS[name])
    return loop, sweep


def changed(name):
    """Lines that were written and dropped, blank ones and indentation apart."""
    loop, sweep = (
        [line.strip() for line in code.splitlines() if line.strip()]
        for code in pair(name)
    )
    marks = [line[0] for line in difflib.ndiff(loop, sweep)]
    return marks.count("+"), marks.count("-")


def test_a_loop_becomes_a_sweep_in_ten_lines():
    """And the page says how many, for each."""
    counted = [changed(name) for name in NAMES]
    assert len(counted) == 4
    assert all(written <= 10 for written, _ in counted)
    said = [(int(a), int(b)) for a, b in ROW.findall(PAGE.read_text(encoding="utf-8"))]
    assert said == counted


def ran(name, given):
    """The runs of the section's sweep, after its loop."""
    loop, sweep = pair(name)
    given |= {"device": torch.device("cpu"), "torch": torch, "nn": nn}
    given |= {"torchvision": torchvision, "DataLoader": DataLoader}
    torch.manual_seed(0)
    exec(compile(loop, f"{PAGE}: the loop of {name}", "exec"), given)
    code = sweep.replace("range(3)", "range(2)")  # as many as show that there are some
    exec(compile(code, f"{PAGE}: the sweep of {name}", "exec"), given)
    runs = given["runs"]
    assert [run.status for run in runs] == ["completed"] * 2
    assert all(run.message == "" and run.scores for run in runs)
    return runs


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    """Stores are made in the folder where one is."""
    monkeypatch.chdir(tmp_path)


def tokenised(num_samples, seed):
    """Rows as `datasets.map(tokenize)` leaves them: ids of unlike lengths."""
    draw = np.random.default_rng(seed)
    rows = []
    for number in range(num_samples):
        ids = draw.integers(5, 40, draw.integers(3, 9)).tolist()
        mask, label = [1] * len(ids), number % 2
        rows.append({"input_ids": ids, "attention_mask": mask, "labels": label})
    return rows


class Right:
    """Stands for a metric of `evaluate`."""

    def __init__(self):
        self.right = []

    def add_batch(self, predictions, references):
        self.right += (predictions == references).tolist()

    def compute(self):
        return {"accuracy": float(np.mean(self.right))}


def test_the_loop_of_the_transformers_course_becomes_a_sweep(tmp_path):
    """A dict loader with DataCollatorWithPadding, a BERT and a tokenizer of a folder."""
    transformers = pytest.importorskip(
        "transformers", reason='pip install "pretrain-eval[transformers]"'
    )
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words = [*special, *(f"w{i}" for i in range(35))]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    tokenizer = transformers.BertTokenizer(str(tmp_path / "vocab.txt"))
    small = transformers.BertConfig(
        vocab_size=40,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
    )
    folder = tmp_path / "bert"
    transformers.BertForSequenceClassification(small).save_pretrained(folder)
    given = {
        "AdamW": AdamW,
        "AutoModelForSequenceClassification": (
            transformers.AutoModelForSequenceClassification
        ),
        "checkpoint": str(folder),
        "data_collator": transformers.DataCollatorWithPadding(tokenizer),
        "get_scheduler": transformers.get_scheduler,
        "metric": Right(),
        "tokenized_datasets": {
            "train": tokenised(24, 0),
            "validation": tokenised(16, 1),
        },
    }
    runs = ran(NAMES[0], given)
    assert 0 <= given["metric"].compute()["accuracy"] <= 1
    assert all(len(run.history["step"]) == 9 for run in runs)  # 3 epochs of 3 batches


def boxes(num_samples, seed):
    """Images with a bright square each."""
    draw = torch.Generator().manual_seed(seed)
    samples = []
    for _ in range(num_samples):
        image = torch.rand(3, 64, 64, generator=draw) / 4
        x, y = torch.randint(0, 40, (2,), generator=draw).tolist()
        image[:, y : y + 20, x : x + 20] += 0.7
        corners = torch.tensor([[x, y, x + 20, y + 20]]).float()
        samples.append((image, {"boxes": corners, "labels": torch.tensor([1])}))
    return samples


def test_the_detection_script_of_torchvision_becomes_a_sweep():
    """An SSDlite that `get_model` builds, without weights."""
    pytest.importorskip("pycocotools", reason='pip install "pretrain-eval[detection]"')
    evaluated = []
    given = {
        "args": argparse.Namespace(
            model="ssdlite320_mobilenet_v3_large",
            weights_backbone=None,
            batch_size=2,
            lr=1e-3,
            momentum=0.9,
            weight_decay=1e-4,
            lr_steps=[1],
            lr_gamma=0.1,
            epochs=2,
        ),
        "collate_fn": lambda batch: tuple(zip(*batch, strict=True)),
        "dataset": boxes(4, 0),
        "dataset_test": boxes(2, 1),
        "evaluate": lambda model, loader, device: evaluated.append(len(loader)),
    }
    runs = ran(NAMES[1], given)
    assert evaluated == [2, 2]
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1e-3)
    schedule, rates = given["schedule"](optimizer, 4), []
    for _ in range(4):  # one step of warm-up; the milestone is after the first epoch
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    assert rates == pytest.approx([1e-6, 1e-3, 1e-4, 1e-4])
    assert {"map", "map_50"} <= runs[0].scores.keys()


def masks(num_samples, seed):
    """Images with a class for each pixel."""
    draw = torch.Generator().manual_seed(seed)
    images = torch.rand(num_samples, 3, 32, 32, generator=draw)
    return list(zip(images, (images.sum(1) > 1.5).long(), strict=True))


def test_the_segmentation_script_of_torchvision_becomes_a_sweep():
    """An FCN with an auxiliary head that `get_model` builds, without weights."""
    evaluated = []
    given = {
        "PolynomialLR": PolynomialLR,
        "args": argparse.Namespace(
            model="fcn_resnet50",
            weights_backbone=None,
            batch_size=2,
            lr=0.01,
            momentum=0.9,
            weight_decay=1e-4,
            epochs=1,
        ),
        "dataset": masks(4, 0),
        "dataset_test": masks(2, 1),
        "evaluate": lambda model, loader, **_: evaluated.append(len(loader)),
    }
    runs = ran(NAMES[2], given)
    assert evaluated == [2]
    assert runs[0].settings["head"].startswith("classifier")


def test_the_script_of_timm_becomes_a_sweep():
    """Its loaders, layer decay, smoothed loss, average of weights and scaler."""
    pytest.importorskip("timm", reason='pip install "pretrain-eval[timm]"')
    from PIL import Image
    from timm import create_model
    from timm.data import create_loader, resolve_data_config
    from timm.loss import LabelSmoothingCrossEntropy
    from timm.optim import create_optimizer_v2
    from timm.scheduler import create_scheduler_v2
    from timm.utils import ModelEmaV3, NativeScaler

    class Pictures(torch.utils.data.Dataset):
        transform = None  # create_loader sets it

        def __init__(self, num_samples, seed):
            pixels = np.random.default_rng(seed).integers(
                0, 256, (num_samples, 40, 40, 3)
            )
            self.images = [Image.fromarray(each.astype(np.uint8)) for each in pixels]

        def __len__(self):
            return len(self.images)

        def __getitem__(self, index):
            return self.transform(self.images[index]), index % 3

    evaluated = []
    given = {
        "LabelSmoothingCrossEntropy": LabelSmoothingCrossEntropy,
        "ModelEmaV3": ModelEmaV3,
        "NativeScaler": NativeScaler,
        "args": argparse.Namespace(
            model="resnet10t",
            pretrained=False,
            num_classes=3,
            input_size=(3, 32, 32),
            batch_size=6,
            lr=1e-3,
            epochs=1,
        ),
        "create_loader": create_loader,
        "create_model": create_model,
        "create_optimizer_v2": create_optimizer_v2,
        "create_scheduler_v2": create_scheduler_v2,
        "dataset_eval": Pictures(6, 1),
        "dataset_train": Pictures(12, 0),
        "resolve_data_config": resolve_data_config,
        "validate": lambda model, loader, args: evaluated.append(len(loader)),
    }
    runs = ran(NAMES[3], given)
    assert evaluated == [1]
    assert runs[0].settings["ema"] == 0.999
    assert all(isinstance(run, pe.Run) for run in runs)
