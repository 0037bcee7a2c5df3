"""Which trained weights of a grid are kept, and in which files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from pretrain_eval._optional import needs
from pretrain_eval._runs import Run
from pretrain_eval._sweep.keeper import Keeper
from pretrain_eval._sweep.keys import Keys
from pretrain_eval._training import Cell


@final
@dataclass(frozen=True)
class Kept:
    """The files of trained weights, named by the keys of their runs.

    Attributes:
        folder: Where they lie; None: nothing is kept.
        keys: Of the cells.
        keep: Whether the weights of a finished run are kept; None: of all.
        is_due: Whether a run whose weights should be there, and are not, is done again.
    """

    folder: Path | None
    keys: Keys
    keep: Callable[[Run], bool] | None = None
    is_due: bool = True

    @classmethod
    def at(
        cls,
        folder: str | Path | None,
        keys: Keys,
        keep: Callable[[Run], bool] | None = None,
        *,
        is_due: bool = True,
    ) -> Kept:
        """In this folder, which is made.

        Raises:
            ImportError: safetensors is not installed.
            ValueError: `keep` is given without a folder.
            TypeError: `keep` cannot be called.
        """
        if keep is not None and folder is None:
            raise ValueError(
                "keep= says whose weights are kept; give save=... a folder"
            )
        if keep is not None and not callable(keep):
            raise TypeError(f"keep= expects a function of a run, got {keep!r}")
        if folder is None:
            return cls(None, keys)
        needs("weights")
        path = Path(folder).absolute()
        path.mkdir(parents=True, exist_ok=True)
        return cls(path, keys, keep, is_due)

    def file(self, cell: Cell) -> Path | None:
        """Where the weights of a cell lie, if they are kept."""
        if self.folder is None or cell.strategy.train is not None:
            return None
        return self.folder / f"{self.keys.of(cell)}.safetensors"

    def own(self, cell: Cell) -> dict[str, Any]:
        """What the surroundings of a cell have of their own."""
        file = self.file(cell)
        return {} if file is None else {"weights": file, "keep": self.keep}

    def lacks(self, cell: Cell, store: Keeper, key: str) -> bool:
        """Whether the weights of a stored run should be there, and are not."""
        file = self.file(cell)
        if not self.is_due or file is None or file.exists():
            return False
        run = store.get(key) if self.keep is not None else None
        return run is None or self.keep is None or self.keep(run)

    def remove(self, cell: Cell) -> None:
        """Remove the file of a cell, if it is there."""
        file = self.file(cell)
        if file is not None:
            file.unlink(missing_ok=True)
