"""One optimizer step: what several metrics ask of it is computed once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal, NamedTuple, final, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from pretrain_eval._steps import gradients as _gradients
from pretrain_eval._steps import norms, shards
from pretrain_eval._steps.kinds import home
from pretrain_eval._steps.names import Names, Partition, Per
from pretrain_eval._steps.snapshot import Room, Snapshot

Quantity = Literal["gradient", "nonzero", "product", "update", "parameter"]


class Clipping(NamedTuple):
    """What clipping read before the step.

    Attributes:
        parameters: Those whose gradients were clipped.
        squares: Σg² of each before clipping, of this process's shard.
        clipped: 1 where the gradients were made smaller, 0 where not.
    """

    parameters: Sequence[Tensor]
    squares: Tensor
    clipped: Tensor


@final
class _Part:
    """What one optimizer does in the step."""

    def __init__(self, optimizer: Optimizer, room: Room) -> None:
        groups = optimizer.param_groups
        self.optimizer = optimizer
        # Each once, also where groups repeat one.
        self.parameters: list[Tensor] = list(
            {id(p): p for group in groups for p in group["params"]}.values()
        )
        self.wanted: set[Quantity] = set()
        self.sums: dict[Quantity, Tensor] = {}
        self.skipped: Tensor | None = None
        self._room = room
        self._snapshot: Snapshot | None = None

    def read(self) -> None:
        """Read what is wanted at θ_t."""
        if self.wanted & {"gradient", "nonzero", "product"}:
            self._read_gradients([shards.local(p.grad) for p in self.parameters])
        if "update" in self.wanted:
            self._snapshot = Snapshot(self._local(), self._room)
        elif "parameter" in self.wanted:
            self.sums["parameter"] = norms.square_sums(self._local())

    def _read_gradients(self, gradients: list[Tensor | None]) -> None:
        # A fused optimizer under GradScaler holds scaled gradients until its step.
        scale: Tensor | None = getattr(self.optimizer, "grad_scale", None)
        if "gradient" in self.wanted:
            squares = norms.square_sums(gradients)
            if scale is not None:
                squares /= scale.to(squares).square()
            self.sums["gradient"] = squares
        if "nonzero" in self.wanted:
            self.sums["nonzero"] = _gradients.nonzero_counts(gradients)
        if "product" in self.wanted:
            products = _gradients.products(gradients, self._local())
            self.sums["product"] = (
                products if scale is None else products / scale.to(products)
            )

    def end(self) -> None:
        """Read what is wanted at θ_{t+1}."""
        found = getattr(self.optimizer, "found_inf", None)
        self.skipped = None if found is None else found.detach().clone()
        if self._snapshot is not None:
            both = "parameter" in self.wanted
            sums = self._snapshot.compare(self._local(), sizes=both)
            self.sums |= zip(("update", "parameter"), sums, strict=False)
            self._snapshot = None

    def _local(self) -> list[Tensor]:
        return [shards.local(parameter) for parameter in self.parameters]


@final
class Step:
    """One optimizer step, or one of several optimizers together.

    Say what you need in `before_step`, by `keep`, and read it in `after_step`.

    Attributes:
        number: Counts the optimizer's steps from 1, also those that are not measured.
        clippings: What `Attachment.clip_grad_norm_` read before the step.
    """

    def __init__(self, number: int, names: Names, room: Room) -> None:
        self.number = number
        self.clippings: list[Clipping] = []
        self._names, self._room = names, room
        self._parts: dict[int, _Part] = {}
        self._current: _Part | None = None

    def begin(self, optimizer: Optimizer) -> None:
        """The optimizer's gradients are ready, its parameters have not moved."""
        if id(optimizer) in self._parts:  # an exception left the step before its end
            self.clippings.clear()
        self._current = self._parts[id(optimizer)] = _Part(optimizer, self._room)

    def read(self) -> None:
        """Everybody has said what to keep."""
        part, self._current = self._current, None
        if part is not None:
            part.read()

    def end(self, optimizer: Optimizer) -> None:
        """The optimizer's parameters have moved."""
        self._parts[id(optimizer)].end()

    def keep(self, *quantities: Quantity) -> None:
        """Measure the gradient g, the update θ_{t+1} − θ_t or the parameter θ_t.

        Also how much of g is "nonzero", and its "product" ⟨g, θ_t⟩ with the parameter.
        """
        if self._current is None:
            raise RuntimeError("call step.keep(...) in before_step")
        self._current.wanted.update(quantities)

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer holds, each once."""
        return [p for part in self._parts.values() for p in part.parameters]

    @property
    def optimizers(self) -> list[Optimizer]:
        """Those that stepped."""
        return [part.optimizer for part in self._parts.values()]

    @cached_property
    def skipped(self) -> Tensor | None:
        """1 where a gradient scaler made the optimizer skip the step, 0 where not.

        None without a gradient scaler, or where it passes over the optimizer itself.
        """
        flags = [p.skipped for p in self._parts.values() if p.skipped is not None]
        if not flags:
            return None
        return torch.stack(
            [flag.reshape(()).to(flags[0].device) for flag in flags]
        ).amax()

    @property
    def gradient_squares(self) -> Tensor:
        """Σg² of each parameter as the optimizer consumes it, float64."""
        return self._sums("gradient")

    @property
    def nonzero_counts(self) -> Tensor:
        """How many entries of each parameter's gradient are not zero, float64."""
        return self._sums("nonzero")

    @property
    def gradient_products(self) -> Tensor:
        """Σg·θ_t of each parameter, float64."""
        return self._sums("product")

    @property
    def update_squares(self) -> Tensor:
        """Σ(θ_{t+1} − θ_t)² of each parameter, float64."""
        return self._sums("update")

    @property
    def parameter_squares(self) -> Tensor:
        """Σθ_t² of each parameter, float64."""
        return self._sums("parameter")

    @property
    def clipping_squares(self) -> Tensor:
        """Σg² before clipping of each parameter that was clipped, float64."""
        return self._sums("clipping")

    def split(self, per: Per | None = None) -> Partition:
        """How sums over the parameters are split; `split.sums(step.update_squares)`."""
        return self._names.split(self.parameters, per)

    def _sums(self, name: str) -> Tensor:
        if name not in self._all_sums:
            raise RuntimeError(
                f"the {name} was not measured; call step.keep({name!r}) in before_step"
            )
        return self._all_sums[name]

    @cached_property
    def _all_sums(self) -> dict[str, Tensor]:
        """Every sum that was measured, over all processes, by one all_reduce."""
        parts = self._parts.values()
        local: dict[str, Tensor | None] = {
            name: _joined([part.sums.get(name) for part in parts])
            for name in get_args(Quantity)
        }
        local["clipping"] = _joined([each.squares for each in self.clippings])
        known = {name: sums for name, sums in local.items() if sums is not None}
        together = _joined(list(known.values()))
        if together is None:
            return {}
        owners = dict.fromkeys(known, self.parameters)
        owners["clipping"] = [p for each in self.clippings for p in each.parameters]
        sizes = [len(owners[name]) for name in known]
        owned = [owner for name in known for owner in owners[name]]
        sums = torch.split_with_sizes(shards.all_reduce(owned, together), sizes)
        return dict(zip(known, sums, strict=True))


def _joined(sums: Sequence[Tensor | None]) -> Tensor | None:
    """The sums of several optimizers as one; None where one has none."""
    given = [each for each in sums if each is not None]
    if len(given) < len(sums) or not given:
        return None
    if len(given) == 1:
        return given[0]
    device = home(each.device for each in given)
    return torch.cat([each.to(device, non_blocking=True) for each in given])
