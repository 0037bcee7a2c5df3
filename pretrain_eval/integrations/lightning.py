"""Step metrics in the Trainer of Lightning, and that Trainer as a strategy."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any, final

from lightning.pytorch import Callback, Trainer
from typing_extensions import override

from pretrain_eval._metrics import MetricCollection
from pretrain_eval.integrations.by_lightning import lightning

__all__ = ["StepMetricsCallback", "lightning"]


@final
class StepMetricsCallback(Callback):
    """Measures the optimizer steps of a Trainer and logs them by its `log_dict`.

    `Trainer(callbacks=[StepMetricsCallback(metrics)])`. Every `log_every_n_steps`
    steps of the optimizer, the metrics of the steps since the log before are logged.
    The history is saved in checkpoints and continued from them.

    Args:
        metrics: Their step metrics are measured.
        every: Measure every so many optimizer steps.
        prefix: Before each key.
    """

    def __init__(
        self, metrics: MetricCollection, *, every: int = 1, prefix: str = "step/"
    ) -> None:
        self.metrics, self._every, self._prefix = metrics, every, prefix
        self._attached = ExitStack()

    @override
    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        self._logged_step = trainer.global_step
        handle = self.metrics.attach(trainer.optimizers, module, every=self._every)
        self._attached.enter_context(handle)

    @override
    def on_train_batch_end(self, trainer: Trainer, module: Any, *_: Any) -> None:
        interval = getattr(trainer, "log_every_n_steps", 1)
        if interval and trainer.global_step >= self._logged_step + interval:
            self._logged_step = trainer.global_step
            module.log_dict(self.metrics.step_values(self._prefix))

    @override
    def on_train_end(self, *_: Any) -> None:
        self._attached.close()

    @override
    def on_exception(self, trainer: Any, module: Any, error: BaseException) -> None:
        self._attached.__exit__(type(error), error, error.__traceback__)

    @override
    def state_dict(self) -> dict[str, Any]:
        return self.metrics.state_dict()

    @override
    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.metrics.load_state_dict(state_dict)
