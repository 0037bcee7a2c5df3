"""The parts of one dataset: what is learned from, watched and reported."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch.utils.data import DataLoader, Dataset

from pretrain_eval._tasks.overlap import same_samples
from pretrain_eval._tasks.samples import is_empty
from pretrain_eval._tasks.views import Target, viewed

Split = Dataset[Any] | DataLoader[Any]


@dataclass(frozen=True)
class Splits:
    """The parts of one dataset: one to train on, one to watch, one to report.

    A part holds samples by index, batched as the strategy says: a map-style dataset of
    torch, a `datasets.Dataset`, a pandas `DataFrame`, a list; or it is a `DataLoader`,
    used as it is. A sample is `(inputs, target)`; a longer tuple that ends in its
    target; or a mapping with `labels` or `label`. Nothing is ever selected on the
    reported part: no epoch, no strategy, no model.

    Args:
        train: What the model is fine-tuned on.
        valid: Measured after every epoch, for the validation curve.
        test: The reported part; by default it is `valid`.
        target: Which entry of a sample is its target, by name or place, where samples
            are of another form: `"rating"`, or 1 of `(user, rating, item)`.
        allow_overlap: Accept a reported part that shares samples with `train`.

    Raises:
        TypeError: A part gives no samples by index, or has no length.
        ValueError: A part is empty, or `train` shares samples with a measured part, as
            far as can be told: by index, by file, or by content in memory.
    """

    train: Split
    valid: Split
    test: Split | None = None
    _: KW_ONLY
    target: Target | None = None
    allow_overlap: bool = False

    def __post_init__(self) -> None:
        for name, split in self.parts.items():
            part = viewed(split, self.target)
            if not isinstance(part, Dataset | DataLoader):
                raise TypeError(
                    f"Splits.{name} must hold samples by index, as a map-style Dataset,"
                    f" a list or a DataFrame, or be a DataLoader, got"
                    f" {type(split).__module__}.{type(split).__name__}"
                )
            object.__setattr__(self, name, part)
        for name, split in self.parts.items():
            if is_empty(split, f"Splits.{name}"):
                raise ValueError(f"Splits.{name} is empty; it needs samples")
        for name, split in self.parts.items():
            if name == "train" or self.allow_overlap:
                continue
            if same_samples(self.train, split):
                raise ValueError(
                    f"Splits.train and Splits.{name} share samples, so that scores"
                    " would be optimistic; split the data, or say allow_overlap=True,"
                    " also where their equal rows are honest ones of few values"
                )

        # Read as it is from now on, so that copies of these splits are.
        object.__setattr__(self, "target", None)

    @property
    def parts(self) -> dict[str, Split]:
        """The parts that exist, by name."""
        parts = {"train": self.train, "valid": self.valid}
        return parts if self.test is None else parts | {"test": self.test}

    @property
    def reported(self) -> Split:
        """The part that scores are measured on."""
        return self.valid if self.test is None else self.test
