"""The parts of one dataset: what is learned from, watched and reported."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import TYPE_CHECKING, Any, Protocol

from torch.utils.data import DataLoader, Dataset
from typing_extensions import Self

from pretrain_eval._tasks.overlap import same_samples
from pretrain_eval._tasks.samples import is_empty
from pretrain_eval._tasks.stream import Stream
from pretrain_eval._tasks.views import Target, viewed

Split = Dataset[Any] | DataLoader[Any]


class Samples(Protocol):
    """Samples by index: a list, a `datasets.Dataset`, a pandas `DataFrame`."""

    def __getitem__(self, index: Any, /) -> Any:
        """One of them, or a column of a frame."""
        ...

    def __len__(self) -> int:
        """How many there are."""
        ...


@dataclass(frozen=True)
class Splits:
    """The parts of one dataset: one to train on, one to watch, one to report.

    A part holds samples by index, batched as the strategy says: a map-style dataset of
    torch, a `datasets.Dataset`, a pandas `DataFrame`, a list; or it is a `DataLoader`,
    used as it is; `train` may also be a `Stream`. A sample is `(inputs, target)`; a longer tuple that ends in its
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

    if TYPE_CHECKING:
        # A list and the like become a Dataset here: more is taken than is held.
        def __init__(
            self,
            train: Split | Samples,
            valid: Split | Samples,
            test: Split | Samples | None = None,
            *,
            target: Target | None = None,
            allow_overlap: bool = False,
        ) -> None: ...

    def __post_init__(self) -> None:
        for name, split in self.parts.items():
            part = self._viewed(name, split)
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

    @classmethod
    def of(cls, module: Any, *, target: Target | None = None) -> Self:
        """The splits of a Lightning data module, whose loaders are used as they are.

        Its data are prepared and set up; the reported split is that of
        `test_dataloader`, where it has one.

        Args:
            module: A `LightningDataModule`.
            target: As in `Splits`.

        Raises:
            TypeError: It has no `train_dataloader` and `val_dataloader`, or one of them
                gives several loaders.
        """
        wanted = ("train_dataloader", "val_dataloader")
        if not all(callable(getattr(module, name, None)) for name in wanted):
            raise TypeError(
                "Splits.of expects a Lightning data module with train_dataloader and"
                f" val_dataloader, got {type(module).__name__}"
            )
        module.prepare_data()
        module.setup("fit")
        train, valid = module.train_dataloader(), module.val_dataloader()
        test = _test_loader(module)
        for name, part in (("train", train), ("val", valid), ("test", test)):
            if isinstance(part, list | tuple | dict):
                raise TypeError(
                    f"{type(module).__name__}.{name}_dataloader gives {len(part)} loaders;"
                    " make a Splits of each set that is to be measured"
                )
        return cls(train, valid, test, target=target)

    def _viewed(self, name: str, split: Any) -> Any:
        if not isinstance(split, Stream):
            return viewed(split, self.target)
        if name != "train":
            raise TypeError(
                f"Splits.{name} must hold samples by index, got a Stream, which is to"
                " train on alone: of what is measured every sample is compared"
            )
        return split if self.target is None else split.changed(target=self.target)

    @property
    def parts(self) -> dict[str, Split]:
        """The parts that exist, by name."""
        parts = {"train": self.train, "valid": self.valid}
        return parts if self.test is None else parts | {"test": self.test}

    @property
    def reported(self) -> Split:
        """The part that scores are measured on."""
        return self.valid if self.test is None else self.test


def _test_loader(module: Any) -> Any:
    """What a data module reports on; None where it has nothing for that."""
    own = getattr(type(module), "test_dataloader", None)
    if own is None or own.__module__.partition(".")[0] in (
        "lightning",
        "pytorch_lightning",
    ):
        return None
    module.setup("test")
    return module.test_dataloader()
