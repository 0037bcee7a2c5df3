"""How far the work is, as who watches can read it: a bar, a line, or plain lines."""

from __future__ import annotations

import logging
import sys
import time
from typing import Any, Literal, Protocol, final

from typing_extensions import Self

from pretrain_eval._optional import needs

log = logging.getLogger("pretrain_eval")

Shown = bool | Literal["log"]

_EVERY_SECONDS = 10.0  # at least, between two plain lines
_SHARE = 0.05  # of the work, likewise


class Progress:
    """Counts what is done; shows it where and as it can be seen.

    In a terminal a live bar of tqdm, where that is installed; in a notebook one line
    that is written anew; elsewhere, as in a file, a plain line every 5 % of the work
    and at least 10 seconds after the last one.

    Args:
        total: How many steps there are.
        label: What the steps are.
        show: Quiet where False; "log" gives plain lines to `logging`, at level INFO
            under the name `pretrain_eval`.
        is_inner: Whether it is a part of a step of another one: it vanishes when it
            ends, and is seen in a terminal alone.
    """

    def __init__(
        self, total: int, label: str, *, show: Shown = True, is_inner: bool = False
    ) -> None:
        self._show = show
        self._face = _face(total, label, show, is_inner)

    def inner(self, total: int, label: str) -> Progress:
        """A bar below this one, shown where this one is."""
        return Progress(total, label, show=self._show, is_inner=True)

    def advance(self) -> None:
        """One step is done."""
        self._face.advance()

    def note(self, text: str) -> None:
        """Say what is under way."""
        self._face.note(text)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._face.say(text)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._face.close()


def check_shown(progress: object) -> None:
    """Raise ValueError where `progress=` is none of its values."""
    if not isinstance(progress, bool) and progress != "log":
        raise ValueError(f'progress= expects True, False or "log", got {progress!r}')


class _Face(Protocol):
    def advance(self) -> None: ...
    def note(self, text: str) -> None: ...
    def say(self, text: str) -> None: ...
    def close(self) -> None: ...


def _face(total: int, label: str, show: Shown, is_inner: bool) -> _Face:
    if show is False:
        return _Lines(total, label, is_inner, _dropped)
    if show is True and sys.stderr is not None and sys.stderr.isatty():
        return _bar(total, label, is_inner) or _Lines(total, label, is_inner, _printed)
    if show is True and _in_notebook() and not is_inner:
        return _Cell(total, label)
    lines = _logged if show == "log" else _printed
    return _Lines(total, label, is_inner, lines)


def _dropped(_: str) -> None: ...


def _printed(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _logged(text: str) -> None:
    log.info("%s", text)


def _in_notebook() -> bool:
    kernel = sys.modules.get("IPython")
    shell = None if kernel is None else kernel.get_ipython()
    return shell is not None and hasattr(shell, "kernel")


def _bar(total: int, label: str, is_inner: bool) -> _Face | None:
    try:
        tqdm = needs("progress").tqdm
    except ImportError:
        return None
    return _Bar(
        tqdm(
            total=total,
            desc=label,
            dynamic_ncols=True,
            leave=not is_inner,
            position=int(is_inner),
        )
    )


@final
class _Bar:
    """A bar in a terminal."""

    def __init__(self, bar: Any) -> None:
        self._bar = bar

    def advance(self) -> None:
        self._bar.update()

    def note(self, text: str) -> None:
        self._bar.set_postfix_str(text)

    def say(self, text: str) -> None:
        self._bar.write(text, file=sys.stderr)

    def close(self) -> None:
        self._bar.close()


class _Counted:
    """How far it is, in words."""

    def __init__(self, total: int, label: str) -> None:
        self._total, self._label = total, label
        self._done, self._start = 0, time.monotonic()

    def _words(self) -> str:
        spent = time.monotonic() - self._start
        left = (self._total - self._done) * spent / max(1, self._done)
        share = self._done / max(1, self._total)
        text = f"{self._label}: {self._done} of {self._total} ({share:.0%})"
        text += f", {clock(spent)} so far"
        return text if self._done == self._total else f"{text}, {clock(left)} left"


@final
class _Lines(_Counted):
    """Plain lines, few of them."""

    def __init__(self, total: int, label: str, is_inner: bool, line: Any) -> None:
        super().__init__(total, label)
        self._line, self._is_inner = line, is_inner
        self._last = (0, self._start)

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        steps, seconds = self._done - self._last[0], now - self._last[1]
        due = steps >= _SHARE * self._total and seconds >= _EVERY_SECONDS
        if due and not self._is_inner:
            self._last = (self._done, now)
            self._line(self._words())

    def note(self, text: str) -> None: ...

    def say(self, text: str) -> None:
        self._line(text)

    def close(self) -> None: ...


@final
class _Cell(_Counted):
    """One line of a notebook's cell, written anew, below the lines that stay."""

    def __init__(self, total: int, label: str) -> None:
        super().__init__(total, label)
        self._said: list[str] = []
        self._shown: Any = None
        self._last = 0.0

    def advance(self) -> None:
        self._done += 1
        if time.monotonic() - self._last > 0.5:
            self._write(self._words())

    def note(self, text: str) -> None:
        if text and time.monotonic() - self._last > 0.5:
            self._write(f"{self._words()}; {text}")

    def say(self, text: str) -> None:
        self._said.append(text)
        self._write("")

    def close(self) -> None:
        self._write("")

    def _write(self, line: str) -> None:
        self._last = time.monotonic()
        text = "\n".join([*self._said, *([line] if line else [])])
        content = {"text/plain": text}
        if self._shown is None:
            display = sys.modules["IPython"].display.display
            self._shown = display(content, raw=True, display_id=True)
        else:
            self._shown.update(content, raw=True)


def clock(seconds: float) -> str:
    """A time to read at a glance.

    >>> clock(7.4), clock(95), clock(4000)
    ('7 s', '1:35 min', '1:06 h')
    """
    if seconds < 60:
        return f"{seconds:.0f} s"
    small, unit = (60, "min") if seconds < 3600 else (3600, "h")
    whole, rest = divmod(int(seconds), small)
    return f"{whole}:{rest * 60 // small:02d} {unit}"
