"""The ground moves: files of stores deleted, moved, copied, or left by the dead."""

import importlib
import logging
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from networks import Small, three_classes
from test_store import make_run, run_script
from torch import optim

import pretrain_eval as pe
from pretrain_eval._runs import claims, creation
from pretrain_eval._sweep import places, schedule

NUM_SEEDS = 6


def grid(store, seeds=NUM_SEEDS):
    """One run a seed, in this process."""
    torch.manual_seed(0)
    full = pe.Strategy("full", optimizer=lambda p: optim.SGD(p, lr=0.1), epochs=1)
    return pe.sweep(
        {"m": Small()},
        [three_classes()],
        [full],
        range(seeds),
        store=store,
        progress=False,
    )


def unlinked(path):
    """Delete the store."""
    path.unlink()


def moved(path):
    """Call it otherwise."""
    path.rename(path.with_name("moved.db"))


def replaced(path):
    """Put another file in its place."""
    path.with_name("other").write_bytes(b"something else")
    path.with_name("other").replace(path)


def with_its_folder(path):
    """Remove the folder that it lies in."""
    shutil.rmtree(path.parent)


@pytest.fixture
def after_three(monkeypatch):
    """Have something happen to the store when three runs have ended."""
    plain, ended = places.Here.run, []

    def at(harm, path):
        def run(here, cells, on_epoch):
            runs = plain(here, cells, on_epoch)
            ended.extend(runs)
            if len(ended) == 3:
                harm(path)
            return runs

        monkeypatch.setattr(places.Here, "run", run)

    return at


@pytest.mark.parametrize("harm", [unlinked, moved, replaced, with_its_folder])
def test_a_sweep_whose_store_is_gone_stops_and_saves_its_runs(
    tmp_path, after_three, harm
):
    """One error names the file that holds every run that had ended; no run is lost."""
    path = tmp_path / "folder" / "runs.db"
    path.parent.mkdir()
    after_three(harm, path)
    with pytest.raises(
        pe.StoreLostError, match=r"deleted, moved or replaced"
    ) as caught:
        grid(path)
    lost = caught.value
    assert [run.seed for run in lost.runs] == [0, 1, 2]
    assert str(lost.rescued) in str(lost)
    # A new store begins where the old one ended.
    with suppress(FileNotFoundError):
        path.unlink()
    path.parent.mkdir(exist_ok=True)
    with pe.RunStore(path) as store:
        assert store.read_jsonl(lost.rescued) == 3
        assert sorted(store, key=lambda run: run.seed) == list(lost.runs)
    assert {run.status for run in grid(path)} == {"completed"}
    with pe.RunStore(path) as store:
        assert len(store) == NUM_SEEDS


def test_a_moved_store_holds_its_runs(tmp_path, after_three):
    """What was stored lies in the file itself, so that it may go elsewhere."""
    after_three(moved, tmp_path / "runs.db")
    with pytest.raises(pe.StoreLostError):
        grid(tmp_path / "runs.db")
    with pe.RunStore(tmp_path / "moved.db") as store:
        assert [run.seed for run in store] == [0, 1]


def test_a_store_that_goes_after_the_last_run_is_noticed(tmp_path, monkeypatch):
    """The end of a sweep looks once more."""
    path, plain = tmp_path / "runs.db", schedule.complete

    def complete(*arguments):
        plain(*arguments)
        path.unlink()

    # The face hands on a function of the name of its module.
    module = importlib.import_module("pretrain_eval._sweep.sweep")
    monkeypatch.setattr(module, "complete", complete)
    with pytest.raises(pe.StoreLostError) as caught:
        grid(path)
    assert len(caught.value.runs) == NUM_SEEDS


