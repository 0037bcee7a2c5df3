"""An epoch that was saved in its middle and goes on elsewhere is that without a pause."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from steps_truth import batches, network
from torch import nn
from torch.nn.functional import cross_entropy

import pretrain_eval as pe

torchmetrics = pytest.importorskip("torchmetrics", reason="pip install torchmetrics")

COUNT = 9
BATCHES = batches(COUNT)

# Of what other frameworks import, some warns of its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")


def members() -> pe.MetricCollection:
    """One of each kind: of sums, of kept samples, of torchmetrics, of steps."""
    return pe.MetricCollection(
        pe.Accuracy(),
        pe.AUROC(task="multiclass", scores="logits", num_classes=3),
        pe.GradNorm(per="parameter"),
        pe.UpdateRatio(statistic="max"),
        theirs=torchmetrics.F1Score("multiclass", num_classes=3, average="macro"),
        several=torchmetrics.MetricCollection(
            [torchmetrics.Recall("multiclass", num_classes=3, average="macro")]
        ),
    )


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


class Labelled(nn.Module):
    """The network and its metrics, as the Trainer of transformers wants it."""

    def __init__(self, metrics: pe.MetricCollection) -> None:
        super().__init__()
        self.net, self.metrics = network(), metrics

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        logits = self.net(inputs)
        self.metrics.update(logits.detach(), labels)
        return {"loss": cross_entropy(logits, labels)}


def samples(given: list[Any]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [pair for batch in given for pair in zip(*batch, strict=True)]


Result = tuple[pe.MetricCollection, pe.MetricCollection]


def by_torch(pause: int, every: int, folder: Path) -> Result:
    """A loop of one's own, saved by torch.save and loaded with weights only."""

    def train(whole: dict[str, Any], given: list[Any]) -> None:
        model, optimizer, metrics = whole.values()
        with metrics.attach(optimizer, model, every=every):
            for number, (inputs, targets) in enumerate(given, start=1):
                optimizer.zero_grad()
                outputs = model(inputs)
                cross_entropy(outputs, targets).backward()
                optimizer.step()
                metrics.update(outputs.detach(), targets)
                if len(given) == COUNT and number == pause:
                    state = {name: each.state_dict() for name, each in whole.items()}
                    torch.save(state, folder / "whole.pt")

    runs = []
    for start in (0, pause):
        model = network()
        whole = {"model": model, "optimizer": sgd(model), "metrics": members()}
        if start:
            state = torch.load(folder / "whole.pt", weights_only=True)
            for name, each in whole.items():
                each.load_state_dict(state[name])  # type: ignore[attr-defined]
        train(whole, BATCHES[start:])
        runs.append(whole["metrics"])
    return runs[0], runs[1]  # type: ignore[return-value]


def by_lightning(pause: int, every: int, folder: Path) -> Result:
    """Its checkpoint of a step, and a fit that goes on from there."""
    # Older ones go on from another place of the loader.
    pytest.importorskip("lightning", "2.6", reason="pip install 'lightning>=2.6'")
    from lightning import pytorch as lightning
    from lightning.pytorch.callbacks import ModelCheckpoint

    from pretrain_eval.integrations.lightning import StepMetricsCallback

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(lightning.LightningModule):
        def __init__(self, metrics: pe.MetricCollection) -> None:
            super().__init__()
            self.net = Labelled(metrics)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return self.net(*batch)["loss"]

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self)

    def fit(given: list[Any], checkpoint: Path | None) -> pe.MetricCollection:
        metrics = members()
        saving = ModelCheckpoint(
            folder, "{step}", every_n_train_steps=pause, save_top_k=-1
        )
        lightning.Trainer(
            max_epochs=1, accelerator="cpu", logger=False, enable_progress_bar=False,
            enable_model_summary=False, default_root_dir=folder,
            callbacks=[StepMetricsCallback(metrics, every=every), saving],
        ).fit(
            Module(metrics), torch.utils.data.DataLoader(samples(given), batch_size=6),
            ckpt_path=checkpoint, weights_only=True if checkpoint else None,
        )  # fmt: skip
        return metrics

    # It counts the batches that were, and takes the others from the loader's beginning.
    rest = [*BATCHES[pause:], *BATCHES[:pause]]
    return fit(BATCHES, None), fit(rest, folder / f"step={pause}.ckpt")


def by_transformers(pause: int, every: int, folder: Path) -> Result:
    """Its checkpoint of a step, from which it resumes."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    pytest.importorskip("accelerate", reason="pip install accelerate")
    from pretrain_eval.integrations.transformers import StepMetricsCallback

    class Sequential(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> None:
            return None

    def train(checkpoint: str | None) -> pe.MetricCollection:
        metrics = members()
        model = Labelled(metrics)
        Sequential(
            model,
            transformers.TrainingArguments(
                output_dir=str(folder), per_device_train_batch_size=6, report_to=[],
                num_train_epochs=1, max_grad_norm=0, logging_strategy="no", use_cpu=True,
                save_strategy="steps", save_steps=pause, disable_tqdm=True,
                lr_scheduler_type="constant",
            ),
            train_dataset=[{"inputs": x, "labels": y} for x, y in samples(BATCHES)],
            optimizers=(sgd(model), None),
            callbacks=[StepMetricsCallback(metrics, every=every)],
        ).train(resume_from_checkpoint=checkpoint)  # fmt: skip
        return metrics

    return train(None), train(str(folder / f"checkpoint-{pause}"))


@pytest.mark.parametrize("pause", [1, 5, 8])
@pytest.mark.parametrize("every", [1, 3])
@pytest.mark.parametrize("way", [by_torch, by_lightning, by_transformers])
def test_a_pause_changes_no_value(
    way: Callable[[int, int, Path], Result], every: int, pause: int, tmp_path: Path
) -> None:
    """Own, torchmetrics' and step members are as if there had been none."""
    whole, resumed = way(pause, every, tmp_path)
    expected = whole.compute()
    assert len(expected) == 5 + 1 + len(list(network().parameters()))
    assert resumed.compute() == pytest.approx(expected, rel=1e-12)
    assert repr(resumed.history) == repr(whole.history)  # NaN is itself there
    assert whole.history["step"] == tuple(range(1, COUNT + 1, every))
