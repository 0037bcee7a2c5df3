"""Tasks, splits and strategies are checked at the door."""

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
)

import pretrain_eval as pe

SGD = partial(torch.optim.SGD, lr=0.1)


def dataset(labels: list[int], seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed + 1000 * len(labels))
    return TensorDataset(
        torch.randn(len(labels), 2, generator=generator), torch.tensor(labels)
    )


def task(train: list[int], valid: list[int], num_classes: int = 3) -> pe.Task:
    splits = pe.Splits(dataset(train), dataset(valid, seed=7))
    return pe.Task("t", datasets={"d": splits}, num_classes=num_classes)


class Stream(IterableDataset[Any]):
    """Samples without a length."""

    def __iter__(self) -> Iterator[Any]:
        return iter(())


class Listed(Dataset[Any]):
    """Counts how often a sample is read; lists its targets."""

    def __init__(self, targets: list[int], listed: list[int] | None = None) -> None:
        self.real, self.targets, self.reads = targets, listed or targets, 0

    def __len__(self) -> int:
        return len(self.real)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        self.reads += 1
        return torch.full((2,), float(index)), self.real[index]


BAD_TASKS: list[tuple[Callable[[], object], str]] = [
    (lambda: pe.Splits(dataset([]), dataset([0])), "Splits.train is empty"),
    (lambda: pe.Splits(dataset([0]), dataset([])), "Splits.valid is empty"),
    (lambda: pe.Splits(Stream(), dataset([0])), "must know its length"),
    (lambda: pe.Splits("ab", dataset([0])), "must hold samples by index"),  # type: ignore[arg-type]
    (lambda: task([0, 1, 3], [0, 1]), "holds the label 3; num_classes=3 allows 0..2"),
    (lambda: task([0, 1, -1], [0, 1]), "holds the label -1"),
    (lambda: task([0, 1, 2], [0, 3]), "t/d: valid holds the label 3"),
    (lambda: task([1, 1, 1], [0, 1]), "training split holds a single class"),
    (lambda: task([0, 1], [0, 1], num_classes=1), "num_classes must be an int"),
    (lambda: pe.Task("t", datasets={}, num_classes=2), "expects datasets="),
    (lambda: pe.Task(" ", datasets={}, num_classes=2), "expects a name"),
    (lambda: pe.Task("t", datasets={"d": dataset([0])}, num_classes=2), "Splits for"),  # type: ignore[dict-item]
    (lambda: pe.Task("t", datasets=task([0, 1], [0]).datasets), "num_outputs for"),
]


@pytest.mark.parametrize(("make", "message"), BAD_TASKS)
def test_bad_data_is_refused_with_its_name(
    make: Callable[[], object], message: str
) -> None:
    """What does not fit is named before anything trains."""
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_the_neighbours_are_accepted() -> None:
    """The nearest valid data pass."""
    assert task([0, 1, 2], [0, 1]).kind.num_outputs == 3
    assert task([1, 1, 2], [0]).kind == pe.Classification(3)


def test_chance_is_that_of_the_majority_class_of_the_reported_split() -> None:
    """Three of four samples are of one class: worked by hand."""
    chance = task([0, 1, 2], [1, 1, 1, 0]).chance["d"]
    assert chance == pytest.approx(
        {
            "accuracy": 0.75,
            "precision": 0.25,
            "recall": 1 / 3,
            "f1": 2 * 0.75 / 1.75 / 3,
        }
    )


def test_the_test_split_is_reported_where_there_is_one() -> None:
    """Chance is read from `test`, not from `valid`."""
    splits = pe.Splits(dataset([0, 1]), dataset([0, 1], 1), dataset([1, 1, 1, 0], 2))
    made = pe.Task("t", datasets={"d": splits}, num_classes=2)
    assert made.chance["d"]["accuracy"] == 0.75


@pytest.mark.parametrize(
    "overlapping",
    [
        lambda whole: pe.Splits(whole, whole),
        lambda whole: pe.Splits(Subset(whole, [0, 1, 2]), Subset(whole, [2, 3])),
        lambda whole: pe.Splits(Subset(whole, [0, 1]), whole),
        lambda whole: pe.Splits(DataLoader(whole, 2), DataLoader(whole, 4)),
        lambda whole: pe.Splits(
            TensorDataset(*whole.tensors),
            TensorDataset(*(t.clone() for t in whole.tensors)),
        ),
        lambda whole: pe.Splits(
            dataset([0, 1], 3), Subset(whole, [0]), dataset([0, 1], 3)
        ),
    ],
)
def test_training_samples_must_not_be_reported(
    overlapping: Callable[[TensorDataset], pe.Splits],
) -> None:
    """The same samples in train and a measured part are refused."""
    with pytest.raises(ValueError, match="share samples"):
        overlapping(dataset([0, 1, 0, 1]))


def test_disjoint_subsets_of_one_dataset_pass() -> None:
    """Subsets and samplers that share no index are two parts."""
    whole = dataset([0, 1, 0, 1])
    held = Subset(whole, [2, 3])
    assert pe.Splits(Subset(whole, [0, 1]), held).reported is held
    loader = DataLoader(whole, sampler=SubsetRandomSampler([2, 3]))
    train = DataLoader(whole, sampler=SubsetRandomSampler([0, 1]))
    assert pe.Splits(train, loader).reported is loader


