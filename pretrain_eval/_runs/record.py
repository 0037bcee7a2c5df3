"""Frozen records of plain values, and their exact JSON round trip."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from typing import Any, Generic, NoReturn, TypeVar

from typing_extensions import Self

K = TypeVar("K")
V = TypeVar("V")


class FrozenDict(dict[K, V], Generic[K, V]):
    """A dict that cannot be changed, so that a record that holds it is frozen."""

    def _refuse(self, *_: object, **__: object) -> NoReturn:
        raise TypeError("a record cannot be changed; use dataclasses.replace")

    __setitem__ = __delitem__ = __ior__ = _refuse
    update = pop = popitem = clear = setdefault = _refuse

    def __hash__(self) -> int:  # type: ignore[override] # dict has none
        return hash(frozenset(self.items()))

    def __reduce__(self) -> tuple[object, ...]:
        return type(self), (dict(self),)


class Record:
    """The exact JSON round trip of a frozen dataclass."""

    def to_dict(self) -> dict[str, Any]:
        """The fields as plain lists, dicts, strings and numbers."""
        return {
            f.name: _plain(getattr(self, f.name))
            for f in dataclasses.fields(self)  # type: ignore[arg-type]
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Self:
        """The record whose `to_dict` gave `fields`.

        Raises:
            ValueError: `fields` misses a required name, holds an unknown one, or a value
                that is refused.
        """
        if not isinstance(fields, Mapping):
            raise ValueError(
                f"{cls.__name__} is read from its fields by name, got {fields!r:.80}"
            )
        known = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
        unknown = sorted(set(fields) - set(known))
        if unknown:
            raise ValueError(
                f"{cls.__name__} has no field {unknown}; it has {sorted(known)}"
            )
        try:
            return cls(**{name: restored(value) for name, value in fields.items()})
        except (TypeError, AttributeError, RecursionError) as error:
            raise ValueError(
                f"{cls.__name__} cannot be read from {dict(fields)!r:.500}: {error}"
            ) from error

    def to_json(self) -> str:
        """One line of standard JSON; floats survive to the last bit."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record whose `to_json` gave `text`.

        Raises:
            ValueError: It is no JSON, or is refused by `from_dict`.
        """
        try:
            fields = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ValueError(
                f"{cls.__name__}.from_json expects the text of a JSON object, got"
                f" {text!r:.80}: {error}"
            ) from error
        return cls.from_dict(fields)


# Standard JSON has no NaN and no infinity; a history may hold both.
_NUMBERS = frozenset({int, float})
_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, tuple):
        return [_plain(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        name = "NaN" if math.isnan(value) else "Infinity"
        return {"float": f"-{name}" if value < 0 else name}
    return value


def restored(value: Any) -> Any:
    """A field as `to_dict` found it: lists as tuples, NaN and infinity as floats."""
    if isinstance(value, FrozenDict):
        return value  # it has been read
    if isinstance(value, dict):
        if value.keys() == {"float"} and value["float"] in _NON_FINITE:
            return _NON_FINITE[value["float"]]
        return {key: restored(each) for key, each in value.items()}
    if isinstance(value, list):
        if _NUMBERS.issuperset(map(type, value)):
            return tuple(value)  # nearly always, and often thousands of numbers
        return tuple(restored(each) for each in value)
    return value
