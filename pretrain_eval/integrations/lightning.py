"""Step metrics in the Trainer of Lightning, and that Trainer as a strategy."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, final

from lightning.pytorch import Callback, LightningModule, Trainer
from typing_extensions import override

from pretrain_eval._metrics import MetricCollection
from pretrain_eval.integrations.by_lightning import lightning

__all__ = ["StepMetricsCallback", "lightning"]


@final
class StepMetricsCallback(Callback):
    """Measures the optimizer steps of a Trainer and logs them by its `log_dict`.

    `Trainer(callbacks=[StepMetricsCallback(metrics)])`. Every `log_every_n_steps`
    steps of the optimizer, the metrics of the steps since the log before are logged.
    The history is saved in checkpoints and continued from them. Gradients are also read
    before the Trainer clips them, for `GradNormBeforeClipping` and `Clipped`.

    Args:
        metrics: Their step metrics are measured.
        every: Measure every so many optimizer steps.
        prefix: Before each key.
    """

    def __init__(
        self, metrics: MetricCollection, *, every: int = 1, prefix: str = "step/"
    ) -> None:
        self.metrics: MetricCollection = metrics
        self._every, self._prefix = every, prefix
        self._attached = ExitStack()

    @override
    def on_train_start(self, trainer: Trainer, module: Any) -> None:
        self._logged_step = trainer.global_step
        handle = self.metrics.attach(trainer.optimizers, module, every=self._every)
        self._handle = self._attached.enter_context(handle)

    @override
    def on_before_optimizer_step(
        self, trainer: Trainer, module: Any, optimizer: Any
    ) -> None:
        if not module.automatic_optimization:
            return  # who steps by hand has clipped by now, if ever
        groups = optimizer.param_groups
        parameters = [p for group in groups for p in group["params"]]
        self._handle.before_clipping(parameters, **_clipping_of(trainer, module))

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


def _clipping_of(trainer: Trainer, module: Any) -> dict[str, float | None]:
    """To what the Trainer is about to clip gradients, as far as that is known."""
    own = type(module).configure_gradient_clipping
    if own is not LightningModule.configure_gradient_clipping:
        return {"max_norm": math.nan}
    limit = trainer.gradient_clip_val or None
    by_value = "value" in str(trainer.gradient_clip_algorithm or "norm").lower()
    return {"max_value" if by_value else "max_norm": limit}
