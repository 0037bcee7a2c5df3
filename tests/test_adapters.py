"""Metrics of this library inside torchmetrics, Lightning and ignite."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
import torchmetrics
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import pretrain_eval as pe
from pretrain_eval.integrations.adapters import as_ignite, as_torchmetrics


def samples() -> TensorDataset:
    """Random scores of three classes and targets; the first batch has no mistake."""
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(20, 3, generator=generator)
    targets = torch.randint(0, 3, (20,), generator=generator)
    targets[:8] = scores[:8].argmax(1)
    return TensorDataset(scores, targets)


def expected() -> dict[str, Any]:
    """Our own values of all samples."""
    metrics = pe.MetricCollection(top_1=pe.Accuracy(), top_2=pe.Accuracy(top_k=2))
    metrics.update(*samples().tensors)
    return metrics.compute()


def test_inside_a_torchmetrics_collection() -> None:
    """Members count by themselves: a perfect first batch joins no two of them."""
    metrics = torchmetrics.MetricCollection(
        {
            "top_1": as_torchmetrics(pe.Accuracy()),
            "top_2": as_torchmetrics(pe.Accuracy(top_k=2)),
            "theirs": torchmetrics.classification.MulticlassAccuracy(
                3, average="micro"
            ),
        }
    )
    for number, batch in enumerate(DataLoader(samples(), batch_size=8)):
        values = metrics(*batch)
        if number == 0:
            assert values["top_1"] == values["top_2"] == 1
    values = {key: float(value) for key, value in metrics.compute().items()}
    assert values.pop("theirs") == pytest.approx(values["top_1"])
    assert values == expected()
    metrics.reset()
    metrics.update(*samples()[8:])
    assert float(metrics.compute()["top_1"]) < values["top_1"]


def test_attached_to_an_ignite_engine() -> None:
    """The engine's metrics hold the value, anew every run."""
    engines = pytest.importorskip("ignite.engine")
    engine = engines.Engine(lambda engine, batch: batch)
    as_ignite(pe.Accuracy()).attach(engine, "top_1")
    as_ignite(pe.Accuracy(top_k=2)).attach(engine, "top_2")
    for _ in range(2):
        state = engine.run(DataLoader(samples(), batch_size=8))
        assert state.metrics == expected()


def test_logged_by_lightning(tmp_path: Any) -> None:
    """`self.log` takes the adapted metric, computes it per epoch and resets it."""
    lightning = pytest.importorskip("lightning.pytorch")

    class Module(lightning.LightningModule):  # type: ignore[name-defined,misc]
        def __init__(self) -> None:
            super().__init__()
            self.top_1 = as_torchmetrics(pe.Accuracy())
            self.layer = nn.Linear(3, 3)

        def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
            self.top_1.update(*batch)
            self.log("top_1", self.top_1, on_epoch=True)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = lightning.Trainer(
            accelerator="cpu",
            logger=False,
            enable_progress_bar=False,
            enable_checkpointing=False,
            enable_model_summary=False,
            default_root_dir=tmp_path,
        )
        module = Module()
        for _ in range(2):
            (values,) = trainer.validate(
                module, DataLoader(samples(), batch_size=8), verbose=False
            )
            assert values["top_1"] == pytest.approx(expected()["top_1"])
