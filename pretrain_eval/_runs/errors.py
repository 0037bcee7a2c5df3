"""What goes wrong with a file of runs, in words that name the file and the way out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# SQLite's primary result codes; sqlite3 names them only from Python 3.11 on, as it
# does the code of an error, so the message is what older versions have.
_REASONS: tuple[tuple[str, type[OSError], str], ...] = (
    ("disk is full", OSError, "the disk is full; the run was not stored"),
    (
        "locked",
        TimeoutError,
        "another process has kept it locked; end that process or try again",
    ),
    ("readonly", PermissionError, "it can be read but not written; copy it elsewhere"),
    ("unable to open", OSError, "it cannot be opened; check its permissions"),
    ("disk I/O", OSError, "the disk failed to read or write it"),
)


def not_a_store(path: Path, reason: str) -> ValueError:
    """The file is something else."""
    return ValueError(
        f"{path} is not a run store: {reason}. Nothing was written to it; name"
        " another file, or delete this one if it is of no use"
    )


def damaged(path: Path, reason: str) -> ValueError:
    """The file is a store, and is broken."""
    return ValueError(
        f"{path} is damaged: {reason}. Nothing was written to it;"
        f' RunStore.recover("{path}", into="recovered.db") saves the runs that are whole'
    )


@contextmanager
def readable_errors(path: Path) -> Iterator[None]:
    """Raise SQLite's errors as built-in ones that name the file.

    Raises:
        OSError: The disk, a lock or a permission is in the way.
        ValueError: The content is not a store's, the store is closed.
    """
    try:
        yield
    except sqlite3.ProgrammingError as error:
        if "closed" in str(error):
            raise ValueError(f"{path}: the store is closed; open it again") from error
        raise
    except sqlite3.DatabaseError as error:
        for words, kind, reason in _REASONS:
            if words in str(error):
                raise kind(f"{path}: {reason} ({error})") from error
        raise damaged(path, str(error)) from error
