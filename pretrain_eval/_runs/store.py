"""Where runs are kept: one SQLite file that refuses to lose, repeat or alter a run."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn, final

from pretrain_eval._habits import refusal
from pretrain_eval._optional import needs
from pretrain_eval._runs.checks import check_local
from pretrain_eval._runs.claims import Claims
from pretrain_eval._runs.coding import decoded, encoded
from pretrain_eval._runs.conflicts import conflict
from pretrain_eval._runs.database import Database
from pretrain_eval._runs.errors import MovedError
from pretrain_eval._runs.export import (
    flat_rows,
    read_lines,
    write_csv,
    write_lines,
    write_parquet,
)
from pretrain_eval._runs.file import checksum, is_open
from pretrain_eval._runs.rescue import Rescue
from pretrain_eval._runs.run import Run, Status, fields_of, given_columns
from pretrain_eval._runs.runs import Runs
from pretrain_eval._runs.salvage import salvaged

if TYPE_CHECKING:
    import pandas

log = logging.getLogger("pretrain_eval")

_CHUNK = 256
_COLUMNS = fields_of("name", "column")


@final
class RunStore(AbstractContextManager["RunStore"]):
    """The runs in one file, each under the key of what decides its result.

    A stored run is durable when `add` returns, and a completed run is never
    overwritten. Several processes of one machine may share a store; it needs a local
    disk, as SQLite's write-ahead log does not work over a network. Every run carries
    a checksum: a damaged file raises and never gives a wrong number.

    While a store is open, its newest runs may lie for a moment in a log beside it,
    `NAME-wal`, which belongs to it: `backup` copies a store that is in use.

    `len(store)` counts the runs and iterating gives them complete, ordered by model,
    task, dataset, strategy, seed and key, whatever the order in which they came.

    Args:
        path: The file. Where none exists, the first run or claim makes it, in a folder
            that does; until then there is nothing under any key.

    Raises:
        ValueError: The file is no run store, is of a newer version, or is damaged.
        FileNotFoundError: When listing runs: there is no file yet, nor is one made.
        OSError: The file cannot be opened, is locked for long, or the disk is full.
        StoreLostError: When writing, an OSError: the file was deleted, moved or replaced
            while it was open; the error holds its runs, and names a file that does.

    >>> import tempfile
    >>> run = Run(model="a", task="t", dataset="d", strategy="full", seed=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     with RunStore(f"{folder}/runs.db") as store:
    ...         store.add("key of the run", run)
    ...     with RunStore(f"{folder}/runs.db") as store:
    ...         store.get("key of the run") == run, len(store)
    True
    (True, 1)
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        check_local(path)
        if str(path) == ":memory:":
            raise ValueError(
                "RunStore expects a file, got ':memory:'; sweep(store=None) keeps runs in"
                " memory"
            )
        self.path: Path = Path(path)
        self._database = Database(self.path)
        self._claims = Claims()
        self._rescue: Rescue | None = None

    def close(self) -> None:
        """Release the claims and the file; closing twice is harmless."""
        if self._claims.taken:
            with suppress(OSError, ValueError):
                self.release()
        self._database.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    if not TYPE_CHECKING:
        __getattr__ = refusal("store")

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    # --- reading

    def __len__(self) -> int:
        with self._database.reading() as connection:
            (num_runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        return int(num_runs)

    def __iter__(self) -> Iterator[Run]:
        return self.filter()

    def __contains__(self, key: object) -> bool:
        if not self._database.exists():
            return False
        with self._database.reading() as connection:
            query = "SELECT 1 FROM runs WHERE key = ?"
            return connection.execute(query, (key,)).fetchone() is not None

    def get(self, key: str) -> Run | None:
        """The complete run under `key`, or None where there is none."""
        if key not in self:
            return None
        return next((run for _, run in self._load([key])), None)

    def runs(self) -> Runs:
        """All runs, complete, as one sequence in the store's order."""
        return Runs(self)

    def __getitem__(self, index: object) -> NoReturn:
        raise TypeError(
            f"a RunStore has no order of its own, got [{index!r}]: store.runs()[0] reads"
            " them as a sequence, store.get(key) reads one"
        )

    def statuses(self) -> dict[str, Status]:
        """The status of every run by key: all that planning a resume needs."""
        if not self._database.exists():
            return {}
        with self._database.reading() as connection:
            query = "SELECT key, status FROM runs ORDER BY key"
            return dict(connection.execute(query).fetchall())

    def filter(
        self,
        *,
        model: str | None = None,
        task: str | None = None,
        dataset: str | None = None,
        strategy: str | None = None,
        seed: int | None = None,
        status: Status | None = None,
        history: bool = True,
    ) -> Iterator[Run]:
        """The runs that agree with every name given, in the order of the store.

        Args:
            model: Only runs of this model; likewise the other names.
            task: See `model`.
            dataset: See `model`.
            strategy: See `model`.
            seed: See `model`.
            status: See `model`.
            history: False leaves `Run.history` empty and unread, which lists
                thousands of runs in a moment; scores that need it need True.
        """
        wanted = given_columns(model, task, dataset, strategy, seed, status)
        keys = self._database.keys(wanted)
        return (run for _, run in self._load(keys, history=history))

    def items(self, *, history: bool = True) -> Iterator[tuple[str, Run]]:
        """Keys with runs, in the order of the store; `history` as in `filter`."""
        return self._load(self._database.keys({}), history=history)

    # --- writing

    def add(self, key: str, run: Run) -> bool:
        """Keep `run` under `key`, durably; give up a claim on it.

        A stored run that failed gives way to the new one; a completed one stays,
        since a run is a function of its key.

        Returns:
            Whether `run` is now what the store holds: False where another completed
            run was there first.

        Raises:
            ValueError: The key is empty, or the seed is 2**63 or more.
            OSError: It could not be written; what was stored is untouched.
        """
        if not isinstance(key, str) or not key:
            raise ValueError(f"RunStore.add expects a key, got {key!r}")
        record, history = encoded(run)
        row: dict[str, Any] = {name: getattr(run, name) for name in _COLUMNS}
        row |= {"key": key, "record": record}
        row["history"] = checksum(key, history) if history else ""
        with self._writing(key, run) as connection:
            old = self._database.row(key)
            if old is not None and old["status"] == "completed":
                return all(old[name] == row[name] for name in ("record", "history"))
            row["attempts"] = 1 if old is None else old["attempts"] + 1
            self._database.put(row, history, old)
            self._claims.remove(connection, key)
        self._database.settle()
        return True

    def merge(self, other: RunStore | str | os.PathLike[str]) -> int:
        """Take over all runs of another store, or none where that fails.

        The rules are those of `add`, and of two failures this store keeps its own. Of
        two completed runs too; it logs a warning where their results differ.

        Returns:
            The number of runs that this store did not hold before as they are.
        """
        if not isinstance(other, RunStore):
            with RunStore(other) as opened:
                return self.merge(opened)
        return self._take_all(other.items())

    @staticmethod
    def recover(path: str | os.PathLike[str], *, into: str | os.PathLike[str]) -> int:
        """Save the runs that are whole in a damaged store into a new one.

        The damaged file is only read.

        Returns:
            The number of runs saved.

        Raises:
            FileExistsError: `into` exists.
            ValueError: This process has the file open as a store.
        """
        if Path(into).exists():
            raise FileExistsError(f"{into} exists; recover into a new file")
        if is_open(Path(path)):
            raise ValueError(f"{path}: the store is open here; close it to recover it")
        with RunStore(into) as store:
            return store._take_all(
                (key, decoded(Path(path), key, record, history))
                for key, record, history in salvaged(Path(path))
            )

    def backup(self, path: str | os.PathLike[str]) -> None:
        """Copy all that is stored now into a new file, whoever writes meanwhile.

        Raises:
            FileExistsError: There is a file already.
        """
        self._database.copy(Path(path))

    # --- exchange

    def write_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write each run with its key as a line of JSON, exact to the last bit."""
        write_lines(Path(path), self.items())

    def read_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Take over the runs that `write_jsonl` wrote, by the rules of `merge`.

        Raises:
            ValueError: A line is no run; names it, and takes over none.
        """
        return self._take_all(read_lines(Path(path)))

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row a run: names, scores, cost, settings; no curve or history.

        Names are written exactly as they are. A spreadsheet takes one that begins with
        `=`, `+`, `-` or `@` for a formula: import the columns as text where the names are
        not your own.
        """
        write_csv(Path(path), self.items(history=False))

    def write_parquet(self, path: str | os.PathLike[str]) -> None:
        """Write the rows of `write_csv` as Parquet, typed by column.

        A column that holds text in some runs and numbers in others is text.

        Raises:
            ImportError: pandas or pyarrow is not installed (`pretrain-eval[parquet]`).
        """
        write_parquet(Path(path), self.items(history=False))

    def to_pandas(self) -> pandas.DataFrame:
        """The rows of `write_csv` as a data frame, by key.

        Raises:
            ImportError: pandas is not installed.
        """
        rows = flat_rows(self.items(history=False))
        frame: pandas.DataFrame = needs("pandas").DataFrame(rows).set_index("key")
        return frame

    # --- claims

    def claim(self, key: str, *, attempts: int = 0) -> bool:
        """Reserve a run that is still to do, so that no other process does it too.

        A claim of a process that died, or that this store has seen without a heartbeat
        for a minute, whatever the clocks say, is taken over.

        Args:
            key: The run's key.
            attempts: How many results the caller saw under the key: 0 for a run not
                stored yet, `attempts(key)` for a failed one that is tried again.

        Returns:
            Whether this store now holds the claim; False where another live one does,
            or where another result has come in since.
        """
        with self._writing() as connection:
            row = self._database.row(key)
            if attempts != (0 if row is None else row["attempts"]):
                return False
            return self._claims.take(connection, key)

    def attempts(self, key: str) -> int:
        """How many results were added under `key`, failed ones included."""
        row = self._database.row(key) if key in self else None
        return 0 if row is None else int(row["attempts"])

    def heartbeat(self) -> None:
        """Say that the holder of this store's claims is alive."""
        if not self._database.exists():
            return  # nothing was claimed yet
        with self._writing() as connection:
            self._claims.refresh(connection)
        self._database.settle()

    def release(self, key: str | None = None) -> None:
        """Give up this store's claim on `key`, or all of its claims."""
        # A rescue has told that they are gone with the file.
        if self._rescue is not None or not self._database.exists():
            return
        with self._writing() as connection:
            self._claims.remove(connection, key, own=True)
        self._database.settle()

    def in_use(self) -> bool:
        """Whether another live process holds a claim."""
        if not self._database.exists():
            return False
        with self._database.reading() as connection:
            return self._claims.others_live(connection)

    # --- inside

    @contextmanager
    def _writing(
        self, key: str = "", run: Run | None = None
    ) -> Iterator[sqlite3.Connection]:
        """A block that writes all or nothing; a lost file is told, with what it held.

        Args:
            key: Of the run.
            run: What is to be kept in the block, if it is a run.
        """
        try:
            if self._rescue is not None:
                raise MovedError
            with self._database.writing() as connection:
                yield connection
        except MovedError:
            # SQLite reads on in a file that has no name any more.
            self._rescue = self._rescue or Rescue(self.path, self.items())
            if self._rescue.is_saved:
                self._database.discard_log()
            raise self._rescue.error(key, run) from None

    def _take_all(self, items: Iterable[tuple[str, Run]]) -> int:
        """Take over all of these runs, or none; how many are new."""
        number, conflicts = 0, list[str]()
        with self._writing():
            for key, run in items:
                stored = self.get(key)
                if stored is None or (stored != run and run.status == "completed"):
                    number += self.add(key, run)
                if stored is not None and (found := conflict(stored, run)):
                    conflicts.append(found)
        self._database.settle()
        if conflicts:
            log.warning(
                "%s: %d completed runs came with other results than those kept under their"
                " keys, which stay; one key should mean one result, but for what other"
                " machines and versions round otherwise. The first: %s",
                self.path,
                len(conflicts),
                conflicts[0],
            )
        return number

    def _load(
        self, keys: Sequence[str], *, history: bool = True
    ) -> Iterator[tuple[str, Run]]:
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            with self._database.reading():
                rows = self._database.rows(chunk)
                histories = self._database.histories(rows) if history else {}
            for key in chunk:
                if key in rows:
                    record, text = rows[key]["record"], histories.get(key, "")
                    yield key, decoded(self.path, key, record, text)
