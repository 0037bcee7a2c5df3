"""What comes in wrongly is refused before work, made right, or said plainly."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import Small, points, three_classes
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval._training import fingerprint_splits
from pretrain_eval._training.checkpoint import unfinished

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=1)
HEAD = pe.Strategy("head", optimizer=SGD, epochs=1, trainable="head")
NET = Small()
INTEGERS = (
    *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.uint16, torch.bool),
    *(np.uint8, np.int32, np.bool_),
)


def one(task: pe.Task, strategy: pe.Strategy = FULL) -> pe.Run:
    return pe.finetune(NET, task, strategy, name="net")


def retyped(kind: Any) -> pe.Task:
    """The task of three classes, or two for a bool, with targets of another type."""
    num_classes = 2 if kind in (torch.bool, np.bool_) else 3

    def split(num: int, seed: int) -> Any:
        inputs, targets = points(num, seed, num_classes).tensors
        if isinstance(kind, torch.dtype):
            return TensorDataset(inputs, targets.to(kind))
        return list(zip(inputs, targets.numpy().astype(kind), strict=True))

    splits = pe.Splits(split(48, 1), split(40, 2))
    return pe.Task("t", datasets={"d": splits}, num_classes=num_classes)


@pytest.mark.parametrize(
    "kind",
    INTEGERS,
    ids=str,
)
@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=lambda each: each.name)
def test_class_targets_of_any_integers_train_alike(
    kind: Any, strategy: pe.Strategy
) -> None:
    """The scores are those of int64, which torch's losses take."""
    wide = torch.int64 if kind not in (torch.bool, np.bool_) else None
    run = one(retyped(kind), strategy)
    assert run.status == "completed"
    if wide is not None:
        assert run.scores == one(retyped(wide), strategy).scores


@pytest.mark.parametrize("part", ["train", "valid"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_to_predict_are_finite(part: str, value: float) -> None:
    """A regression's targets are read at the door; the message says how many."""
    sets = {}
    for name, seed in (("train", 1), ("valid", 2)):
        inputs = points(40, seed).tensors[0]
        targets = inputs.sum(1)
        if name == part:
            targets[3] = value
        sets[name] = TensorDataset(inputs, targets)
    with pytest.raises(ValueError, match=f"d: {part} has 1 targets that are NaN"):
        pe.Task("t", datasets={"d": pe.Splits(**sets)}, num_outputs=1)


@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=lambda each: each.name)
@pytest.mark.filterwarnings("ignore:.*not finite:UserWarning")
@pytest.mark.filterwarnings("ignore:.*NaN:UserWarning")
def test_a_run_without_a_score_says_why(strategy: pe.Strategy) -> None:
    """NaN in a validation sample leaves no score, and the record says so."""
    valid = points(40, 2)
    valid.tensors[0][3] = float("nan")
    splits = pe.Splits(points(48, 1), valid)
    run = one(pe.Task("t", datasets={"d": splits}, num_classes=3), strategy)
    assert dict(run.scores) == {}
    assert "not a number on the reported split: accuracy" in run.message
    assert "NaN" in run.message


@pytest.mark.parametrize("name", ["", "  "])
def test_an_empty_name_is_refused_before_work(name: str) -> None:
    """No run is trained whose record could not be made."""
    with pytest.raises(ValueError, match="sweep: each of models expects a name"):
        pe.sweep({name: NET}, [three_classes()], [FULL], progress=False)
    with pytest.raises(ValueError, match="finetune: the model expects a name"):
        pe.finetune(NET, three_classes(), FULL, name=name)


@pytest.mark.parametrize("seed", [2**63, -1, True, 1.0, "1"])
def test_a_seed_that_no_store_holds_is_refused_before_work(seed: Any) -> None:
    """Seeds fit into 64 bits with a sign; 2**63 - 1 is one."""
    with pytest.raises(ValueError, match=r"from 0 to 2\*\*63 - 1, got"):
        pe.sweep({"net": NET}, [three_classes()], [FULL], [seed], progress=False)
    with pytest.raises(ValueError, match=r"from 0 to 2\*\*63 - 1, got"):
        pe.finetune(NET, three_classes(), FULL, seed=seed)


def test_the_largest_seed_trains() -> None:
    """It is drawn from, and recorded."""
    assert pe.finetune(NET, three_classes(), FULL, seed=2**63 - 1).seed == 2**63 - 1


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("strategy", [FULL, HEAD], ids=lambda each: each.name)
def test_a_training_has_gradients_wherever_it_is_called(
    mode: Any, strategy: pe.Strategy
) -> None:
    """Runs under no_grad and inference_mode are those outside of them."""
    models, task = {"net": NET, "built": Small}, three_classes()
    plain = pe.sweep(models, [task], [strategy], (0, 1), progress=False)
    with mode():
        runs = pe.sweep(models, [task], [strategy], (0, 1), progress=False)
        assert not torch.is_grad_enabled()
    assert [run.scores for run in runs] == [run.scores for run in plain]
    assert {run.status for run in runs} == {"completed"}


def test_a_checkpoint_on_a_full_disk_names_the_file(tmp_path: Path) -> None:
    """Torch's own words come after the path, and nothing is left of the file."""
    if not Path("/dev/full").exists():
        pytest.skip("the system has no /dev/full")
    path, partial_file = tmp_path / "c.pt", unfinished(tmp_path / "c.pt")
    partial_file.symlink_to("/dev/full")
    with pytest.raises(OSError, match=r"the checkpoint .*c\.pt could not be written"):
        pe.finetune(NET, three_classes(), FULL, checkpoint=path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_the_users_beside_a_checkpoint_is_kept(tmp_path: Path) -> None:
    """Only a file of our own name is written over, and one left by a kill goes."""
    path, theirs = tmp_path / "c.pt", tmp_path / "c.pt.partial"
    theirs.write_text("thesis")
    unfinished(path).write_text("left by a kill")
    pe.finetune(NET, three_classes(), FULL, checkpoint=path)
    assert theirs.read_text() == "thesis"
    assert not unfinished(path).exists()


class Noisy(torch.utils.data.Dataset[Any]):
    """Samples that draw each time they are read."""

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return torch.randn(4), index % 3


def test_loaders_with_workers_have_keys_of_their_own() -> None:
    """Draws inside workers are others; no workers is as it always was."""

    def content(num_workers: int) -> str:
        train = DataLoader(Noisy(), 4, num_workers=num_workers)
        return fingerprint_splits(pe.Splits(train, points(40, 2)))

    assert content(0) != content(2) != content(1)


def test_a_network_made_in_inference_mode_is_copied_into_one_that_trains() -> None:
    """Its weights are plain numbers, and the copy has gradients."""
    with torch.inference_mode():
        network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        network.head = nn.Linear(8, 2)
        run = pe.finetune(network, three_classes(), FULL)
    assert run.status == "completed"
