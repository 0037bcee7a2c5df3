"""Tests of the run store: nothing is lost, repeated, altered or overwritten."""

import csv
import dataclasses
import itertools
import json
import math
import os
import random
import sqlite3
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path

import pytest

import pretrain_eval as pe
from pretrain_eval._runs import claims
from pretrain_eval._runs import file as _store_file
from pretrain_eval._runs.store import RunStore

PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c489"
)


def make_run(index=0, *, model="resnet", status="completed", num_steps=20):
    """A run with every field filled, different for each index."""
    values = random.Random(index)
    return pe.Run(
        model=model,
        task="pets",
        dataset="clean",
        strategy="full",
        seed=index,
        status=status,
        message="" if status == "completed" else "it failed",
        scores={"accuracy": values.random()},
        baseline={"accuracy": 0.1 + 0.2},
        curve={"step": (0, 5), "accuracy": (values.random(), values.random())},
        history={
            "step": tuple(range(1, num_steps + 1)),
            "grad_norm": (math.nan, *(values.random() for _ in range(num_steps - 1))),
        },
        cost=pe.Cost(num_parameters=10 + index, seconds=values.random()),
        settings={"trainable": "all", "epochs": 5},
        versions={"torch": "2.15.0"},
    )


def make_store(path, num_runs=40):
    """A store of many small runs and a few long ones; returns its runs by key."""
    runs = {
        f"key{index}": make_run(index, num_steps=400 if index % 10 == 0 else 5)
        for index in range(num_runs)
    }
    with RunStore(path) as store:
        for key, run in runs.items():
            store.add(key, run)
    return runs


def without_history(run):
    """The run as it is listed when its history stays unread."""
    fields = run.to_dict()
    fields["history"] = {}
    return pe.Run.from_dict(fields)


@pytest.fixture
def store(tmp_path):
    """An empty store, open."""
    with RunStore(tmp_path / "runs.db") as opened:
        yield opened


def run_script(script, *arguments):
    """Run Python in a process of its own with the store's modules, without torch."""
    # The package's face imports torch, which takes seconds; the store needs none.
    prelude = f"""
        import os, random, signal, sys, time, types
        sys.modules["pretrain_eval"] = types.ModuleType("pretrain_eval")
        sys.modules["pretrain_eval"].__path__ = [{str(Path(pe.__file__).parent)!r}]
        from pretrain_eval._runs.run import Run
        from pretrain_eval._runs.store import RunStore
        def make_run(index, **fields):
            return Run(
                model="m", task="t", dataset="d", strategy="s", seed=index, **fields
            )
    """
    text = textwrap.dedent(prelude) + textwrap.dedent(script)
    return subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_store_imports_neither_torch_nor_pandas():
    """Keeping records needs the standard library alone."""
    script = """
        print([name for name in ("torch", "numpy", "pandas") if name in sys.modules])
    """
    assert run_script(script).stdout == "[]\n"


def test_the_schema_has_the_columns_that_are_written(store):
    """The names of a run's columns, which its fields declare, are those of the file."""
    store.add("k", make_run())
    query = "SELECT name FROM pragma_table_info('runs')"
    names = [name for (name,) in store._database.connection.execute(query)]
    assert names == ["id", *_store_file.COLUMNS]


# --- what goes in comes out


def test_a_run_comes_back_exactly(tmp_path):
    """A stored run is equal to the last bit after the file is opened anew."""
    run = make_run(3)
    with RunStore(tmp_path / "runs.db") as store:
        assert store.add("k", run)
        assert store.get("k") == run
    with RunStore(tmp_path / "runs.db") as store:
        assert store.get("k") == run
        assert store.get("other") is None
        assert ("k" in store, "other" in store, len(store)) == (True, False, 1)


def test_awkward_text_and_long_messages_survive(store):
    """Keys, names and messages of any script and length come back as they were."""
    fields = {**make_run().to_dict(), "status": "error"}
    fields |= {"model": "modèle 模型 '\"; --", "message": "x\x00y\n" * 20_000}
    run = pe.Run.from_dict(fields)
    store.add("clé ✓", run)
    assert store.get("clé ✓") == run


