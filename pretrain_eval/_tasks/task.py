"""What is asked of a model: tasks with their datasets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass, field

from torch import Tensor

from pretrain_eval._runs import FrozenDict, majority_levels
from pretrain_eval._tasks.checks import check_count, check_name
from pretrain_eval._tasks.samples import read_targets
from pretrain_eval._tasks.splits import Split, Splits


@dataclass(frozen=True)
class Task:
    """A kind of problem, and the datasets that pose it.

    Args:
        name: How records name it.
        datasets: A `Splits` by label; the labels name domains or corpora in the task.
        num_classes: Number of classes; targets are class indices. At least 2.
        num_outputs: Instead, for regression: numbers to predict for each sample.

    Raises:
        ValueError: No dataset, both or none of the numbers, a label outside
            0..num_classes-1, or a training split of a single class.

    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> train = TensorDataset(torch.randn(8, 3), torch.arange(8) % 2)
    >>> valid = TensorDataset(torch.randn(4, 3), torch.arange(4) % 2)
    >>> task = Task("parity", datasets={"clean": Splits(train, valid)}, num_classes=2)
    >>> task.chance["clean"]["accuracy"]
    0.5
    """

    name: str
    _: KW_ONLY
    datasets: Mapping[str, Splits]
    num_classes: int | None = None
    num_outputs: int | None = None
    _chance: Mapping[str, Mapping[str, float]] = field(
        init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        check_name("Task", self.name)
        if not isinstance(self.datasets, Mapping) or not self.datasets:
            raise ValueError(
                f"task {self.name!r} expects datasets={{label: Splits(...)}},"
                f" got {self.datasets!r}"
            )
        for label, splits in self.datasets.items():
            check_name("a dataset label", label)
            if not isinstance(splits, Splits):
                raise TypeError(
                    f"task {self.name!r} expects Splits for {label!r},"
                    f" got {type(splits).__name__}"
                )
        object.__setattr__(self, "datasets", FrozenDict(self.datasets))
        if (self.num_classes is None) == (self.num_outputs is None):
            raise ValueError(
                f"task {self.name!r} expects num_classes for classification or"
                f" num_outputs for regression, got num_classes={self.num_classes!r} and"
                f" num_outputs={self.num_outputs!r}"
            )
        if self.num_classes is not None:
            check_count(f"task {self.name!r}: num_classes", self.num_classes, 2)
        else:
            check_count(f"task {self.name!r}: num_outputs", self.num_outputs, 1)
        levels = {
            label: FrozenDict(self._checked_chance(label, splits))
            for label, splits in self.datasets.items()
        }
        object.__setattr__(self, "_chance", FrozenDict(levels))

    @property
    def output_size(self) -> int:
        """Width of the head that the task needs."""
        return self.num_classes or self.num_outputs or 0

    @property
    def is_classification(self) -> bool:
        """Whether targets are class indices."""
        return self.num_classes is not None

    @property
    def chance(self) -> Mapping[str, Mapping[str, float]]:
        """By dataset, each metric of the best predictor that ignores its input.

        For classes that is the majority class of the reported split, of share π:
        accuracy π, macro recall 1/C, macro precision π/C, macro F1 2π/(1+π)/C.
        """
        return self._chance

    def _checked_chance(self, label: str, splits: Splits) -> dict[str, float]:
        if self.num_classes is None:
            return {"r2": 0.0}
        counts = {
            part: self._class_counts(f"{self.name}/{label}: {part}", split)
            for part, split in splits.parts.items()
        }
        present = int((counts["train"] > 0).sum())
        if present < 2:
            raise ValueError(
                f"{self.name}/{label}: the training split holds a single class; a"
                " classifier needs samples of at least two"
            )
        reported = counts["valid" if splits.test is None else "test"]
        # Rounded to float32, as in the runs of every store that there is.
        share = float(reported.max() / reported.sum())
        return majority_levels(share, self.num_classes)

    def _class_counts(self, what: str, split: Split) -> Tensor:
        classes = self.num_classes or 0
        targets = read_targets(split)
        if targets.is_floating_point() or targets.ndim != 1:
            raise ValueError(
                f"{what} must have integer class targets, one a sample, got shape"
                f" {tuple(targets.shape)} of {targets.dtype}; for regression give"
                " num_outputs instead of num_classes"
            )
        low, high = int(targets.min()), int(targets.max())
        if low < 0 or high >= classes:
            raise ValueError(
                f"{what} holds the label {low if low < 0 else high}; num_classes="
                f"{classes} allows 0..{classes - 1}"
            )
        return targets.long().bincount(minlength=classes)
