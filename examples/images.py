"""Which network of images to fine-tune? Each reads raw images in its own way.

Raw images lie in the splits: bytes, without size or scale. torchvision's and timm's
networks bring their own transforms, so that one sweep compares networks that read
images of unlike sizes. So that nothing is loaded from anywhere, their weights are not
the ones that those libraries offer (leave `weights=None` out to compare these): they
are drawn, and learn other digits in front of you; a twin from scratch learns nothing
before. timm is left out where it is not installed. Offline, under a minute on two CPU
cores.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from importlib.util import find_spec

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torchvision.transforms import v2

import pretrain_eval as pe

Sample = tuple[np.ndarray, int]


def digits(classes: range) -> list[Sample]:
    """Handwritten digits of some classes, as images of bytes `(8, 8)`, from scikit-learn."""
    images, labels = load_digits(return_X_y=True)
    pixels = np.rint(images.reshape(-1, 8, 8) * 255 / 16).astype(np.uint8)
    chosen = np.isin(labels, classes)
    pairs = zip(pixels[chosen], labels[chosen] - classes.start, strict=True)
    return [(image, int(label)) for image, label in pairs]


def at(model: pe.Pretrained, size: int) -> pe.Pretrained:
    """The model, which reads images by its own transform, then at a smaller size.

    For the sake of a minute on two cores; convolutions read images of any size.
    """
    assert model.transform is not None
    small = v2.Compose([model.transform, v2.Resize(size, antialias=True)])
    return replace(model, transform=small)


def candidates() -> dict[str, pe.Pretrained]:
    """Networks of random weights, with the transform of the weights they could have."""
    found = {
        "shufflenet": at(pe.zoo.torchvision("shufflenet_v2_x0_5", weights=None), 64),
        "wide": at(pe.zoo.torchvision("shufflenet_v2_x1_0", weights=None), 48),
    }
    if find_spec("timm"):
        found["lcnet"] = at(pe.zoo.timm("lcnet_035", pretrained=False), 56)
    else:
        print(
            'timm is not installed; its network is left out (pip install "pretrain-eval[timm]")'
        )
    return found


def pretrained(name: str, model: pe.Pretrained) -> pe.Pretrained:
    """The model after it has learned the digits 0 to 4."""
    kept: list[nn.Module] = []
    data = digits(range(5))
    splits = pe.Splits(data[:320], data[320:360])
    task = pe.Task("0 to 4", datasets={"all": splits}, num_classes=5)
    adam = partial(torch.optim.Adam, lr=2e-3)
    strategy = pe.Strategy("pretraining", optimizer=adam, epochs=6)
    pe.finetune(
        model, task, strategy, name=name, baseline=False, resources=False,
        on_end=lambda network, run: kept.append(network),
    )  # fmt: skip
    return replace(model, build=kept[0])


def main() -> None:
    """Pretrain, fine-tune on few images of other digits, compare."""
    data = digits(range(5, 10))
    splits = pe.Splits(data[:80], data[400:480])
    task = pe.Task("5 to 9", datasets={"few": splits}, num_classes=5)
    adam = partial(torch.optim.Adam, lr=1e-3)
    strategies = [
        pe.Strategy("head", optimizer=adam, epochs=10, trainable="head"),
        pe.Strategy("full", optimizer=adam, epochs=3),
    ]
    drawn = candidates()
    models = {name: pretrained(name, model) for name, model in drawn.items()}
    models["from scratch"] = drawn["shufflenet"]
    runs = pe.sweep(models, [task], strategies, range(2), progress=False)
    for run in runs:
        print(f"{run.model:12} {run.strategy:5} {run.scores['accuracy']:.3f}")
    print(pe.PersistenceEvaluator(scratch="from scratch").compare(runs))


if __name__ == "__main__":
    main()