def test_iteration_is_ordered_by_names_and_not_by_arrival(tmp_path):
    """Two stores filled in different orders list the same runs in the same order."""
    runs = [make_run(seed, model=model) for seed in (2, 0, 1) for model in ("b", "a")]
    listed = []
    for number, arrival in enumerate((runs, runs[::-1])):
        with RunStore(tmp_path / f"{number}.db") as store:
            for run in arrival:
                store.add(run.name, run)
            listed.append(list(store))
    assert listed[0] == listed[1]
    assert [(run.model, run.seed) for run in listed[0]] == [
        *itertools.product("ab", range(3))
    ]


@pytest.mark.parametrize(
    ("conditions", "seeds"),
    [
        ({}, [0, 1, 2]),
        ({"model": "resnet"}, [0, 1, 2]),
        ({"model": "vit"}, []),
        ({"seed": 1}, [1]),
        ({"status": "oom"}, [2]),
        ({"task": "pets", "dataset": "clean", "strategy": "full", "seed": 0}, [0]),
        ({"task": "pets", "dataset": "noisy"}, []),
    ],
)
def test_filter_keeps_the_runs_that_agree_with_every_name(store, conditions, seeds):
    """A filter gives just the runs whose named fields all have the given values."""
    for seed, status in enumerate(("completed", "completed", "oom")):
        store.add(f"k{seed}", make_run(seed, status=status))
    assert [run.seed for run in store.filter(**conditions)] == seeds


def test_runs_are_listed_without_reading_their_history(store, tmp_path):
    """history=False leaves the history empty and unread, damaged or not."""
    run = make_run(num_steps=2000)
    store.add("k", run)
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("UPDATE histories SET columns = '{}'")
    connection.close()
    assert list(store.filter(history=False)) == [without_history(run)]
    assert dict(store.items(history=False)) == {"k": without_history(run)}
    with pytest.raises(ValueError, match=r"runs\.db is damaged: the history of 'k'"):
        list(store)


def test_more_runs_than_one_chunk_are_all_listed(tmp_path):
    """Iteration reads in portions and joins them without a gap."""
    runs = make_store(tmp_path / "runs.db", num_runs=600)
    with RunStore(tmp_path / "runs.db") as store:
        assert dict(store.items()) == runs


# --- adding twice


def test_a_completed_run_is_never_overwritten(store):
    """The first completed run under a key stays, and the second add says so."""
    first, second = make_run(0), make_run(1)
    assert store.add("k", first)
    assert store.add("k", first)
    assert not store.add("k", second)
    assert not store.add("k", make_run(0, status="error"))
    assert store.get("k") == first
    assert (len(store), store.attempts("k")) == (1, 1)


def test_a_failed_run_gives_way_to_a_new_result(store, tmp_path):
    """A retried run replaces the failure and its history, and counts attempts."""
    for status in ("error", "oom", "completed"):
        assert store.add("k", make_run(0, status=status))
        assert store.statuses() == {"k": status}
    assert (store.attempts("k"), store.attempts("other")) == (3, 0)
    with RunStore(tmp_path / "runs.db") as again:
        assert list(again) == [make_run(0)]


@pytest.mark.parametrize(
    ("key", "seed", "message"),
    [
        ("", 0, "expects a key, got ''"),
        (None, 0, "expects a key, got None"),
        ("k", 2**63, "seed must be below 2\\*\\*63"),
        ("k", 2**63 - 1, None),
    ],
)
def test_add_checks_its_arguments(store, key, seed, message):
    """A key or seed that cannot be stored raises and leaves the store as it was."""
    if message is None:
        assert store.add(key, make_run(seed))
        assert store.get(key).seed == seed
        return
    with pytest.raises(ValueError, match=message):
        store.add(key, make_run(seed))
    assert store.statuses() == {}


@pytest.mark.parametrize("num_runs", [0, 1])
def test_a_closed_store_says_so(tmp_path, num_runs):
    """After close every use raises one clear error; closing again is harmless."""
    store = RunStore(tmp_path / "runs.db")
    for index in range(num_runs):
        store.add(f"k{index}", make_run(index))
    store.close()
    store.close()
    for use in (len, list, RunStore.statuses, RunStore.heartbeat):
        with pytest.raises(ValueError, match=r"runs\.db: the store is closed"):
            use(store)
    with pytest.raises(ValueError, match=r"runs\.db: the store is closed"):
        store.add("k", make_run())
    assert len(list(tmp_path.iterdir())) == num_runs


# --- the file comes with the first write

