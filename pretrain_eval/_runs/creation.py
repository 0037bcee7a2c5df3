"""How a file of a store comes into being: whole or not at all, with nothing left beside."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pretrain_eval._runs.claims import STALE_SECONDS, still_runs, this_process

# All that a folder holds in which a store is made.
_FILES = frozenset({"store", "store-wal", "store-shm", "store-journal"})
_OWNER = "owner-"
_NUM_TRIES = 3


def create(path: Path, fill: Callable[[sqlite3.Connection], None]) -> bool:
    """Make a database that appears whole or not at all, over no existing file.

    Args:
        path: Where it appears, in a folder that exists.
        fill: Writes its content.

    Returns:
        Whether it was made: False where a file of another process came first.

    Raises:
        OSError: The folder does not exist, or cannot be written.
    """
    check_folder_of(path)
    tries = 0
    while True:
        tries += 1
        try:
            with _workshop(path) as folder:
                return _made(path, folder / "store", fill)
        except (sqlite3.OperationalError, FileNotFoundError):
            # Who cleans up may have taken a folder that did not tell its owner yet.
            if tries == _NUM_TRIES:
                raise


def check_folder_of(path: Path) -> None:
    """Raise FileNotFoundError where the folder of a file does not exist."""
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {path.parent} does not exist")


def check_room(path: Path, num_steps: Sequence[int]) -> None:
    """Raise OSError where the disk of a store has no room for runs of so many steps."""
    # A run takes about 4 kB, and each step three numbers of 20 characters.
    needed = sum(4096 + 64 * steps for steps in num_steps)
    free = shutil.disk_usage(path.absolute().parent).free
    if needed > free:
        raise OSError(
            f"{path}: the disk has {free / 1e6:.0f} MB left, the runs to come"
            f" need about {needed / 1e6:.0f} MB"
        )


def _made(
    path: Path, complete: Path, fill: Callable[[sqlite3.Connection], None]
) -> bool:
    connection = sqlite3.connect(complete, isolation_level=None)
    try:
        fill(connection)
    finally:
        connection.close()
    try:
        os.link(complete, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        if path.exists():
            return False
        complete.rename(path)
    return True


@contextmanager
def _workshop(path: Path) -> Iterator[Path]:
    """A folder beside `path` that tells whose it is, and is gone afterwards."""
    try:
        folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    except OSError as error:
        raise type(error)(f"{path} cannot be made: {error}") from error
    try:
        (folder / f"{_OWNER}{this_process()}").touch()
        yield folder
    finally:
        _remove(folder)


def clean(path: Path) -> None:
    """Remove what processes have left that were killed while they made `path`."""
    # The names that tempfile gives.
    name = re.compile(re.escape(f".{path.name}-") + "[a-z0-9_]{8}")
    with suppress(OSError):
        for folder in path.parent.iterdir():
            if name.fullmatch(folder.name) and _is_left(folder):
                _remove(folder)


def _is_left(folder: Path) -> bool:
    """Whether it is a folder of ours that nobody uses any more."""
    if folder.is_symlink() or not folder.is_dir():
        return False
    files = {file.name for file in folder.iterdir()}
    owners = [name for name in files if name.startswith(_OWNER)]
    if files - _FILES - set(owners):
        return False
    alive = {still_runs(name.removeprefix(_OWNER)) for name in owners}
    if True in alive:
        return False
    if None not in alive:
        return True
    # Of another machine only the date tells; to make a store takes no minute.
    return abs(time.time() - folder.stat().st_mtime) > STALE_SECONDS


def _remove(folder: Path) -> None:
    with suppress(OSError):
        for file in folder.iterdir():
            if file.name in _FILES or file.name.startswith(_OWNER):
                file.unlink(missing_ok=True)
        folder.rmdir()  # unless somebody has put something else into it
