"""The rows of a history, in tables of numbers on the device that they came from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, final

import numpy as np
import torch
from torch import Tensor

from pretrain_eval._steps.folds import Row
from pretrain_eval._steps.rows import Array

# Rows of a table that the next ones may still be added to.
_OPEN = 1 << 10


class _Table(NamedTuple):
    """Neighbouring rows of equal names, `values` of shape `(rows, len(names))`."""

    names: tuple[str, ...]
    steps: Tensor
    values: Tensor


@final
class Tables:
    """Rows in their order, those of equal names together."""

    def __init__(self) -> None:
        self._tables: list[_Table] = []

    def __len__(self) -> int:
        return sum(len(table.steps) for table in self._tables)

    def append(self, rows: Sequence[Row], values: Tensor) -> None:
        """Add those rows of one kind that are kept, with their values, at the end."""
        kept = [place for place, row in enumerate(rows) if row.is_kept]
        if not kept:
            return
        steps = torch.tensor([rows[place].step for place in kept])
        if len(kept) < len(rows):
            values = values[torch.tensor(kept, device=values.device)]
        table = _Table(rows[0].names, steps, values)
        last = self._tables[-1] if self._tables else None
        if last is not None and last.names == table.names and len(last.steps) < _OPEN:
            together = torch.cat([last.values.to(values), values])
            steps = torch.cat([last.steps, steps])
            self._tables[-1] = _Table(table.names, steps, together)
        else:
            self._tables.append(table)

    def thin(self) -> None:
        """Drop every second row."""
        first, thinned = 0, []
        for names, steps, values in self._tables:
            thinned.append(_Table(names, steps[first::2], values[first::2].clone()))
            first = (first - len(steps)) % 2
        self._tables = [table for table in thinned if len(table.steps)]

    def steps(self) -> list[int]:
        """Their numbers."""
        return [number for table in self._tables for number in table.steps.tolist()]

    def columns(self) -> dict[str, list[float]]:
        """A column a name, NaN where a row has none."""
        names = dict.fromkeys(name for table in self._tables for name in table.names)
        places = {name: place for place, name in enumerate(names)}
        whole = np.full((len(names), len(self)), np.nan)
        start = 0
        for table, values in zip(self._tables, self._fetched(), strict=True):
            rows = slice(start, start := start + len(values))
            whole[[places[name] for name in table.names], rows] = values.T
        return {name: whole[place].tolist() for name, place in places.items()}

    def _fetched(self) -> list[Array]:
        """Every table's values, brought to the host together."""
        if not self._tables:
            return []
        values = [table.values for table in self._tables]
        flat = torch.cat([each.to(values[-1]).reshape(-1) for each in values])
        parts = torch.split(flat.cpu().double(), [each.numel() for each in values])
        shaped = zip(parts, values, strict=True)
        return [part.view(each.shape).numpy() for part, each in shaped]

    def state(self) -> list[dict[str, Any]]:
        """All of them, in plain values and tensors on the CPU."""
        return [
            {
                "names": list(names),
                "steps": steps.clone(),
                "values": values.cpu().clone(),
            }
            for names, steps, values in self._tables
        ]

    @staticmethod
    def of(state: Sequence[dict[str, Any]]) -> Tables:
        """Those that `state` gave."""
        tables = Tables()
        tables._tables = [
            _Table(tuple(each["names"]), each["steps"].clone(), each["values"].clone())
            for each in state
        ]
        return tables
