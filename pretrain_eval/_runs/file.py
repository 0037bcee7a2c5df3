"""The file under a run store: its schema, its creation, and the proof that it is whole."""

from __future__ import annotations

import hashlib
import logging
import os
import sqlite3
import threading
from collections import Counter
from contextlib import suppress
from pathlib import Path

from pretrain_eval._runs.claims import forget_dead
from pretrain_eval._runs.creation import check_folder_of, clean, create
from pretrain_eval._runs.errors import damaged, not_a_store
from pretrain_eval._runs.run import fields_of

log = logging.getLogger("pretrain_eval")

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


# Which file is meant, whatever it is called: its device and number there.
Identity = tuple[int, int]

# Files that this process has open. To open one beside SQLite and close it again would
# give up the locks that SQLite holds on it, as POSIX has it, so that another process
# might take the log away under it.
_OPEN: Counter[Identity] = Counter()
_OPENING = threading.RLock()


def identity(path: Path) -> Identity | None:
    """Which file lies at `path` now; None where there is none."""
    with suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def log_of(path: Path) -> Path:
    """Where SQLite keeps what it has not written into the file yet."""
    return path.with_name(f"{path.name}-wal")


def tidied(path: Path) -> bool:
    """Whether there is a store, after what the dead left beside it was removed.

    Raises:
        OSError: There is none and none can be made, as its folder does not exist, or
            a log lies there that SQLite would write into it.
    """
    clean(path)
    if path.exists():
        return True
    check_folder_of(path)
    _check_no_log(path)
    return False


def opened(path: Path, *, again: bool = False) -> tuple[sqlite3.Connection, Identity]:
    """A connection to the verified store at `path`.

    It is given back by `closed`, with the identity of the file.

    Args:
        path: The file.
        again: Whether it was open here until now, so that it is known to be whole.
    """
    had_log = log_of(path).exists()
    with _OPENING:
        _check_header(path)
        connection, file = _connect(path), identity(path)
        if file is None:
            connection.close()
            raise FileNotFoundError(f"{path} vanished while it was opened")
        _OPEN[file] += 1
    try:
        # In WAL mode FULL is what makes a commit survive a loss of power.
        connection.execute("PRAGMA synchronous = FULL")
        _check_kind(path, connection)
        connection.execute("BEGIN")  # one moment of a store that others may write
        _check_content(path, connection)
        if not again:
            _check_log(path, connection, had_log)
        connection.execute("COMMIT")
        if had_log:
            # Nothing is missing, so that the next one to look, when the log is gone,
            # need not be told of a store that nobody closed.
            with suppress(sqlite3.Error):  # it may only be read
                forget_dead(connection)
    except BaseException:
        closed(connection, file)
        raise
    return connection, file


def closed(connection: sqlite3.Connection, file: Identity) -> None:
    """Give up what `opened` gave."""
    with _OPENING:
        connection.close()
        _OPEN[file] -= 1
        if not _OPEN[file]:
            del _OPEN[file]


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


def _check_log(path: Path, connection: sqlite3.Connection, had_log: bool) -> None:
    """Tell of a store that nobody closed, and whose log is not there."""
    (claimed,) = connection.execute("SELECT count(*) FROM claims").fetchone()
    if claimed and not had_log:
        log.warning(
            "%s was in use when it was last written, and its log, %s, is not beside it: if"
            " it was copied, its newest runs may be missing; copy both, or use"
            " RunStore.backup",
            path,
            log_of(path).name,
        )


def checksum(*values: object) -> str:
    """A fingerprint of stored values, 128 bits of BLAKE2b in hexadecimal."""
    text = "\0".join(map(str, values))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def added(total: str, new: str, old: str) -> str:
    return f"{(int(total, 16) + int(new, 16) - int(old, 16)) % 2**128:032x}"


def made(path: Path) -> None:
    """Make an empty store where none exists."""

    def fill(connection: sqlite3.Connection) -> None:
        connection.executescript(_SCHEMA)

    if not tidied(path):
        create(path, fill)


def _check_no_log(path: Path) -> None:
    left = log_of(path)
    if left.exists() and left.stat().st_size:
        # SQLite would write its content into the new store.
        raise FileExistsError(
            f"{left} is the log of a store that is no longer beside it: move {path} back;"
            f' or RunStore.recover("{path}", into="recovered.db") saves the runs that'
            " are whole in the log, which may then be deleted"
        )


def is_open(path: Path) -> bool:
    """Whether this process has the file at `path` open as a store."""
    return identity(path) in _OPEN


def is_database(path: Path) -> bool:
    """Whether the file begins as SQLite's files do."""
    with _OPENING:
        if is_open(path):
            return True
        with path.open("rb") as file:
            return file.read(len(_HEADER)) == _HEADER


def copied(connection: sqlite3.Connection, path: Path) -> None:
    """Write the whole database into a new file, without its claims.

    Raises:
        FileExistsError: There is a file already.
    """

    def fill(target: sqlite3.Connection) -> None:
        connection.backup(target)
        target.execute("DELETE FROM claims")

    if path.exists() or not create(path, fill):
        raise FileExistsError(f"{path} exists; back up into a new file")


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