LISTS = {
    "len": len,
    "list": list,
    "runs": RunStore.runs,
    "filter": RunStore.filter,
    "items": RunStore.items,
    "to_pandas": RunStore.to_pandas,
    "write_csv": lambda store: store.write_csv(store.path.with_name("o.csv")),
    "write_parquet": lambda store: store.write_parquet(store.path.with_name("o")),
    "write_jsonl": lambda store: store.write_jsonl(store.path.with_name("o.jsonl")),
    "backup": lambda store: store.backup(store.path.with_name("copy.db")),
    "merge": lambda store: RunStore(store.path.with_name("new.db")).merge(store.path),
}


@pytest.mark.parametrize("name", LISTS)
def test_to_list_what_is_not_there_is_an_error_and_makes_nothing(tmp_path, name):
    """A typo is no empty store: the error names the files that may be meant."""
    make_store(tmp_path / "runs.db", num_runs=1)
    with (
        RunStore(tmp_path / "typo_runs.db") as store,
        pytest.raises(
            FileNotFoundError, match=r"typo_runs\.db: there is no .* mean runs\.db\? sw"
        ),
    ):
        LISTS[name](store)
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


@pytest.mark.parametrize(
    ("files", "named"),
    [
        ([], ""),
        (["thesis.txt", "run.db-wal", "other.db"], " mean other.db?"),
        (
            ["run.db", "runs2.db", "ruins.db", "z.db"],
            " runs2.db or ruins.db or run.db?",
        ),
        ([f"{x}{x}.db" for x in "vwxyz"], " mean vv.db or ww.db or xx.db?"),
    ],
)
def test_the_error_names_what_may_be_meant(tmp_path, files, named):
    """Names like it first, or else files that end alike, three at most."""
    for name in files:
        (tmp_path / name).touch()
    with RunStore(tmp_path / "runs.db") as store, pytest.raises(FileNotFoundError) as e:
        len(store)
    assert named in str(e.value)
    assert ("Did you mean" in str(e.value)) == bool(named)


def test_what_a_writer_asks_first_has_an_answer(tmp_path):
    """Under no key is anything yet, no claim is held, and asking makes no file."""
    with RunStore(tmp_path / "runs.db") as store:
        assert (store.get("k"), "k" in store, store.statuses()) == (None, False, {})
        assert (store.attempts("k"), store.in_use()) == (0, False)
        store.heartbeat()
        store.release()
        assert not list(tmp_path.iterdir())
        assert store.claim("k")
        assert (tmp_path / "runs.db").exists()
        assert len(store) == 0


def test_a_file_that_another_one_makes_meanwhile_is_seen(tmp_path):
    """Opened before the first run of all, a store shows what others add."""
    with RunStore(tmp_path / "runs.db") as early, RunStore(early.path) as other:
        assert early.statuses() == {}
        other.add("k", make_run(0))
        assert early.get("k") == make_run(0)
        assert early.add("l", make_run(1))
        assert len(other) == 2


def test_a_foreign_file_that_comes_meanwhile_is_refused(tmp_path):
    """Nothing is written over what somebody puts at the path."""
    with RunStore(tmp_path / "runs.db") as store:
        store.path.write_bytes(PNG)
        for use in (len, RunStore.statuses, lambda s: s.add("k", make_run())):
            with pytest.raises(ValueError, match=r"runs\.db is not a run store"):
                use(store)
        assert store.path.read_bytes() == PNG


def test_a_file_of_lines_that_is_not_there_makes_no_store(tmp_path):
    """What cannot be read is told before anything is written."""
    with RunStore(tmp_path / "runs.db") as store:
        with pytest.raises(FileNotFoundError, match=r"typo\.jsonl"):
            store.read_jsonl(tmp_path / "typo.jsonl")
        with pytest.raises(FileNotFoundError, match=r"typo\.db"):
            store.merge(tmp_path / "typo.db")
    assert not list(tmp_path.iterdir())


# --- exchange


def test_json_lines_give_the_same_store_back(store, tmp_path):
    """Runs written as JSON lines and read into a new store are equal to the bit."""
    runs = {f"k{i}": make_run(i, status=s) for i, s in enumerate(("completed", "oom"))}
    for key, run in runs.items():
        store.add(key, run)
    store.write_jsonl(tmp_path / "runs.jsonl")
    lines = (tmp_path / "runs.jsonl").read_text().splitlines()
    assert [json.loads(line)["key"] for line in lines] == ["k0", "k1"]
    with RunStore(tmp_path / "copy.db") as copy:
        assert copy.read_jsonl(tmp_path / "runs.jsonl") == 2
        assert copy.read_jsonl(tmp_path / "runs.jsonl") == 0
        assert dict(copy.items()) == runs


