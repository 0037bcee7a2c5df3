"""What a kind of problem says of itself, once, for all that train and score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from pretrain_eval._metrics import Metrics, logits
from pretrain_eval._tasks.reading import called, parted
from pretrain_eval._tasks.splits import Splits

Before = Literal["frozen", "untrained"]
Place = Literal["sample", "token", "pixel"]
# A network, or what stands in its place: a head alone, a frozen predictor.
Network = Callable[..., Any]


class TaskKind(ABC):
    """How a batch is read, learned from and scored, and what is known without training.

    A kind of one's own gives `metrics` and `loss`, and whatever differs from batches
    `(inputs, targets)` of which a network makes outputs that both read as they are.

    Attributes:
        num_outputs: Width of the head that the task needs; None: the model keeps its
            own.
        place: What one row of outputs is of. A head that is added to a model without
            one pools its features to it.
        before: What is scored before any training: "frozen", a predictor from frozen
            features, which `rows` and `frozen` make; "untrained", the pretrained model
            as it is; None, nothing.
        collate: Makes a batch of a list of samples, where torch's own does not and the
            model brings none.
        outcomes_of: Whether `outcomes` is asked batch by batch, or once for the whole
            split, where examples are scored by one another.
    """

    num_outputs: int | None = None
    place: ClassVar[Place] = "sample"
    before: ClassVar[Before | None] = None
    collate: Callable[[list[Any]], Any] | None = None
    outcomes_of: ClassVar[Literal["batch", "split"]] = "batch"

    @abstractmethod
    def metrics(self) -> Metrics:
        """New metrics, as `MetricCollection` takes them; the first is reported first."""

    @abstractmethod
    def loss(self, outputs: Any, targets: Any) -> Tensor:
        """The loss of what `learn` gave, where the strategy has none of its own."""

    def read(self, model: Network, batch: Any) -> tuple[Any, Any]:
        """What the model returns for a batch, and its targets, as they come.

        Args:
            model: While features are read, without its head.
            batch: On the model's device.
        """
        inputs, targets = parted(batch)
        return self.tensor(called(model, inputs)), targets

    def tensor(self, outputs: Any) -> Any:
        """The tensor in what a model returned."""
        return logits(outputs)

    def learn(self, model: Network, batch: Any) -> tuple[Any, Any]:
        """Outputs and targets for the loss; the model is in train mode."""
        return self.read(model, batch)

    def forward(self, model: Network, batch: Any) -> tuple[Any, Any]:
        """Outputs and targets for the metrics; the model is in eval mode."""
        return self.learn(model, batch)

    def check(self, what: str, splits: Splits) -> None:  # noqa: B027 # any targets are right
        """Raise ValueError where targets are not of this kind.

        Args:
            what: Task and dataset, for the message.
            splits: What is asked.
        """

    def posed(self, splits: Splits) -> Splits:
        """The splits as they are measured, where that differs from what is learned."""
        return splits

    def chance(self, splits: Splits) -> Mapping[str, float]:
        """By metric, what a predictor scores that ignores its input, where known."""
        return {}

    def rows(self, features: Tensor, targets: Any) -> tuple[Tensor, Tensor]:
        """Features as rows, `(num_rows, width)`, each with its target."""
        return features.flatten(1).float(), targets

    def frozen(self, rows: Tensor, targets: Tensor) -> Network:
        """A predictor that is fitted on rows and stands in the head's place.

        Returns:
            Called with features, gives outputs of the form of the model's.
        """
        raise NotImplementedError(
            f"{type(self).__name__} says before='frozen', so it needs frozen()"
        )

    def outcomes(self, outputs: Any, targets: Any) -> tuple[str, Tensor] | None:
        """The metric that is a mean over examples, and each example's value, `(N,)`."""
        return None

    def classes(self, outputs: Any, targets: Any) -> Tensor | None:
        """Each example's predicted class, `(N,)`, where it has one."""
        return None
