"""Where runs are kept: one SQLite file that refuses to lose, repeat or alter a run."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from pretrain_eval._optional import needs
from pretrain_eval._runs.claims import Claims
from pretrain_eval._runs.errors import damaged, readable_errors
from pretrain_eval._runs.export import flat_rows, read_lines, write_csv, write_lines
from pretrain_eval._runs.file import COLUMNS, added, checksum, opened, to_json
from pretrain_eval._runs.record import FrozenDict, restored
from pretrain_eval._runs.run import Cost, Run, Status
from pretrain_eval._runs.salvage import salvaged
from pretrain_eval._runs.scale import Scale

if TYPE_CHECKING:
    import pandas

MAX_SEED = 2**63 - 1  # SQLite's largest integer
_CHUNK = 256
_FIELDS = {field.name for field in dataclasses.fields(Run)}
_COSTS = {field.name for field in dataclasses.fields(Cost)}
_TABLES = ("curve", "history")
_MAPPINGS = ("scores", "baseline", "chance", "settings", "versions")
_EMPTY: FrozenDict[str, Any] = FrozenDict()  # cannot change, so that all may share it
_NAMES = ("model", "task", "dataset", "strategy", "seed", "status")


@final
class RunStore(AbstractContextManager["RunStore"]):
    """The runs in one file, each under the key of what decides its result.

    A stored run is durable when `add` returns, and a completed run is never
    overwritten. Several processes of one machine may share a store; it needs a local
    disk, as SQLite's write-ahead log does not work over a network. Every run carries
    a checksum: a damaged file raises and never gives a wrong number.

    `len(store)` counts the runs and iterating gives them complete, ordered by model,
    task, dataset, strategy, seed and key, whatever the order in which they came.

    Args:
        path: The file. It is made where none exists, in a folder that does.

    Raises:
        ValueError: The file is no run store, is of a newer version, or is damaged.
        OSError: The file cannot be opened, is locked for long, or the disk is full.

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
        self.path = Path(path)
        self._lock = threading.RLock()
        with readable_errors(self.path):
            self._connection = opened(self.path)
        self._claims = Claims()

    def close(self) -> None:
        """Release the claims and the file; closing twice is harmless."""
        with self._lock:
            if self._claims.taken:
                with suppress(OSError, ValueError):
                    self.release()
            self._connection.close()

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"RunStore({str(self.path)!r})"

    # --- reading

    def __len__(self) -> int:
        with self._reading() as connection:
            (num_runs,) = connection.execute("SELECT count(*) FROM runs").fetchone()
        return int(num_runs)

    def __iter__(self) -> Iterator[Run]:
        return self.filter()

    def __contains__(self, key: object) -> bool:
        with self._reading() as connection:
            query = "SELECT 1 FROM runs WHERE key = ?"
            return connection.execute(query, (key,)).fetchone() is not None

    def get(self, key: str) -> Run | None:
        """The complete run under `key`, or None where there is none."""
        return next((run for _, run in self._load([key], history=True)), None)

    def statuses(self) -> dict[str, Status]:
        """The status of every run by key: all that planning a resume needs."""
        with self._reading() as connection:
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
        wanted = (model, task, dataset, strategy, seed, status)
        conditions = {
            name: value
            for name, value in zip(_NAMES, wanted, strict=True)
            if value is not None
        }
        keys = self._keys(conditions)
        return (run for _, run in self._load(keys, history=history))

    def items(self, *, history: bool = True) -> Iterator[tuple[str, Run]]:
        """Keys with runs, in the order of the store; `history` as in `filter`."""
        return self._load(self._keys({}), history=history)

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
        if run.seed > MAX_SEED:
            raise ValueError(f"{run.name}: a stored seed must be below 2**63")
        fields = run.to_dict()
        history = to_json(fields.pop("history"))
        record = to_json(fields)
        names = [getattr(run, name) for name in _NAMES]
        history_checksum = checksum(key, history) if run.history else ""
        with self._writing() as connection:
            old = self._row(connection, key)
            if old is not None and old["status"] == "completed":
                same = (old["record"], old["history"]) == (record, history_checksum)
                return bool(same)
            attempts = 1 if old is None else old["attempts"] + 1
            values = [key, *names, attempts, record, history_checksum]
            values.append(checksum(*values))
            self._put(connection, values, history if run.history else None)
            self._count(connection, old, values[-1])
            self._claims.remove(connection, key)
        return True

    def merge(self, other: RunStore | str | os.PathLike[str]) -> int:
        """Take over all runs of another store, or none where that fails.

        The rules are those of `add`, and of two failures this store keeps its own.

        Returns:
            The number of runs that this store did not hold before as they are.
        """
        if not isinstance(other, RunStore):
            if not Path(other).exists():
                raise FileNotFoundError(f"{other}: there is no such run store")
            with RunStore(other) as opened:
                return self.merge(opened)
        with self._writing():
            return sum(self._take(key, run) for key, run in other.items())

    @staticmethod
    def recover(path: str | os.PathLike[str], *, into: str | os.PathLike[str]) -> int:
        """Save the runs that are whole in a damaged store into a new one.

        The damaged file is only read.

        Returns:
            The number of runs saved.

        Raises:
            FileExistsError: `into` exists.
        """
        if Path(into).exists():
            raise FileExistsError(f"{into} exists; recover into a new file")
        with RunStore(into) as store, store._writing():
            return sum(
                store.add(key, _run(Path(path), key, record, history))
                for key, record, history in salvaged(Path(path))
            )

    def _take(self, key: str, run: Run) -> bool:
        stored = self.get(key)
        failed_again = stored is not None and run.status != "completed"
        return not failed_again and stored != run and self.add(key, run)

    # --- exchange

    def write_jsonl(self, path: str | os.PathLike[str]) -> None:
        """Write each run with its key as a line of JSON, exact to the last bit."""
        write_lines(Path(path), self.items())

    def read_jsonl(self, path: str | os.PathLike[str]) -> int:
        """Take over the runs that `write_jsonl` wrote, by the rules of `merge`.

        Raises:
            ValueError: A line is no run; names it, and takes over none.
        """
        with self._writing():
            return sum(self._take(key, run) for key, run in read_lines(Path(path)))

    def write_csv(self, path: str | os.PathLike[str]) -> None:
        """Write one row a run: names, scores, cost, settings; no curve or history."""
        write_csv(Path(path), self.items(history=False))

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

        A claim of a process that died, or that gave no heartbeat for a minute, is
        taken over.

        Args:
            key: The run's key.
            attempts: How many results the caller saw under the key: 0 for a run not
                stored yet, `attempts(key)` for a failed one that is tried again.

        Returns:
            Whether this store now holds the claim: False where another live one does,
            or where another result has come in since.
        """
        with self._writing() as connection:
            row = self._row(connection, key)
            if attempts != (0 if row is None else row["attempts"]):
                return False
            return self._claims.take(connection, key)

    def attempts(self, key: str) -> int:
        """How many results were added under `key`, failed ones included."""
        with self._reading() as connection:
            row = self._row(connection, key)
        return 0 if row is None else int(row["attempts"])

    def heartbeat(self) -> None:
        """Say that the holder of this store's claims is alive."""
        with self._writing() as connection:
            self._claims.refresh(connection)

    def release(self, key: str | None = None) -> None:
        """Give up this store's claim on `key`, or all of its claims."""
        with self._writing() as connection:
            self._claims.remove(connection, key, own=True)

    # --- inside

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock, readable_errors(self.path):
            yield self._connection

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock, readable_errors(self.path):
            if self._connection.in_transaction:  # one write of several
                yield self._connection
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield self._connection
                self._connection.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def _keys(self, conditions: Mapping[str, object]) -> list[str]:
        # Which rows match is decided on verified columns only: the columns of every
        # row were verified when the file was opened, those that match are again.
        where = " AND ".join(f"{name} = ?" for name in conditions) or "1"
        query = (
            f"SELECT key FROM runs WHERE {where}"
            " ORDER BY model, task, dataset, strategy, seed, key"
        )
        with self._reading() as connection:
            rows = connection.execute(query, tuple(conditions.values())).fetchall()
        return [key for (key,) in rows]

    def _load(self, keys: Iterable[str], *, history: bool) -> Iterator[tuple[str, Run]]:
        keys = list(keys)
        for start in range(0, len(keys), _CHUNK):
            chunk = keys[start : start + _CHUNK]
            with self._reading() as connection:
                rows = self._rows(connection, chunk)
                columns = self._histories(connection, rows) if history else {}
            for key in chunk:
                if key in rows:
                    record = rows[key]["record"]
                    yield key, _run(self.path, key, record, columns.get(key, ""))

    def _rows(
        self, connection: sqlite3.Connection, keys: list[str]
    ) -> dict[str, dict[str, Any]]:
        query = (
            f"SELECT {', '.join(COLUMNS)} FROM runs"
            f" WHERE key IN ({', '.join('?' * len(keys))})"
        )
        rows = {}
        for values in connection.execute(query, keys):
            if checksum(*values[:-1]) != values[-1]:
                raise damaged(self.path, f"the run {values[0]!r} was altered")
            rows[values[0]] = dict(zip(COLUMNS, values, strict=True))
        return rows

    def _row(self, connection: sqlite3.Connection, key: str) -> dict[str, Any] | None:
        return self._rows(connection, [key]).get(key)

    def _histories(
        self, connection: sqlite3.Connection, rows: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, str]:
        wanted = {key: row["history"] for key, row in rows.items() if row["history"]}
        query = (
            "SELECT key, columns FROM histories"
            f" WHERE key IN ({', '.join('?' * len(wanted))})"
        )
        columns = dict(connection.execute(query, list(wanted)).fetchall())
        for key, expected in wanted.items():
            if key not in columns or checksum(key, columns[key]) != expected:
                raise damaged(self.path, f"the history of {key!r} was altered")
        return columns

    def _put(
        self, connection: sqlite3.Connection, values: list[Any], history: str | None
    ) -> None:
        assignments = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS[1:])
        connection.execute(
            f"INSERT INTO runs ({', '.join(COLUMNS)})"
            f" VALUES ({', '.join('?' * len(COLUMNS))})"
            f" ON CONFLICT (key) DO UPDATE SET {assignments}",
            values,
        )
        connection.execute("DELETE FROM histories WHERE key = ?", values[:1])
        if history is not None:
            row = (values[0], history)
            query = "INSERT INTO histories (key, columns) VALUES (?, ?)"
            connection.execute(query, row)

    def _count(
        self, connection: sqlite3.Connection, old: dict[str, Any] | None, new: str
    ) -> None:
        # The sum of all checksums: what makes a lost row visible.
        num_runs, total = connection.execute("SELECT * FROM totals").fetchone()
        previous = "0" if old is None else old["checksum"]
        total = added(total, new, previous)
        connection.execute(
            "UPDATE totals SET num_runs = ?, checksum = ?",
            (num_runs + (old is None), total),
        )


