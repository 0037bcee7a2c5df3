"""The rows of a store's file: verified as they are read, counted as they are written."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, final

from pretrain_eval._runs.errors import (
    MovedError,
    closed_store,
    damaged,
    no_store,
    readable_errors,
)
from pretrain_eval._runs.file import (
    COLUMNS,
    added,
    checksum,
    closed,
    copied,
    identity,
    log_of,
    made,
    opened,
    tidied,
)

_COLUMNS = ", ".join(COLUMNS)


def _marks(number: int) -> str:
    """Places for so many values in a statement."""
    return ", ".join("?" * number)


@final
class Database:
    """A file of runs, which threads may share.

    Args:
        path: The file; where none exists, the first write makes it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock, self._is_closed = threading.RLock(), False
        self._connection: sqlite3.Connection | None = None
        with readable_errors(path):
            if tidied(path):
                self._open()

    def _open(self, *, again: bool = False) -> None:
        self._connection, self._file = opened(self.path, again=again)
        self._is_closed = False
        # A file that is only read has none.
        self._log = identity(log_of(self.path))

    def exists(self) -> bool:
        """Whether there is a file: of this process, or made by another one since."""
        with self._lock, readable_errors(self.path):
            if self._connection is None and self._is_closed:
                raise closed_store(self.path)
            if self._connection is None and self.path.exists():
                self._open()
            return self._connection is not None

    @property
    def connection(self) -> sqlite3.Connection:
        """The open file.

        Raises:
            FileNotFoundError: There is none yet.
        """
        if not self.exists() or self._connection is None:
            raise no_store(self.path)
        return self._connection

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """No other thread uses the connection in the block."""
        with self._lock, readable_errors(self.path):
            yield self.connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """All that is written in the block, or in blocks within it, or nothing.

        Raises:
            MovedError: What is or was written is not in the file at the path.
        """
        with self._lock, readable_errors(self.path):
            if not self.exists():
                made(self.path)
            if self.connection.in_transaction:  # one write of several
                yield self.connection
                return
            self._check_place()
            self.connection.execute("BEGIN IMMEDIATE")
            try:
                yield self.connection
                self.connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors.
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            if not self._is_in_place():
                raise MovedError

    def _check_place(self) -> None:
        if identity(self.path) != self._file:
            raise MovedError
        if not self._is_in_place():
            # Only the log was taken away, by a process that had written all of it into
            # the file; with another log the file is whole.
            before = self._file
            self.close()
            self._open(again=True)
            if self._file != before:
                raise MovedError

    def _is_in_place(self) -> bool:
        """Whether the file and its log are those that were opened."""
        if identity(self.path) != self._file:
            return False
        return self._log is None or identity(log_of(self.path)) == self._log

    def discard_log(self) -> None:
        """Remove the log of a lost file, which SQLite would write into another one."""
        if self._log is not None and identity(log_of(self.path)) == self._log:
            for end in ("-wal", "-shm"):
                with suppress(OSError):
                    self.path.with_name(f"{self.path.name}{end}").unlink()

    def settle(self) -> None:
        """Write the log into the file, so that the file alone is the whole store."""
        with self._lock, suppress(sqlite3.Error):  # the log is as durable
            if not self.connection.in_transaction:
                self.connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()

    def copy(self, path: Path) -> None:
        """Write all that is stored now into a new file."""
        with self._lock, readable_errors(self.path):
            copied(self.connection, path)

    def keys(self, conditions: Mapping[str, object]) -> list[str]:
        """Keys of the rows whose columns have these values, in the store's order."""
        # Which rows match is decided on verified columns only: the columns of every
        # row were verified when the file was opened, those that match are again.
        where = " AND ".join(f"{name} = ?" for name in conditions) or "1"
        query = (
            f"SELECT key FROM runs WHERE {where}"
            " ORDER BY model, task, dataset, strategy, seed, key"
        )
        with self.reading() as connection:
            rows = connection.execute(query, tuple(conditions.values())).fetchall()
        return [key for (key,) in rows]

    def rows(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """The rows under these keys, as far as there are any, by column."""
        query = f"SELECT {_COLUMNS} FROM runs WHERE key IN ({_marks(len(keys))})"
        rows = {}
        with self.reading() as connection:
            for values in connection.execute(query, keys):
                key = values[0]
                if checksum(*values[:-1]) != values[-1]:
                    raise damaged(self.path, f"the run {key!r} was altered")
                rows[key] = dict(zip(COLUMNS, values, strict=True))
        return rows

    def row(self, key: str) -> dict[str, Any] | None:
        """The row under `key`, if there is one."""
        return self.rows([key]).get(key)

    def histories(self, rows: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
        """The text of each row's history; rows without one are left out."""
        expected = {key: row["history"] for key, row in rows.items() if row["history"]}
        keys = list(expected)
        query = f"SELECT key, columns FROM histories WHERE key IN ({_marks(len(keys))})"
        with self.reading() as connection:
            histories = dict(connection.execute(query, keys).fetchall())
        for key, fingerprint in expected.items():
            if key not in histories or checksum(key, histories[key]) != fingerprint:
                raise damaged(self.path, f"the history of {key!r} was altered")
        return histories

    def put(
        self, row: Mapping[str, Any], history: str, old: Mapping[str, Any] | None
    ) -> None:
        """Write a row, which lacks its checksum yet, in place of the old one."""
        values = [row[name] for name in COLUMNS[:-1]]
        values.append(checksum(*values))
        assignments = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
        with self.writing() as connection:
            connection.execute(
                f"INSERT INTO runs ({_COLUMNS}) VALUES ({_marks(len(values))})"
                f" ON CONFLICT (key) DO UPDATE SET {assignments}",
                values,
            )
            connection.execute("DELETE FROM histories WHERE key = ?", values[:1])
            if history:
                query = "INSERT INTO histories (key, columns) VALUES (?, ?)"
                connection.execute(query, (row["key"], history))
            # The sum of all checksums: what makes a lost row visible.
            num_runs, total = connection.execute("SELECT * FROM totals").fetchone()
            previous = "0" if old is None else old["checksum"]
            connection.execute(
                "UPDATE totals SET num_runs = ?, checksum = ?",
                (num_runs + (old is None), added(total, values[-1], previous)),
            )

    def close(self) -> None:
        """Release the file; closing twice is harmless."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                if self._connection is not None:
                    closed(self._connection, self._file)