def test_conflicting_results_are_told(store, tmp_path, caplog):
    """One key means one result; two machines that disagree are named, once a merge."""
    store.add("same", make_run(0))
    store.add("both", make_run(1))
    with RunStore(tmp_path / "other.db") as other:
        renamed = dataclasses.replace(
            make_run(0), model="other name", cost=pe.Cost(seconds=9.0), versions={}
        )
        other.add("same", renamed)
        assert store.merge(other) == 0
        assert caplog.text == ""
        other.add("both", dataclasses.replace(make_run(1), scores={"accuracy": 0.5}))
        other.write_jsonl(tmp_path / "other.jsonl")
        assert store.merge(other) == 0
    assert "1 completed runs came with other results than those kept" in caplog.text
    assert "resnet on pets/clean, full, seed 1: scores is" in caplog.text
    caplog.clear()
    assert store.read_jsonl(tmp_path / "other.jsonl") == 0
    assert "1 completed runs came with other results" in caplog.text
    assert store.get("both") == make_run(1)


NAMES = ["a\rb", "a\nb", "a\r\nb", "a,b", 'a"b', "=1+1", "+1", "-1", "@x", "\tx", " x "]


@pytest.mark.parametrize("name", NAMES)
def test_names_come_back_from_csv_as_they_are(store, tmp_path, name):
    """Whatever a name holds, it is one cell of one row."""
    store.add("k", dataclasses.replace(make_run(0), model=name, settings={name: name}))
    store.write_csv(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["model"], row[f"settings.{name}"]) == (name, name)


def test_an_export_onto_a_full_disk_names_its_file(store, tmp_path, monkeypatch):
    """What the system says of a disk is said of the file, and nothing is left."""
    store.add("k", make_run(0))

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pretrain_eval._runs.export.to_json", full)
    with pytest.raises(OSError, match=r"runs\.jsonl: No space left on device"):
        store.write_jsonl(tmp_path / "runs.jsonl")
    assert not list(tmp_path.glob("*runs.jsonl*"))


def test_settings_that_are_not_finite_come_back(store):
    """NaN and infinity are numbers in a setting too."""
    settings = {"clip": math.inf, "decay": math.nan}
    store.add("k", dataclasses.replace(make_run(0), settings=settings))
    kept = store.get("k").settings
    assert kept["clip"] == math.inf
    assert math.isnan(kept["decay"])


def test_memory_is_no_file():
    """SQLite's word for a store in memory is no name of one."""
    with pytest.raises(ValueError, match=r"sweep\(store=None\) keeps runs in memory"):
        RunStore(":memory:")


def test_a_broken_line_is_named_and_nothing_is_read(store, tmp_path):
    """JSON lines of which one is no run are refused as a whole, naming the line."""
    good = json.dumps({"key": "k", "run": make_run().to_dict()})
    path = tmp_path / "runs.jsonl"
    path.write_text(good + '\n{"key": "l"}\n')
    with pytest.raises(ValueError, match=r"runs\.jsonl, line 2: expected the JSON"):
        store.read_jsonl(path)
    assert list(store) == []
    path.write_text(good + "\n")
    assert store.read_jsonl(path) == 1


def test_tables_hold_a_row_a_run(store, tmp_path):
    """CSV and data frame show names, scores and cost; absent values are empty."""
    store.add("k0", make_run(0))
    store.add("k1", pe.Run(model="vit", task="t", dataset="d", strategy="s", seed=1))
    store.write_csv(tmp_path / "runs.csv")
    with (tmp_path / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["model"] for row in rows] == ["resnet", "vit"]
    assert float(rows[0]["scores.accuracy"]) == make_run(0).scores["accuracy"]
    assert (rows[0]["cost.num_parameters"], rows[1]["scores.accuracy"]) == ("10", "")
    frame = store.to_pandas()
    assert list(frame.index) == ["k0", "k1"]
    assert frame.loc["k0", "scores.accuracy"] == make_run(0).scores["accuracy"]
    assert math.isnan(frame.loc["k1", "scores.accuracy"])