def test_overlap_can_be_wanted() -> None:
    """The caller may say so."""
    whole = dataset([0, 1])
    assert pe.Splits(whole, whole, allow_overlap=True).reported is whole


def test_listed_targets_spare_reading_the_samples() -> None:
    """A dataset's own list is used, after a look at both ends."""
    train, valid = Listed([0, 1] * 50), Listed([1, 0] * 40)
    pe.Task("t", datasets={"d": pe.Splits(train, valid)}, num_classes=2)
    assert train.reads < 20


def test_a_list_that_disagrees_with_the_samples_is_not_believed() -> None:
    """Targets are those that the samples carry."""
    train, valid = Listed([0, 1, 5], listed=[0, 1, 1]), Listed([0, 1])
    with pytest.raises(ValueError, match="holds the label 5"):
        pe.Task("t", datasets={"d": pe.Splits(train, valid)}, num_classes=2)


def test_targets_of_joined_and_loaded_datasets_are_found() -> None:
    """ConcatDataset and DataLoader are looked through."""
    joined = ConcatDataset([dataset([0, 1]), dataset([2, 2], 1)])
    splits = pe.Splits(joined, DataLoader(dataset([2, 2, 1], 5), batch_size=2))
    made = pe.Task("t", datasets={"d": splits}, num_classes=3)
    assert made.chance["d"]["accuracy"] == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 0}, "epochs must be an int of at least 1, got 0"),
        ({"batch_size": 0}, "batch_size must be an int of at least 1"),
        ({"trainable": "body"}, "trainable must be 'all', 'head'"),
        ({"max_grad_norm": -1.0}, "max_grad_norm must be positive"),
        ({"schedule": 3}, "schedule must be callable"),
        (
            {"amp": "float32"},
            "amp must be 'bfloat16', 'float16' or None, got 'float32'",
        ),
        ({"amp": torch.bfloat16}, "amp must be 'bfloat16', 'float16' or None"),
        ({"compile": "inductor"}, "compile must be True or False, got 'inductor'"),
        ({"channels_last": 1}, "channels_last must be True or False, got 1"),
        ({"name": ""}, "expects a name"),
        (
            {"optimizer": torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1)},
            "must make a new optimizer",
        ),
    ],
)
def test_a_bad_strategy_is_refused(changes: dict[str, Any], message: str) -> None:
    """Every argument says what it expects; the strategy without the change is valid."""
    valid: dict[str, Any] = {"name": "full", "optimizer": SGD, "epochs": 1}
    pe.Strategy(**valid)
    pe.Strategy(**valid, amp="float16", compile=True, channels_last=True)
    with pytest.raises((ValueError, TypeError), match=message):
        pe.Strategy(**valid | changes)


def test_a_configuration_is_plain_and_tells_functions_apart() -> None:
    """Equal code gives equal text; another number gives another text."""

    def body(name: str) -> Callable[..., bool]:
        return lambda parameter_name, _: parameter_name.startswith(name)

    def configured(name: str, lr: float) -> dict[str, Any]:
        optimizer = partial(torch.optim.SGD, lr=lr)
        strategy = pe.Strategy("s", optimizer=optimizer, epochs=1, trainable=body(name))
        return dict(strategy.configuration)

    assert configured("a", 0.1) == configured("a", 0.1)
    assert configured("a", 0.1) != configured("b", 0.1)
    assert configured("a", 0.1) != configured("a", 0.2)
    assert all(
        isinstance(value, str | int | float | None)
        for value in configured("a", 0.1).values()
    )


def test_a_switch_that_is_off_is_not_told() -> None:
    """Keys of runs without it stay as they were before it existed."""
    plain = pe.Strategy("s", optimizer=SGD, epochs=1)
    off = pe.Strategy(
        "s", optimizer=SGD, epochs=1, amp=None, compile=False, channels_last=False
    )
    assert off.configuration == plain.configuration
    assert set(plain.configuration) == {
        *("optimizer", "epochs", "batch_size", "trainable", "schedule", "loss"),
        "max_grad_norm",
    }
    on = pe.Strategy(
        "s", optimizer=SGD, epochs=1, amp="bfloat16", compile=True, channels_last=True
    )
    assert on.configuration == {
        **plain.configuration,
        "amp": "bfloat16",
        "compile": True,
        "channels_last": True,
    }


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.complex64])
def test_a_tensor_in_a_configuration_counts_by_its_elements(dtype: torch.dtype) -> None:
    """Neither its layout in memory nor a pending conjugation is content."""

    def configured(weight: Tensor) -> object:
        loss = partial(nn.functional.cross_entropy, weight=weight)
        return pe.Strategy("s", optimizer=SGD, epochs=1, loss=loss).configuration

    weight = torch.arange(6).reshape(2, 3).to(dtype)
    transposed = weight.T.contiguous().T
    assert configured(transposed) == configured(weight)
    assert configured((-weight).conj()) == configured((-weight).conj().clone())
    assert configured(weight + 1) != configured(weight)
