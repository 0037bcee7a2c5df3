"""Which layer's features an estimate reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pretrain_eval._tasks import Task
from pretrain_eval._training import Glimpse
from pretrain_eval._transfer import Array, as_array, probe_accuracy, probe_r2

Layers = str | Mapping[str, str | Sequence[str]]

_WORDS = ("last", "mean", "best")


def check_layers(layers: object, models: Sequence[str]) -> None:
    """Refuse what says no layer.

    Raises:
        TypeError: It is neither a word nor a mapping from models to paths.
        ValueError: The word, or a model, is unknown.
    """
    if isinstance(layers, str):
        if layers not in _WORDS:
            raise ValueError(
                f"estimate expects layers as one of {list(_WORDS)}, or a mapping from"
                f" models to dotted paths, got {layers!r}"
            )
        return
    if not isinstance(layers, Mapping) or not all(map(_is_paths, layers.values())):
        raise TypeError(
            "estimate expects layers as a word, or a mapping from models to dotted"
            f" paths, got {layers!r:.200}"
        )
    unknown = sorted(set(layers) - set(models))
    if unknown:
        raise ValueError(f"layers names models {unknown}; these are {models}")


def _is_paths(value: object) -> bool:
    each = [value] if isinstance(value, str) else value
    return (
        isinstance(each, Sequence)
        and len(each) > 0
        and all(isinstance(path, str) and path for path in each)
    )


def wanted(layers: Layers, model: str) -> tuple[str, ...] | None:
    """The inner layers to read of a model; None: all its blocks."""
    if isinstance(layers, str):
        return () if layers == "last" else None
    own = layers.get(model, ())
    return (own,) if isinstance(own, str) else tuple(own)


def chosen_layer(
    seen: Glimpse, layers: Layers, task: Task, seed: int
) -> tuple[str, Array | None]:
    """The layer's name, empty for what the head reads, and its features."""
    found = {name: as_array(rows) for name, rows in seen.features.items()}
    if not found or seen.targets is None:
        return "", None
    if layers == "mean":
        width = found[""].shape[1]
        alike = [rows for rows in found.values() if rows.shape[1] == width]
        total = sum(alike[1:], start=alike[0]) / len(alike)
        return f"mean of {len(alike)}" if len(alike) > 1 else "", total
    if isinstance(layers, Mapping) and len(found) > 1:
        del found[""]  # which was not asked for
    if len(found) == 1:
        return next(iter(found.items()))
    probe = probe_accuracy if task.num_classes is not None else probe_r2
    targets = as_array(seen.targets)
    # Of equal ones the last, which is nearest to the head.
    scores = {name: probe(rows, targets) for name, rows in found.items()}
    best = max(reversed(scores), key=lambda name: scores[name])
    return best, found[best]
