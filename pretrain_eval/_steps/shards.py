"""Tensors that lie in pieces on several processes, and sums over all pieces."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

Optional = TypeVar("Optional", Tensor, Tensor | None)


def local(tensor: Optional) -> Optional:
    """This process's shard of a DTensor, any other tensor as it is."""
    if tensor is None or not is_sharded(tensor):
        return tensor
    from torch.distributed.tensor import Replicate

    sharded: Any = tensor
    if any(placement.is_partial() for placement in sharded.placements):
        # A sum that is not summed yet has no norm.
        sharded = sharded.redistribute(
            placements=[
                Replicate() if placement.is_partial() else placement
                for placement in sharded.placements
            ]
        )
    return sharded.to_local()  # type: ignore[no-any-return]


def all_reduce(tensors: Sequence[Tensor], sums: Tensor) -> Tensor:
    """Each tensor's sum over all of its shards, from the sums of the local ones.

    Args:
        tensors: DTensors or plain ones; every process gives the same in the same order.
        sums: Of the local shards, shape `(len(tensors),)`.
    """
    rest = [index for index, tensor in enumerate(tensors) if is_sharded(tensor)]
    while rest:
        # One round where every mesh spans the processes of the largest, as it mostly
        # does; disjoint groups of processes need one each.
        largest = max((_mesh(tensors[index]) for index in rest), key=lambda m: m.size())
        ranks = _ranks(largest)
        members = [index for index in rest if _ranks(_mesh(tensors[index])) <= ranks]
        shares = torch.zeros(len(tensors), dtype=sums.dtype)
        for index in members:
            # Every shard lies on so many processes; they count together as one.
            shares[index] = _num_shards(tensors[index]) / len(ranks)
        shares = shares.to(sums.device, non_blocking=True)
        total = sums * shares
        for group in _groups(largest):
            torch.distributed.all_reduce(total, group=group)
        sums = total.where(shares > 0, sums)
        rest = [index for index in rest if index not in members]
    return sums


def is_sharded(tensor: Tensor) -> bool:
    """Whether it is a DTensor."""
    # Where the module was not imported nobody has made a DTensor.
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def _mesh(tensor: Any) -> Any:
    return tensor.device_mesh


def _ranks(mesh: Any) -> frozenset[int]:
    return frozenset(mesh.mesh.flatten().tolist())


def _num_shards(tensor: Any) -> int:
    placements = enumerate(tensor.placements)
    return math.prod(
        tensor.device_mesh.size(dim) for dim, each in placements if each.is_shard()
    )


def _groups(mesh: Any) -> list[Any]:
    """The groups that together reduce over all processes of the mesh."""
    if mesh.size() == torch.distributed.get_world_size():
        return [None]
    return list(mesh.get_all_groups())
