"""Metrics of other libraries: their names, keywords, values, state and direction."""

from __future__ import annotations

import copy
import math
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import Parameter, signature
from typing import Any

import torch
from torch import Tensor, nn

from pretrain_eval._metrics.metric import (
    Metric,
    SupportsUpdate,
    Value,
    computed,
    plain_value,
)

Bounds = tuple[float, float]

# torchmetrics states ranges for the axes of its pictures, and not all are true: that of
# its R², of its kappa or of its word error rate are left by real values. Of these
# classes they are true.
_OF_CLASSES = (
    "Accuracy AUROC AveragePrecision CalibrationError ExactMatch F1Score FBetaScore"
    " HammingDistance JaccardIndex NegativePredictiveValue Precision Recall Specificity"
)
_OF_QUERIES = "AUROC FallOut HitRate MAP MRR NormalizedDCG Precision RPrecision Recall"
_OF_OTHERS = (
    "BLEUScore CHRFScore DiceScore MeanIoU ROUGEScore SQuAD SacreBLEUScore"
    " ConcordanceCorrCoef PearsonCorrCoef SpearmanCorrCoef LogCoshError"
    " MeanAbsoluteError MeanAbsolutePercentageError MeanSquaredError"
    " MeanSquaredLogError MinkowskiDistance SymmetricMeanAbsolutePercentageError"
    " WeightedMeanAbsolutePercentageError"
)
_TRUE_RANGES = frozenset(
    f"{task}{name}"
    for task in ("Binary", "Multiclass", "Multilabel")
    for name in _OF_CLASSES.split()
)
_TRUE_RANGES |= {f"Retrieval{name}" for name in _OF_QUERIES.split()}
_TRUE_RANGES |= set(_OF_OTHERS.split())


def declared(metric: Metric | SupportsUpdate) -> tuple[bool | None, Bounds]:
    """Whether higher values are better, and between which they lie, as stated.

    What a metric of another library does not state, or states for the axes of pictures
    only, stays unknown: None, and bounds at infinity.

    >>> from pretrain_eval import Accuracy
    >>> declared(Accuracy())
    (True, (0.0, 1.0))
    """
    higher = getattr(metric, "higher_is_better", None)
    if isinstance(metric, Metric):
        return metric.higher_is_better, metric.bounds
    known = higher if isinstance(higher, bool) else None
    name = type(metric).__name__
    if not is_torchmetrics(metric) or name not in _TRUE_RANGES:
        return known, (-math.inf, math.inf)
    low = getattr(metric, "plot_lower_bound", None)
    high = getattr(metric, "plot_upper_bound", None)
    return known, (
        -math.inf if low is None else float(low),
        math.inf if high is None else float(high),
    )


def is_torchmetrics(metric: object) -> bool:
    """Whether it is a metric of torchmetrics, or a collection of them."""
    return isinstance(metric, _classes("Metric", "MetricCollection"))


def is_their_collection(metric: object) -> bool:
    """Whether it is a collection of torchmetrics'."""
    return isinstance(metric, _classes("MetricCollection"))


def _classes(*names: str) -> tuple[type, ...]:
    # Whoever holds an object of torchmetrics has imported it.
    library = sys.modules.get("torchmetrics")
    found = (getattr(library, name, None) for name in names)
    return tuple(each for each in found if isinstance(each, type))


def snake_case(name: str) -> str:
    """A class name as a key.

    >>> [snake_case(name) for name in ("MulticlassF1Score", "BLEUScore", "BinaryAUROC")]
    ['multiclass_f1_score', 'bleu_score', 'binary_auroc']
    """
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return words.lower()