def test_a_heartbeat_notices_and_saves_at_once(tmp_path):
    """Long before the run under way has ended, what is finished is in safety."""
    store = pe.RunStore(tmp_path / "runs.db")
    store.add("a", make_run(0))
    (tmp_path / "runs.db").unlink()
    with pytest.raises(pe.StoreLostError, match="1 runs are saved") as caught:
        store.heartbeat()
    rescued = caught.value.rescued
    assert rescued == tmp_path / "runs.db.rescued.jsonl"
    for _ in range(2):
        with pytest.raises(pe.StoreLostError, match="2 runs are saved"):
            store.add("b", make_run(1))
    store.release()
    store.close()
    assert len(rescued.read_text().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == [rescued.name]


def test_a_rescue_overwrites_nothing(tmp_path):
    """A file of that name stays, and the runs go beside it."""
    (tmp_path / "runs.db.rescued.jsonl").write_text("mine")
    with pe.RunStore(tmp_path / "runs.db") as store:
        store.claim("a")
        (tmp_path / "runs.db").unlink()
        with pytest.raises(pe.StoreLostError) as caught:
            store.add("a", make_run(0))
    assert caught.value.rescued == tmp_path / "runs.db.rescued.2.jsonl"
    assert (tmp_path / "runs.db.rescued.jsonl").read_text() == "mine"


def test_runs_that_cannot_be_saved_are_handed_back(tmp_path, monkeypatch):
    """Without a place to write, the error itself holds them, and says so."""
    with pe.RunStore(tmp_path / "runs.db") as store:
        store.add("a", make_run(0))
        (tmp_path / "runs.db").unlink()

        def refuse(*_, **__):
            raise OSError("No space left on device")

        monkeypatch.setattr(Path, "touch", refuse)
        with pytest.raises(pe.StoreLostError, match=r"in `error\.runs`") as caught:
            store.add("b", make_run(1))
    assert [run.seed for run in caught.value.runs] == [0, 1]
    assert caught.value.rescued is None


# --- the log


def count(path):
    """How many runs another process sees, which closes the store again."""
    script = """
        with RunStore(sys.argv[1]) as store:
            print(len(store))
    """
    return int(run_script(script, path).stdout)


def test_the_file_alone_holds_every_run_after_a_kill(tmp_path):
    """A copy of a killed process's store, without its log, lacks nothing."""
    script = """
        store = RunStore(sys.argv[1])
        for index in range(37):
            store.claim(f"k{index}")
            store.add(f"k{index}", make_run(index))
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_script(script, tmp_path / "runs.db").returncode == -signal.SIGKILL
    assert (tmp_path / "runs.db-wal").exists()
    shutil.copy(tmp_path / "runs.db", tmp_path / "copy.db")
    assert count(tmp_path / "copy.db") == 37


def test_a_copy_without_its_log_is_told(tmp_path, caplog):
    """Claims that nobody gave up say that a log was in use; with the log all is well."""
    with pe.RunStore(tmp_path / "runs.db") as store:
        store.claim("k")
        store.heartbeat()
        shutil.copytree(tmp_path, tmp_path / "both")
        shutil.copy(tmp_path / "runs.db", tmp_path / "copy.db")
    for path in (tmp_path / "runs.db", tmp_path / "both" / "runs.db"):
        pe.RunStore(path).close()
    assert caplog.text == ""
    pe.RunStore(tmp_path / "copy.db").close()
    assert "copy.db was in use when it was last written, and its log" in caplog.text


def test_a_killed_sweep_is_no_copy_without_its_log(tmp_path, caplog):
    """Who looks into the store first takes the log away, and alarms nobody after."""
    script = """
        store = RunStore(sys.argv[1])
        store.add("k", make_run(0))
        store.claim("l")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    run_script(script, tmp_path / "runs.db")
    assert (tmp_path / "runs.db-wal").exists()
    for _ in range(2):
        assert count(tmp_path / "runs.db") == 1
        pe.RunStore(tmp_path / "runs.db").close()
    assert not (tmp_path / "runs.db-wal").exists()
    assert caplog.text == ""


def test_a_log_that_was_taken_from_the_living_is_no_alarm(tmp_path, caplog):
    """A store that opens its file again, while it holds a claim, misses nothing."""
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as store:
        assert store.claim("k")
        shutil.copy(path, tmp_path / "copy.db")
        assert count(path) == 0  # which takes the log away
        store.add("k", make_run(0))
        assert count(path) == 1
    assert caplog.text == ""


def test_a_second_store_of_this_process_keeps_the_locks_of_the_first(tmp_path):
    """Opening a store again, or exporting onto it, costs no run of the first one.

    POSIX gives up a process's locks on a file when it closes it anywhere; another
    process would then take the log for its own and remove it.
    """
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as first:
        first.add("a", make_run(0))
        pe.RunStore(path).close()
        with pytest.raises(FileExistsError, match="is a database"):
            first.write_csv(path)
        with pytest.raises(ValueError, match="the store is open here"):
            pe.RunStore.recover(path, into=tmp_path / "new.db")
        assert count(path) == 1
        assert (tmp_path / "runs.db-wal").exists()
        first.add("b", make_run(1))
        assert count(path) == 2


def test_a_log_that_was_taken_away_costs_no_run(tmp_path):
    """Who copies the file in this process gives up its locks: the log is made anew."""
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as store:
        store.add("a", make_run(0))
        shutil.copy(path, tmp_path / "copy.db")
        assert count(path) == 1  # which takes the log away
        assert not (tmp_path / "runs.db-wal").exists()
        store.add("b", make_run(1))
        assert count(path) == 2
        assert [run.seed for run in store] == [0, 1]


def test_a_log_without_its_store_is_not_written_into_a_new_one(tmp_path):
    """A store that vanished is not begun anew beside its log, which is recovered."""
    script = """
        store = RunStore(sys.argv[1])
        store.add("k", make_run(0))
        os.unlink(sys.argv[1])
        os._exit(0)
    """
    run_script(script, tmp_path / "runs.db")
    content = (tmp_path / "runs.db-wal").read_bytes()
    with pytest.raises(
        FileExistsError, match=r"runs\.db-wal is the log of a store that"
    ):
        pe.RunStore(tmp_path / "runs.db")
    assert (tmp_path / "runs.db-wal").read_bytes() == content
    assert pe.RunStore.recover(tmp_path / "runs.db", into=tmp_path / "new.db") == 1


# --- backups


def test_a_backup_is_the_store_at_one_moment(tmp_path):
    """It holds what was stored, no claims, and overwrites nothing."""
    with pe.RunStore(tmp_path / "runs.db") as store:
        for seed in range(3):
            store.add(f"k{seed}", make_run(seed))
        store.claim("other")
        store.backup(tmp_path / "backup.db")
        store.add("later", make_run(3))
        with pytest.raises(FileExistsError, match=r"backup\.db exists"):
            store.backup(tmp_path / "backup.db")
        with pytest.raises(FileNotFoundError, match="no/such does not exist"):
            store.backup(tmp_path / "no" / "such" / "backup.db")
    assert not list(tmp_path.glob("backup.db-*"))
    assert not list(tmp_path.glob(".*"))
    with pe.RunStore(tmp_path / "backup.db") as backup:
        assert [run.seed for run in backup] == [0, 1, 2]
        assert backup.claim("other")


# --- what the dead leave


def test_folders_of_killed_creators_are_cleaned_and_others_are_kept(tmp_path):
    """The next opening removes what a dead process left, and nothing of anybody else."""
    dead = subprocess.Popen([sys.executable, "-c", ""])
    token = claims.this_process().split("-")[0] + f"-{dead.pid}-1"
    dead.wait()
    kept, gone = [], []
    for number, (owner, file, stays) in enumerate(
        [
            (f"owner-{token}", "store", False),
            (None, "store", False),  # of an earlier version
            (None, None, False),
            (f"owner-{claims.this_process()}", "store", True),
            (f"owner-{token}", "thesis.txt", True),
            ("owner-00000000-1-1", "store", True),  # of another machine
        ]
    ):
        folder = tmp_path / f".runs.db-abcdefg{number}"
        folder.mkdir()
        for name in filter(None, (owner, file)):
            (folder / name).touch()
        (kept if stays else gone).append(folder)
    (tmp_path / ".runs.db-mine").mkdir()
    (tmp_path / ".runs.db-abcdefgh").touch()
    pe.RunStore(tmp_path / "runs.db").close()
    assert all(folder.exists() for folder in kept)
    assert not any(folder.exists() for folder in gone)
    assert (tmp_path / ".runs.db-mine").exists()
    assert (tmp_path / ".runs.db-abcdefgh").exists()
    old = time.time() - 2 * claims.STALE_SECONDS
    os.utime(kept[2], (old, old))
    pe.RunStore(tmp_path / "runs.db").close()
    assert not kept[2].exists()


def test_a_store_is_made_though_somebody_cleans(tmp_path, monkeypatch):
    """A folder that is taken away before it tells its owner is made once more."""
    plain, made = creation.tempfile.mkdtemp, []

    def mkdtemp(**options):
        folder = plain(**options)
        made.append(folder)
        if len(made) == 1:
            Path(folder).rmdir()
        return folder

    monkeypatch.setattr(creation.tempfile, "mkdtemp", mkdtemp)
    with pe.RunStore(tmp_path / "runs.db") as store:
        store.claim("k")
    assert len(made) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


# --- every connection is closed


class Watched(sqlite3.Connection):
    """Knows those that are open."""

    opened: ClassVar[set[int]] = set()

    def __init__(self, *arguments, **options):
        """Count it."""
        super().__init__(*arguments, **options)
        self.opened.add(id(self))

    def close(self):
        """Count it no more."""
        super().close()
        self.opened.discard(id(self))


def test_no_path_leaves_a_connection_open(tmp_path, monkeypatch):
    """Opening, reading or recovering damaged and foreign files closes what it opened."""
    plain = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *a, **k: plain(*a, **{"factory": Watched, **k})
    )
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as store:
        for seed in range(20):
            store.add(f"k{seed}", make_run(seed))
        store.backup(tmp_path / "backup.db")
    content = path.read_bytes()
    for place in range(0, len(content), len(content) // 60):
        altered = bytearray(content)
        altered[place] ^= 0xFF
        path.write_bytes(bytes(altered))
        (tmp_path / "new.db").unlink(missing_ok=True)
        with suppress(ValueError), pe.RunStore(path) as store:
            list(store)
        with suppress(ValueError), pe.RunStore(tmp_path / "backup.db") as store:
            store.merge(path)
        pe.RunStore.recover(path, into=tmp_path / "new.db")
    with pytest.raises(ValueError, match=r"is (not a run store|damaged)"):
        _foreign(tmp_path)
    assert not Watched.opened


def _foreign(folder):
    (folder / "foreign.db").write_bytes(b"SQLite format 3\x00" + bytes(4080))
    return pe.RunStore(folder / "foreign.db")


@pytest.fixture(autouse=True)
def no_words(caplog):
    """Whatever is logged is kept for the test."""
    caplog.set_level(logging.WARNING, "pretrain_eval")
