"""When an optimizer steps, and what it has at hand before and after."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, Protocol, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from typing_extensions import Self

from pretrain_eval._steps import norms, shards
from pretrain_eval._steps.hooks import Hooks
from pretrain_eval._steps.kinds import wide_dtype
from pretrain_eval._steps.log import StepCount, StepLog
from pretrain_eval._steps.plan import Plans
from pretrain_eval._steps.starts import Start, Starts
from pretrain_eval._steps.step import Clipping, Step
from pretrain_eval._steps.warning import warn

# `torch.no_grad` takes as long as all arithmetic of a small network.
_set_gradients: Callable[[bool], object] = torch._C._set_grad_enabled


class StepEvents(Protocol):
    """What is told of every measured step."""

    log: StepLog
    reads_clipping: bool

    def before_step(self, step: Step) -> None:
        """Gradients at θ_t are ready, the parameters have not moved."""

    def after_step(self, step: Step) -> None:
        """The parameters are at θ_{t+1}."""


class Tells(Protocol):
    """Who hands on what was measured of a step."""

    def after_step(self, step: Step) -> None:
        """All watchers have measured it."""

    def flush(self) -> None:
        """Hand on what waits."""


@final
class Attachment:
    """Watches optimizers until it is closed; a context manager."""

    def __init__(
        self,
        optimizers: Sequence[Optimizer],
        watchers: Sequence[StepEvents],
        model: nn.Module | None,
        every: int,
        tells: Tells | None = None,
    ) -> None:
        self._optimizers, self._tells = optimizers, tells
        self._is_alone = len(optimizers) == 1
        self._watchers = watchers
        self._every = every
        # The most that any of them has seen; from here on they count together.
        self._count = StepCount(max(w.log.count.number for w in watchers))
        self._plans = Plans(optimizers, model)
        self._starts = Starts()
        self._step: Step | None = None
        self._under_way = False
        self._reads_weights = True  # until a step has shown what is asked for
        self._begun: set[int] = set()
        self._done: set[int] = set()
        self._clippings: list[Clipping] = []
        self._handles = []
        for watcher in watchers:
            watcher.log.attached, watcher.log.count = True, self._count
        for optimizer in optimizers:
            hooks = Hooks(optimizer, self._call, self._begin, self._end)
            self._handles += [
                optimizer.register_step_pre_hook(hooks.before),
                optimizer.register_step_post_hook(hooks.after),
            ]

    def close(self) -> None:
        """Stop watching; closing twice is harmless."""
        if not self._handles:
            return
        for handle in self._handles:
            handle.remove()
        self._handles = []
        try:
            if self._done:
                self._finish()
        finally:
            self._step, self._plans = None, Plans(self._optimizers)
            for watcher in self._watchers:
                watcher.log.attached = False
            if self._tells is not None:
                self._tells.flush()

    def __repr__(self) -> str:
        state = f"{self._count.number} steps seen" if self._handles else "closed"
        names = ", ".join(type(each).__name__ for each in self._optimizers)
        return f"Attachment({names}: {state})"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._done.clear()  # other processes may not come to sum up half a step
        self.close()

    @torch.no_grad()
    def clip_grad_norm_(
        self,
        parameters: Tensor | Iterable[Tensor],
        max_norm: float,
        *,
        error_if_nonfinite: bool = False,
        foreach: bool | None = None,
    ) -> Tensor:
        """`torch.nn.utils.clip_grad_norm_`, which the metrics of clipping see.

        Args:
            parameters: Their gradients are clipped.
            max_norm: Largest norm that the gradients keep.
            error_if_nonfinite: Raise where the norm is not finite.
            foreach: As in torch.

        Returns:
            The norm before clipping, as torch returns it.
        """
        given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        reads = self._measures_next and any(w.reads_clipping for w in self._watchers)
        gradients = [shards.local(p.grad) for p in given] if reads else []
        squares = norms.square_sums(gradients) if reads else None
        total = torch.nn.utils.clip_grad_norm_(
            given, max_norm, error_if_nonfinite=error_if_nonfinite, foreach=foreach
        )
        if squares is not None:
            clipped = _is_clipped(total, max_norm)
            self._clippings.append(Clipping(given, squares, clipped))
        return total

    @torch.no_grad()
    def before_clipping(
        self,
        parameters: Tensor | Iterable[Tensor],
        max_norm: float | None = None,
        *,
        max_value: float | None = None,
    ) -> None:
        """Let the metrics of clipping read gradients that are to be clipped elsewhere.

        Args:
            parameters: Their gradients are read, as they are now.
            max_norm: What their norm will be clipped to; NaN where that is not known.
            max_value: What each entry will be clipped to, instead. With neither, the
                gradients are left as they are.
        """
        if not (self._measures_next and any(w.reads_clipping for w in self._watchers)):
            return
        given = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        squares = norms.square_sums([shards.local(p.grad) for p in given])
        gradients = [p.grad for p in given if p.grad is not None]
        clipped = torch.zeros((), device=squares.device)
        if max_value is not None and gradients:
            largest = torch.nn.utils.get_total_norm(gradients, math.inf)
            clipped = _whole(largest) > max_value
        elif max_norm is not None and math.isnan(max_norm):
            clipped = clipped + math.nan
        elif max_norm is not None:
            clipped = _is_clipped(torch.nn.utils.get_total_norm(gradients), max_norm)
        self._clippings.append(Clipping(given, squares, clipped))

    @torch.no_grad()
    def hand_over(self, total_norm: Tensor | float, max_norm: float) -> None:
        """Tell the metrics of clipping what clipping of one's own has read.

        Args:
            total_norm: The gradient's norm before clipping.
            max_norm: What it was clipped to.
        """
        total = torch.as_tensor(total_norm)
        clipped = _is_clipped(total, max_norm)
        wide = getattr(total, "full_tensor", lambda: total)().reshape(1)
        squares = wide.to(wide_dtype(wide.device)).square()
        self._clippings.append(Clipping([wide], squares, clipped))

    @property
    def _measures_next(self) -> bool:
        # Of the step under way, or of the one to come.
        return (self._count.number - self._under_way) % self._every == 0

    def _call(self, optimizer: Optimizer) -> Start | None:
        """The optimizer's step is called, and will call a closure first."""
        if id(optimizer) in self._done:
            self._finish()  # it steps again: another joint step begins
        if not (self._measures_next and self._reads_weights):
            return None
        plan = self._plans.of(optimizer)
        with torch.no_grad():
            return self._starts.of(optimizer, plan, self._plans.room)

    def _begin(self, optimizer: Optimizer, start: Start | None) -> None:
        """The optimizer has its gradients."""
        if self._done and id(optimizer) in self._done:
            self._finish()
        if not self._under_way:
            number = self._count.number
            self._count.number = number + 1
            self._under_way = True
            if number % self._every == 0:
                self._step = Step(number + 1, self._plans)
        if self._step is not None:
            enabled = torch.is_grad_enabled()
            _set_gradients(False)
            try:
                self._read(self._step, optimizer, start)
            finally:
                _set_gradients(enabled)
        if self._clippings:
            self._clippings = []
        if self._step is not None or not self._is_alone:
            self._begun.add(id(optimizer))

    def _read(self, step: Step, optimizer: Optimizer, start: Start | None) -> None:
        step.begin(optimizer, start)
        if self._clippings:
            step.clippings += self._clippings
        for watcher in self._watchers:
            watcher.before_step(step)
        known = step.read()
        if start is not None:
            self._reads_weights = step.reads_weights
            self._starts.looked(optimizer, start)
        if not known:
            warn(
                f"movement and weights of step {step.number} are NaN:"
                f" {type(optimizer).__name__} moved weights before it called its"
                " closure; in its next steps they are copied in time"
            )

    def _end(self, optimizer: Optimizer) -> None:
        if self._is_alone and self._step is None:
            self._under_way = False
            return
        if id(optimizer) not in self._begun:
            return  # it was given a closure and never called it
        self._done.add(id(optimizer))
        is_last = len(self._done) == len(self._optimizers)
        if self._step is None:
            if is_last:
                self._finish()
            return
        enabled = torch.is_grad_enabled()
        _set_gradients(False)
        try:
            self._step.end(optimizer)
            if is_last:
                self._tell(self._finished())
        finally:
            _set_gradients(enabled)

    def _finish(self) -> None:
        step = self._finished()
        with torch.no_grad():
            self._tell(step)

    def _finished(self) -> Step | None:
        step, self._step = self._step, None
        self._under_way = False
        self._begun.clear()
        self._done.clear()
        return step

    def _tell(self, step: Step | None) -> None:
        if step is None:
            return
        step.finish()
        for watcher in self._watchers:
            watcher.after_step(step)
        if self._tells is not None:
            self._tells.after_step(step)


