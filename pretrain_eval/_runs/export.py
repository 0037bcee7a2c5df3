"""Runs as text: exact lines of JSON, and flat rows for tables."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from pretrain_eval._optional import needs
from pretrain_eval._runs.checks import Plain
from pretrain_eval._runs.coding import to_json
from pretrain_eval._runs.file import is_database
from pretrain_eval._runs.run import Run, fields_of

_PLAIN = fields_of("name", "column", "plain")
_MAPPINGS = fields_of("scores", "mapping")


def write_lines(path: Path, items: Iterable[tuple[str, Run]]) -> None:
    """One JSON object a line, with `key` and `run`."""
    with _replacing(path) as file:
        for key, run in items:
            line = {"key": key, "run": run.to_dict()}
            file.write(to_json(line) + "\n")


def read_lines(path: Path) -> Iterator[tuple[str, Run]]:
    """The items that `write_lines` wrote, read one by one.

    Raises:
        OSError: At once, where the file cannot be read.
    """
    path.open("rb").close()
    return _read_lines(path)


def _read_lines(path: Path) -> Iterator[tuple[str, Run]]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            try:
                fields = json.loads(line)
                key, run = fields["key"], Run.from_dict(fields["run"])
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise ValueError(
                    f"{path}, line {number}: expected the JSON of a run and its key,"
                    f" got {line.strip()[:80]!r}: {error}"
                ) from error
            yield key, run


def flat_rows(items: Iterable[tuple[str, Run]]) -> list[dict[str, Plain]]:
    """One flat row a run, with columns such as `scores.accuracy` and `cost.macs`."""
    rows = []
    for key, run in items:
        row: dict[str, Plain] = {"key": key}
        row.update((name, getattr(run, name)) for name in _PLAIN)
        row.update((f"cost.{name}", cost) for name, cost in vars(run.cost).items())
        for mapping in _MAPPINGS:
            values = getattr(run, mapping)
            row.update((f"{mapping}.{name}", values[name]) for name in sorted(values))
        for name, scale in sorted(run.scales.items()):
            row.update((f"scales.{name}.{end}", x) for end, x in vars(scale).items())
        rows.append(row)
    return rows


def write_csv(path: Path, items: Iterable[tuple[str, Run]]) -> None:
    """The flat rows under the union of their columns; what a run lacks is empty."""
    rows = flat_rows(items)
    names = _columns_of(rows)
    with _replacing(path) as file:
        writer = csv.DictWriter(file, names, lineterminator="\n")
        # A carriage return ends a row for who reads it, but csv does not quote it.
        quoting = csv.DictWriter(
            file, names, lineterminator="\n", quoting=csv.QUOTE_ALL
        )
        header: dict[str, Plain] = dict(zip(names, names, strict=True))
        for row in [header, *rows]:
            written = {name: _without_nul(value) for name, value in row.items()}
            has_return = "\r" in "".join(map(str, written.values()))
            (quoting if has_return else writer).writerow(written)


def _without_nul(value: Plain) -> Plain:
    r"""The character 0 as `\x00`: csv of Python 3.10 neither writes nor reads it."""
    return value.replace("\0", r"\x00") if isinstance(value, str) else value


def write_parquet(path: Path, items: Iterable[tuple[str, Run]]) -> None:
    """The flat rows, typed by column; text where a column mixes kinds of values."""
    rows = flat_rows(items)
    frame = needs("parquet").DataFrame(rows, columns=_columns_of(rows))
    for name in frame.columns:
        kinds = {type(row[name]) for row in rows if row.get(name) is not None}
        if len(kinds) > 1 and kinds != {int, float}:
            words = [row.get(name) for row in rows]
            frame[name] = [None if each is None else str(each) for each in words]
    with _replaced(path) as partial:
        frame.to_parquet(partial, engine="pyarrow", index=False)


def _columns_of(rows: Iterable[Mapping[str, Plain]]) -> list[str]:
    first = ["key", *_PLAIN]
    return [*first, *sorted({name for row in rows for name in row}.difference(first))]


@contextmanager
def _replacing(path: Path) -> Iterator[TextIO]:
    """A file of text that takes the place of `path` only when it is complete."""
    with (
        _replaced(path) as partial,
        partial.open("w", encoding="utf-8", newline="") as file,
    ):
        yield file


@contextmanager
def _replaced(path: Path) -> Iterator[Path]:
    """A name for a file that takes the place of `path` only when it is complete."""
    if path.exists() and is_database(path):
        raise FileExistsError(f"{path} is a database; export to another file")
    partial = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename is not None:  # it says where
            raise
        raise type(error)(error.errno, f"{path}: {error.strerror}") from error
    finally:
        partial.unlink(missing_ok=True)
