"""Step metrics in the Trainer of transformers."""

from __future__ import annotations

from typing import Any, final

from transformers import (
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from typing_extensions import override

from pretrain_eval._attach import Attachment
from pretrain_eval._collection import MetricCollection


@final
class StepMetricsCallback(TrainerCallback):
    """Measures the steps of a Trainer and adds the values to its logs.

    `Trainer(..., callbacks=[StepMetricsCallback(metrics)])`. Each log of a training
    loss gets the metrics of the steps since the log before it, in
    `trainer.state.log_history` too. A Trainer hands logs to its reporting callbacks
    first; to reach those, `trainer.callback_handler.callbacks.insert(0, callback)`.

    Args:
        metrics: Their step metrics are measured.
        every: Measure every so many optimizer steps.
        prefix: Before each key, since the Trainer's own `grad_norm` is another one: the
            norm before clipping.
    """

    def __init__(
        self, metrics: MetricCollection, *, every: int = 1, prefix: str = "step/"
    ) -> None:
        self.metrics = metrics
        self._every = every
        self._prefix = prefix
        self._handle: Attachment | None = None

    def close(self) -> None:
        """Stop watching, where an exception ended the training."""
        if self._handle is not None:
            self._handle.close()
        self._handle = None

    @override
    def on_train_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.close()
        optimizer, model = kwargs["optimizer"], kwargs["model"]
        self._handle = self.metrics.attach(optimizer, model, every=self._every)

    @override
    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if self._handle is None or logs is None or "loss" not in logs:
            return
        values = self.metrics.step_values(self._prefix)
        logs |= values
        state.log_history[-1] |= values

    @override
    def on_train_end(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        self.close()