def test_parquet_holds_the_rows_with_their_types(store, tmp_path):
    """Numbers stay numbers, what a run lacks is empty, and mixed settings are text."""
    pandas = pytest.importorskip(
        "pandas", reason='pip install "pretrain-eval[parquet]"'
    )
    pytest.importorskip("pyarrow", reason='pip install "pretrain-eval[parquet]"')
    mixed = {"trainable": 2, "epochs": 5}
    store.add("k0", make_run(0))
    store.add("k1", dataclasses.replace(make_run(1), settings=mixed, scores={}))
    store.write_parquet(tmp_path / "runs.parquet")
    frame = pandas.read_parquet(tmp_path / "runs.parquet").set_index("key")
    expected = store.to_pandas()
    assert set(frame.columns) == set(expected.columns)
    assert frame["seed"].tolist() == [0, 1]
    assert frame["scores.accuracy"].tolist()[0] == make_run(0).scores["accuracy"]
    assert math.isnan(frame["scores.accuracy"].tolist()[1])
    assert frame["settings.trainable"].tolist() == ["all", "2"]
    assert frame["settings.epochs"].tolist() == [5, 5]
    with pytest.raises(FileExistsError, match=r"runs\.db is a database"):
        store.write_parquet(tmp_path / "runs.db")
    assert not list(tmp_path.glob(".*"))


def test_parquet_without_its_package_names_the_extra(store, tmp_path, monkeypatch):
    """And writes nothing."""
    store.add("k", make_run())
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"pretrain-eval\[parquet\]"):
        store.write_parquet(tmp_path / "runs.parquet")
    assert not (tmp_path / "runs.parquet").exists()


def test_an_export_never_replaces_a_database(store, tmp_path):
    """Exporting onto a store, one's own included, raises and changes nothing."""
    store.add("k", make_run())
    for write in (store.write_csv, store.write_jsonl):
        with pytest.raises(FileExistsError, match=r"runs\.db is a database"):
            write(tmp_path / "runs.db")
    write(tmp_path / "runs.txt")
    write(tmp_path / "runs.txt")
    assert list(store) == [make_run()]
    assert {path.suffix for path in tmp_path.iterdir()} >= {".db", ".txt"}
    assert not list(tmp_path.glob(".*"))


def test_merging_takes_what_is_new_and_keeps_what_is_complete(store, tmp_path):
    """A merge adds new runs, replaces failures by completed runs, and no more."""
    store.add("both", make_run(0))
    store.add("failed here", make_run(1, status="error"))
    store.add("failed twice", make_run(2, status="error"))
    with RunStore(tmp_path / "other.db") as other:
        other.add("both", make_run(9))
        other.add("failed here", make_run(1))
        other.add("failed twice", make_run(2, status="oom"))
        other.add("new", make_run(3, status="timeout"))
    assert store.merge(tmp_path / "other.db") == 2
    assert store.merge(tmp_path / "other.db") == 0
    assert dict(store.items()) == {
        "both": make_run(0),
        "failed here": make_run(1),
        "failed twice": make_run(2, status="error"),
        "new": make_run(3, status="timeout"),
    }
    with pytest.raises(FileNotFoundError, match=r"absent\.db: there is no such"):
        store.merge(tmp_path / "absent.db")


# --- claims


def test_a_claim_excludes_others_until_it_is_given_up(store, tmp_path):
    """One store at a time holds a claim; release, add and close give it up."""
    with RunStore(tmp_path / "runs.db") as other:
        assert store.claim("k")
        assert store.claim("k")
        assert not other.claim("k")
        other.release("k")
        assert not other.claim("k")
        store.release("k")
        assert other.claim("k")
        assert not store.claim("k")
        assert other.claim("l")
    assert store.claim("k")
    assert store.claim("l")
    store.release()
    with RunStore(tmp_path / "runs.db") as other:
        assert other.claim("k")


def test_a_run_that_came_in_meanwhile_cannot_be_claimed(store):
    """A claim says how many results it saw, so that no result is computed twice."""
    assert store.claim("k")
    store.add("k", make_run(0, status="oom"))
    assert not store.claim("k")
    assert store.claim("k", attempts=1)
    store.add("k", make_run(0))
    assert not store.claim("k", attempts=1)


