"""Step metrics in the Trainer of transformers, and that Trainer as a strategy."""

from __future__ import annotations

import warnings
from contextlib import ExitStack
from pathlib import Path
from typing import Any, final

import torch
from transformers import TrainerCallback, TrainerState
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR
from typing_extensions import Self, override

from pretrain_eval._metrics import MetricCollection
from pretrain_eval.integrations.by_transformers import trainer

__all__ = ["StepMetricsCallback", "trainer"]

_FILE = "step_metrics.pt"


@final
class StepMetricsCallback(TrainerCallback):
    """Measures the steps of a Trainer and adds the values to its logs.

    `Trainer(..., callbacks=[StepMetricsCallback(metrics)])`. Each log of a training
    loss gets the metrics of the steps since the log before it, in
    `trainer.state.log_history` too. A Trainer hands logs to its reporting callbacks
    first; `StepMetricsCallback(metrics).add_to(trainer)` reaches those as well.
    All that the metrics hold is saved in the Trainer's checkpoints, as
    `step_metrics.pt`, and continued where it resumes from one of them.

    Args:
        metrics: Their step metrics are measured.
        every: Measure every so many optimizer steps.
        prefix: Before each key, since the Trainer's own `grad_norm` is another one: the
            norm before clipping.
    """

    def __init__(
        self, metrics: MetricCollection, *, every: int = 1, prefix: str = "step/"
    ) -> None:
        self.metrics: MetricCollection = metrics
        self._every, self._prefix = every, prefix
        self._attached = ExitStack()

    def add_to(self, trainer: Any) -> Self:
        """Add it to a Trainer, before the callbacks that report to trackers."""
        trainer.callback_handler.callbacks.insert(0, self)
        return self

    def close(self) -> None:
        """Stop watching, where an exception ended the training."""
        self._attached.close()

    @override
    def on_train_begin(self, *seen: Any, **given: Any) -> None:
        self.close()
        args, state, *_ = seen
        if state.global_step:
            self._resume(_folder(args, state) / _FILE)
        optimizer, model = given["optimizer"], given["model"]
        handle = self.metrics.attach(optimizer, model, every=self._every)
        self._attached.enter_context(handle)

    @override
    def on_save(self, args: Any, state: TrainerState, *_: Any, **given: Any) -> None:
        if state.is_world_process_zero:
            folder = _folder(args, state)
            folder.mkdir(parents=True, exist_ok=True)
            torch.save(self.metrics.state_dict(), folder / _FILE)

    def _resume(self, file: Path) -> None:
        """Continue from what a checkpoint holds."""
        if not file.exists():
            warnings.warn(
                f"the training is resumed, but there is no {file}: the history of its step"
                " metrics begins here",
                stacklevel=2,
            )
            return
        self.metrics.load_state_dict(torch.load(file, weights_only=True))

    @override
    def on_log(self, args: Any, state: TrainerState, *_: Any, **given: Any) -> None:
        if "loss" in given["logs"]:
            values = self.metrics.step_values(self._prefix)
            given["logs"] |= values
            state.log_history[-1] |= values

    @override
    def on_train_end(self, *_: Any, **given: Any) -> None:
        self.close()


def _folder(args: Any, state: TrainerState) -> Path:
    """Where the Trainer keeps the checkpoint of the step that it is at."""
    return Path(args.output_dir) / f"{PREFIX_CHECKPOINT_DIR}-{state.global_step}"
