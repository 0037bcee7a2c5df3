"""Optimizability: how well and how fast does the model fine-tune?"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final

import numpy as np
from typing_extensions import override

from pretrain_eval._grid import Grid, Layout
from pretrain_eval._grid_evaluator import GridEvaluator, Row, clip, macro_mean
from pretrain_eval._records import Run
from pretrain_eval._statistics import Array, rank_correlation

QUANTITIES = ("grad_norm", "update_ratio", "validation")


@final
@dataclass(frozen=True, kw_only=True)
class OptimizabilityEvaluator(GridEvaluator):
    """O = mean of ∫₀¹ z dx, x = log(1 + t/τ) / log(1 + T/τ): area under validation.

    z(t) is the normalised validation metric after t of T optimizer steps and τ = T/10,
    so that early progress counts more. Trapezoids; the last value is held where a run
    stopped early; 0 after divergence. Beside it stand the source's three quantities:
    gradient norm, update ratio and final validation.

    Attributes:
        time: "log" as above, or "linear", x = t/T.

    >>> run = Run(
    ...     model="a",
    ...     task="t",
    ...     dataset="d",
    ...     strategy="full",
    ...     seed=0,
    ...     curve={"step": (0, 10), "accuracy": (0.5, 0.75)},
    ...     chance={"accuracy": 0.5},
    ... )
    >>> OptimizabilityEvaluator().score([run]).score
    0.25
    """

    protocol: ClassVar[str] = "optimizability"
    time: Literal["log", "linear"] = "log"

    @override
    def combine(self, parts: Mapping[str, float]) -> float:
        """The area, held in [0, 1]."""
        return clip(parts["validation area"])

    @override
    def _read(self, run: Run) -> Row | None:
        curve = run.curve.get(self.metric, ())
        if not curve and run.status != "diverged":
            return None
        steps = run.curve.get("step", tuple(range(len(curve))))
        finite = list(finite_points(steps, curve))
        z = [self.normalised_curve(run, value) for _, value in finite]
        times = [float(step) for step, _ in finite]
        total = self._planned(run, times)
        area = self._area(times, z, total, diverged=run.status == "diverged")
        row = {"area": area, "z": area}
        if z:
            row["start"] = z[0]
            row["validation"] = 0.0 if run.status == "diverged" else z[-1]
        for name in ("grad_norm", "update_ratio"):
            values = [v for v in run.history.get(name, ()) if math.isfinite(v)]
            if values:
                row[name] = math.fsum(values) / len(values)
                row[f"{name} at start"] = values[0]
        return row

    def normalised_curve(self, run: Run, value: float) -> float:
        """One point of the curve as its share of the way from chance to 1."""
        level = self.level(run) or 0.0
        return 0.0 if level >= 1 else (value - level) / (1 - level)

    def _planned(self, run: Run, times: Sequence[float]) -> float:
        # The steps that were planned: epochs × steps an epoch, where the run says so.
        last = times[-1] if times else 0.0
        epochs = run.settings.get("epochs")
        if isinstance(epochs, int) and len(times) > 1:
            last = max(last, epochs * (times[1] - times[0]))
        return last

    def _area(
        self, times: list[float], z: list[float], total: float, *, diverged: bool
    ) -> float:
        if len(z) < 2 or total <= 0:
            return 0.0 if diverged or not z else z[-1]
        if diverged and times[-1] >= total:
            return 0.0  # nothing tells how long it was to go on
        tau = total / 10 if self.time == "log" else math.inf
        x = [time_share(t, total, tau) for t in [*times, total]]
        heights = [*z, 0.0 if diverged else z[-1]]
        pieces = [
            (x[i + 1] - x[i]) * (heights[i] + heights[i + 1]) / 2
            for i in range(len(z) - 1)
        ]
        pieces.append((x[-1] - x[-2]) * heights[-1])
        return math.fsum(pieces)

    @override
    def _needs(self) -> str:
        return f"the validation curve {self.metric!r}"

    @override
    def _worst_and_best(self) -> Mapping[str, tuple[float, float]]:
        return {"area": (0.0, 1.0)}

    @override
    def _parts(self, layout: Layout, means: Mapping[str, Array]) -> dict[str, Array]:
        parts = {"validation area": layout.macro(means["area"])}
        for name in QUANTITIES:
            if name in means and not np.isnan(means[name]).all():
                parts[name] = layout.macro(means[name])
        return parts

    @override
    def _linear(self, grid: Grid, layout: Layout) -> Array:
        return grid.columns["area"]

    @override
    def _details(
        self, runs: Sequence[Run], grid: Grid, layout: Layout
    ) -> dict[str, float]:
        details = {}
        for name in ("start", "grad_norm at start", "update_ratio at start"):
            value = macro_mean(grid, name)
            if value is not None:
                details[name] = value
        details["diverged share"] = grid.diverged / len(runs)
        for name in QUANTITIES[:2]:
            rho = self._agreement(grid, name)
            if rho is not None:
                details[f"rank correlation of {name} with validation"] = rho
        return details

    def _agreement(self, grid: Grid, name: str) -> float | None:
        # Within each dataset, so that an easy one does not make the correlation.
        if name not in grid.columns or "validation" not in grid.columns:
            return None
        names = [grid.layout.cells[i][:2] for i in grid.cell]
        known = ~np.isnan(grid.columns[name]) & ~np.isnan(grid.columns["validation"])
        found = []
        for place in sorted(set(names)):
            here = known & np.array([each == place for each in names])
            if here.sum() >= 3:
                pair = grid.columns[name][here], grid.columns["validation"][here]
                rho = rank_correlation(*pair)
                if rho is not None:
                    found.append(rho)
        return math.fsum(found) / len(found) if found else None


def time_share(step: float, total: float, tau: float) -> float:
    """Training time as log(1 + t/τ) / log(1 + T/τ), and t/T where τ is infinite."""
    if math.isinf(tau):
        return step / total
    return math.log1p(step / tau) / math.log1p(total / tau)


def finite_points(
    steps: Iterable[float], values: Iterable[float]
) -> Iterable[tuple[float, float]]:
    """The points before the first one that is not finite."""
    for step, value in zip(steps, values, strict=True):
        if not math.isfinite(value):
            return
        yield step, value
