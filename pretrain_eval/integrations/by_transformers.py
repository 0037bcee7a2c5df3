"""The Trainer of transformers as a strategy."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
import transformers
from torch import nn
from torch.utils.data import Dataset
from typing_extensions import override

from pretrain_eval._runs import Run
from pretrain_eval._tasks import Task
from pretrain_eval._training import Strategy, Trial
from pretrain_eval.integrations.watch import Watch


def trainer(name: str = "trainer", **arguments: Any) -> Strategy:
    """Fine-tune by the Trainer of transformers.

    Batches and the loss are those of the task. Steps are measured, the validation split
    before training and after each epoch; the last weights are scored. Nothing is saved,
    shown or reported, unless the arguments say so.

    Args:
        name: How records name it.
        arguments: Fields of `transformers.TrainingArguments`, such as
            `learning_rate=5e-5, num_train_epochs=3, per_device_train_batch_size=16`;
            the seed is the run's draw.

    Raises:
        TypeError: `TrainingArguments` has no such field.

    >>> trainer(learning_rate=5e-5, num_train_epochs=3).name
    'trainer'
    """
    with tempfile.TemporaryDirectory() as folder:
        _arguments(arguments, folder, 0, on_cpu=True)  # a wrong field is told at once
    return Strategy(name, train=_Training(dict(arguments)))


def _arguments(
    given: Mapping[str, Any], folder: str, seed: int, *, on_cpu: bool
) -> transformers.TrainingArguments:
    quiet = {"save_strategy": "no", "report_to": [], "disable_tqdm": True}
    fixed = {"output_dir": folder, "seed": seed, "remove_unused_columns": False}
    return transformers.TrainingArguments(
        **{**quiet, "use_cpu": on_cpu, **given, **fixed}
    )


@final
@dataclass(frozen=True)
class _Training:
    """Trains a trial's network by a Trainer."""

    arguments: Mapping[str, Any]

    def __call__(
        self, model: nn.Module, task: Task, dataset: str, seed: int, trial: Trial
    ) -> Run:
        watch = Watch(trial)
        watch.add_point(0)
        with tempfile.TemporaryDirectory() as folder:
            on_cpu = trial.device.type == "cpu"
            arguments = _arguments(self.arguments, folder, trial.draw, on_cpu=on_cpu)
            by = _Trainer(trial, args=arguments, callbacks=[_Watching(watch)])
            by.remove_callback(transformers.PrinterCallback)
            by.train()
            size = arguments.train_batch_size * arguments.gradient_accumulation_steps
        return watch.run(by.state.global_step * size)


class _Trainer(transformers.Trainer):
    """Takes batches and the loss from the task."""

    def __init__(self, trial: Trial, **options: Any) -> None:
        dataset: Dataset[Any] = trial.splits.train  # type: ignore[assignment] # or a loader, whose length is what counts
        super().__init__(model=trial.network, train_dataset=dataset, **options)
        self._source, self._kind = trial, trial.cell.task.kind
        self.model_accepts_loss_kwargs = False  # the loss is a mean over the batch

    @override
    def get_train_dataloader(self) -> Any:
        return self._source.loader("train", self.args.train_batch_size, shuffle=True)

    @override
    def compute_loss(
        self,
        model: nn.Module,
        inputs: Any,
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> Any:
        outputs, targets = self._kind.learn(model, inputs)
        loss = self._kind.loss(outputs, targets)
        return (loss, outputs) if return_outputs else loss


class _Watching(transformers.TrainerCallback):
    """Adds a point to the curve after each epoch."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch

    @override
    def on_train_begin(self, *_: Any, **given: Any) -> None:
        network = self._watch.trial.network
        self._handle = self._watch.metrics.attach(given["optimizer"], network)

    @override
    def on_epoch_end(self, args: Any, state: Any, *_: Any, **given: Any) -> None:
        self._watch.add_point(state.global_step)

    @override
    def on_train_end(self, *_: Any, **given: Any) -> None:
        self._handle.close()
