"""Who stands in a collection, whatever it was given, and under which keys."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from pretrain_eval._habits import WORDS
from pretrain_eval._metrics.foreign import (
    is_their_collection,
    is_torchmetrics,
    snake_case,
)
from pretrain_eval._metrics.metric import Metric, SupportsUpdate
from pretrain_eval._steps import part_key


@runtime_checkable
class _Collection(Protocol):
    """A collection of this library, which keeps its members' keys."""

    @property
    def step_metrics(self) -> tuple[Any, ...]: ...

    def items(self) -> ItemsView[str, Any]: ...


def members(given: object, key: str = "") -> Iterator[tuple[str, Any]]:
    """Every metric in what was given, with its key, which `key` replaces."""
    if isinstance(given, _Collection):
        for name, metric in given.items():
            yield _joined(key, name), metric
    elif isinstance(given, Mapping):
        for name, metric in given.items():
            yield from members(metric, _joined(key, name))
    elif isinstance(given, Metric | SupportsUpdate) and not isinstance(given, type):
        yield key or _own_key(given), given
    elif isinstance(given, Iterable) and not isinstance(given, str):
        for metric in given:
            for name, member in members(metric):
                yield _joined(key, name), member
    else:
        what = f" for {key!r}" if key else ""
        if key in WORDS["collection"]:
            raise TypeError(
                f"MetricCollection takes no {key}=: {WORDS['collection'][key]}"
            )
        if isinstance(given, str):  # *collection gives its keys
            what += (
                "; collections become one by MetricCollection(first, second), or by"
                " *first.values()"
            )
        raise TypeError(
            "MetricCollection expects objects with update, compute and reset, such as"
            f" pretrain_eval.Accuracy(), got {given!r}{what}"
        )


def holds(metrics: Sequence[object], metric: object) -> bool:
    """Whether it is one of them, the same object."""
    return any(metric is other for other in metrics)


def _joined(key: str, name: object) -> str:
    if not isinstance(name, str) or not name:
        raise TypeError(f"the name of a metric is a text, got {name!r}")
    return part_key(key, name) if key else name


def _own_key(metric: object) -> str:
    key = getattr(metric, "key", None)
    if isinstance(key, str):
        return key
    if is_torchmetrics(metric):
        return snake_case(type(metric).__name__)
    raise TypeError(f"{metric!r} has no key; name it: MetricCollection(my_name=...)")


def prefix_of(key: str, metric: object) -> str:
    """What stands before the names of several values: nothing before their own ones."""
    unnamed = key == snake_case(type(metric).__name__)
    return "" if unnamed and is_their_collection(metric) else key
