"""A process that ends with the one that started it, however that ends.

It is run by its path, before the package and torch are imported, which takes seconds.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import time

_PR_SET_PDEATHSIG = 1
_POLL_SECONDS = 0.2


def end_with(parent: int) -> None:
    """End this process, and what it forks in its main thread, when the parent ends."""
    if sys.platform.startswith("linux"):
        _ask_kernel()
        os.register_at_fork(after_in_child=_ask_kernel)
    if os.name == "posix":  # elsewhere the end of standard input tells
        threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _ask_kernel() -> None:
    # The signal comes when the thread that forked ends, which may be long before.
    if threading.current_thread() is threading.main_thread():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _watch(parent: int) -> None:
    # Also for a parent that ended before it could be watched.
    while os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    os._exit(1)
