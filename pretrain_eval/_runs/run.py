"""The records that both towers share: what one fine-tuning measured, in plain values."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from functools import cache
from typing import Any, Literal, get_args

from pretrain_eval._runs.outcomes import Outcomes
from pretrain_eval._runs.record import FrozenDict, Record
from pretrain_eval._runs.scale import Scale

Status = Literal["completed", "diverged", "error", "oom", "timeout", "pruned"]
Plain = str | int | float | bool | None


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
            if not valid or not math.isfinite(value) or value < 0:
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


@dataclass(frozen=True)
class Run(Record):
    """One fine-tuning of one model on one dataset, as measured.

    `finetune` and `sweep` make runs; a run from a loop of one's own is just the record.

    Attributes:
        model: Name of the pretrained model.
        task: Name of the task.
        dataset: Label of the dataset inside the task.
        strategy: Name of the way to fine-tune.
        seed: The seed of the run, at least 0.
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
            _check_name(f"Run.{name}", getattr(self, name))
        self._check_values()
        confusion = _confusion(f"{self.name}: confusion", self.confusion)
        total = sum(count for _, _, count in confusion)
        if confusion and self.num_examples not in (None, total):
            raise ValueError(
                f"{self.name}: confusion counts {total} examples, num_examples says"
                f" {self.num_examples}"
            )
        object.__setattr__(self, "confusion", confusion)
        if isinstance(self.outcomes, Mapping):  # as read from JSON
            object.__setattr__(self, "outcomes", Outcomes.from_dict(self.outcomes))
        _check_outcomes(f"{self.name}: outcomes", self.outcomes, self.num_examples)
        for kind, checked in _CHECKS.items():
            for name in fields_of(kind):
                values = checked(f"{self.name}: {name}", self._mapping(name))
                object.__setattr__(self, name, FrozenDict(values))

    def _check_values(self) -> None:
        if type(self.seed) is not int or self.seed < 0:
            raise ValueError(
                f"{self.name}: seed must be an int >= 0, got {self.seed!r}"
            )
        if self.status not in get_args(Status):
            raise ValueError(
                f"{self.name}: status must be one of {list(get_args(Status))},"
                f" got {self.status!r}"
            )
        if isinstance(self.cost, Mapping):  # as read from JSON
            object.__setattr__(self, "cost", Cost.from_dict(self.cost))
        if not isinstance(self.cost, Cost):
            raise ValueError(f"{self.name}: cost must be a Cost, got {self.cost!r}")
        number = self.num_examples
        if number is not None and (type(number) is not int or number < 1):
            raise ValueError(
                f"{self.name}: num_examples must be an int >= 1 or None, got {number!r}"
            )

    @property
    def name(self) -> str:
        """How messages name the run: model on task/dataset, strategy, seed.

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


def run_name(model: str, task: str, dataset: str, strategy: str, seed: int) -> str:
    """How messages name a run, or one to be."""
    return f"{model} on {task}/{dataset}, {strategy}, seed {seed}"


def _check_name(what: str, value: object) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{what} must be a name, got {value!r}")


def _finite_scores(what: str, scores: Mapping[str, Any]) -> dict[str, float]:
    for key, value in scores.items():
        _check_name(f"{what}: a metric key", key)
        if not _is_number(value) or not math.isfinite(value):
            raise ValueError(
                f"{what}[{key!r}] must be a finite number, got {value!r}; leave out"
                " what is undefined"
            )
    return {key: float(value) for key, value in scores.items()}


def _scales(what: str, scales: Mapping[str, Any]) -> dict[str, Scale]:
    read = {}
    for key, scale in scales.items():
        _check_name(f"{what}: a metric key", key)
        if isinstance(scale, Mapping):  # as read from JSON
            scale = Scale.from_dict(scale)
        if not isinstance(scale, Scale):
            raise ValueError(
                f"{what}[{key!r}] must be a Scale, for example"
                f" Scale(better='lower', low=0.0), got {scale!r}"
            )
        read[key] = scale
    return read


def _confusion(what: str, triples: Iterable[Any]) -> tuple[tuple[int, int, int], ...]:
    found = tuple(tuple(triple) for triple in triples)
    for triple in found:
        if (
            len(triple) != 3
            or any(type(value) is not int for value in triple)
            or min(triple) < 0
            or triple[2] < 1
        ):
            raise ValueError(
                f"{what} expects (target, prediction, count) as int, classes from 0 and"
                f" counts from 1, got {triple}"
            )
    if any(b[:2] <= a[:2] for a, b in itertools.pairwise(found)):
        raise ValueError(f"{what} must be sorted, each pair of classes once")
    return found


def _check_outcomes(what: str, outcomes: Any, num_examples: int | None) -> None:
    if outcomes is None:
        return
    if not isinstance(outcomes, Outcomes):
        raise ValueError(f"{what} must be Outcomes or None, got {outcomes!r}")
    if num_examples not in (None, outcomes.num_examples):
        raise ValueError(
            f"{what} are of {outcomes.num_examples} examples, num_examples says"
            f" {num_examples}"
        )


def _table(what: str, columns: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    table = {}
    for key, column in columns.items():
        _check_name(f"{what}: a column", key)
        values = tuple(column)
        wrong = [value for value in values if not _is_number(value)]
        if wrong:
            raise ValueError(f"{what}[{key!r}] must hold numbers, got {wrong[0]!r}")
        kind = int if key == "step" else _float
        table[key] = tuple(kind(value) for value in values)
    lengths = {key: len(column) for key, column in table.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"{what} needs columns of equal length, got {lengths}")
    steps = table.get("step", ())
    if any(later <= earlier for earlier, later in itertools.pairwise(steps)):
        raise ValueError(f"{what}['step'] must increase, got {steps}")
    return table


def _float(value: Any) -> float:
    # One NaN object, so that two equal tables compare equal.
    number = float(value)
    return math.nan if math.isnan(number) else number


def _is_number(value: object) -> bool:
    # numpy's scalars are numbers of the abstract base, its bool and Python's are not.
    return hasattr(value, "__float__") and not isinstance(value, str | bool)


# What makes the values of a mapping valid, by kind.
_CHECKS: dict[FieldKind, Callable[[str, Mapping[str, Any]], dict[str, Any]]] = {
    "scores": _finite_scores,
    "scales": _scales,
    "table": _table,
    "mapping": lambda _, values: dict(values),
}
