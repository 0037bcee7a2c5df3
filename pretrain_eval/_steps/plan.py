"""What is remembered of optimizers' parameters from step to step."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import attrgetter, is_
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from pretrain_eval._steps import norms, shards
from pretrain_eval._steps.names import Names
from pretrain_eval._steps.rows import Array
from pretrain_eval._steps.small import SmallTensors, is_small
from pretrain_eval._steps.snapshot import Room, Snapshot

_gradient = attrgetter("grad")


@final
class Plan:
    """How some parameters are summed.

    Small ones of a CPU go together, the others by rows or, on an accelerator, in one
    launch.

    Attributes:
        parameters: Each once.
        is_sharded: Whether one lies in pieces on several processes.
        is_shared: Whether another optimizer that is watched holds one of them, too.
        is_small: Whether all of them are small ones, and there are some.
    """

    def __init__(self, parameters: list[Tensor], *, is_shared: bool = False) -> None:
        self.parameters = parameters
        self.is_sharded: bool = any(map(shards.is_sharded, parameters))
        self.is_shared = is_shared
        # Sums of an accelerator stay there.
        here = all(parameter.device.type == "cpu" for parameter in parameters)
        together = here and not self.is_sharded
        small = [together and is_small(parameter) for parameter in parameters]
        self._small_places = np.flatnonzero(small)
        self._large_places = np.flatnonzero(np.logical_not(small))
        few = self._at(self._small_places, parameters)
        self.small: SmallTensors | None = SmallTensors(few) if few else None
        self.is_small: bool = self.small is not None and not len(self._large_places)

    def large(self) -> list[Tensor]:
        """What is summed by rows, of this process."""
        if self.is_sharded:
            return [shards.local(parameter) for parameter in self.parameters]
        return self._at(self._large_places, self.parameters)

    def local(self) -> list[Tensor]:
        """All parameters, of this process."""
        return self.large() if self.is_sharded else self.parameters

    def gradients(self) -> list[Tensor | None]:
        """The gradient of each parameter, of this process."""
        gradients = list(map(_gradient, self.parameters))
        return list(map(shards.local, gradients)) if self.is_sharded else gradients

    def square_sums(self, tensors: Sequence[Tensor | None]) -> Tensor:
        """Σ|x|² of one tensor for each parameter, float64; 0 for None."""
        small = self.small
        if small is None or not small.write(self._at(self._small_places, tensors)):
            return norms.square_sums(tensors)
        if not len(self._large_places):
            return torch.from_numpy(small.square_sums())
        rest = norms.square_sums(self._at(self._large_places, tensors))
        return self.in_order(small.square_sums(), rest)

    def write(self, tensors: Sequence[Tensor | None]) -> bool:
        """Keep them to be summed with the next moment, where all are small."""
        small = self.small
        return self.is_small and small is not None and small.write(tensors)

    def in_order(self, small: Array, large: Tensor) -> Tensor:
        """Sums of small parameters and of the others, in the parameters' order."""
        sums = np.empty(len(self.parameters))
        sums[self._small_places] = small
        sums[self._large_places] = large.numpy()
        return torch.from_numpy(sums)

    def _at(self, places: Array, values: Sequence[Any]) -> list[Any]:
        if len(places) == len(self.parameters):
            return list(values)
        return [values[place] for place in places]

    def copies_in_order(self, small: list[Tensor], large: list[Tensor]) -> list[Tensor]:
        """One tensor for each parameter."""
        placed = [*zip(self._small_places, small, strict=True)]
        placed += zip(self._large_places, large, strict=True)
        return [tensor for _, tensor in sorted(placed, key=lambda pair: pair[0])]

    def marks(self) -> list[int]:
        """Numbers that change when a parameter is written to or gets other memory."""
        local = self.local()
        return [p._version for p in local] + [p.data_ptr() for p in local]


@final
class Moment:
    """What an optimizer's parameters held at one moment.

    Args:
        plan: How they are summed; it keeps one moment of small ones.
        room: Where memory for the copies of others may be kept.
    """

    def __init__(self, plan: Plan, room: Room) -> None:
        self._plan = plan
        if plan.small:
            plan.small.copy()
        self._snapshot = None
        if not plan.is_small and (large := plan.large()):
            self._snapshot = Snapshot(large, room)

    def is_over(self) -> bool:
        """Whether a parameter holds something else now."""
        small, snapshot = self._plan.small, self._snapshot
        if small and small.differ():
            return True
        return snapshot is not None and snapshot.differs(self._plan.large())

    def compare(self, *, written: bool, sizes: bool) -> Sequence[Tensor | Array]:
        """Σ|now − then|² of each parameter, float64; arrays where all are small.

        Args:
            written: Before it, Σ|x|² of what the plan was given to `write`.
            sizes: After it, Σ|then|².
        """
        small, snapshot = self._plan.small, self._snapshot
        if snapshot is None:
            if small is None:
                nothing = torch.zeros(0, dtype=torch.float64)
                return [nothing] * (1 + sizes)
            return list(small.compare(given=written, sizes=sizes))
        rest = snapshot.compare(self._plan.large(), sizes=sizes)
        if small is None:
            return list(rest)
        few = small.compare(given=written, sizes=sizes)
        return [self._plan.in_order(*both) for both in zip(few, rest, strict=True)]

    def tensors(self) -> list[Tensor]:
        """What each parameter held."""
        small, snapshot = self._plan.small, self._snapshot
        return self._plan.copies_in_order(
            small.copies() if small else [],
            snapshot.tensors(self._plan.large()) if snapshot else [],
        )


@final
class Plans:
    """The plans of several optimizers, made anew where what they hold changes.

    Args:
        optimizers: What is watched.
        model: Gives the parameters their names.

    Attributes:
        names: Names of the parameters.
        room: Memory for copies.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], model: nn.Module | None = None
    ) -> None:
        self.names: Names = Names(optimizers, model)
        self.room: Room = Room()
        self._optimizers = optimizers
        self._plans: dict[tuple[int, frozenset[int]], tuple[list[Tensor], Plan]] = {}
        self._num_holders: Counter[int] = Counter()

    def of(self, optimizer: Optimizer, counted: frozenset[int] = frozenset()) -> Plan:
        """The plan of what an optimizer holds, without what was counted already.

        Args:
            optimizer: One of those that are watched.
            counted: Identities of parameters that others have begun with.
        """
        groups = optimizer.param_groups
        held = groups[0]["params"] if len(groups) == 1 else _held(optimizer)
        key = id(optimizer), counted
        if key in self._plans:
            known, plan = self._plans[key]
            is_same = len(held) == len(known) and all(map(is_, held, known))
            if is_same and (plan.small is None or plan.small.are_as_they_were()):
                return plan
            self._forget()
        if not self._num_holders:
            each = ({id(p) for p in _held(other)} for other in self._optimizers)
            self._num_holders = Counter(i for ids in each for i in ids)
        own = {id(p): p for p in held if id(p) not in counted}
        shared = any(self._num_holders[id(p)] > 1 for p in held)
        self._plans[key] = list(held), Plan(list(own.values()), is_shared=shared)
        return self._plans[key][1]

    def _forget(self) -> None:
        # An identity may be another parameter's from here on.
        self._plans.clear()
        self._num_holders.clear()
        self.names.forget()


def _held(optimizer: Optimizer) -> list[Tensor]:
    groups = optimizer.param_groups
    return [parameter for group in groups for parameter in group["params"]]
