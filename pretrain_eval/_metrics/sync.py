"""How what metrics hold reaches the host: one transfer, one sum over processes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from pretrain_eval._metrics.counter import Counter, Held, RowCounter


class Holder(Protocol):
    """Holds what a counter has counted.

    Attributes:
        key: Its name in an error.
        counter: What is counted.
        counts: What was counted, None before the first batch.
        agreed_size: The length that the processes met, once they told each other.
    """

    key: str
    counter: Counter
    counts: Held | None
    agreed_size: int | None


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The tensors on the host in float64, in one transfer a device."""
    fetched: list[np.ndarray] = [np.empty(0)] * len(tensors)
    for device in dict.fromkeys(tensor.device for tensor in tensors):
        places = [i for i, tensor in enumerate(tensors) if tensor.device == device]
        parts = _parts(
            _flat([tensors[i] for i in places]), [tensors[i] for i in places]
        )
        for i, part in zip(places, parts, strict=True):
            fetched[i] = part
    return fetched


def fetch_counts(
    holders: Sequence[Holder], others: Sequence[Tensor], *, sync: bool
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What each holder has counted, and the other tensors, in float64.

    Args:
        holders: Those that hold the same object get the same array.
        others: Tensors of this process.
        sync: Count over all processes of torch.distributed, where it was started.

    Raises:
        RuntimeError: A holder has seen no batch, in any process.
    """
    if sync and holders and num_processes() > 1:
        counts = _fetch_from_all(holders)
        fetched = fetch(others)
    else:
        held = {id(holder.counts): _own(holder) for holder in holders}
        parts = fetch([*held.values(), *others])
        by_identity = dict(zip(held, parts, strict=False))
        counts = [by_identity[id(holder.counts)] for holder in holders]
        fetched = parts[len(held) :]
    for holder, each in zip(holders, counts, strict=True):
        holder.counter.check(each)
    return counts, fetched


def num_processes() -> int:
    """How many processes compute together: 1 unless torch.distributed was started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def _own(holder: Holder) -> Tensor:
    if holder.counts is None:
        raise RuntimeError(f"{holder.key} has seen no batch since its last reset")
    return holder.counter.whole(holder.counts)


def _fetch_from_all(holders: Sequence[Holder]) -> list[np.ndarray]:
    """Sums over the processes, and rows of all processes: one all_reduce.

    Every process sends alike, whatever its metrics hold together. Rows travel in a
    sum too, each process' in a place of its own among zeros.
    """
    offsets = _agree(holders)
    tensors = []
    for holder in holders:
        if holder.agreed_size == 0:
            raise RuntimeError(f"{holder.key} has seen no batch since its last reset")
        if not isinstance(holder.counter, RowCounter):
            size = holder.counter.size or holder.agreed_size or 0
            tensors.append(torch.zeros(size) if holder.counts is None else _own(holder))
            continue
        width, starts = offsets[id(holder)]
        room = torch.zeros(starts[-1] // width, width, dtype=torch.float64)
        if holder.counts is not None:
            rank = dist.get_rank()
            flat = _own(holder).detach().reshape(-1)
            room.view(-1)[starts[rank] : starts[rank + 1]] = flat
        tensors.append(room)
    device = _collective_device()
    flat = _flat([tensor.to(device) for tensor in tensors])
    dist.all_reduce(flat)
    return _parts(flat, tensors)


def _agree(holders: Sequence[Holder]) -> dict[int, tuple[int, list[int]]]:
    """Tell each other the sizes that only batches tell, in one all_reduce.

    Sums of a declared or agreed size need none, and where all are so, none is done.

    Returns:
        For holders of rows their width and where each process's entries start.
    """
    rows = [h for h in holders if isinstance(h.counter, RowCounter)]
    sums = [h for h in holders if h not in rows]
    unknown = [h for h in sums if h.counter.size is None and not h.agreed_size]
    if not unknown and not rows:
        return {}
    numbers = []
    for holder in unknown:
        size = 0 if holder.counts is None else len(_own(holder))
        numbers += [size, -size or -(2**62)]
    for holder in rows:
        own = None if holder.counts is None else _own(holder)
        sizes = [0] * dist.get_world_size()
        sizes[dist.get_rank()] = 0 if own is None else own.numel()
        numbers += [0 if own is None else own.shape[1], *sizes]
    agreed = torch.tensor(numbers, dtype=torch.int64, device=_collective_device())
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    told = iter(agreed.tolist())
    for holder in unknown:
        most, least = next(told), -next(told)
        if most and most != least:
            raise ValueError(
                f"{holder.key}: processes met different numbers of classes,"
                f" {least} and {most} counters"
            )
        holder.agreed_size = most
    offsets = {}
    for holder in rows:
        width = next(told)
        sizes = [next(told) for _ in range(dist.get_world_size())]
        holder.agreed_size = sum(sizes)
        offsets[id(holder)] = width, [0, *np.cumsum(sizes).tolist()]
    return offsets


def _collective_device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])


def _parts(flat: Tensor, tensors: Sequence[Tensor]) -> list[np.ndarray]:
    ends = np.cumsum([tensor.numel() for tensor in tensors])
    parts = np.split(flat.cpu().numpy(), ends[:-1])
    return [
        part.reshape(tuple(tensor.shape))
        for part, tensor in zip(parts, tensors, strict=True)
    ]
