"""The Trainer of Lightning as a strategy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

from lightning import pytorch as lightning_pytorch
from torch import nn
from torch.optim import Optimizer
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._tasks import Task, check_count
from pretrain_eval._training import Strategy, Trial
from pretrain_eval.integrations.watch import Watch


def lightning(
    optimizer: Callable[[Any], Optimizer],
    *,
    max_epochs: int,
    batch_size: int = 32,
    name: str = "lightning",
    **options: Any,
) -> Strategy:
    """Fine-tune by the Trainer of Lightning.

    Batches and the loss are those of the task. Steps are measured, the validation split
    before training and after each epoch; the last weights are scored. Nothing is saved,
    shown or logged, unless the options say so.

    Args:
        optimizer: Called with the trainable parameters.
        max_epochs: Passes over the training split, at least 1.
        batch_size: Samples a batch.
        name: How records name it.
        options: Of `lightning.pytorch.Trainer`, such as `gradient_clip_val=1.0`.

    Raises:
        ValueError: A number is out of range.
    """
    check_count("lightning: batch_size", batch_size, 1)
    check_count("lightning: max_epochs", max_epochs, 1)
    options = {"max_epochs": max_epochs, **options}
    return Strategy(name, train=_Training(optimizer, batch_size, options))


@final
@dataclass(frozen=True)
class _Training:
    """Trains a trial's network by a Trainer."""

    optimizer: Callable[[Any], Optimizer]
    batch_size: int
    options: Mapping[str, Any]

    def __call__(
        self, model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
    ) -> Run:
        watch = Watch(trial)
        watch.add_point(0)
        shown = "checkpointing", "progress_bar", "model_summary"
        options = {
            "logger": False,
            **{f"enable_{each}": False for each in shown},
            "accelerator": "cpu" if trial.device.type == "cpu" else "auto",
            "devices": 1,
            **self.options,
        }
        by = lightning_pytorch.Trainer(**options)
        module = _Module(watch, self.optimizer)
        by.fit(module, trial.loader("train", self.batch_size, shuffle=True))
        return watch.run(module.num_samples)


class _Module(lightning_pytorch.LightningModule):
    """Takes the loss from the task."""

    def __init__(self, watch: Watch, optimizer: Callable[[Any], Optimizer]) -> None:
        super().__init__()
        self.network = watch.trial.network
        self._watch, self._make = watch, optimizer
        self._kind = watch.trial.cell.task.kind
        self.num_samples = 0

    @override
    def training_step(self, batch: Any, _: int) -> Any:
        outputs, targets = self._kind.learn(self.network, batch)
        self.num_samples += len(targets)
        return self._kind.loss(outputs, targets)

    @override
    def configure_optimizers(self) -> Optimizer:
        return self._make([p for p in self.network.parameters() if p.requires_grad])

    @override
    def on_train_start(self) -> None:
        optimizers = self.trainer.optimizers
        self._handle = self._watch.metrics.attach(optimizers, self.network)

    @override
    def on_train_epoch_end(self) -> None:
        self._watch.add_point(self.trainer.global_step)

    @override
    def on_train_end(self) -> None:
        self._handle.close()
