"""Step metrics in the Trainer of transformers, and that Trainer as a strategy."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, final

from transformers import TrainerCallback, TrainerState
from typing_extensions import override

from pretrain_eval._metrics import MetricCollection
from pretrain_eval.integrations.by_transformers import trainer

__all__ = ["StepMetricsCallback", "trainer"]


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
        self.metrics, self._every, self._prefix = metrics, every, prefix
        self._attached = ExitStack()

    def close(self) -> None:
        """Stop watching, where an exception ended the training."""
        self._attached.close()

    @override
    def on_train_begin(self, *_: Any, **given: Any) -> None:
        self.close()
        optimizer, model = given["optimizer"], given["model"]
        handle = self.metrics.attach(optimizer, model, every=self._every)
        self._attached.enter_context(handle)

    @override
    def on_log(self, args: Any, state: TrainerState, *_: Any, **given: Any) -> None:
        if "loss" in given["logs"]:
            values = self.metrics.step_values(self._prefix)
            given["logs"] |= values
            state.log_history[-1] |= values

    @override
    def on_train_end(self, *_: Any, **given: Any) -> None:
        self.close()