def _is_clipped(total: Tensor, max_norm: float) -> Tensor:
    # As torch decides it.
    return _whole(total) + 1e-6 > max_norm


def _whole(total: Tensor) -> Tensor:
    """A number that may be of shards."""
    whole: Tensor = getattr(total, "full_tensor", lambda: total)()
    return whole


def watch(
    optimizers: Optimizer | Sequence[Optimizer],
    watchers: Sequence[StepEvents],
    model: nn.Module | None = None,
    *,
    every: int = 1,
    tells: Tells | None = None,
) -> Attachment:
    """Tell `watchers` of every `every`-th step, from the first, and then `tells`."""
    _check(watchers)
    if type(every) is not int or every < 1:
        raise ValueError(f"attach expects every to be an int >= 1, got {every!r}")
    several = optimizers if isinstance(optimizers, Sequence) else [optimizers]
    hooked = list({id(o): o for o in map(_hookable, several)}.values())
    if not any(group["params"] for o in hooked for group in o.param_groups):
        raise ValueError("attach expects an optimizer with parameters, got none")
    return Attachment(hooked, watchers, model, every, tells)


@contextmanager
def watched_step(
    model: nn.Module | Iterable[Tensor], watchers: Sequence[StepEvents]
) -> Iterator[None]:
    """Tell `watchers` of one step, which happens inside the block."""
    _check(watchers)
    named = model if isinstance(model, nn.Module) else None
    parameters = list(model.parameters() if isinstance(model, nn.Module) else model)
    if not parameters:
        raise ValueError("a step is measured on parameters, got none")
    optimizer: Any = SimpleNamespace(param_groups=[{"params": parameters}])
    number = 1 + max(w.log.count.number for w in watchers)
    step = Step(number, Plans([optimizer], named))
    with torch.no_grad():
        step.begin(optimizer)
        for watcher in watchers:
            watcher.before_step(step)
        step.read()
    yield
    with torch.no_grad():
        step.end(optimizer)
        step.finish()
        for watcher in watchers:
            watcher.after_step(step)


def _check(watchers: Sequence[StepEvents]) -> None:
    if not watchers:
        raise ValueError("attach expects at least one step metric, got none")
    if any(watcher.log.attached for watcher in watchers):
        raise ValueError("the metrics are attached already; close that handle first")


def _hookable(optimizer: object) -> Optimizer:
    """The optimizer itself, or the one inside of a wrapper that has no hooks."""
    inner: Any = optimizer
    while inner is not None:
        try:
            inner.register_step_pre_hook(_nothing).remove()
        except AttributeError:  # a wrapper that never called Optimizer.__init__
            inner = getattr(inner, "optimizer", None)
        else:
            return inner  # type: ignore[no-any-return]
    raise TypeError(
        "attach expects a torch.optim.Optimizer or a wrapper of one, got"
        f" {type(optimizer).__name__}; where nothing can be hooked, measure each step by:"
        " with metrics.step(model): ..."
    )


def _nothing(*_: object) -> None:
    """A hook that is removed at once."""
