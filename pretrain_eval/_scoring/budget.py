"""What a user can afford, and how desirable a cost is within it."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from numbers import Real
from operator import attrgetter

import numpy as np

from pretrain_eval._runs import Cost, Record
from pretrain_eval._scoring.formulas.statistics import Array
from pretrain_eval._scoring.model_runs import column

COSTS = {
    "parameters": "num_parameters",
    "macs": "macs",
    "peak_memory": "peak_memory",
    "seconds": "seconds",
}


@dataclass(frozen=True)
class Budget(Record):
    """A target and a limit for each cost that matters: at the target it is as good as 0.

    d(x) = (ln B − ln x) / (ln B − ln L), held in [0, 1], for target L and limit B.

    Attributes:
        parameters: (target, limit) of the parameters of the whole model.
        macs: (target, limit) of the multiply-accumulates of one forward pass.
        peak_memory: (target, limit) in bytes.
        seconds: (target, limit) of one adaptation.

    Raises:
        ValueError: A target is not positive, or not below its limit.

    >>> round(Budget(parameters=(1e6, 1e8)).desirability("parameters", 1e7), 12)
    0.5
    """

    _: KW_ONLY
    parameters: tuple[float, float] | None = None
    macs: tuple[float, float] | None = None
    peak_memory: tuple[float, float] | None = None
    seconds: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            ends = getattr(self, field.name)
            if ends is None:
                continue
            ends = tuple(ends) if isinstance(ends, Sequence) else (ends,)
            known = all(isinstance(end, Real) for end in ends)
            if len(ends) != 2 or not known or not 0 < ends[0] < ends[1] < math.inf:
                raise ValueError(
                    f"Budget expects {field.name} as (target, limit) with 0 < target"
                    f" < limit, got {getattr(self, field.name)!r}"
                )
            object.__setattr__(self, field.name, ends)

    @property
    def stated(self) -> tuple[str, ...]:
        """The costs that have a target and a limit."""
        return tuple(name for name in COSTS if getattr(self, name) is not None)

    def desirability(self, cost: str, amount: float) -> float:
        """How good an amount is: 1 up to the target, 0 from the limit on."""
        return float(self._desirabilities(cost, np.array(amount)))

    def geometric_mean(
        self, name: str, amounts: Mapping[str, Array]
    ) -> dict[str, Array]:
        """The desirabilities of several costs as one part; empty where there is none.

        Args:
            name: Of the part.
            amounts: The amounts of stated costs, of any one shape.
        """
        if not amounts:
            return {}
        each = [self._desirabilities(cost, amount) for cost, amount in amounts.items()]
        # A cost that no seed changes is one number beside the draws of another.
        values = np.broadcast_arrays(*each)
        return {name: np.prod(values, axis=0) ** (1 / len(each))}

    def _desirabilities(self, cost: str, amounts: Array) -> Array:
        ends = getattr(self, cost)
        if ends is None:
            raise ValueError(f"the budget states no {cost}; it states {self.stated}")
        target, limit = ends
        # Draws of a mean that few seeds tell may fall below 0.
        with np.errstate(divide="ignore"):
            logs = np.log(np.maximum(amounts, 0.0))
        share = (math.log(limit) - logs) / math.log(limit / target)
        result: Array = np.clip(share, 0.0, 1.0)
        return result


def measured_costs(costs: Sequence[Cost], names: Iterable[str]) -> dict[str, Array]:
    """Some of the costs of many runs, by the budget's names; NaN where unmeasured."""
    return {name: column(map(attrgetter(COSTS[name]), costs)) for name in names}
