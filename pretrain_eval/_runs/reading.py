"""The runs that lie in a file, read without making one."""

from __future__ import annotations

import os

from pretrain_eval._runs.runs import Runs
from pretrain_eval._runs.store import RunStore


def stored(path: str | os.PathLike[str]) -> Runs:
    """The runs in the store at a path, in its order; nothing is made there.

    Raises:
        ValueError: The path is a URL, or the file is no run store.
        FileNotFoundError: There is no file.
    """
    with RunStore(path) as store:
        return Runs(store)
