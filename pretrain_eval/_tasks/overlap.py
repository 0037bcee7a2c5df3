"""Whether two splits share samples, which would make scores optimistic."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence, Sized
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from pretrain_eval._metrics import preserved_rng, seed_all
from pretrain_eval._tasks.reading import inputs_of
from pretrain_eval._tasks.samples import equal, located, picked
from pretrain_eval._tasks.views import Rows, View

# Samples and bytes of a split that are digested at most, which takes seconds.
_MOST_SAMPLES, _MOST_BYTES = 100_000, 2**28

# The share of a measured split that may be equal to training samples by accident.
_ACCIDENTAL = 0.05


def same_samples(
    first: Dataset[Any] | DataLoader[Any], second: Dataset[Any] | DataLoader[Any]
) -> bool:
    """Whether the second shares samples with the first, as far as can be told.

    Told by the indices into one dataset, also through views of it; by the paths of two
    datasets that list them; by the content of tensors and tables in memory; otherwise
    by a few samples at equal places.
    """
    (data, ours), (other, theirs) = _innermost(first), _innermost(second)
    if ours is None or theirs is None:
        return first is second
    if data is other:
        return not set(ours).isdisjoint(theirs)
    files, others = _paths(data, ours), _paths(other, theirs)
    if files is not None and others is not None:
        return not set(files).isdisjoint(others)
    rows, measured = _digests(data, ours), _digests(other, theirs)
    if rows is not None and measured is not None:
        return _shared(rows, measured)
    if len(ours) != len(theirs):
        return False
    # Copies of one dataset: probe a few samples, drawn with the same randomness.
    probes = sorted({0, len(ours) // 3, len(ours) // 2, len(ours) - 1})
    return all(equal(_sample(data, ours[i]), _sample(other, theirs[i])) for i in probes)


def _innermost(split: Any) -> tuple[Any, list[int] | None]:
    """The dataset that views of it read, and at which places; None where unknown."""
    dataset, indices = located(split)
    seen: set[int] = set()
    while indices is not None and id(dataset) not in seen:
        seen.add(id(dataset))
        inner = getattr(dataset, "dataset", None)
        places = _places(dataset, inner)
        if places is None:
            break
        dataset, below = located(inner)
        if below is None:
            return dataset, None
        indices = [below[places[i]] for i in indices]
    return dataset, indices


def _places(view: Any, inner: Any) -> Sequence[int] | None:
    """Where a view reads each of its samples; None where it is no plain view."""
    if isinstance(inner, DataLoader) or not isinstance(inner, Sized):
        return None
    chosen = getattr(view, "indices", None)
    if chosen is not None:
        places = np.asarray(chosen)
        if places.shape != (len(view),) or places.dtype.kind not in "iu":
            return None
        if ((places < 0) | (places >= len(inner))).any():
            return None
        return [int(place) for place in places]
    return range(len(view)) if len(view) == len(inner) else None


def _paths(dataset: Any, indices: Sequence[int]) -> list[tuple[Any, ...]] | None:
    """The files that the samples are, with what else is said of each."""
    listed = getattr(dataset, "samples", getattr(dataset, "imgs", None))
    if not isinstance(listed, list | tuple) or len(listed) != len(dataset):
        return None
    chosen = (listed[i] for i in indices)
    rows = [one if isinstance(one, tuple) else (one,) for one in chosen]
    if not all(row and isinstance(row[0], str | os.PathLike) for row in rows):
        return None
    # Not resolved, which would ask the file system for each.
    return [(os.path.abspath(row[0]), repr(row[1:])) for row in rows]  # noqa: PTH100


def _digests(dataset: Any, indices: Sequence[int]) -> list[bytes] | None:
    """What each sample holds, in short, where samples lie in memory and are few."""
    if len(indices) > _MOST_SAMPLES:
        return None
    columns = _columns(dataset)
    if not columns or any(len(column) != len(dataset) for column in columns):
        return None
    if sum(map(_size, columns)) * len(indices) > _MOST_BYTES:
        return None
    rows = torch.as_tensor(indices, dtype=torch.long)
    contents = [_contents(column, rows) for column in columns]
    found = []
    for parts in zip(*contents, strict=True):
        if any(part is None for part in parts):
            return None
        digest = hashlib.blake2b(digest_size=8)
        for part in parts:
            digest.update(part or b"")
            digest.update(b"|")
        found.append(digest.digest())
    return found


def _columns(dataset: Any) -> list[Any] | None:
    """What lies in memory of every sample: tensors, columns of a table, or a list."""
    if isinstance(dataset, TensorDataset):
        return list(dataset.tensors)
    table = dataset.frame if isinstance(dataset, Rows) else dataset
    if isinstance(table, list | tuple):
        return [table]
    names = getattr(table, "column_names", getattr(table, "columns", None))
    if names is None or isinstance(table, View) or not len(table):
        return None
    first = dataset[0]  # an image in a table would have to be decoded
    if not isinstance(first, Mapping) or _content(list(first.values())) is None:
        return None
    return [list(table[name]) for name in names]


def _size(column: Any) -> int:
    """Bytes of one sample's part."""
    if isinstance(column, Tensor):
        return column[0].nbytes
    return len(_content(column[0]) or b"")


def _contents(column: Any, rows: Tensor) -> Iterable[bytes | None]:
    """The content of each row of one column."""
    if isinstance(column, Tensor):
        kept = picked(column.detach(), rows).cpu().contiguous()
        flat = kept.reshape(len(rows), kept[0].numel()).view(torch.uint8).numpy()
        return [row.tobytes() for row in flat]
    return [_content(column[row]) for row in rows.tolist()]


def _content(value: Any) -> bytes | None:
    """Plain values, arrays and tensors as bytes; None where it is anything else."""
    if isinstance(value, Tensor):
        value = value.detach().cpu()
        value = value.float() if value.dtype == torch.bfloat16 else value
        value = value.contiguous().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return None if value.dtype == object else bytes(value.tobytes())
    if isinstance(value, str | bytes | int | float | None):
        return repr(value).encode(errors="backslashreplace")
    if isinstance(value, Mapping):
        value = sorted(value.items(), key=lambda item: str(item[0]))
    if isinstance(value, list | tuple):
        parts = [_content(part) for part in value]
        whole = [part for part in parts if part is not None]
        return b"(" + b",".join(whole) + b")" if len(whole) == len(parts) else None
    return None


def _shared(train: Sequence[bytes], measured: Sequence[bytes]) -> bool:
    """Whether more samples are equal than honest draws of one source would be.

    Of rows with few values, such as a table of answers, some are equal by accident. How
    many, the training split tells itself: an honest sample is found among the others as
    often as one of theirs is. Beyond that share, three standard errors and 5 % count.
    """
    if train == measured:
        return True
    counts, known = Counter(train), set(train)
    found = sum(one in known for one in measured) / len(measured)
    kinds = set(measured)  # a row that returns often, such as a blank one, counts once
    if len(kinds & known) <= _ACCIDENTAL * len(kinds):
        return False
    repeats = sum(count for count in counts.values() if count > 1)
    expected = (repeats + 1) / (len(train) + 2)
    error = math.sqrt(expected * (1 - expected) * (1 / len(train) + 1 / len(measured)))
    return found > expected + 3 * error + _ACCIDENTAL


def _sample(dataset: Any, index: int) -> Any:
    with preserved_rng():
        seed_all(0)
        return inputs_of(dataset[index])
