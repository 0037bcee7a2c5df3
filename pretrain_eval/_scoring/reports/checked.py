"""What makes the fields of a report valid: each refusal names the field and what came."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from pretrain_eval._runs import FrozenDict, Record, is_name

R = TypeVar("R", bound=Record)
Right = Callable[[Any], bool]


def check(record: Record, what: str, right: Right, *names: str) -> None:
    """Refuse a record of which one of the named fields is not what is expected."""
    for name in names:
        value = getattr(record, name)
        if not right(value):
            raise ValueError(
                f"{type(record).__name__}.{name} must be {what}, got {value!r:.80}"
            )


def restore(
    record: Record, kind: type[Record], *names: str, optional: bool = False
) -> None:
    """Have the named fields hold records, also where JSON gave their fields.

    Raises:
        ValueError: One is neither, or its fields are refused.
    """
    for name in names:
        object.__setattr__(record, name, restored(kind, getattr(record, name)))
    what = f"{kind.__name__} or the fields of one"
    if optional:
        check(record, f"{what}, or None", or_none(of(kind)), *names)
    else:
        check(record, what, of(kind), *names)


def restore_each(record: Record, kind: type[Record], *names: str) -> None:
    """Have the named fields hold tuples of records, as `restore` does with one."""
    for name in names:
        value = getattr(record, name)
        if isinstance(value, tuple | list):
            read = tuple(restored(kind, each) for each in value)
            object.__setattr__(record, name, read)
    check(record, f"a tuple of {kind.__name__}", each_is(of(kind)), *names)


def restored(kind: type[R], value: Any) -> Any:
    """A record from the plain dict that JSON gives, or what else there is."""
    return kind.from_dict(value) if isinstance(value, Mapping) else value


def freeze(record: Record, *names: str) -> None:
    """Have the named fields hold mappings that cannot be changed."""
    for name in names:
        object.__setattr__(record, name, FrozenDict(getattr(record, name)))


# --- what is expected


def of(kind: type[Record]) -> Right:
    """A record of a kind."""
    return lambda value: isinstance(value, kind)


def or_none(right: Right) -> Right:
    """That, or None."""
    return lambda value: value is None or right(value)


def each_is(right: Right, size: int | None = None) -> Right:
    """A tuple of those, of a size where one is given."""
    return lambda value: (
        isinstance(value, tuple)
        and size in (None, len(value))
        and all(map(right, value))
    )


def by_name(right: Right, names: Callable[[Any], bool] = is_name) -> Right:
    """A mapping of names to those."""
    return lambda value: (
        isinstance(value, Mapping)
        and all(map(names, value))
        and all(map(right, value.values()))
    )


def is_text(value: object) -> bool:
    """Whether it is a text, also an empty one."""
    return isinstance(value, str)


def is_number(value: object) -> bool:
    """Whether it is a number, NaN and infinity among them; a bool is none.

    >>> is_number(0.5), is_number(True), is_number("0.5"), is_number(10**400)
    (True, False, False, False)
    """
    if isinstance(value, bool) or not hasattr(value, "__float__"):
        return False
    try:
        float(value)
    except (TypeError, ValueError, OverflowError):  # a tensor of many, a vast integer
        return False
    return True


def is_finite(value: Any) -> bool:
    """Whether it is a number, neither NaN nor infinite."""
    return is_number(value) and math.isfinite(value)


def is_share(value: Any) -> bool:
    """Whether it is a number from 0 to 1.

    >>> is_share(0.5), is_share(1.5), is_share(float("nan"))
    (True, False, False)
    """
    return is_number(value) and 0 <= value <= 1


def is_rate(value: Any) -> bool:
    """Whether it is a number between 0 and 1, neither of them."""
    return is_number(value) and 0 < value < 1


def is_size(value: Any) -> bool:
    """Whether it is a number of at least 0, infinity among them."""
    return is_number(value) and value >= 0


def is_count(value: object) -> bool:
    """Whether it is a whole number of at least 0."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_positive(value: object) -> bool:
    """Whether it is a whole number of at least 1."""
    return is_count(value) and value != 0
