"""The pretrained models that a caller may hand over, and a fresh copy of each."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from enum import Enum

from torch import nn

Model = nn.Module | Callable[[], nn.Module] | str | Enum


def build(model: Model) -> nn.Module:
    """A fresh copy that shares no tensor with what the caller holds.

    Args:
        model: A module; a function of no arguments that gives one; or a torchvision
            model's name, with its default weights, or weights enum.

    Raises:
        TypeError: `model` is none of these, or the function gives no module.
        ValueError: torchvision has no such model.
    """
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
        if not isinstance(made, nn.Module):
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
    for name in models.list_models():
        if isinstance(model, models.get_model_weights(name)):
            made = models.get_model(name, weights=model)
            return made
    raise ValueError(f"{model!r} is not the weights enum of a torchvision model")