def test_a_silent_claim_is_taken_over(store, tmp_path, monkeypatch):
    """A claim that is seen without a heartbeat for a minute is lost; beats keep it."""
    with RunStore(tmp_path / "runs.db") as other:
        start = claims.time.monotonic()
        assert store.claim("k")
        assert not other.claim("k")
        monkeypatch.setattr(claims.time, "monotonic", lambda: start + 50)
        store.heartbeat()
        assert not other.claim("k")
        monkeypatch.setattr(claims.time, "monotonic", lambda: start + 100)
        assert not other.claim("k")
        monkeypatch.setattr(claims.time, "monotonic", lambda: start + 111)
        assert other.claim("k")


def test_the_claim_of_a_killed_process_is_taken_over_at_once(store, tmp_path):
    """A process that died by SIGKILL, reaped or not, holds no claim any more."""
    script = """
        assert RunStore(sys.argv[1]).claim("k")
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert run_script(script, tmp_path / "runs.db").returncode == -9
    assert store.claim("k")
    assert claims._runs(claims._process(os.getpid()))
    child = subprocess.Popen([sys.executable, "-c", ""])
    alive = claims._process(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not claims._runs(alive)  # a zombie
    child.wait()
    assert not claims._runs(alive)


# --- several processes


def test_processes_that_share_a_grid_do_every_run_once(tmp_path):
    """Three processes that open one new store share its runs without repetition."""
    script = """
        path, log = sys.argv[1:]
        def work():
            with RunStore(path) as store, open(log, "a") as done:
                for index in range(60):
                    if not store.claim(f"k{index}"):
                        continue
                    print(index, file=done, flush=True)
                    store.add(f"k{index}", make_run(index))
        children = []
        for _ in range(3):
            child = os.fork()
            if child == 0:
                work()
                os._exit(0)
            children.append(child)
        sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
    """
    result = run_script(script, tmp_path / "runs.db", tmp_path / "log")
    assert result.returncode == 0, result.stderr
    done = (tmp_path / "log").read_text().split()
    assert sorted(map(int, done)) == list(range(60))
    with RunStore(tmp_path / "runs.db") as store:
        assert [run.seed for run in store] == list(range(60))


def test_a_writer_killed_at_any_time_loses_no_stored_run(tmp_path):
    """After SIGKILLs at random times every add that returned is in the store."""
    script = """
        path, log = sys.argv[1:]
        rng = random.Random(0)
        def work():
            acknowledged = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            with RunStore(path) as store:
                for index in range(len(store.statuses()), 100_000):
                    history = {"step": range(1, 300), "grad_norm": [0.5] * 299}
                    store.add(f"k{index:06d}", make_run(index, history=history))
                    os.write(acknowledged, b"%d\\n" % index)
        for _ in range(12):
            child = os.fork()
            if child == 0:
                work()
            time.sleep(rng.uniform(0.005, 0.1))
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    """
    result = run_script(script, tmp_path / "runs.db", tmp_path / "log")
    assert result.returncode == 0, result.stderr
    acknowledged = [int(line) for line in (tmp_path / "log").read_text().split()]
    assert acknowledged == sorted(set(acknowledged))
    with RunStore(tmp_path / "runs.db") as store:
        stored = [run.seed for run in store]
    assert stored == list(range(len(stored)))
    assert set(acknowledged) <= set(stored)


# --- faults


def test_a_file_system_without_hard_links_will_do(tmp_path, monkeypatch):
    """Where files cannot be linked the new store is moved into its place."""

    def refuse(*_):
        raise OSError("Operation not supported")

    monkeypatch.setattr(os, "link", refuse)
    with RunStore(tmp_path / "runs.db") as store:
        assert store.add("k", make_run())
    assert [path.name for path in tmp_path.iterdir()] == ["runs.db"]


def test_a_foreign_file_is_refused_and_kept(tmp_path):
    """Other files, databases and folders raise one error and keep every byte."""
    contents = {"png": PNG, "empty": b"", "text": b"SQLite format 2", "short": b"SQ"}
    for name, content in contents.items():
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ValueError, match=f"{name} is not a run store"):
            RunStore(path)
        assert path.read_bytes() == content
    with sqlite3.connect(tmp_path / "other.db") as connection:
        connection.execute("CREATE TABLE mine (x)")
    connection.close()
    content = (tmp_path / "other.db").read_bytes()
    with pytest.raises(ValueError, match=r"other\.db is not a run store: it is a data"):
        RunStore(tmp_path / "other.db")
    assert (tmp_path / "other.db").read_bytes() == content
    with pytest.raises(IsADirectoryError, match="a run store is a file"):
        RunStore(tmp_path)
    with pytest.raises(FileNotFoundError, match="no/such does not exist"):
        RunStore(tmp_path / "no" / "such" / "runs.db")
    assert not (tmp_path / "no").exists()


def test_a_newer_schema_is_refused(tmp_path):
    """A store of a later version raises and names both versions."""
    make_store(tmp_path / "runs.db", num_runs=1)
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(ValueError, match="version 99, this pretrain_eval reads 1"):
        RunStore(tmp_path / "runs.db")


def check_damaged(folder, content, truth, log=None):
    """Open and recover a damaged copy; returns the runs recovered."""
    path = folder / "damaged.db"
    for left in folder.glob("damaged.db*"):
        left.unlink()
    path.write_bytes(content)
    if log is not None:
        (folder / "damaged.db-wal").write_bytes(log)
    (folder / "new.db").unlink(missing_ok=True)
    saved = RunStore.recover(path, into=folder / "new.db")
    assert path.read_bytes() == content
    with RunStore(folder / "new.db") as store:
        recovered = dict(store.items())
    assert len(recovered) == saved
    assert recovered.items() <= truth.items()
    try:
        with RunStore(path) as store:
            opened = dict(store.items())
    except ValueError as error:
        opened, message = None, str(error)
    if opened is None:
        assert str(path) in message
        assert log is not None or path.read_bytes() == content
    elif log is None:
        assert opened == truth
    else:  # SQLite drops what follows the damage in a log
        assert opened.items() <= truth.items()
    return recovered


def test_a_truncated_store_raises_and_its_prefix_is_recovered(tmp_path):
    """At 50 random lengths: one error, an untouched file, and only true runs saved."""
    truth = make_store(tmp_path / "runs.db")
    content = (tmp_path / "runs.db").read_bytes()
    rng = random.Random(1)
    lengths = [rng.randrange(len(content)) for _ in range(50)]
    saved = []
    for length in sorted(lengths):
        saved.append(len(check_damaged(tmp_path, content[:length], truth)))
        with pytest.raises(ValueError, match=r"damaged\.db is (damaged|not a run)"):
            RunStore(tmp_path / "damaged.db")
    assert saved == sorted(saved)
    assert saved[-1] > len(truth) / 2
    assert check_damaged(tmp_path, content, truth) == truth


def test_flipped_bytes_never_give_a_wrong_number(tmp_path):
    """A flipped byte raises or touches nothing stored, and costs one page at most."""
    truth = make_store(tmp_path / "runs.db")
    content = (tmp_path / "runs.db").read_bytes()
    rng = random.Random(2)
    places = [*range(0, 100, 7), *(rng.randrange(len(content)) for _ in range(60))]
    whole = 0
    for place in places:
        altered = bytearray(content)
        altered[place] ^= 1 << rng.randrange(8)
        recovered = check_damaged(tmp_path, bytes(altered), truth)
        whole += len(recovered) >= len(truth) - 6  # runs on one page
    assert whole >= len(places) - 4  # the header says how to read all pages


def test_a_damaged_log_gives_a_prefix_of_true_runs(tmp_path):
    """With a broken write-ahead log only runs that were stored are read."""
    script = """
        store = RunStore(sys.argv[1])
        for index in range(20):
            store.add(f"k{index}", make_run(index))
        os._exit(0)
    """
    path, log = tmp_path / "runs.db", tmp_path / "runs.db-wal"
    assert run_script(script, path).returncode == 0
    truth = {
        f"k{seed}": pe.Run(model="m", task="t", dataset="d", strategy="s", seed=seed)
        for seed in range(20)
    }
    content, frames = path.read_bytes(), log.read_bytes()
    assert check_damaged(tmp_path, content, truth, frames) == truth
    rng = random.Random(3)
    for _ in range(10):
        place = rng.randrange(len(frames))
        check_damaged(tmp_path, content, truth, frames[:place])
        altered = bytearray(frames)
        altered[place] ^= 1
        check_damaged(tmp_path, content, truth, bytes(altered))
    with RunStore(path) as store:
        assert dict(store.items()) == truth


def test_the_latest_attempt_is_recovered(tmp_path):
    """Recovery gives the newest result of a key, whatever old pages still hold."""
    with RunStore(tmp_path / "runs.db") as store:
        for index in range(60):
            store.add(f"k{index}", make_run(index, status="error", num_steps=50))
        for index in range(60):
            store.add(f"k{index}", make_run(index, num_steps=90))
        truth = dict(store.items())
    RunStore.recover(tmp_path / "runs.db", into=tmp_path / "new.db")
    with RunStore(tmp_path / "new.db") as store:
        assert dict(store.items()) == truth
    with pytest.raises(FileExistsError, match=r"new\.db exists"):
        RunStore.recover(tmp_path / "runs.db", into=tmp_path / "new.db")


@pytest.mark.parametrize("table", ["runs", "totals"])
def test_a_lost_row_is_noticed(tmp_path, table):
    """A row that vanished without a trace of damage makes the store raise."""
    make_store(tmp_path / "runs.db", num_runs=3)
    with sqlite3.connect(tmp_path / "runs.db") as connection:
        connection.execute(f"DELETE FROM {table} WHERE rowid = 1")
    connection.close()
    with pytest.raises(ValueError, match="runs are not those that were stored"):
        RunStore(tmp_path / "runs.db")


def test_confusions_come_back_as_they_were(tmp_path):
    """Sorted triples survive the file, line by line and in the database."""
    run = dataclasses.replace(
        make_run(0), num_examples=6, confusion=((0, 0, 3), (0, 1, 1), (1, 0, 2))
    )
    with RunStore(tmp_path / "runs.db") as store:
        store.add("key", run)
        assert store.get("key") == run


def test_a_full_disk_raises_and_keeps_what_is_stored(tmp_path):
    """A run that finds no room raises OSError; the others stay readable."""
    truth = make_store(tmp_path / "runs.db", num_runs=5)
    with RunStore(tmp_path / "runs.db") as store:
        (pages,) = store._database.connection.execute("PRAGMA page_count").fetchone()
        store._database.connection.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(OSError, match=r"runs\.db: the disk is full"):
            store.add("big", make_run(9, num_steps=5000))
        assert dict(store.items()) == truth
        assert store.attempts("big") == 0
    with RunStore(tmp_path / "runs.db") as store:
        assert store.add("big", make_run(9, num_steps=5000))


def test_a_locked_store_raises_and_is_still_readable(tmp_path, monkeypatch):
    """While another process keeps the lock a write raises and a read works."""
    truth = make_store(tmp_path / "runs.db", num_runs=3)
    monkeypatch.setattr(_store_file, "_BUSY_SECONDS", 0.05)
    other = sqlite3.connect(tmp_path / "runs.db", isolation_level=None)
    with RunStore(tmp_path / "runs.db") as store:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(TimeoutError, match=r"runs\.db: another process has kept"):
            store.add("k", make_run(8))
        assert dict(store.items()) == truth
        other.execute("ROLLBACK")
        assert store.add("k", make_run(8))
    other.close()


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX ones")
@pytest.mark.parametrize("folder_is_writable", [True, False])
def test_a_read_only_store_is_read_and_refuses_to_be_written(
    tmp_path, folder_is_writable
):
    """A file without write permission lists its runs; adding names the file."""
    make_store(tmp_path / "runs.db", num_runs=3)
    script = """
        import urllib.parse  # by pathlib, where Python may be root's alone
        if os.geteuid() == 0:  # who may do everything cannot test permissions
            os.setuid(65534)
        with RunStore(sys.argv[1]) as store:
            print([run.seed for run in store])
            try:
                store.add("k", make_run(9))
            except PermissionError as error:
                print(error)
    """
    (tmp_path / "runs.db").chmod(stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)
    for folder in tmp_path.parents:  # pytest's own
        if folder.is_relative_to(tempfile.gettempdir()) and folder != Path(
            tempfile.gettempdir()
        ):
            folder.chmod(0o755)
    tmp_path.chmod(0o777 if folder_is_writable else 0o555)
    try:
        result = run_script(script, tmp_path / "runs.db")
    finally:
        tmp_path.chmod(0o755)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[0] == "[0, 1, 2]"
    assert "runs.db: it can be read but not written" in result.stdout
