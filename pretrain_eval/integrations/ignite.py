"""Step metrics in an engine of ignite."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from ignite.engine import Engine, Events
from torch import nn
from torch.optim import Optimizer

from pretrain_eval._metrics import MetricCollection
from pretrain_eval._steps import Attachment


@contextmanager
def attached(
    metrics: MetricCollection,
    trainer: Engine,
    optimizer: Optimizer | Sequence[Optimizer],
    model: nn.Module | None = None,
    *,
    every: int = 1,
    event: Events = Events.EPOCH_COMPLETED,
    prefix: str = "step/",
) -> Iterator[Attachment]:
    """Measure an engine's steps and put the values into its `state.metrics`.

    `with attached(metrics, trainer, optimizer): trainer.run(loader)`. A block, since
    whatever handles an engine's exceptions also swallows them.

    Args:
        metrics: Their step metrics are measured.
        trainer: Runs the training.
        optimizer: Steps in it.
        model: Gives the parameters their names.
        every: Measure every so many optimizer steps.
        event: When to put the values of the steps since the event before it.
        prefix: Before each key.
    """

    def report(engine: Engine) -> None:
        engine.state.metrics |= metrics.step_values(prefix)

    with metrics.attach(optimizer, model, every=every) as handle:
        handler = trainer.add_event_handler(event, report)
        try:
            yield handle
        finally:
            handler.remove()
