"""What members of a collection have counted or recorded, to be kept and continued."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from pretrain_eval._metrics.foreign import is_torchmetrics, kept_state, load_kept_state


@runtime_checkable
class SupportsState(Protocol):
    """What can be kept and continued."""

    def state_dict(self) -> dict[str, Any]:
        """What was counted."""

    def load_state_dict(self, state: Mapping[str, Any], /) -> object:
        """Continue from what `state_dict` gave."""


def state_of(metrics: Mapping[str, object]) -> dict[str, Any]:
    """Every metric's state by key; one that keeps none is left out, with a warning."""
    state: dict[str, Any] = {}
    for key, metric in metrics.items():
        if is_torchmetrics(metric):
            state[key] = kept_state(metric)
        elif isinstance(metric, SupportsState):
            state[key] = metric.state_dict()
        else:
            warnings.warn(
                f"{key} is not kept: {type(metric).__name__} has no state_dict and"
                " load_state_dict",
                stacklevel=3,
            )
    return state


def load_state(metrics: Mapping[str, object], state: Mapping[str, Any]) -> None:
    """Continue from what `state_of` gave.

    Raises:
        ValueError: The state is of other metrics.
    """
    own = {
        key: metric
        for key, metric in metrics.items()
        if is_torchmetrics(metric) or isinstance(metric, SupportsState)
    }
    if set(own) != set(state):
        raise ValueError(f"expected the state of {sorted(own)}, got {sorted(state)}")
    for key, metric in own.items():
        if is_torchmetrics(metric):
            load_kept_state(metric, state[key], key)
        elif isinstance(metric, SupportsState):
            metric.load_state_dict(state[key])
