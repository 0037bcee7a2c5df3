"""Numbers a sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor
from torch.nn import functional as F
from typing_extensions import override

from pretrain_eval._metrics import Metrics
from pretrain_eval._metrics.predictions import MeanSquaredError, R2Score
from pretrain_eval._tasks.checks import check_count
from pretrain_eval._tasks.frozen import ridge
from pretrain_eval._tasks.kind import Before, Network, TaskKind
from pretrain_eval._tasks.samples import read_targets
from pretrain_eval._tasks.splits import Splits


@final
@dataclass(frozen=True)
class Regression(TaskKind):
    """Numbers to predict for each sample.

    Targets hold `num_outputs` numbers a sample, in any shape. The loss is the mean
    squared error; R² is reported first; before training stands ridge regression on the
    frozen features. The chance of R² is 0, that of the mean.

    Args:
        num_outputs: At least 1.
    """

    num_outputs: int
    before: ClassVar[Before | None] = "frozen"

    def __post_init__(self) -> None:
        check_count("num_outputs", self.num_outputs, 1)

    @override
    def metrics(self) -> Metrics:
        return [R2Score(), MeanSquaredError()]

    @override
    def learn(self, model: Network, batch: Any) -> tuple[Tensor, Tensor]:
        outputs, targets = self.read(model, batch)
        return outputs, targets.to(outputs.dtype).reshape(outputs.shape)

    @override
    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.mse_loss(outputs, targets)

    @override
    def check(self, what: str, splits: Splits) -> None:
        for part, split in splits.parts.items():
            targets = read_targets(split)
            strange = int((~targets.isfinite()).sum())
            if strange:
                raise ValueError(
                    f"{what}: {part} has {strange} targets that are NaN or infinite;"
                    " leave these samples out"
                )
            numbers = targets[:1].numel()
            if numbers != self.num_outputs:
                raise ValueError(
                    f"{what}: {part} has {numbers} numbers a sample as its target, of"
                    f" shape {tuple(targets.shape[1:])}; num_outputs says"
                    f" {self.num_outputs}"
                )

    @override
    def chance(self, splits: Splits) -> Mapping[str, float]:
        return {"r2": 0.0}

    @override
    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        numbers = targets.reshape(len(targets), -1)
        return lambda features: ridge(rows, numbers, features.flatten(1).float())

    @override
    def outcomes(self, outputs: Tensor, targets: Tensor) -> tuple[str, Tensor]:
        errors = (outputs.double() - targets.double()) ** 2
        return "mse", errors.reshape(len(errors), -1).mean(1)
