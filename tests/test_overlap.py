"""Splits that share samples are noticed, and honest ones are not suspected."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import points
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

import pretrain_eval as pe

SHARED = "share samples"


class Files(Dataset[Any]):
    """An image folder of torchvision's form: `samples` of path and class."""

    def __init__(self, names: list[str], transform: Callable[[Any], Any]) -> None:
        self.samples = [(name, i % 2) for i, name in enumerate(names)]
        self.transform = transform

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        name, target = self.samples[index]
        return self.transform(torch.full((3,), float(len(name)))), target


class Wrapped(Dataset[Any]):
    """A view with a transform, as written by hand."""

    def __init__(self, dataset: Any, indices: Any = None) -> None:
        self.dataset = dataset
        if indices is not None:
            self.indices = indices

    def __len__(self) -> int:
        return len(getattr(self, "indices", self.dataset))

    def __getitem__(self, index: int) -> Any:
        place = getattr(self, "indices", range(len(self.dataset)))[index]
        inputs, target = self.dataset[place]
        return inputs + torch.randn(4), target


class Table:
    """A table of datasets' form, in memory: rows by index, columns by name."""

    def __init__(self, **columns: list[Any]) -> None:
        self._columns = columns
        self.column_names = list(columns)

    def __len__(self) -> int:
        return len(self._columns[self.column_names[0]])

    def __getitem__(self, place: int | str) -> Any:
        if isinstance(place, str):
            return self._columns[place]
        return {name: column[place] for name, column in self._columns.items()}


NAMES = [f"photos/{i}.png" for i in range(40)]
WHOLE = points(80, 1)


def plain(inputs: Tensor) -> Tensor:
    return inputs


def doubled(inputs: Tensor) -> Tensor:
    return inputs * 2


def rows(dataset: TensorDataset, places: Any) -> TensorDataset:
    """Copies of some samples."""
    chosen = torch.as_tensor(list(places))
    return TensorDataset(*(tensor[chosen].clone() for tensor in dataset.tensors))


