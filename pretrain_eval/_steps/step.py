"""One optimizer step: what several metrics ask of it is computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, final, get_args

import torch
from torch import Tensor
from torch.optim import Optimizer

from pretrain_eval._steps import gradients as _gradients
from pretrain_eval._steps import norms, shards
from pretrain_eval._steps.kinds import home
from pretrain_eval._steps.names import TOTAL, Partition, Per
from pretrain_eval._steps.plan import Moment, Plan, Plans
from pretrain_eval._steps.rows import Array
from pretrain_eval._steps.snapshot import Room
from pretrain_eval._steps.starts import Start

Quantity = Literal[
    "gradient",
    "magnitude",
    "nonzero",
    "product",
    "update",
    "parameter",
    "moment",
    "second moment",
]

_QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)
_OF_GRADIENTS: frozenset[Quantity] = frozenset(
    {"gradient", "magnitude", "nonzero", "product"}
)
_OF_WEIGHTS: frozenset[Quantity] = frozenset({"product", "update", "parameter"})

# Running means of gradients and of their squares, as torch's optimizers name them.
MOMENTS: Mapping[str, tuple[str, ...]] = {
    "moment": ("exp_avg", "momentum_buffer"),
    "second moment": ("exp_avg_sq", "square_avg"),
}


class Clipping(NamedTuple):
    """What clipping read before the step.

    Attributes:
        parameters: Those whose gradients were clipped.
        squares: Σg² of each before clipping, of this process's shard.
        clipped: 1 where the gradients were made smaller, 0 where not, NaN where
            nobody knows.
    """

    parameters: Sequence[Tensor]
    squares: Tensor
    clipped: Tensor


@final
class _Part:
    """What one optimizer does in the step."""

    def __init__(
        self, optimizer: Optimizer, plan: Plan, room: Room, start: Start | None
    ) -> None:
        self.optimizer, self.plan = optimizer, plan
        self.wanted: set[Quantity] = set()
        self.sums: dict[str, Tensor | Array] = {}
        self.skipped: Tensor | None = None
        self._room, self._start = room, start
        self._moment: Moment | None = None
        self._written = False  # the gradients, to be summed with the moment

    @property
    def reads_weights(self) -> bool:
        """Whether anything is asked of them, and not of gradients alone."""
        return not self.wanted.isdisjoint(_OF_WEIGHTS)

    @property
    def is_lost(self) -> bool:
        """Whether weights are asked for that moved before anybody had copied them."""
        start = self._start
        lost = start is not None and start.moved and start.copies is None
        return lost and self.reads_weights

    def read(self) -> bool:
        """Read what is wanted at θ_t.

        Returns:
            Whether it could be read.
        """
        lost = self._start is not None and self.is_lost
        if lost:
            unknown = torch.full((len(self.plan.parameters),), torch.nan).double()
            self.sums |= dict.fromkeys(_OF_WEIGHTS & self.wanted, unknown)
        elif "update" in self.wanted:
            copied = None if self._start is None else self._start.copies
            self._moment = copied or Moment(self.plan, self._room)
        elif "parameter" in self.wanted:
            self.sums["parameter"] = self.plan.square_sums(self._weights())
        if not self.wanted.isdisjoint(_OF_GRADIENTS):
            self._read_gradients(self.plan.gradients(), lost=lost)
        self._start = None
        return not lost

    def _weights(self) -> list[Tensor]:
        """The weights at θ_t."""
        start = self._start
        if start is not None and start.moved and start.copies is not None:
            return start.copies.tensors()
        return [parameter.detach() for parameter in self.plan.local()]

    def _read_gradients(self, gradients: list[Tensor | None], *, lost: bool) -> None:
        # A fused optimizer under GradScaler holds scaled gradients until its step.
        scale: Tensor | None = getattr(self.optimizer, "grad_scale", None)
        if "gradient" in self.wanted:
            if self._moment is not None and scale is None:
                self._written = self.plan.write(gradients)
            if not self._written:
                squares = self.plan.square_sums(gradients)
                if scale is not None:
                    squares /= scale.to(squares).square()
                self.sums["gradient"] = squares
        if "magnitude" in self.wanted:
            magnitudes = _gradients.magnitudes(gradients)
            self.sums["magnitude"] = _unscaled(magnitudes, scale)
        if "nonzero" in self.wanted:
            self.sums["nonzero"] = _gradients.nonzero_counts(gradients)
        if "product" in self.wanted and not lost:
            products = _gradients.products(gradients, self._weights())
            self.sums["product"] = _unscaled(products, scale)

    def end(self) -> None:
        """Read what is wanted at θ_{t+1}."""
        found = getattr(self.optimizer, "found_inf", None)
        if found is not None:
            self.skipped = found.detach().clone()
        # Another optimizer may move what is shared on; then this is not yet the end.
        if not self.plan.is_shared:
            self.compare()
        for name in MOMENTS:
            if name in self.wanted:
                self.sums[name] = self._moment_squares(MOMENTS[name])

    def _moment_squares(self, names: Sequence[str]) -> Tensor:
        states = getattr(self.optimizer, "state", {})
        found = []
        for parameter in self.plan.parameters:
            state = states.get(parameter, {})
            moment = next((state[n] for n in names if n in state), None)
            found.append(shards.local(moment))
        return norms.square_sums(found)

    def compare(self) -> None:
        """Read what is wanted of the weights, at the end."""
        if self._moment is None:
            return
        sizes = "parameter" in self.wanted
        sums = self._moment.compare(written=self._written, sizes=sizes)
        names = ("gradient", "update", "parameter")[not self._written :]
        self.sums.update(zip(names, sums, strict=False))
        self._moment = None


@final
class Step:
    """One optimizer step, or one of several optimizers together.

    Say what you need in `before_step`, by `keep`, and read it in `after_step`.

    Attributes:
        number: Counts the optimizer's steps from 1, also those that are not measured.
        clippings: What `Attachment.clip_grad_norm_` read before the step.
    """

    def __init__(self, number: int, plans: Plans) -> None:
        self.number = number
        self.clippings: list[Clipping] = []
        self._plans = plans
        self._known: Mapping[str, Tensor | Array] | None = None
        self._parts: dict[int, _Part] = {}
        self._current: _Part | None = None
        self._skipped: Tensor | None = None

    def begin(self, optimizer: Optimizer, start: Start | None = None) -> None:
        """The optimizer's gradients are ready, its parameters have not moved.

        Args:
            optimizer: Begins its step.
            start: What its weights were when the step was called, where it has a closure.
        """
        if id(optimizer) in self._parts:  # an exception left the step before its end
            self.clippings.clear()
        plan = self._plans.of(optimizer)
        if plan.is_shared:
            plan = self._plans.of(optimizer, self._counted(optimizer))
        part = _Part(optimizer, plan, self._plans.room, start)
        self._current = self._parts[id(optimizer)] = part

    def _counted(self, optimizer: Optimizer) -> frozenset[int]:
        """Parameters that count already, since another optimizer began with them."""
        others = [p for p in self._parts.values() if p.optimizer is not optimizer]
        return frozenset(id(p) for part in others for p in part.plan.parameters)

    def read(self) -> bool:
        """Everybody has said what to keep.

        Returns:
            Whether it could be read; weights may have moved before anybody knew.
        """
        part, self._current = self._current, None
        return part is None or part.read()

    def end(self, optimizer: Optimizer) -> None:
        """The optimizer's parameters have moved."""
        self._parts[id(optimizer)].end()

    def finish(self) -> None:
        """All optimizers have stepped."""
        flags = []
        for part in self._parts.values():
            part.compare()
            if part.skipped is not None:
                flags.append(part.skipped)
        if flags:
            device = flags[0].device
            self._skipped = torch.stack(
                [f.reshape(()).to(device) for f in flags]
            ).amax()

    def keep(self, *quantities: Quantity) -> None:
        """Measure the gradient g, the update θ_{t+1} − θ_t or the parameter θ_t.

        Also the "magnitude" of g, Σ|g|, how much of g is "nonzero", and its "product"
        ⟨g, θ_t⟩ with the parameter; and what the optimizer remembers of gradients after
        the step, their running mean, "moment", and that of their squares, "second
        moment".
        """
        if self._current is None:
            raise RuntimeError("call step.keep(...) in before_step")
        self._current.wanted.update(quantities)

    @property
    def reads_weights(self) -> bool:
        """Whether anything is asked of them, and not of gradients alone."""
        return any(part.reads_weights for part in self._parts.values())

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimizer holds, each once."""
        parts = list(self._parts.values())
        if len(parts) == 1:
            return parts[0].plan.parameters
        return [p for part in parts for p in part.plan.parameters]

    @property
    def optimizers(self) -> list[Optimizer]:
        """Those that stepped."""
        return [part.optimizer for part in self._parts.values()]

    @property
    def skipped(self) -> Tensor | None:
        """1 where a gradient scaler made the optimizer skip the step, 0 where not.

        None without a gradient scaler, or where it passes over the optimizer itself.
        """
        return self._skipped

    @property
    def gradient_squares(self) -> Tensor:
        """Σg² of each parameter as the optimizer consumes it, float64."""
        return self._sums("gradient")

    @property
    def gradient_magnitudes(self) -> Tensor:
        """Σ|g| of each parameter as the optimizer consumes it, float64."""
        return self._sums("magnitude")

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
    def moment_squares(self) -> Tensor:
        """Σm² of each parameter, m the optimizer's running mean of gradients, float64."""
        return self._sums("moment")

    @property
    def second_moment_squares(self) -> Tensor:
        """Σv² of each parameter, v the mean of squared gradients, float64."""
        return self._sums("second moment")

    @property
    def clipping_squares(self) -> Tensor:
        """Σg² before clipping of each parameter that was clipped, float64."""
        return self._sums("clipping")

    def split(self, per: Per | None = None) -> Partition:
        """How sums over the parameters are split; `split.sums(step.update_squares)`."""
        if per is None:
            return TOTAL
        return self._plans.names.split(self.parameters, per)

    def sums(self, *quantities: str) -> tuple[Tensor | Array, ...]:
        """What was measured of each parameter, as it lies in memory.

        Arrays where all parameters are small ones of a CPU, of which a tensor would take
        as long as the sum itself.

        Raises:
            RuntimeError: Nobody has asked for it by `keep`.
        """
        if self._known is None:
            self._known = self._all_sums()
        try:
            return tuple(map(self._known.__getitem__, quantities))
        except KeyError as error:
            name = error.args[0]
            raise RuntimeError(
                f"the {name} was not measured; call step.keep({name!r}) in before_step"
            ) from None

    def _sums(self, name: str) -> Tensor:
        return torch.as_tensor(self.sums(name)[0])

    def _all_sums(self) -> Mapping[str, Tensor | Array]:
        """Every sum that was measured, over all processes, by one all_reduce."""
        parts = list(self._parts.values())
        if len(parts) == 1 and not parts[0].plan.is_sharded and not self.clippings:
            return parts[0].sums
        local: dict[str, Tensor | None] = {
            name: _joined([part.sums.get(name) for part in parts])
            for name in _QUANTITIES
        }
        local["clipping"] = _joined([each.squares for each in self.clippings])
        known = {name: sums for name, sums in local.items() if sums is not None}
        clipped = [p for each in self.clippings for p in each.parameters]
        if any(part.plan.is_sharded for part in parts) or any(
            map(shards.is_sharded, clipped)
        ):
            known = self._over_processes(known, clipped)
        return known

    def _over_processes(
        self, known: dict[str, Tensor], clipped: list[Tensor]
    ) -> dict[str, Tensor]:
        together = _joined(list(known.values()))
        if together is None:
            return {}
        owners = dict.fromkeys(known, self.parameters) | {"clipping": clipped}
        sizes = [len(owners[name]) for name in known]
        owned = [owner for name in known for owner in owners[name]]
        sums = torch.split_with_sizes(shards.all_reduce(owned, together), sizes)
        return dict(zip(known, sums, strict=True))


def _joined(sums: Sequence[Tensor | Array | None]) -> Tensor | None:
    """The sums of several optimizers as one; None where one has none."""
    given = [torch.as_tensor(each) for each in sums if each is not None]
    if len(given) < len(sums) or not given:
        return None
    if len(given) == 1:
        return given[0]
    device = home(each.device for each in given)
    return torch.cat([each.to(device, non_blocking=True) for each in given])


def _unscaled(sums: Tensor, scale: Tensor | None) -> Tensor:
    return sums if scale is None else sums / scale.to(sums)
