"""Models of images from torchvision and timm, each with its own transform."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from pretrain_eval._optional import needs
from pretrain_eval.zoo.pretrained import Pretrained, owner_of


def torchvision(
    model: str | Enum, weights: str | None = "DEFAULT", **options: Any
) -> Pretrained:
    """A model of torchvision, which reads images as its weights were trained to.

    A sample's image is a PIL image, an array or a tensor; see `ReadImage`. Where a
    sample has a target of the image's size, as for segmentation, it is not resized.

    Args:
        model: Its name, or a member of its weights enum.
        weights: The member's name; "DEFAULT", the best ones; None, weights that are
            drawn by the seed of a run, with the transform of the default ones: a
            scratch twin.
        options: Given to torchvision's builder.

    Raises:
        ValueError: torchvision has no such model or weights.

    >>> torchvision("resnet18", weights=None).name
    'resnet18 from scratch'
    """
    from torchvision import models

    if isinstance(model, Enum):
        name, weights = owner_of(model), model.name
    elif model in models.list_models():
        name = model
    else:
        raise ValueError(
            f"torchvision has no model {model!r}; see torchvision.models.list_models()"
        )
    known = models.get_model_weights(name)
    if weights is not None and weights not in known.__members__:
        raise ValueError(
            f"{name} has the weights {list(known.__members__)}, got {weights!r}"
        )
    return Pretrained(
        Torchvision(name, weights, options),
        transform=_preset(known["DEFAULT" if weights is None else weights]),
        name=name if weights is not None else f"{name} from scratch",
    )


def timm(name: str, *, pretrained: bool = True, **options: Any) -> Pretrained:
    """A model of timm, which reads images as its configuration says.

    A sample's image is a PIL image, an array or a tensor; see `ReadImage`. The head is
    what its `get_classifier` gives; with `features_only=True` it gets a new one.

    Args:
        name: As `timm.create_model` takes it.
        pretrained: Whether weights are loaded; otherwise a scratch twin, drawn by the
            seed of a run.
        options: Given to `timm.create_model`, such as `img_size=384`.

    Raises:
        ImportError: timm is not installed; says the line that installs it.
    """
    library = needs("timm")
    drawn = library.create_model(name, pretrained=False, **options)
    asked = {}
    if "img_size" in options:
        size = options["img_size"]
        asked["input_size"] = (3, *(size if isinstance(size, tuple) else (size, size)))
    read = library.data.resolve_data_config(asked, model=drawn)
    return Pretrained(
        Timm(name, pretrained, options),
        head="new" if options.get("features_only") else None,
        transform=ReadImage(library.data.create_transform(**read, is_training=False)),
        name=name if pretrained else f"{name} from scratch",
    )


@final
@dataclass(frozen=True)
class Torchvision:
    """Builds a model of torchvision."""

    name: str
    weights: str | None
    options: Mapping[str, Any]

    def __call__(self) -> nn.Module:
        """A model with its weights, or with ones that torch draws."""
        from torchvision import models

        options = dict(self.options)
        known = inspect.signature(models.get_model_builder(self.name)).parameters
        if self.weights is None and "weights_backbone" in known:
            options.setdefault("weights_backbone", None)
        if self.weights is None and self.name in ("googlenet", "inception_v3"):
            options.setdefault("init_weights", True)  # or it warns
        made: nn.Module = models.get_model(self.name, weights=self.weights, **options)
        return made


@final
@dataclass(frozen=True)
class Timm:
    """Builds a model of timm."""

    name: str
    pretrained: bool
    options: Mapping[str, Any]

    def __call__(self) -> nn.Module:
        """A model with its weights, or with ones that torch draws."""
        make = needs("timm").create_model
        made: nn.Module = make(self.name, pretrained=self.pretrained, **self.options)
        return made


@final
@dataclass(frozen=True)
class ReadImage:
    """An image of any form, as a transform reads it.

    Bytes become a PIL image in RGB, whatever holds them: a PIL image, an array
    `(H, W)`, `(H, W, 1)` or `(H, W, 3)`, a tensor `(1, H, W)` or `(3, H, W)`. Floats in
    [0, 1] stay a tensor `(3, H, W)`.

    Args:
        transform: Called with a PIL image or a tensor of floats.
    """

    transform: Callable[[Any], Any]

    def __call__(self, image: Any) -> Tensor:
        """The tensor that the model reads."""
        read: Tensor = self.transform(as_image(image))
        return read


def as_image(image: Any) -> Any:
    """A PIL image in RGB, or a tensor of floats in [0, 1], `(3, H, W)`.

    Raises:
        TypeError: It is no image.
        ValueError: Its shape or its values are not those of an image.
    """
    if hasattr(image, "convert"):
        return image.convert("RGB")
    if isinstance(image, np.ndarray):
        channels_first = image[None] if image.ndim == 2 else np.moveaxis(image, -1, 0)
        image = torch.from_numpy(np.ascontiguousarray(channels_first))
    if not isinstance(image, Tensor):
        raise TypeError(
            "an image is expected as a PIL image, an array or a tensor, got"
            f" {type(image).__name__}"
        )
    image = image[None] if image.ndim == 2 else image
    if image.ndim != 3 or image.shape[0] not in (1, 3):
        raise ValueError(
            "an image has 1 or 3 channels, as a tensor (channels, H, W) or an array"
            f" (H, W, channels), got a tensor or its equal of {tuple(image.shape)}"
        )
    image = image.expand(3, -1, -1)
    if image.dtype == torch.uint8:
        from torchvision.transforms.functional import to_pil_image

        return to_pil_image(image)
    if not image.is_floating_point() or image.min() < 0 or image.max() > 1:
        raise ValueError(
            "an image holds bytes (uint8) or floats in [0, 1], got"
            f" {image.dtype} in [{image.min().item():g}, {image.max().item():g}]"
        )
    return image.float()


def _preset(weights: Any) -> Callable[[Any], Any]:
    """What torchvision reads an image by, without a resize that its target lacks."""
    preset = weights.transforms
    if "SemanticSegmentation" in getattr(preset, "func", preset).__name__:
        return ReadImage(preset(resize_size=None))
    return ReadImage(preset())