def half_copied(size: int) -> TensorDataset:
    """So many samples, the second half of which are new."""
    fresh = points(size, 9).tensors
    known = rows(WHOLE, range(size // 2)).tensors
    pairs = zip(known, fresh, strict=True)
    return TensorDataset(*(torch.cat([a, b[: size - size // 2]]) for a, b in pairs))


def with_one_known(dataset: TensorDataset) -> TensorDataset:
    """The samples, with one of `WHOLE` among them."""
    for tensor, known in zip(dataset.tensors, WHOLE.tensors, strict=True):
        tensor[5] = known[7]
    return dataset


def text_table(numbers: range) -> Table:
    return Table(text=[f"row {i}" for i in numbers], label=[i % 2 for i in numbers])


def frame(places: range) -> Any:
    pandas = pytest.importorskip("pandas", reason="pip install pandas")
    inputs, targets = WHOLE.tensors
    columns = {"x": inputs[:, 0].numpy(), "label": targets.numpy()}
    return pandas.DataFrame(columns).iloc[list(places)]


def as_list(dataset: TensorDataset) -> list[Any]:
    return [(inputs.numpy(), int(target)) for inputs, target in dataset]


LEAKS: dict[str, Callable[[], tuple[Any, Any]]] = {
    "one folder, two transforms": lambda: (Files(NAMES, plain), Files(NAMES, doubled)),
    "parts of one folder, of another order": lambda: (
        Subset(Files(NAMES, plain), range(30)),
        Subset(Files(NAMES, doubled), [35, 39, 29]),
    ),
    "one folder by two paths": lambda: (
        Files(NAMES, plain),
        Files([str(Path.cwd() / name) for name in NAMES[::-1]][::2], doubled),
    ),
    "a view": lambda: (WHOLE, Wrapped(WHOLE)),
    "views of views": lambda: (Wrapped(Wrapped(WHOLE)), Wrapped(WHOLE)),
    "views of parts": lambda: (
        Wrapped(WHOLE, range(60)),
        Wrapped(Wrapped(WHOLE), np.arange(59, 80)),
    ),
    "a view of a part": lambda: (
        Wrapped(Subset(WHOLE, range(60))),
        Subset(Wrapped(WHOLE), range(50, 80)),
    ),
    "a loader of a view": lambda: (DataLoader(Wrapped(WHOLE), 8), WHOLE),
    "reversed": lambda: (WHOLE, rows(WHOLE, range(79, -1, -1))),
    "half copied": lambda: (WHOLE, half_copied(40)),
    "half copied, a part of a set": lambda: (WHOLE, Subset(half_copied(60), range(40))),
    "a list": lambda: (as_list(WHOLE), as_list(half_copied(40))),
    "a list, reversed": lambda: (as_list(WHOLE), as_list(WHOLE)[::-1]),
    "a table": lambda: (text_table(range(80)), text_table(range(40, 120))),
    "a frame": lambda: (frame(range(60)), frame(range(40, 80))),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_shared_samples_are_noticed(leak: str) -> None:
    """The error says so, and how to allow it."""
    train, valid = LEAKS[leak]()
    with pytest.raises(ValueError, match=SHARED + ".*allow_overlap=True"):
        pe.Splits(train, valid)
    assert pe.Splits(train, valid, allow_overlap=True)


HONEST: dict[str, Callable[[], tuple[Any, Any]]] = {
    "two folders": lambda: (
        Files(NAMES, plain),
        Files([name.replace("photos", "others") for name in NAMES], plain),
    ),
    "parts of one folder": lambda: (
        Subset(Files(NAMES, plain), range(30)),
        Subset(Files(NAMES, doubled), range(30, 40)),
    ),
    "views of parts": lambda: (
        Wrapped(WHOLE, range(60)),
        Wrapped(WHOLE, np.arange(60, 80)),
    ),
    "tensors": lambda: (WHOLE, points(80, 2)),
    "copies of parts": lambda: (rows(WHOLE, range(60)), rows(WHOLE, range(60, 80))),
    "a row by accident": lambda: (WHOLE, with_one_known(points(80, 2))),
    "lists": lambda: (as_list(WHOLE), as_list(points(80, 2))),
    "tables": lambda: (text_table(range(80)), text_table(range(80, 160))),
    "frames": lambda: (frame(range(60)), frame(range(60, 80))),
    "users, each with one item to learn and one to rank": lambda: (
        TensorDataset(torch.arange(50), torch.arange(50)),
        TensorDataset(torch.arange(50), torch.arange(50) + 50),
    ),
}


@pytest.mark.parametrize("pair", HONEST)
def test_disjoint_samples_are_accepted(pair: str) -> None:
    """No error without a shared sample."""
    train, valid = HONEST[pair]()
    assert pe.Splits(train, valid)


@pytest.mark.parametrize("num_values", [2, 4, 8, 30, 100, 1000])
@pytest.mark.parametrize("sizes", [(40, 10), (100, 100), (1000, 300)])
def test_tables_of_few_values_are_not_suspected(
    num_values: int, sizes: tuple[int, int]
) -> None:
    """Rows drawn from one source repeat between splits as they do within one."""
    rng = np.random.default_rng(0)
    suspected = 0
    for _ in range(50):
        drawn = [
            torch.from_numpy(rng.integers(0, num_values, (size, 1))) for size in sizes
        ]
        train, valid = (TensorDataset(x, x[:, 0] % 2) for x in drawn)
        try:
            pe.Splits(train, valid)
        except ValueError:
            suspected += 1
    assert suspected == 0


def test_a_row_that_returns_often_counts_once() -> None:
    """Blank samples in the measured split are one content, whatever their number."""
    inputs, targets = points(100, 3).tensors
    inputs[:40] = 0.0
    targets[:40] = 0
    train = [tensor.clone() for tensor in WHOLE.tensors]
    train[0][0], train[1][0] = 0.0, 0
    assert pe.Splits(TensorDataset(*train), TensorDataset(inputs, targets))


def test_large_splits_are_not_digested() -> None:
    """The cost is bounded: above 100,000 samples only equal places are compared."""
    numbers = torch.arange(100_001.0)[:, None]
    targets = (torch.arange(100_001) % 2).long()
    train = TensorDataset(numbers, targets)
    valid = TensorDataset(numbers.flip(0), targets)
    assert pe.Splits(train, Subset(valid, range(100)))
    with pytest.raises(ValueError, match=SHARED):
        pe.Splits(train, TensorDataset(numbers.clone(), targets))
