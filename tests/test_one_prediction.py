"""One network and the same batches: every loop computes the same metrics of predictions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss, roc_auc_score
from steps_truth import batches, network
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader

import pretrain_eval as pe
from pretrain_eval.integrations import as_ignite, as_torchmetrics

LEARNED, HELD_OUT = batches(8, seed=1), batches(5, seed=2)

# Of what other frameworks import, some warns of its own changes to come.
pytestmark = pytest.mark.filterwarnings("ignore")

Values = dict[str, Any]


def members() -> list[pe.Metric]:
    """Metrics of counts, of sums of real numbers and of kept samples."""
    return [
        pe.Accuracy(),
        pe.F1Score(num_classes=3),
        pe.LogLoss(scores="logits"),
        pe.AUROC(task="multiclass", scores="logits", num_classes=3),
    ]


def samples(given: list[Any]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [pair for batch in given for pair in zip(*batch, strict=True)]


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)


class Labelled(nn.Module):
    """The network as the Trainer of transformers wants it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = network()

    def forward(self, inputs: torch.Tensor, labels: torch.Tensor) -> dict[str, Any]:
        logits = self.net(inputs)
        return {"loss": cross_entropy(logits, labels), "logits": logits}


def trained() -> nn.Module:
    """By the plain loop."""
    model = network()
    optimizer = sgd(model)
    for inputs, targets in LEARNED:
        optimizer.zero_grad()
        cross_entropy(model(inputs), targets).backward()
        optimizer.step()
    return model


def plain(_: Path) -> Values:
    """A collection that is updated."""
    model, metrics = trained(), pe.MetricCollection(members())
    with torch.no_grad():
        for inputs, targets in HELD_OUT:
            metrics.update(model(inputs), targets)
    return metrics.compute()


def validated(_: Path) -> Values:
    """Our own validation."""
    return pe.validate(trained(), HELD_OUT, members())


def lightning(folder: Path) -> Values:
    """Its Trainer validates; each metric is logged as one of torchmetrics."""
    pytest.importorskip("lightning", reason="pip install lightning")
    from lightning.pytorch import LightningModule, Trainer

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Module(LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.net = network()
            self.metrics = nn.ModuleDict({m.key: as_torchmetrics(m) for m in members()})
            self.ours = pe.MetricCollection(members())

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            return cross_entropy(self.net(batch[0]), batch[1])

        def validation_step(self, batch: Any, _: int) -> None:
            outputs = self.net(batch[0])
            self.ours.update(outputs, batch[1])
            for key, metric in self.metrics.items():
                metric.update(outputs, batch[1])
                self.log(key, metric, on_epoch=True)

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return sgd(self)

    module = Module()
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, num_sanity_val_steps=0,
        default_root_dir=folder,
    )  # fmt: skip
    learned, held_out = (
        DataLoader(samples(b), batch_size=6) for b in (LEARNED, HELD_OUT)
    )
    trainer.fit(module, learned, held_out)
    values = module.ours.compute()
    for key, value in values.items():  # which are logged in float32
        assert float(trainer.callback_metrics[key]) == pytest.approx(value, rel=1e-7)
    return values


def transformers(folder: Path) -> Values:
    """Its Trainer evaluates by `compute_metrics`."""
    transformers = pytest.importorskip(
        "transformers", reason="pip install transformers"
    )
    pytest.importorskip("accelerate", reason="pip install accelerate")

    class Sequential(transformers.Trainer):
        def _get_train_sampler(self, *_: Any) -> None:
            return None

    def compute(prediction: Any) -> Values:
        metrics = pe.MetricCollection(members())
        both = prediction.predictions, prediction.label_ids
        outputs, targets = map(torch.from_numpy, both)
        metrics.update(outputs, targets)
        return metrics.compute()

    learned, held_out = (
        [{"inputs": x, "labels": y} for x, y in samples(b)] for b in (LEARNED, HELD_OUT)
    )
    model = Labelled()
    trainer = Sequential(
        model,
        transformers.TrainingArguments(
            output_dir=str(folder), per_device_train_batch_size=6, num_train_epochs=1,
            per_device_eval_batch_size=6, max_grad_norm=0, report_to=[], use_cpu=True,
            save_strategy="no", disable_tqdm=True, logging_strategy="no",
            lr_scheduler_type="constant",
        ),
        train_dataset=learned, eval_dataset=held_out, compute_metrics=compute,
        optimizers=(sgd(model), None),
    )  # fmt: skip
    trainer.train()
    found = trainer.evaluate()
    return {metric.key: found[f"eval_{metric.key}"] for metric in members()}


