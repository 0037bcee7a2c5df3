"""The pretrained models that a caller may hand over, and a fresh copy of each."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from enum import Enum
from typing import Any, final

from torch import nn


@final
@dataclass(frozen=True)
class Pretrained:
    """A pretrained model with what it needs: its head's place, how it reads a sample.

    One sweep then compares models that read the same raw samples in their own ways.
    `pretrain_eval.zoo` makes them of the models of other libraries.

    Args:
        build: A module, which is copied; a function of no arguments that gives one; or
            the name or weights enum of a torchvision model.
        head: Dotted path of the layer to replace, where it cannot be told; or "new",
            for a model without a head, which gets one on its pooled features.
        transform: What becomes of the inputs of a raw sample, such as an image.
        collate: Makes a batch of a list of samples, each with its target, for example
            a tokenizer's; where torch's own does not.
        name: How records name it, where the caller gives no name.

    Raises:
        TypeError: Something cannot be called.

    >>> Pretrained(lambda: nn.Linear(4, 2), head="new", name="points").name
    'points'
    """

    build: nn.Module | Callable[[], Any] | str | Enum
    _: KW_ONLY
    head: str | None = None
    transform: Callable[[Any], Any] | None = None
    collate: Callable[[list[Any]], Any] | None = None
    name: str = ""

    def __post_init__(self) -> None:
        if isinstance(self.build, Pretrained):
            raise TypeError(
                "Pretrained expects a model or its builder, got another one"
            )
        if not (callable(self.build) or isinstance(self.build, str | Enum)):
            raise TypeError(
                "Pretrained expects build as a module, a function without arguments"
                " that builds one, or the name or weights of a torchvision model, got"
                f" {self.build!r}"
            )
        if self.build == "":
            raise ValueError("Pretrained expects a model's name, got ''")
        if self.head is not None and (not isinstance(self.head, str) or not self.head):
            raise ValueError(
                "Pretrained expects head as the dotted path of a layer, 'new' or None,"
                f" got {self.head!r}"
            )
        for name in ("transform", "collate"):
            value = getattr(self, name)
            if not (value is None or callable(value)):
                raise TypeError(
                    f"Pretrained expects {name} to be callable, got {value!r}"
                )


Model = Pretrained | nn.Module | Callable[[], Any] | str | Enum


def build(model: Model, *, module: bool = True) -> Any:
    """A fresh copy that shares no tensor with what the caller holds.

    Args:
        model: A module; a function of no arguments that gives one; a torchvision
            model's name, with its default weights, or weights enum; or `Pretrained`.
        module: Whether it must be a torch module; a training of the user's own may
            know others.

    Raises:
        TypeError: `model` is none of these, or the function gives no module.
        ValueError: torchvision has no such model.
    """
    if isinstance(model, Pretrained):
        model = model.build
    if isinstance(model, str | Enum):
        return _from_torchvision(model)
    if isinstance(model, type) or not isinstance(model, nn.Module):
        if not callable(model):
            raise TypeError(
                "a model must be a torch module, a function without arguments that"
                " builds one, or the name or weights of a torchvision model, got"
                f" {type(model).__name__}"
            )
        made = model()
        if module and not isinstance(made, nn.Module):
            raise TypeError(
                f"the model builder {model_name(model)!r} must return a torch module,"
                f" got {type(made).__name__}"
            )
        model = made
    # A builder may hand out the same module every time.
    return copy.deepcopy(model)


def model_name(model: Model) -> str:
    """What `model` is called where the caller gives no name.

    >>> model_name("resnet18"), model_name(nn.Linear(2, 2))
    ('resnet18', 'Linear')
    """
    if isinstance(model, Pretrained):
        return model.name or model_name(model.build)
    if isinstance(model, str):
        return model
    if isinstance(model, Enum):
        return str(model)
    if isinstance(model, functools.partial):
        return model_name(model.func)
    return getattr(model, "__name__", type(model).__name__)


def _from_torchvision(model: str | Enum) -> nn.Module:
    from torchvision import models

    made: nn.Module  # untyped where it comes from
    if isinstance(model, str):
        if model not in models.list_models():
            raise ValueError(
                f"torchvision has no model {model!r}; see"
                " torchvision.models.list_models(), or give a module or a builder"
            )
        made = models.get_model(model, weights="DEFAULT")
        return made
    made = models.get_model(owner_of(model), weights=model)
    return made


def owner_of(weights: Enum) -> str:
    """The name of the torchvision model whose weights these are.

    Raises:
        ValueError: They are no weights of torchvision's.
    """
    from torchvision import models

    for name in models.list_models():
        if isinstance(weights, models.get_model_weights(name)):
            return str(name)
    raise ValueError(f"{weights!r} is no weights enum of a torchvision model")
