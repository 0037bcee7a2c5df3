"""A run as the two texts that a store keeps, and back without checking it again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from pretrain_eval._runs.errors import damaged
from pretrain_eval._runs.outcomes import Outcomes
from pretrain_eval._runs.record import FrozenDict, restored
from pretrain_eval._runs.run import Cost, Run, fields_of
from pretrain_eval._runs.scale import Scale

_FIELDS = {field.name for field in dataclasses.fields(Run)}
_COSTS = {field.name for field in dataclasses.fields(Cost)}
_TABLES, _MAPPINGS = fields_of("table"), fields_of("scores", "mapping")
_EMPTY: FrozenDict[str, Any] = FrozenDict()  # cannot change, so that all may share it


def to_json(value: object) -> str:
    """Standard JSON, in which equal values are equal texts."""
    return json.dumps(value, allow_nan=False)


def encoded(run: Run) -> tuple[str, str]:
    """Everything but the history, and the history; empty where there is none."""
    fields = run.to_dict()
    history = fields.pop("history")
    return to_json(fields), to_json(history) if history else ""


def decoded(path: Path, key: str, record: str, history: str) -> Run:
    """The run whose texts, verified by their checksums, lie under `key` in `path`."""
    try:
        fields = json.loads(record)
        fields["history"] = json.loads(history) if history else {}
        if fields.keys() != _FIELDS or fields["cost"].keys() != _COSTS:
            return Run.from_dict(fields)  # of another version of the package
    except (ValueError, AttributeError) as error:
        raise damaged(path, f"the run {key!r} cannot be read: {error}") from error
    # The checksum has shown that these are the fields of a valid run; to validate them
    # again would take most of the time of listing thousands.
    for name in _TABLES:
        columns = fields[name]
        values = map(restored, columns.values())
        table = zip(columns, values, strict=True)
        fields[name] = FrozenDict(table) if columns else _EMPTY
    for name in _MAPPINGS:
        plain = {key: restored(value) for key, value in fields[name].items()}
        fields[name] = FrozenDict(plain) if plain else _EMPTY
    scales = {key: Scale.from_dict(ends) for key, ends in fields["scales"].items()}
    fields["scales"] = FrozenDict(scales) if scales else _EMPTY
    fields["confusion"] = restored(fields["confusion"])
    if fields["outcomes"] is not None:
        fields["outcomes"] = _trusted(Outcomes, fields["outcomes"])
    fields["cost"] = _trusted(Cost, fields["cost"])
    run: Run = _trusted(Run, fields)
    return run


def _trusted(kind: type[Any], fields: dict[str, Any]) -> Any:
    record = object.__new__(kind)
    vars(record).update(fields)
    return record