def ignite(_: Path) -> Values:
    """Its evaluator has each metric attached."""
    pytest.importorskip("ignite", reason="pip install pytorch-ignite")
    from ignite.engine import create_supervised_evaluator, create_supervised_trainer

    model = network()
    create_supervised_trainer(model, sgd(model), cross_entropy).run(LEARNED)
    evaluator = create_supervised_evaluator(model)
    # It hands on (outputs, targets), as ours take them.
    for metric in members():
        as_ignite(metric).attach(evaluator, metric.key)
    return dict(evaluator.run(HELD_OUT).metrics)


def accelerate(_: Path) -> Values:
    """What `gather_for_metrics` gives."""
    accelerate = pytest.importorskip("accelerate", reason="pip install accelerate")
    accelerator = accelerate.Accelerator(cpu=True)
    model = network()
    model, optimizer, learned, held_out = accelerator.prepare(
        model, sgd(model),
        DataLoader(samples(LEARNED), batch_size=6),
        DataLoader(samples(HELD_OUT), batch_size=6),
    )  # fmt: skip
    for inputs, targets in learned:
        optimizer.zero_grad()
        accelerator.backward(cross_entropy(model(inputs), targets))
        optimizer.step()
    metrics = pe.MetricCollection(members())
    with torch.no_grad():
        for inputs, targets in held_out:
            metrics.update(*accelerator.gather_for_metrics((model(inputs), targets)))
    return metrics.compute()


def skorch(_: Path) -> Values:
    """A callback counts what it validates."""
    skorch = pytest.importorskip("skorch", reason="pip install skorch")
    from skorch.dataset import Dataset
    from skorch.helper import predefined_split

    metrics = pe.MetricCollection(members())

    class Counting(skorch.callbacks.Callback):
        def on_batch_end(
            self, net: Any, batch: Any, training: bool, **given: Any
        ) -> None:
            if not training:
                metrics.update(given["y_pred"], batch[1])

    held_out = [torch.cat(parts).numpy() for parts in zip(*HELD_OUT, strict=True)]
    net = skorch.NeuralNet(
        network(), nn.CrossEntropyLoss, optimizer=torch.optim.SGD, batch_size=6,
        optimizer__lr=0.05, optimizer__momentum=0.9, verbose=0, max_epochs=1,
        iterator_train__shuffle=False, callbacks=[Counting()],
        train_split=predefined_split(Dataset(*held_out)),
    ).initialize()  # fmt: skip
    inputs, targets = (torch.cat(parts) for parts in zip(*LEARNED, strict=True))
    net.partial_fit(inputs, targets)
    return metrics.compute()


LOOPS = (plain, validated, lightning, transformers, ignite, accelerate, skorch)


def truth() -> Values:
    """What scikit-learn computes of all outputs at once."""
    inputs, targets = (torch.cat(parts) for parts in zip(*HELD_OUT, strict=True))
    shares = trained()(inputs).detach().double().softmax(1).numpy()
    right = targets.numpy()
    decided = shares.argmax(1)
    return {
        "accuracy": float(np.mean(decided == right)),
        "f1": f1_score(right, decided, average="macro"),
        "log_loss": log_loss(right, shares),
        "auroc": roc_auc_score(right, shares, multi_class="ovr"),
    }


@pytest.mark.parametrize("loop", LOOPS)
def test_one_prediction(loop: Callable[[Path], Values], tmp_path: Path) -> None:
    """Trained and evaluated by each library, the digits are scikit-learn's."""
    values = loop(tmp_path)
    assert values == pytest.approx(truth(), rel=1e-7)
