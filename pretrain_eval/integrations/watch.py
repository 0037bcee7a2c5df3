"""What a training shows that another library's trainer does."""

from __future__ import annotations

import dataclasses
import time
from dataclasses import dataclass, field
from typing import final

from pretrain_eval._metrics import GradNorm, MetricCollection, UpdateRatio
from pretrain_eval._runs import Run
from pretrain_eval._training import Trial


@final
@dataclass
class Watch:
    """Steps, epochs and seconds of a training of `trial.network`.

    Attributes:
        trial: What is trained.
        metrics: Of the optimizer's steps, to be attached.
        curve: Columns of the validation curve.
    """

    trial: Trial
    metrics: MetricCollection = field(
        default_factory=lambda: MetricCollection(GradNorm(), UpdateRatio())
    )
    curve: dict[str, list[float]] = field(default_factory=lambda: {"step": []})
    _validating: float = 0.0
    _begun: float = field(default_factory=time.perf_counter)

    def add_point(self, step: int) -> None:
        """Validate the network as it is after so many steps."""
        start = time.perf_counter()
        self.curve["step"].append(step)
        for key, value in self.trial.validate(self.trial.network).items():
            self.curve.setdefault(key, []).append(value)
        self._validating += time.perf_counter() - start
        self.trial.check_time()

    def run(self, num_samples: int) -> Run:
        """The record of the trained network.

        Args:
            num_samples: How many it has learned from, repeats counted.
        """
        seconds = time.perf_counter() - self._begun - self._validating
        network = self.trial.network
        run = self.trial.report(network)
        trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
        finite = all(bool(p.isfinite().all()) for p in network.parameters())
        return dataclasses.replace(
            run,
            status="completed" if finite else "diverged",
            message="" if finite else "a weight was not finite at the end",
            scores=run.scores if finite else {},
            curve={key: tuple(column) for key, column in self.curve.items()},
            history=self.metrics.history,
            cost=dataclasses.replace(
                run.cost,
                seconds=seconds,
                num_samples=num_samples,
                num_trainable_parameters=trained,
            ),
        )
