"""What goes wrong with a file of runs, in words that name the file and the way out."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, final

if TYPE_CHECKING:
    from pretrain_eval._runs.run import Run

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


@final
class StoreLostError(OSError):
    """The file of an open store was deleted, moved or replaced under it.

    Attributes:
        by_key: The runs that the store held, and those that came after, as far as they
            could still be read.
        rescued: The file of JSON lines that holds them too, which
            `RunStore.read_jsonl` takes in; None where it could not be written.
    """

    def __init__(
        self, message: str, by_key: Mapping[str, Run], rescued: Path | None
    ) -> None:
        super().__init__(message)
        self.by_key: Mapping[str, Run] = by_key
        self.rescued: Path | None = rescued

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs, without their keys."""
        return tuple(self.by_key.values())


class MovedError(Exception):
    """The file under an open connection is no longer the one at its path."""


def no_store(path: Path) -> FileNotFoundError:
    """There is nothing to read, said with the files that may be meant."""
    names = list[str]()
    with suppress(OSError):
        names = sorted(each.name for each in path.parent.iterdir() if each.is_file())
    names = [name for name in names if not name.endswith(("-wal", "-shm"))]
    near = get_close_matches(path.name, names)
    near = near or [name for name in names if path.suffix == Path(name).suffix != ""]
    meant = f" Did you mean {' or '.join(near[:3])}?" if near else ""
    return FileNotFoundError(
        f"{path}: there is no such run store.{meant} sweep(store=...),"
        " choose(store=...) and RunStore.add make one"
    )


def closed_store(path: Path) -> ValueError:
    """The store was closed by whoever opened it."""
    return ValueError(f"{path}: the store is closed; open it again")


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
            raise closed_store(path) from error
        raise
    except sqlite3.DatabaseError as error:
        for words, kind, reason in _REASONS:
            if words in str(error):
                raise kind(f"{path}: {reason} ({error})") from error
        raise damaged(path, str(error)) from error
    except UnicodeDecodeError as error:  # SQLite's own words, where they quote damage
        raise damaged(path, str(error)) from error
