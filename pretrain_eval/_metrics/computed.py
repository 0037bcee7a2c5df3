"""What a collection has computed of batches, and at which step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

from pretrain_eval._metrics.metric import Value
from pretrain_eval._steps import CAPACITY, Columns


@final
class Computed:
    """A row of numbers for each step at which they were computed, in order."""

    def __init__(self) -> None:
        self._rows: dict[int, dict[str, float]] = {}

    def note(self, values: Mapping[str, Value], step: int | None) -> None:
        """Keep the numbers among the values; the newest ones of a step.

        Args:
            values: By key; what is no single number is left out.
            step: That was measured last, 0 before the first one, of which nothing is
                kept; None counts the computations.
        """
        row = {k: float(v) for k, v in values.items() if isinstance(v, int | float)}
        if not row or step == 0:
            return
        number = max(self._rows, default=0) + 1 if step is None else step
        self._rows[number] = self._rows.get(number, {}) | row
        if len(self._rows) > CAPACITY:
            kept = sorted(self._rows)[::2]
            self._rows = {number: self._rows[number] for number in kept}

    def columns(self) -> Columns:
        """A column a key, NaN where a row has none, and `step` last."""
        steps = tuple(sorted(self._rows))
        names = dict.fromkeys(name for step in steps for name in self._rows[step])
        columns: Columns = {
            name: tuple(self._rows[step].get(name, float("nan")) for step in steps)
            for name in names
        }
        return columns | {"step": steps}

    def state_dict(self) -> dict[str, Any]:
        """All rows, in plain values."""
        return {str(step): dict(row) for step, row in self._rows.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._rows = {int(step): dict(row) for step, row in state.items()}
