"""What makes the values of a run valid: each check says what was expected and came."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from typing import Any

from pretrain_eval._runs.outcomes import Outcomes
from pretrain_eval._runs.scale import Scale

Plain = str | int | float | bool | None


def is_name(value: object) -> bool:
    r"""Whether it is a text that is not blank and can be written.

    >>> is_name("résumé"), is_name(" "), is_name("half of a pair: \ud800")
    (True, False, False)
    """
    if not isinstance(value, str) or not value.strip():
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_name(what: str, value: object) -> None:
    """Refuse what cannot name anything."""
    if not is_name(value):
        raise ValueError(f"{what} must be a name, got {value!r}")


def finite_scores(what: str, scores: Mapping[str, Any]) -> dict[str, float]:
    """Scores by metric key, as floats."""
    for key, value in scores.items():
        check_name(f"{what}: a metric key", key)
        if not _is_number(value) or not is_finite(value):
            raise ValueError(
                f"{what}[{key!r}] must be a finite number, got {value!r}; leave out"
                " what is undefined"
            )
    return {key: float(value) for key, value in scores.items()}


def read_scales(what: str, scales: Mapping[str, Any]) -> dict[str, Scale]:
    """Scales by metric key."""
    for key, scale in scales.items():
        check_name(f"{what}: a metric key", key)
        if not isinstance(scale, Scale):
            raise ValueError(
                f"{what}[{key!r}] must be a Scale, for example"
                f" Scale(better='lower', low=0.0), got {scale!r}"
            )
    return dict(scales)


def check_local(path: object) -> None:
    """Refuse a URL where a store's path is asked for."""
    if "://" in str(path):
        raise ValueError(
            f"a run store is a file of this machine, got the URL {str(path)!r}; give its"
            " path, such as 'runs.db'"
        )


def check_ranges(
    what: str, scores: Mapping[str, float], scales: Mapping[str, Scale]
) -> None:
    """Refuse a score that its run's own scale excludes."""
    for key, scale in scales.items():
        if key in scores and not scale.holds(scores[key]):
            raise ValueError(
                f"{what}[{key!r}] must lie in its range, {scale}, got {scores[key]}"
            )


def plain_values(what: str, values: Mapping[str, Any]) -> dict[str, Plain]:
    """Values that JSON knows, by name."""
    plain = {}
    for key, value in values.items():
        check_name(f"{what}: a key", key)
        if hasattr(value, "dtype") and hasattr(value, "item") and not value.shape:
            value = value.item()  # a scalar of numpy's
        if isinstance(value, str):
            value = value.encode(errors="backslashreplace").decode()
        if not isinstance(value, Plain):
            raise ValueError(
                f"{what}[{key!r}] must be text, a number, a bool or None, got {value!r}"
            )
        plain[key] = value
    return plain


def read_confusion(
    what: str, triples: Iterable[Any]
) -> tuple[tuple[int, int, int], ...]:
    """Sorted triples of integers."""
    try:
        found = tuple(tuple(triple) for triple in triples)
    except TypeError as error:
        raise ValueError(
            f"{what} expects triples (target, prediction, count), got {triples!r}"
        ) from error
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


def check_outcomes(what: str, outcomes: Any, num_examples: int | None) -> None:
    """Refuse what are no outcomes, or those of other examples."""
    if outcomes is None:
        return
    if not isinstance(outcomes, Outcomes):
        raise ValueError(f"{what} must be Outcomes or None, got {outcomes!r}")
    if num_examples not in (None, outcomes.num_examples):
        raise ValueError(
            f"{what} are of {outcomes.num_examples} examples, num_examples says"
            f" {num_examples}"
        )


def read_table(what: str, columns: Mapping[str, Iterable[Any]]) -> dict[str, Any]:
    """Columns of numbers, of one length, by name."""
    table = {}
    for key, column in columns.items():
        check_name(f"{what}: a column", key)
        values = tuple(column) if isinstance(column, Iterable) else (column,)
        wrong = [value for value in values if not _is_number(value)]
        if wrong or not isinstance(column, Iterable):
            got = wrong[0] if wrong else column
            raise ValueError(f"{what}[{key!r}] must hold numbers, got {got!r}")
        kind = _step if key == "step" else _float
        try:
            table[key] = tuple(kind(value) for value in values)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{what}[{key!r}] must hold numbers: {error}") from error
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


def _step(value: Any) -> int:
    number = int(value)
    if number != value:
        raise ValueError(f"a step is whole, got {value!r}")
    return number


def is_finite(value: Any) -> bool:
    """Whether a number is one, and neither NaN nor infinite."""
    try:
        return math.isfinite(value)
    except (TypeError, ValueError, OverflowError):  # of a tensor, of a vast integer
        return False


def _is_number(value: object) -> bool:
    # numpy's scalars are numbers of the abstract base, its bool and Python's are not.
    return hasattr(value, "__float__") and not isinstance(value, str | bool)
