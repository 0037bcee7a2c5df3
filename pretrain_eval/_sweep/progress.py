"""A progress bar where tqdm is installed and the user wants one."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any

from typing_extensions import Self

from pretrain_eval._optional import needs


class Progress:
    """Counts what is done; shows it with tqdm, or not at all.

    Args:
        total: How many steps there are.
        label: What the steps are.
        show: Quiet where False; without tqdm only `say` is seen.
        position: How many bars stand above it; below one it vanishes when it ends.
    """

    def __init__(
        self, total: int, label: str, *, show: bool = True, position: int = 0
    ) -> None:
        self._bar: Any = None
        self._show = show
        if not show:
            return
        try:
            tqdm = needs("progress").tqdm
        except ImportError:
            return
        self._bar = tqdm(
            total=total,
            desc=label,
            dynamic_ncols=True,
            leave=position == 0,
            position=position,
        )

    def inner(self, total: int, label: str) -> Progress:
        """A bar below this one, shown where this one is."""
        return Progress(total, label, show=self._show, position=1)

    def advance(self) -> None:
        """One step is done."""
        if self._bar is not None:
            self._bar.update()

    def note(self, text: str) -> None:
        """Say what is under way."""
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        if self._bar is not None:
            self._bar.write(text, file=sys.stderr)
        elif self._show:
            print(text, file=sys.stderr)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.close()
