"""The file under a run store: its schema, its creation, and the proof that it is whole."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import tempfile
from pathlib import Path

from pretrain_eval._runs.errors import damaged, not_a_store
from pretrain_eval._runs.run import fields_of

# "peRS": how the file says, in SQLite's header, that it is a run store.
APPLICATION_ID = 0x70655253
SCHEMA_VERSION = 1
COLUMNS = (
    "key",
    *fields_of("name", "column"),
    *("attempts", "record", "history", "checksum"),
)
_HEADER = b"SQLite format 3\x00"
_BUSY_SECONDS = 30.0

_SCHEMA = f"""
PRAGMA journal_mode = WAL;
BEGIN IMMEDIATE;
CREATE TABLE runs (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE,
    model TEXT NOT NULL, task TEXT NOT NULL, dataset TEXT NOT NULL,
    strategy TEXT NOT NULL, seed INTEGER NOT NULL, status TEXT NOT NULL,
    attempts INTEGER NOT NULL, record TEXT NOT NULL,
    history TEXT NOT NULL, checksum TEXT NOT NULL
);
CREATE TABLE histories (
    id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, columns TEXT NOT NULL
);
CREATE TABLE totals (num_runs INTEGER NOT NULL, checksum TEXT NOT NULL);
CREATE TABLE claims (
    key TEXT PRIMARY KEY, owner TEXT NOT NULL, host TEXT NOT NULL,
    process TEXT NOT NULL, heartbeat REAL NOT NULL
);
INSERT INTO totals VALUES (0, '{0:032x}');
PRAGMA application_id = {APPLICATION_ID};
PRAGMA user_version = {SCHEMA_VERSION};
COMMIT;
"""


def opened(path: Path) -> sqlite3.Connection:
    """A connection to the verified store at `path`, which is made where none exists."""
    if not path.exists():
        _create(path)
    _check_header(path)
    connection = _connect(path)
    try:
        # In WAL mode FULL is what makes a commit survive a loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        _check_kind(path, connection)
        connection.execute("BEGIN")  # one moment of a store that others may write
        _check_content(path, connection)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _check_kind(path: Path, connection: sqlite3.Connection) -> None:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION_ID:
        raise not_a_store(path, "it is a database of another program")
    if version != SCHEMA_VERSION:
        raise not_a_store(
            path,
            f"its schema has version {version}, this pretrain_eval reads"
            f" {SCHEMA_VERSION}; open it with the version that wrote it",
        )


def _check_content(path: Path, connection: sqlite3.Connection) -> None:
    total, num_runs = f"{0:032x}", 0
    for values in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM runs"):
        if checksum(*values[:-1]) != values[-1]:
            raise damaged(path, f"the run {values[0]!r} was altered")
        total, num_runs = added(total, values[-1], "0"), num_runs + 1
    totals = connection.execute("SELECT * FROM totals").fetchall()
    if totals != [(num_runs, total)]:
        raise damaged(path, f"its {num_runs} runs are not those that were stored")
    # The index over keys, which every lookup trusts, agrees with the rows.
    (report,) = connection.execute("PRAGMA integrity_check(runs)").fetchone()
    if report != "ok":
        raise damaged(path, report)


def checksum(*values: object) -> str:
    """A fingerprint of stored values, 128 bits of BLAKE2b in hexadecimal."""
    text = "\0".join(map(str, values))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def added(total: str, new: str, old: str) -> str:
    return f"{(int(total, 16) + int(new, 16) - int(old, 16)) % 2**128:032x}"


def _create(path: Path) -> None:
    """Make an empty store that appears whole or not at all, over no existing file."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")
    try:
        folder = tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise type(error)(f"{path} cannot be made: {error}") from error
    with folder as made:
        complete = Path(made, "store")
        connection = sqlite3.connect(complete, isolation_level=None)
        try:
            connection.executescript(_SCHEMA)
        finally:
            connection.close()
        try:
            os.link(complete, path)
        except FileExistsError:
            return  # another process was faster: use its store
        except OSError:  # a file system without hard links
            if not path.exists():
                complete.rename(path)


def is_database(path: Path) -> bool:
    """Whether the file begins as SQLite's files do."""
    with path.open("rb") as file:
        return file.read(len(_HEADER)) == _HEADER


def _check_header(path: Path) -> None:
    if path.is_dir():
        raise IsADirectoryError(f"{path}: a run store is a file, this is a folder")
    if not is_database(path):
        kind = "of another kind" if path.stat().st_size else "empty"
        raise not_a_store(path, f"its content is {kind}")


def _connect(path: Path) -> sqlite3.Connection:
    # rw: a file that vanished meanwhile is an error, not a new store.
    mode = "mode=rw"
    if not os.access(path.parent, os.W_OK) and not Path(f"{path}-wal").exists():
        # Readers keep a file of locks beside the store; where none can be made and no
        # writer has left its log, the file must be taken as it stands.
        mode = "mode=ro&immutable=1"
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?{mode}",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