def check_room(store: RunStore, num_steps: Sequence[int]) -> None:
    """Raise OSError where the disk cannot take runs of so many steps each."""
    # A run takes about 4 kB, and each step three numbers of 20 characters.
    needed = sum(4096 + 64 * steps for steps in num_steps)
    free = shutil.disk_usage(store.path.absolute().parent).free
    if needed > free:
        raise OSError(
            f"{store.path}: the disk has {free / 1e6:.0f} MB left, the runs to come"
            f" need about {needed / 1e6:.0f} MB"
        )


def _decoded(text: str) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(text) if text else {}
    return value


def _run(path: Path, key: str, record: str, history: str) -> Run:
    try:
        fields = _decoded(record)
        fields["history"] = _decoded(history)
        if fields.keys() != _FIELDS or fields["cost"].keys() != _COSTS:
            return Run.from_dict(fields)  # of another version of the package
    except (ValueError, AttributeError) as error:
        raise damaged(path, f"the run {key!r} cannot be read: {error}") from error
    # The checksum has shown that these are the fields of a valid run; to validate them
    # again would take most of the time of listing thousands.
    for name in _TABLES:
        columns = fields[name]
        fields[name] = (
            FrozenDict(zip(columns, map(restored, columns.values()), strict=True))
            if columns
            else _EMPTY
        )
    for name in _MAPPINGS:
        fields[name] = FrozenDict(fields[name]) if fields[name] else _EMPTY
    scales = {key: Scale.from_dict(each) for key, each in fields["scales"].items()}
    fields["scales"] = FrozenDict(scales) if scales else _EMPTY
    fields["confusion"] = restored(fields["confusion"])
    costs, fields["cost"] = fields["cost"], object.__new__(Cost)
    vars(fields["cost"]).update(costs)
    run = object.__new__(Run)
    vars(run).update(fields)
    return run
