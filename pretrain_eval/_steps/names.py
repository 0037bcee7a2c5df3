"""What parameters are called, and how a norm is split among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

Per = Literal["parameter", "module", "group"] | Callable[[str], str]


@final
class Partition:
    """The total of several parameters, and its parts by name.

    Attributes:
        names: The total's, which is empty, and those of the parts.
    """

    def __init__(self, labels: Sequence[str]) -> None:
        parts = list(dict.fromkeys(labels))
        self.names: tuple[str, ...] = ("", *parts)
        places = {part: place for place, part in enumerate(parts, start=1)}
        self._places = torch.tensor([places[label] for label in labels])

    def members(self, number: int) -> list[list[int]]:
        """Places of the parameters, of which there are so many, in total and by part."""
        own = self._places.tolist()
        parts = range(1, len(self.names))
        by_part = [[at for at, of in enumerate(own) if of == part] for part in parts]
        return [list(range(number)), *by_part]

    def sums(self, squares: Tensor) -> Tensor:
        """Sums over all parameters and over each part, shape `(..., len(names))`.

        Args:
            squares: Or what else is to be summed, shape `(..., len(parameters))`.
        """
        total = squares.sum(-1, keepdim=True)
        if len(self.names) == 1:
            return total
        self._places = self._places.to(squares.device)
        parts = squares.new_zeros(*squares.shape[:-1], len(self.names))
        parts.index_add_(-1, self._places, squares)
        return torch.cat([total, parts[..., 1:]], dim=-1)


@final
class Names:
    """Names of an optimizer's parameters.

    Args:
        optimizers: Those made with named parameters know their names.
        model: Gives the names; a parameter that it has twice gets the first one.
    """

    def __init__(
        self, optimizers: Sequence[Optimizer], model: nn.Module | None = None
    ) -> None:
        self._optimizers = optimizers
        self._model = model
        self._splits: dict[object, Partition] = {}

    def split(self, parameters: Sequence[Tensor], per: Per | None) -> Partition:
        """How to split sums over `parameters`; remembered from step to step."""
        if per is None:
            return TOTAL
        key = per, tuple(map(id, parameters))
        if key not in self._splits:
            self._splits[key] = Partition(self._labels(parameters, per))
        return self._splits[key]

    def forget(self) -> None:
        """The parameters are no longer the same."""
        self._splits.clear()

    def _labels(self, parameters: Sequence[Tensor], per: Per) -> list[str]:
        if per == "group":
            groups = self._groups()
            return [groups[id(parameter)] for parameter in parameters]
        return [_label(per, name) for name in self.of(parameters)]

    def _groups(self) -> dict[int, str]:
        """The first group of each parameter: its name, or its number among all."""
        known: dict[int, str] = {}
        groups = [group for each in self._optimizers for group in each.param_groups]
        for number, group in enumerate(groups):
            for parameter in group["params"]:
                known.setdefault(id(parameter), group.get("name") or f"group {number}")
        return known

    def of(self, parameters: Sequence[Tensor]) -> list[str]:
        """The name of each parameter."""
        known = self._known()
        unknown = [tuple(p.shape) for p in parameters if id(p) not in known]
        if unknown and self._model is None:
            raise ValueError(
                "per= needs names, which attach(optimizer, model) or an optimizer made"
                " with model.named_parameters() gives"
            )
        if unknown:
            raise ValueError(
                f"the optimizer holds parameters that the model lacks, of shapes"
                f" {unknown}"
            )
        return [known[id(parameter)] for parameter in parameters]

    def _known(self) -> dict[int, str]:
        known: dict[int, str] = {}
        if self._model is not None:
            for name, parameter in self._model.named_parameters():
                # Wrappers of torch.compile and DistributedDataParallel.
                short = name.replace("_orig_mod.", "").removeprefix("module.")
                known.setdefault(id(parameter), short)
        for optimizer in self._optimizers:
            for group in optimizer.param_groups:
                for named, name in _named(group):
                    known.setdefault(id(named), name)
        return known


TOTAL = Partition(())


def _named(group: dict[str, Any]) -> list[tuple[Tensor, str]]:
    names = group.get("param_names", ())
    return list(zip(group["params"], names, strict=False))


def _label(per: Per, name: str) -> str:
    if callable(per):
        return per(name)
    return name if per == "parameter" else name.rpartition(".")[0] or "(root)"


def checked_per(per: Per | None) -> Per | None:
    """What parts are asked for, or an error that lists what can be."""
    if per is None or per in ("parameter", "module", "group") or callable(per):
        return per
    raise ValueError(
        'per must be None, "parameter", "module", "group" or a function that labels'
        f" names of parameters, got {per!r}"
    )
