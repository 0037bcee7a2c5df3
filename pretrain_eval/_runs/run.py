"""The records that both towers share: what one fine-tuning measured, in plain values."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, get_args

from typing_extensions import Self, override

from pretrain_eval._habits import refusal
from pretrain_eval._runs.checks import (
    Plain,
    check_name,
    check_outcomes,
    check_ranges,
    finite_scores,
    is_finite,
    plain_values,
    read_confusion,
    read_scales,
    read_table,
)
from pretrain_eval._runs.outcomes import Outcomes
from pretrain_eval._runs.record import FrozenDict, Record, restored
from pretrain_eval._runs.scale import Scale

Status = Literal["completed", "diverged", "error", "oom", "timeout", "pruned"]
MAX_SEED = 2**63 - 1  # a store's largest integer


@dataclass(frozen=True)
class Cost(Record):
    """What one fine-tuning cost; None is "not measured", never zero.

    Attributes:
        num_parameters: Parameters of the whole model.
        num_trainable_parameters: Those that the strategy trains.
        macs: Multiply-accumulate operations of one forward pass of one sample.
        seconds: Wall seconds of the training, without validation.
        total_seconds: Wall seconds of the whole run, all that was measured included.
        peak_memory: Bytes; on CUDA the allocator's peak, elsewhere the tensors that
            one training step holds at once (parameters, gradients, optimizer state
            and activations).
        num_samples: Samples that the training saw, repeats counted.

    >>> Cost(num_parameters=11_689_512, seconds=41.5).macs is None
    True
    """

    _: KW_ONLY
    num_parameters: int | None = None
    num_trainable_parameters: int | None = None
    macs: int | None = None
    seconds: float | None = None
    total_seconds: float | None = None
    peak_memory: int | None = None
    num_samples: int | None = None

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value is None:
                continue
            kinds = (int, float) if name.endswith("seconds") else (int,)
            valid = isinstance(value, kinds) and not isinstance(value, bool)
            if not valid or not is_finite(value) or value < 0:
                raise ValueError(
                    f"Cost expects {name} to be a number of at least 0 or None,"
                    f" got {value!r}"
                )


# Fields of a run are checked, stored and exported by their kind, so that a new one is
# written once. Names and columns are columns of a store's file: to add one is to begin
# a new version of its schema.
FieldKind = Literal[
    "name", "column", "plain", "scores", "scales", "table", "mapping", "nested"
]

_NAME, _COLUMN, _SCORES, _SCALES, _TABLE, _MAPPING, _NESTED = (
    {"kind": kind}
    for kind in ("name", "column", "scores", "scales", "table", "mapping", "nested")
)


@dataclass(frozen=True, repr=False)
class Run(Record):
    """One fine-tuning of one model on one dataset, as measured.

    `finetune` and `sweep` make runs; a run from a loop of one's own is just the record.

    Attributes:
        model: Name of the pretrained model.
        task: Name of the task.
        dataset: Label of the dataset inside the task.
        strategy: Name of the way to fine-tune.
        seed: The seed of the run, at least 0 and below 2**63.
        status: "completed"; "diverged" where the loss became NaN or infinite;
            "error", "oom" or "timeout" where the run did not finish; "pruned" where a
            race did not let it.
        message: What went wrong, for people; empty where nothing did.
        scores: Measured after fine-tuning, on the reported split, by metric key.
            Finite numbers; a score that is undefined is left out.
        baseline: The same metrics before fine-tuning, by a frozen evaluation.
        chance: The same metrics of a predictor that ignores its input.
        scales: The direction and range of each metric, as the metric declares it. A
            key that is not here and is none of this package's has no direction:
            evaluators ask for it.
        num_examples: Samples of the reported split.
        confusion: How often a class was taken for another on the reported split, as
            (target, prediction, count), the counts of at least 1, sorted; empty where
            it is unknown or a sample has no one class.
        outcomes: What was measured on each example of the reported split; None where it
            was not kept.
        curve: Validation during training: columns of equal length, one a metric key;
            the column `step` counts the optimizer steps done, and its first row is
            before training. Without `step` the rows are taken as evenly spaced.
        history: Step metrics during training: columns of equal length, one a metric
            key; the column `step` numbers the optimizer steps from 1.
        cost: What it cost.
        settings: What decided the result and is not a name: the strategy's
            configuration, for example `{"trainable": "head", "epochs": 5}`.
        versions: Versions of the packages that trained it.
        weights: The file that holds the trained weights; empty where they were not
            kept.

    Raises:
        ValueError: A name is empty, a number is not finite, a status is unknown, the
            columns of `curve` or `history` differ in length.

    >>> run = Run(
    ...     model="a",
    ...     task="t",
    ...     dataset="d",
    ...     strategy="full",
    ...     seed=0,
    ...     scores={"accuracy": 0.75},
    ...     baseline={"accuracy": 0.5},
    ... )
    >>> Run.from_json(run.to_json()) == run
    True
    """

    _: KW_ONLY
    model: str = field(metadata=_NAME)
    task: str = field(metadata=_NAME)
    dataset: str = field(metadata=_NAME)
    strategy: str = field(metadata=_NAME)
    seed: int = field(metadata=_COLUMN)
    status: Status = field(default="completed", metadata=_COLUMN)
    message: str = ""
    scores: Mapping[str, float] = field(default_factory=dict, metadata=_SCORES)
    baseline: Mapping[str, float] = field(default_factory=dict, metadata=_SCORES)
    chance: Mapping[str, float] = field(default_factory=dict, metadata=_SCORES)
    scales: Mapping[str, Scale] = field(default_factory=dict, metadata=_SCALES)
    num_examples: int | None = None
    confusion: tuple[tuple[int, int, int], ...] = field(default=(), metadata=_NESTED)
    outcomes: Outcomes | None = field(default=None, metadata=_NESTED)
    curve: Mapping[str, tuple[float, ...]] = field(
        default_factory=dict, metadata=_TABLE
    )
    history: Mapping[str, tuple[float, ...]] = field(
        default_factory=dict, metadata=_TABLE
    )
    cost: Cost = field(default_factory=Cost, metadata=_NESTED)
    settings: Mapping[str, Plain] = field(default_factory=dict, metadata=_MAPPING)
    versions: Mapping[str, str] = field(default_factory=dict, metadata=_MAPPING)
    weights: str = ""

    def __post_init__(self) -> None:
        for name in fields_of("name"):
            check_name(f"Run.{name}", getattr(self, name))
        self._check_values()
        confusion = read_confusion(f"{self.name}: confusion", self.confusion)
        total = sum(count for _, _, count in confusion)
        if confusion and self.num_examples not in (None, total):
            raise ValueError(
                f"{self.name}: confusion counts {total} examples, num_examples says"
                f" {self.num_examples}"
            )
        object.__setattr__(self, "confusion", confusion)
        check_outcomes(f"{self.name}: outcomes", self.outcomes, self.num_examples)
        for kind, checked in _CHECKS.items():
            for name in fields_of(kind):
                values = checked(f"{self.name}: {name}", self._mapping(name))
                object.__setattr__(self, name, FrozenDict(values))
        for name in fields_of("scores"):
            check_ranges(f"{self.name}: {name}", getattr(self, name), self.scales)

    @classmethod
    @override
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        if not isinstance(fields, Mapping):
            return super().from_dict(fields)
        read = dict(fields)
        kinds: dict[str, type[Record]] = {"cost": Cost, "outcomes": Outcomes}
        for name, kind in kinds.items():
            if isinstance(read.get(name), Mapping):
                read[name] = kind.from_dict(read[name])
        for name in fields_of("scores", "scales", "mapping"):
            # A mapping with a key "float" is no number, whatever it holds.
            if isinstance(read.get(name), Mapping):
                values = {key: restored(each) for key, each in read[name].items()}
                if name == "scales":
                    values = {key: _scale_of(ends) for key, ends in values.items()}
                read[name] = FrozenDict(values)
        return super().from_dict(read)

    def _check_values(self) -> None:
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(
                f"{self.name}: seed must be an int >= 0, got {self.seed!r}"
            )
        if self.seed > MAX_SEED:
            raise ValueError(f"{self.name}: seed must be below 2**63, got {self.seed}")
        if not isinstance(self.message, str):
            raise ValueError(f"{self.name}: message must be text, got {self.message!r}")
        # Half a character, as in a file's name of unknown encoding, cannot be written.
        message = self.message.encode(errors="backslashreplace").decode()
        object.__setattr__(self, "message", message)
        if self.status not in get_args(Status):
            raise ValueError(
                f"{self.name}: status must be one of {list(get_args(Status))},"
                f" got {self.status!r}"
            )
        if not isinstance(self.cost, Cost):
            raise ValueError(
                f"{self.name}: cost must be a Cost, got {self.cost!r}; write, for"
                " example, Cost(seconds=1.5)"
            )
        number = self.num_examples
        if number is not None and (type(number) is not int or number < 1):
            raise ValueError(
                f"{self.name}: num_examples must be an int >= 1 or None, got {number!r}"
            )

    if not TYPE_CHECKING:
        __getattr__ = refusal("run")

    def __repr__(self) -> str:
        # The fields themselves, curves and histories with them, are in to_dict().
        scores = "".join(f", {key} {value:.4g}" for key, value in self.scores.items())
        return f"Run({self.name}: {self.status}{scores})"

    @property
    def name(self) -> str:
        """How messages name the run, "model on task/dataset, strategy, seed".

        >>> Run(model="a", task="t", dataset="d", strategy="full", seed=0).name
        'a on t/d, full, seed 0'
        """
        return run_name(self.model, self.task, self.dataset, self.strategy, self.seed)

    def _mapping(self, name: str) -> Mapping[str, Any]:
        value = getattr(self, name)
        if not isinstance(value, Mapping):
            raise ValueError(f"{self.name}: {name} must be a mapping, got {value!r}")
        return value


@cache
def fields_of(*kinds: FieldKind) -> tuple[str, ...]:
    """Names of the fields of `Run` that are of one of these kinds, in their order."""
    return tuple(
        field.name
        for field in dataclasses.fields(Run)
        if field.metadata.get("kind", "plain") in kinds
    )


def _scale_of(ends: Any) -> Any:
    return Scale.from_dict(ends) if isinstance(ends, Mapping) else ends


def given_columns(*values: object) -> dict[str, object]:
    """Of the names, seed and status that a filter may ask for, those that it does."""
    columns = zip(fields_of("name", "column"), values, strict=True)
    return {name: value for name, value in columns if value is not None}


def run_name(model: str, task: str, dataset: str, strategy: str, seed: int) -> str:
    r"""How messages name a run, or one to be.

    >>> run_name("a\rb", "t", "d", "full", 0)
    'a\\rb on t/d, full, seed 0'
    """
    name = f"{model} on {task}/{dataset}, {strategy}, seed {seed}"
    # What would move a terminal's cursor is spelt out.
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


# What makes the values of a mapping valid, by kind.
_CHECKS: dict[FieldKind, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
    "scores": finite_scores,
    "scales": read_scales,
    "table": read_table,
    "mapping": plain_values,
}
