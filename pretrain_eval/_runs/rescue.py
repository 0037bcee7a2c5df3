"""Where runs go when the file of their store is gone."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import final

from pretrain_eval._runs.coding import to_json
from pretrain_eval._runs.errors import StoreLostError
from pretrain_eval._runs.run import Run


@final
class Rescue:
    """What can still be read of a store whose file is gone, and what comes after.

    Args:
        path: Where the file was.
        items: Keys with runs, which may stop with an error.
    """

    def __init__(self, path: Path, items: Iterable[tuple[str, Run]]) -> None:
        self._path, self._by_key = path, dict[str, Run]()
        self._file: Path | None = None
        with suppress(OSError, ValueError):  # what was read until then is what there is
            for key, run in items:
                self._by_key[key] = run
        self._written = self._save()

    @property
    def is_saved(self) -> bool:
        """Whether a file holds them."""
        return self._file is not None

    def error(self, key: str = "", run: Run | None = None) -> StoreLostError:
        """What tells that the file is gone; a run that was to be kept joins the others."""
        if run is not None:
            self._by_key.setdefault(key, run)
            self._written = self._save()
        text = (
            f"{self._path}: the file of the store was deleted, moved or replaced while it"
            f" was open; {len(self._by_key)} runs {self._written}"
        )
        return StoreLostError(text, self._by_key, self._file)

    def _save(self) -> str:
        """Write all of them, and say what became of it."""
        lines = [
            to_json({"key": key, "run": run.to_dict()}) + "\n"
            for key, run in self._by_key.items()
        ]
        try:
            self._file = self._file or self._new_file()
            self._file.write_text("".join(lines), encoding="utf-8")
        except OSError as error:
            self._file = None
            return f"could not be saved beside it ({error}): they are in `error.runs`"
        return (
            f'are saved in {self._file}: RunStore(...).read_jsonl("{self._file}")'
            " takes them into a store"
        )

    def _new_file(self) -> Path:
        """A file of nobody else's, beside the lost one or as near as there is a folder."""
        folder = next(each for each in self._path.absolute().parents if each.is_dir())
        number = 1
        while True:
            end = f".{number}" if number > 1 else ""
            file = folder / f"{self._path.name}.rescued{end}.jsonl"
            try:
                file.touch(exist_ok=False)
            except FileExistsError:
                number += 1
            else:
                return file
