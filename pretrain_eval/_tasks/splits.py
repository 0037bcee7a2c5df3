"""The parts of one dataset: what is learned from, watched and reported."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from pretrain_eval._tasks.samples import is_empty, same_samples

Split = Dataset[Any] | DataLoader[Any]


@dataclass(frozen=True)
class Splits:
    """The parts of one dataset: one to train on, one to watch, one to report.

    A part is a map-style `torch.utils.data.Dataset` of `(input, target)`, batched as the
    strategy says, or a `DataLoader`, used as it is. Nothing is ever selected on the
    reported part: no epoch, no strategy, no model.

    Args:
        train: What the model is fine-tuned on.
        valid: Measured after every epoch, for the validation curve.
        test: The reported part; by default it is `valid`.
        allow_overlap: Accept a reported part that shares samples with `train`.

    Raises:
        TypeError: A part is neither a Dataset nor a DataLoader, or has no length.
        ValueError: A part is empty, or `train` shares samples with a measured part.
    """

    train: Split
    valid: Split
    test: Split | None = None
    _: KW_ONLY
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        for name, split in self.parts.items():
            if not isinstance(split, Dataset | DataLoader):
                raise TypeError(
                    f"Splits.{name} must be a torch Dataset of (input, target) or a"
                    f" DataLoader, got {type(split).__name__}"
                )
            if is_empty(split, f"Splits.{name}"):
                raise ValueError(f"Splits.{name} is empty; it needs samples")
        for name, split in self.parts.items():
            if name == "train" or self.allow_overlap:
                continue
            if same_samples(self.train, split):
                raise ValueError(
                    f"Splits.train and Splits.{name} share samples, so that scores"
                    " would be optimistic; split the data, or say allow_overlap=True"
                )

    @property
    def parts(self) -> dict[str, Split]:
        """The parts that exist, by name."""
        parts = {"train": self.train, "valid": self.valid}
        return parts if self.test is None else parts | {"test": self.test}

    @property
    def reported(self) -> Split:
        """The part that scores are measured on."""
        return self.valid if self.test is None else self.test
