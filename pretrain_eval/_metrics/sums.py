"""A metric of one's own: a function of sums over samples."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Mapping
from functools import partial
from types import ModuleType
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from typing_extensions import override

from pretrain_eval._metrics.counter import Counter, Flags, SumCounter, Words
from pretrain_eval._metrics.metric import CountedMetric, Value, plain_value


class SumMetric(CountedMetric):
    """A metric of one's own, where the value is a function of sums over samples.

    `count` gives the sums of one batch and `value` what all sums together are worth.
    Whatever the batches, the metric then merges, sums over processes, saves and loads
    its state, and is fetched together with the other members of a collection.

    Sums of batches are added up in float64; `count` should sum in it too where a batch
    is large: `losses.double().sum()`. It keeps nothing on `self`: what lies there, such
    as an argument of `__init__`, is the metric's configuration, and only metrics of one
    class and one configuration merge and load each other's state. Tensors and modules
    in it are compared by their content, functions by their name, other objects by
    their `repr`.

    Raises:
        TypeError: At `update`: `count` gives no tensor of real numbers, or weights were
            given, which mean nothing to `count`.
        ValueError: At `update`: its sums are no vector, lie on another device than the
            batch, or are not as many as before.
        RuntimeError: At `compute`: there was no batch.

    >>> class Bias(SumMetric):
    ...     key = "bias"
    ...
    ...     def count(self, outputs, targets):
    ...         errors = (outputs - targets).double()
    ...         return torch.stack([errors.sum(), torch.ones_like(errors).sum()])
    ...
    ...     def value(self, sums):
    ...         return sums[0] / sums[1]
    >>> metric, other = Bias(), Bias()
    >>> metric.update(torch.tensor([1.0, 4.0]), torch.tensor([1.0, 2.0]))
    >>> other.update(torch.tensor([5.0]), torch.tensor([1.0]))
    >>> metric.merge(other)
    >>> metric.compute()
    2.0
    """

    def __init__(self) -> None:
        """Nothing needs to be prepared: a subclass need not call it."""

    @abstractmethod
    def count(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The sums of one batch, `(num_sums,)`, on the batch's device."""

    @abstractmethod
    def value(self, sums: np.ndarray) -> Value:
        """What the sums of all batches are worth, in float64: a number or a tuple."""

    @property
    @final
    @override
    def counter(self) -> Counter:
        return OwnCounter(self)

    @final
    @override
    def formula(self, sums: np.ndarray) -> Value:
        return plain_value(self.value(sums))


@final
class OwnCounter(SumCounter):
    """What a `SumMetric` counts; two metrics never share their counts."""

    entries = "sums"
    said = Words(outputs="batches gave sums that are NaN or infinite")

    def __init__(self, metric: SumMetric) -> None:
        self._metric = metric

    def __repr__(self) -> str:
        state = ("counts", "agreed_size", "given")
        settings = {k: v for k, v in vars(self._metric).items() if k not in state}
        told = ", ".join(f"{key}={_told(value)}" for key, value in settings.items())
        return f"{type(self._metric).__qualname__}({told})"

    @override
    def merges(self, other: object) -> bool:
        return repr(self) == repr(other)

    @override
    def count(self, outputs: Tensor, targets: Tensor, weights: Tensor | None) -> Tensor:
        if weights is not None:
            raise TypeError(f"{self._metric.key} takes no weights, its count has none")
        with torch.no_grad():
            sums = self._metric.count(outputs, targets)
        self._require_vector(sums, outputs.device)
        sums = sums.detach().double()
        known = sums.isfinite()
        flags = Flags(outputs=~known.all()[None])
        # NaN goes through a formula without a warning of its own, infinity does not.
        keep = torch.ones(1, dtype=torch.bool, device=sums.device)
        return flags.behind(sums.where(known, torch.nan), keep)

    def _require_vector(self, sums: object, device: torch.device) -> None:
        name = f"{type(self._metric).__name__}.count"
        if not isinstance(sums, Tensor) or sums.is_complex():
            came = sums.dtype if isinstance(sums, Tensor) else type(sums).__name__
            raise TypeError(
                f"{name} is expected to give a tensor of real numbers, got {came}"
            )
        if sums.ndim != 1 or not len(sums):
            raise ValueError(
                f"{name} is expected to give a vector of sums, (num_sums,), got shape"
                f" {tuple(sums.shape)}; torch.stack([...]) makes one of scalars"
            )
        if sums.device != device:
            raise ValueError(
                f"{name} gave sums on {sums.device} of a batch on {device}; sum there,"
                " so that no update waits for the device"
            )


def _told(value: Any) -> str:
    """A setting as text, alike in every process where it is alike."""
    if isinstance(value, nn.Module):
        return f"{value!r}{_told(value.state_dict())}"
    if isinstance(value, Tensor):
        content = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        return f"{value.dtype}{tuple(value.shape)}#{_digest(content.numpy())}"
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}#{_digest(np.ascontiguousarray(value))}"
    if isinstance(value, Mapping):
        entries = (f"{key!r}: {_told(entry)}" for key, entry in value.items())
        return f"{{{', '.join(entries)}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_told, value))}]"
    if isinstance(value, partial):
        return f"{_told(value.func)}{_told(value.args)}{_told(value.keywords)}"
    # Of a lambda, an inner function or a method of an object the name says too little.
    name, owner = getattr(value, "__qualname__", "<"), getattr(value, "__self__", None)
    is_named = "<" not in name and isinstance(owner, type | ModuleType | None)
    if is_named:
        return f"{value.__module__}.{name}"
    # How the object prints may say too little as well.
    return repr(value) if owner is None else f"{name} of {object.__repr__(owner)}"


def _digest(content: Any) -> str:
    return hashlib.blake2b(content, digest_size=8).hexdigest()
