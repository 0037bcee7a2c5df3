"""Optimizers by their names in torch.optim."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch.optim import Optimizer

# What the loop cannot give: a closure that the step calls as often as it likes.
_NEEDS_CLOSURE = "lbfgs"


def named_optimizers() -> dict[str, type[Optimizer]]:
    """Those of the installed torch, by name in small letters.

    >>> named_optimizers()["adamw"].__name__
    'AdamW'
    """
    found = vars(torch.optim).items()
    return {
        name.lower(): each
        for name, each in found
        if isinstance(each, type)
        and issubclass(each, Optimizer)
        and each is not Optimizer
        and name.lower() != _NEEDS_CLOSURE
    }


def check_named(what: str, name: str, settings: Mapping[str, float | None]) -> None:
    """Refuse a name or a setting that torch does not know.

    Args:
        what: Whose it is, for messages.
        name: Of the optimizer, in any case of letters.
        settings: By the name of the argument; None leaves torch's default.

    Raises:
        ValueError: There is no such optimizer, or a setting is no number of its range.
        TypeError: The optimizer does not take a setting.
    """
    known = named_optimizers()
    if name.lower() not in known:
        near = get_close_matches(name.lower(), known, n=1)
        meant = f"; did you mean {near[0]!r}?" if near else ""
        raise ValueError(
            f"{what}: optimizer is one of {sorted(known)} by name, or makes one from"
            f" parameters, such as functools.partial(torch.optim.SGD, lr=0.1), got"
            f" {name!r}{meant}"
        )
    taken = inspect.signature(known[name.lower()]).parameters
    for setting, value in settings.items():
        if value is None:
            continue
        if setting not in taken:
            raise TypeError(
                f"{what}: {known[name.lower()].__name__} takes no {setting}; it takes"
                f" {', '.join(list(taken)[1:])}"
            )
        check_setting(what, setting, value)


def check_setting(what: str, setting: str, value: Any) -> None:
    """Refuse what is no finite number of at least 0."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (is_number and 0 <= value < math.inf):
        raise ValueError(
            f"{what}: {setting} must be a finite number of at least 0, got {value!r}"
        )


def optimizer_named(
    name: str, settings: Mapping[str, float | None]
) -> Callable[..., Optimizer]:
    """What makes the optimizer of a name that was checked."""
    given = {key: value for key, value in settings.items() if value is not None}
    found = named_optimizers()[name.lower()]
    made: Callable[..., Optimizer] = found  # each class has its own arguments
    return partial(made, **given) if given else made
