"""A file from which a training goes on where it was left."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import torch


def unfinished(path: Path) -> Path:
    """Where a file is written until it is whole, by a name that no user gives."""
    return path.with_name(f".{path.name}.pretrain_eval-partial")


@final
class Checkpoint:
    """The state of one run after its last epoch.

    Args:
        path: Made where there is none.
        identity: Tells the checkpoints of different runs apart.
    """

    def __init__(self, path: Path, identity: str) -> None:
        self._path, self._identity = path, identity

    def save(self, state: dict[str, Any]) -> None:
        """Write the state whole, or leave the last one.

        Raises:
            OSError: It cannot be written, as where the disk is full; names the file.
        """
        partial = unfinished(self._path)
        try:
            torch.save({"name": self._identity, **state}, partial)
            partial.replace(self._path)
        except (OSError, RuntimeError) as error:  # torch has words of its own
            raise OSError(
                f"the checkpoint {self._path} could not be written, as where the disk"
                f" is full or the folder is missing: {error}"
            ) from error
        finally:
            partial.unlink(missing_ok=True)

    def load(self, device: torch.device) -> dict[str, Any] | None:
        """The state, its tensors on the device; None where there is no file.

        Raises:
            ValueError: The file is no checkpoint, or one of another run.
        """
        path = self._path
        if not path.exists():
            return None
        try:
            # Tensors and plain values only: a checkpoint runs no code.
            state: dict[str, Any] = torch.load(
                path, map_location=device, weights_only=True
            )
            identity = state["name"]
        except Exception as error:
            raise ValueError(f"{path} is no checkpoint of a run: {error}") from error
        if identity != self._identity:
            raise ValueError(
                f"{path} is the checkpoint of another run; name another file, or"
                " delete it to start this run anew"
            )
        return state

    def remove(self) -> None:
        """Delete the file, where there is one, and what a killed writing left."""
        self._path.unlink(missing_ok=True)
        unfinished(self._path).unlink(missing_ok=True)
