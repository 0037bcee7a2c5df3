"""How what metrics hold reaches the host: one transfer, one sum over processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from typing import NamedTuple, Protocol

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from pretrain_eval._metrics.counter import Counter, Held, OneRowCounter, RowCounter


class Holder(Protocol):
    """Holds what a counter has counted.

    Attributes:
        key: Its name in an error.
        counts: What was counted, None before the first batch.
        agreed_size: The length that the processes met, once they told each other.
    """

    key: str
    counts: Held | None
    agreed_size: int | None

    @property
    def counter(self) -> Counter:
        """What is counted."""


class Rows(NamedTuple):
    """How the rows of all processes lie one behind another.

    Attributes:
        width: Entries a row.
        starts: Where the entries of each process start, and where the last ones end.
    """

    width: int
    starts: list[int]


def fetch(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The tensors on the host in float64, in one transfer a device."""
    fetched: list[np.ndarray] = [np.empty(0)] * len(tensors)
    for device in dict.fromkeys(tensor.device for tensor in tensors):
        places = [i for i, tensor in enumerate(tensors) if tensor.device == device]
        here = [tensors[place] for place in places]
        parts = _parts(_flat(here), here)
        for place, part in zip(places, parts, strict=True):
            fetched[place] = part
    return fetched


def fetch_counts(
    holders: Sequence[Holder], others: Sequence[Tensor] = (), *, sync: bool
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
        # What several hold together is fetched once.
        held = {id(holder.counts): _own(holder) for holder in holders}
        parts = iter(fetch([*held.values(), *others]))
        fetched_held = {identity: next(parts) for identity in held}
        counts = [fetched_held[id(holder.counts)] for holder in holders]
        fetched = list(parts)
    for holder, counted in zip(holders, counts, strict=True):
        holder.counter.check(counted)
    return counts, fetched


def num_processes() -> int:
    """How many processes compute together: 1 unless torch.distributed was started."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_world_size()
    return 1


def _own(holder: Holder) -> Tensor:
    """What this process has counted."""
    if holder.counts is None:
        raise _no_batch(holder)
    return holder.counter.whole(holder.counts)


def _no_batch(holder: Holder) -> RuntimeError:
    return RuntimeError(f"{holder.key} has seen no batch since its last reset")


def _fetch_from_all(holders: Sequence[Holder]) -> list[np.ndarray]:
    """Sums over the processes, and rows of all processes: one all_reduce.

    Every process sends alike, whatever its metrics hold together. Rows travel in a
    sum too, each process' in a place of its own among zeros.
    """
    layouts = _agree(holders)
    tensors = []
    for holder in holders:
        if holder.agreed_size == 0:
            raise _no_batch(holder)
        if id(holder) in layouts:
            tensors.append(_rows_in_place(holder, layouts[id(holder)]))
        elif isinstance(holder.counter, OneRowCounter):
            tensors.append(_row_in_place(holder))
        else:
            tensors.append(_sums(holder))
    device = _collective_device()
    flat = _flat([tensor.to(device) for tensor in tensors])
    dist.all_reduce(flat)
    return _parts(flat, tensors)


def _sums(holder: Holder) -> Tensor:
    """This process' sums, zeros where it has seen no batch."""
    if holder.counts is not None:
        return _own(holder)
    return torch.zeros(holder.counter.size or holder.agreed_size or 0)


def _rows_in_place(holder: Holder, rows: Rows) -> Tensor:
    """This process' rows, and zeros in the places of all others'."""
    length = rows.starts[-1] // rows.width
    room = torch.zeros(length, rows.width, dtype=torch.float64)
    if holder.counts is not None:
        rank = dist.get_rank()
        own = slice(rows.starts[rank], rows.starts[rank + 1])
        room.view(-1)[own] = _own(holder).detach().reshape(-1)
    return room


def _row_in_place(holder: Holder) -> Tensor:
    """This process' row, and zeros in the places of all others'."""
    width = holder.agreed_size or 0
    room = torch.zeros(dist.get_world_size(), width, dtype=torch.float64)
    if holder.counts is not None:
        own = _own(holder)
        if own.numel() != width:
            raise ValueError(
                f"{holder.key} has other {holder.counter.entries} than the processes"
                f" have agreed on, {own.numel()} numbers for {width}; a new metric counts"
                " these"
            )
        room[dist.get_rank()] = own.detach()[0]
    return room


def _agree(holders: Sequence[Holder]) -> dict[int, Rows]:
    """Tell each other the sizes that only batches tell, in one all_reduce.

    Sums of a declared or agreed size need none, and where all are so, none is done.

    Returns:
        The layout of holders of rows, by identity.
    """
    of_rows, unknown = [], []
    for holder in holders:
        counter = holder.counter
        if isinstance(counter, RowCounter) and not isinstance(counter, OneRowCounter):
            of_rows.append(holder)
        elif counter.size is None and not holder.agreed_size:
            unknown.append(holder)
    if not unknown and not of_rows:
        return {}
    own = *map(_own_length, unknown), *map(_own_rows, of_rows)
    told = iter(_largest([*chain(*own)]))
    for holder in unknown:
        _learn_length(holder, told)
    return {id(holder): _learn_rows(holder, told) for holder in of_rows}


def _own_length(holder: Holder) -> list[int]:
    """The length and its negative, whose largest is the least length of all."""
    length = 0 if holder.counts is None else _own(holder).numel()
    return [length, -length or -(2**62)]


def _learn_length(holder: Holder, told: Iterator[int]) -> None:
    """Keep the length that all have agreed on, so that it is asked for once."""
    most, least = next(told), -next(told)
    if most and most != least:
        counter = holder.counter
        raise ValueError(
            f"{holder.key}: processes met different numbers of {counter.entries},"
            f" {least - counter.num_flags} and {most - counter.num_flags} counters"
        )
    holder.agreed_size = most


def _own_rows(holder: Holder) -> list[int]:
    """The width of rows, and how many entries each process has: zeros but for ours."""
    sizes = [0] * dist.get_world_size()
    if holder.counts is None:
        return [0, *sizes]
    own = _own(holder)
    sizes[dist.get_rank()] = own.numel()
    return [own.shape[1], *sizes]


def _learn_rows(holder: Holder, told: Iterator[int]) -> Rows:
    """Where the rows of each process go."""
    width = next(told)
    sizes = [next(told) for _ in range(dist.get_world_size())]
    holder.agreed_size = sum(sizes)
    return Rows(width, [0, *np.cumsum(sizes).tolist()])


def _largest(numbers: Sequence[int]) -> list[int]:
    """The largest of each number among the processes."""
    agreed = torch.tensor(numbers, dtype=torch.int64, device=_collective_device())
    dist.all_reduce(agreed, op=dist.ReduceOp.MAX)
    largest: list[int] = agreed.tolist()
    return largest


def _collective_device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])


def _parts(flat: Tensor, tensors: Sequence[Tensor]) -> list[np.ndarray]:
    """The flat tensor on the host, cut into arrays of the tensors' shapes."""
    whole = flat.cpu().numpy()
    parts, start = [], 0
    for tensor in tensors:
        end = start + tensor.numel()
        parts.append(whole[start:end].reshape(tuple(tensor.shape)))
        start = end
    return parts
