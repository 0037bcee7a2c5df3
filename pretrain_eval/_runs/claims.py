"""Which process does which run: claims that die with their process."""

from __future__ import annotations

import hashlib
import os
import socket
import sqlite3
import time
import uuid
from contextlib import suppress
from pathlib import Path
from typing import final

STALE_SECONDS = 60.0


@final
class Claims:
    """The claims of one open store, in the table `claims`.

    A claim is dated at every heartbeat, and dates are only compared with themselves: a
    clock that is set, or a machine that sleeps, makes no claim old.
    """

    def __init__(self) -> None:
        self.owner = uuid.uuid4().hex
        self._host = _host()
        self._process = _process(os.getpid())
        self.taken = False
        # By key, the claim of another as it was read, and since when it has been so.
        self._seen: dict[str, tuple[tuple[str, float], float]] = {}

    def take(self, connection: sqlite3.Connection, key: str) -> bool:
        """Hold the claim on `key` unless another live owner does."""
        query = "SELECT owner, host, process, heartbeat FROM claims WHERE key = ?"
        row = connection.execute(query, (key,)).fetchone()
        if row is not None and row[0] != self.owner and self._lives(key, *row):
            return False
        self.taken = True
        connection.execute(
            "INSERT OR REPLACE INTO claims VALUES (?, ?, ?, ?, ?)",
            (key, self.owner, self._host, self._process, time.time()),
        )
        return True

    def others_live(self, connection: sqlite3.Connection) -> bool:
        """Whether another live owner holds a claim."""
        query = (
            "SELECT key, owner, host, process, heartbeat FROM claims WHERE owner != ?"
        )
        rows = connection.execute(query, (self.owner,)).fetchall()
        return any(self._lives(*row) for row in rows)

    def refresh(self, connection: sqlite3.Connection) -> None:
        """Date all claims of this owner now."""
        connection.execute(
            "UPDATE claims SET heartbeat = ? WHERE owner = ?", (time.time(), self.owner)
        )

    def remove(
        self, connection: sqlite3.Connection, key: str | None, *, own: bool = False
    ) -> None:
        """Drop the claim on `key` (None: on all), of this owner only where `own`."""
        connection.execute(
            "DELETE FROM claims WHERE (? IS NULL OR key = ?) AND (NOT ? OR owner = ?)",
            (key, key, own, self.owner),
        )

    def _lives(
        self, key: str, owner: str, host: str, process: str, heartbeat: float
    ) -> bool:
        """Whether the owner may be at work: it runs, and its date changed of late."""
        if host == self._host and not _runs(process):
            return False
        now = time.monotonic()
        seen, since = self._seen.get(key, (None, now))
        if seen != (owner, heartbeat):
            self._seen[key] = (owner, heartbeat), now
            return True
        return now - since <= STALE_SECONDS


def forget_dead(connection: sqlite3.Connection) -> None:
    """Drop the claims of this machine's processes that are known to be no more."""
    query = "SELECT key, owner, process FROM claims WHERE host = ?"
    for key, owner, process in connection.execute(query, (_host(),)).fetchall():
        if not _runs(process):
            drop = "DELETE FROM claims WHERE key = ? AND owner = ?"
            connection.execute(drop, (key, owner))


def this_process() -> str:
    """Names the running process in few letters that may stand in the name of a file."""
    return "-".join([_digest(_host()), *_process(os.getpid()).split()])


def still_runs(name: str) -> bool | None:
    """Whether a process that `this_process` named runs; None where it cannot be told."""
    host, _, process = name.partition("-")
    if host != _digest(_host()) or not process[:1].isdigit():
        return None
    pid, _, start = process.partition("-")
    return _runs(f"{pid} {start}")


def _digest(text: str) -> str:
    return hashlib.blake2b(text.encode(errors="replace"), digest_size=4).hexdigest()


def _host() -> str:
    # A container has process numbers of its own, so its name space is part of it.
    namespace = ""
    with suppress(OSError):
        namespace = str(Path("/proc/self/ns/pid").readlink())
    return f"{socket.gethostname()} {namespace}"


def _process(pid: int) -> str:
    # Process numbers are used again; with the start time, where the system tells it,
    # they are not.
    start = ""
    with suppress(OSError, IndexError):
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        state, *fields = stat.rpartition(")")[2].split()
        # A zombie has died; only its parent has not asked yet.
        start = "dead" if state == "Z" else fields[18]
    return f"{pid} {start}"


def _runs(process: str) -> bool:
    pid = int(process.split()[0])
    if os.name != "posix":  # elsewhere signal 0 is not a question but an order
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _process(pid) == process