def keywords_of(metric: object) -> frozenset[str] | None:
    """What the metric's `update` takes by name; None where it takes anything."""
    if is_their_collection(metric) and isinstance(metric, nn.ModuleDict):
        each = [keywords_of(member) for member in metric.children()]
        return None if None in each else frozenset().union(*filter(None, each))
    parameters = signature(metric.update).parameters.values()  # type: ignore[attr-defined]
    if any(each.kind is Parameter.VAR_KEYWORD for each in parameters):
        return None
    by_name = (Parameter.KEYWORD_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
    return frozenset(each.name for each in parameters if each.kind in by_name)


def named_values(
    key: str, metric: Metric | SupportsUpdate, *, sync: bool
) -> dict[str, Value]:
    """The metric's value under its key, or each of a mapping's under `key/name`.

    Args:
        key: Of the member; empty where a mapping's own names are enough.
        metric: Of any library.
        sync: Whether the values are of all processes, or of this one alone.
    """
    if not is_torchmetrics(metric):
        values = _spread(key, computed(metric, sync=sync))
        beside = metric.beside() if isinstance(metric, Metric) else {}
        return values | {key + name: value for name, value in beside.items()}
    with _alone(metric, alone=not sync):
        value = metric.compute()
    return _spread(key, value)


def _spread(key: str, value: object) -> dict[str, Value]:
    if not isinstance(value, Mapping):
        return {key: plain_value(value)}
    spread: dict[str, Value] = {}
    for name, part in value.items():
        spread |= _spread(f"{key}/{name}" if key else str(name), part)
    return spread


@contextmanager
def _alone(metric: object, *, alone: bool) -> Iterator[None]:
    """Compute a metric of torchmetrics for this process, or anew for all of them."""
    # They keep what they have computed, whoever was asked.
    before = []
    for member in _members(metric):
        before.append((member, member.distributed_available_fn))
        member._computed = None
        if alone:
            member.distributed_available_fn = _never
    try:
        yield
    finally:
        for member, is_available in before:
            member.distributed_available_fn = is_available
            member._computed = None


def _never() -> bool:
    return False


def _members(metric: object) -> list[Any]:
    """Every metric of torchmetrics in this one, itself included, in a fixed order."""
    if is_their_collection(metric):
        # Members that share a state are brought up to date by this.
        list(metric.values(copy_state=False))  # type: ignore[attr-defined]
    modules = metric.modules() if isinstance(metric, nn.Module) else ()
    return [module for module in modules if isinstance(module, _classes("Metric"))]


def kept_state(metric: object) -> list[dict[str, Any]]:
    """All that a metric of torchmetrics has counted, in plain values and tensors."""
    return [
        {
            "states": {name: _cloned(v) for name, v in member.metric_state.items()},
            "num_updates": member.update_count,
            "extra": _extra(member),
        }
        for member in _members(metric)
    ]


def load_kept_state(metric: object, states: list[dict[str, Any]], key: str) -> None:
    """Continue from what `kept_state` gave.

    Raises:
        ValueError: The state is of a metric with other states.
    """
    members = _members(metric)
    own = [sorted(member.metric_state) for member in members]
    theirs = [sorted(state["states"]) for state in states]
    if own != theirs:
        raise ValueError(f"{key} keeps the states {own}, got {theirs}")
    for member, state in zip(members, states, strict=True):
        for name, value in state["states"].items():
            setattr(member, name, _cloned(value))
        member._update_count = state["num_updates"]
        member._computed = None
        if state["extra"] is not None:
            member.set_extra_state(copy.deepcopy(state["extra"]))


def _extra(member: nn.Module) -> Any:
    has = type(member).get_extra_state is not nn.Module.get_extra_state
    return copy.deepcopy(member.get_extra_state()) if has else None


def _cloned(state: Any) -> Any:
    if isinstance(state, list):
        return [_cloned(entry) for entry in state]
    return state.detach().clone() if isinstance(state, Tensor) else state


@dataclass(frozen=True)
class Other:
    """A member that is no metric of sums or steps.

    Attributes:
        key: Its name in the collection.
        metric: Of another library, or somebody's own.
        keywords: What its `update` takes by name, None where that is anything.
    """

    key: str
    metric: Metric | SupportsUpdate
    keywords: frozenset[str] | None

    def takes(self, name: str) -> bool:
        """Whether its `update` has an argument of this name."""
        return self.keywords is None or name in self.keywords

    def update(
        self,
        outputs: Any,
        targets: Any,
        weights: Tensor | None,
        named: Mapping[str, object],
    ) -> None:
        """Count one batch, with what it takes by name."""
        taken = {name: given for name, given in named.items() if self.takes(name)}
        if weights is not None and self.takes("weights"):
            taken["weights"] = weights
        elif weights is not None and weights.dtype == torch.bool:
            outputs, targets = _kept(self.key, weights, outputs, targets)
            taken = {
                name: _kept(self.key, weights, given)[0]
                for name, given in taken.items()
            }
        self.metric.update(outputs, targets, **taken)


def _kept(key: str, mask: Tensor, *batch: Any) -> list[Any]:
    """The samples that a mask keeps."""
    for entries in batch:
        if not isinstance(entries, Tensor) or entries.shape[:1] != mask.shape:
            raise TypeError(
                f"{key} takes no weights; a mask keeps samples of tensors where it is"
                f" (num_samples,), got {tuple(mask.shape)}"
            )
    return [entries[mask] for entries in batch]
