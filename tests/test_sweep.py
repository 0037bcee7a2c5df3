"""Tests of the sweep: nothing lost, nothing twice, failures kept as records."""

import gc
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._sweep import places, schedule


class Net(nn.Module):
    """A small network."""

    def __init__(self):
        """Draw weights."""
        super().__init__()
        self.body, self.head = nn.Linear(4, 8), nn.Linear(8, 5)

    def forward(self, inputs):
        """The outputs."""
        return self.head(self.body(inputs).relu())


def points(num, seed):
    """Points of two classes."""
    inputs = torch.randn(num, 4, generator=torch.Generator().manual_seed(seed))
    return TensorDataset(inputs, (inputs.sum(1) > 0).long())


def net(seed=0):
    """A network with the weights of a seed."""
    torch.manual_seed(seed)
    return Net()


def task(name="sign"):
    """A task of two datasets."""
    splits = pe.Splits(points(40, 1), points(16, 2))
    other = pe.Splits(points(30, 3), points(16, 4), points(17, 5))
    return pe.Task(name, datasets={"a": splits, "b": other}, num_classes=2)


def strategy(name="full", **fields):
    """Two epochs of gradient descent."""
    return pe.Strategy(
        name, **{"optimizer": partial(torch.optim.SGD, lr=0.1), "epochs": 2, **fields}
    )


HEAD = strategy("head", trainable="head")


def grid(**options):
    """A sweep of sixteen runs, quiet."""
    return pe.sweep(
        {"one": net(1), "two": net(2)},
        [task()],
        [strategy(), HEAD],
        range(2),
        progress=False,
        **options,
    )


def measured(runs):
    """All that runs say, without the seconds they took."""
    tables = [run.to_dict() for run in runs]
    for table in tables:
        table["cost"].pop("seconds", None)
        table["cost"].pop("total_seconds", None)
    return tables


@pytest.fixture
def counted(monkeypatch):
    """The names of the cells that were really trained."""
    names = []
    plain = places.Here.run

    def run(here, cells, on_epoch):
        names.extend(cell.name for cell in cells)
        return plain(here, cells, on_epoch)

    monkeypatch.setattr(places.Here, "run", run)
    return names


class Trouble:
    """A loss that does as it is told, by the number of its first call in a file."""

    def __init__(self, folder, act, times=10**9):
        """Keep what to do and how often."""
        self.folder, self.act, self.times = folder, act, times

    def __call__(self, outputs, targets):
        """Cross-entropy, or trouble."""
        marks = list(Path(self.folder).glob("trouble*"))
        if len(marks) < self.times:
            (Path(self.folder) / f"trouble{len(marks)}").touch()
            self.act()
        return nn.functional.cross_entropy(outputs, targets)


def raise_error():
    """An ordinary error."""
    raise KeyError("no such thing")


def raise_memory():
    """What torch raises on the CPU."""
    raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory")


def raise_cuda():
    """What torch raises on CUDA."""
    raise torch.OutOfMemoryError("CUDA out of memory")


def raise_interrupt():
    """Ctrl-C."""
    raise KeyboardInterrupt


def die():
    """The process is killed."""
    os.kill(os.getpid(), signal.SIGKILL)


# --- the same runs, whoever computes them


def test_a_sweep_gives_the_runs_that_finetune_gives(tmp_path):
    """Each run of a grid equals `finetune` alone, with and without a store."""
    runs = grid()
    alone = [
        pe.finetune(
            net({"one": 1, "two": 2}[run.model]),
            task(),
            {"full": strategy(), "head": HEAD}[run.strategy],
            seed=run.seed,
            dataset=run.dataset,
            name=run.model,
        )
        for run in runs
    ]
    assert measured(runs) == measured(alone)
    assert measured(grid(store=tmp_path / "runs.db")) == measured(alone)
    assert len(runs) == 16


def test_a_builder_that_draws_gives_each_seed_its_own_weights():
    """Weights drawn anew for each seed are not confused through what runs share."""
    runs = pe.sweep({"new": Net}, [task()], [HEAD], range(3), progress=False)
    assert len({tuple(run.baseline.items()) for run in runs if run.dataset == "a"}) > 1
    alone = [
        pe.finetune(Net, task(), HEAD, seed=r.seed, dataset=r.dataset, name="new")
        for r in runs
    ]
    assert measured(runs) == measured(alone)


@pytest.mark.parametrize("kind", ["workers", "processes", "threads"])
def test_every_executor_gives_the_same_runs(tmp_path, kind):
    """Workers, a pool of processes and a pool of threads give the serial runs."""
    if kind == "workers":
        runs = grid(workers=2, store=tmp_path / "runs.db")
    elif kind == "processes":
        context = get_context("spawn")
        with ProcessPoolExecutor(1, mp_context=context) as executor:
            runs = grid(executor=executor)
    else:
        with ThreadPoolExecutor(3) as executor:
            runs = grid(executor=executor)
    assert measured(runs) == measured(grid())


# --- nothing twice


def test_a_stored_run_is_not_computed_again(tmp_path, counted):
    """A second call trains nothing; a larger grid trains only what is new."""
    store = tmp_path / "runs.db"
    runs = grid(store=store)
    assert len(counted) == 16
    assert grid(store=store) == runs
    assert len(counted) == 16
    more = pe.sweep(
        {"two": net(2), "one": net(1)},
        [task()],
        [HEAD, strategy()],
        [1, 2],
        store=store,
        progress=False,
    )
    assert len(counted) == 24
    by_name = {run.name: run for run in runs}
    assert all(by_name[run.name] == run for run in more if run.seed == 1)


def test_equal_content_under_two_names_is_computed_once(tmp_path, counted):
    """Two names of one model share their runs, each under its own name."""
    runs = pe.sweep(
        {"a": net(), "b": net()},
        [task()],
        [HEAD],
        store=tmp_path / "runs.db",
        progress=False,
    )
    assert len(counted) == 2
    assert [run.model for run in runs] == ["a", "a", "b", "b"]
    assert [run.scores for run in runs[:2]] == [run.scores for run in runs[2:]]


def test_features_are_read_once_for_all_heads(monkeypatch):
    """The frozen backbone sees each sample once a model and dataset, not a run."""
    seen = Counter()

    class Watched(Net):
        def forward(self, inputs):
            seen[inputs.shape[0]] += not torch.is_grad_enabled()
            return super().forward(inputs)

    strategies = [
        strategy(
            f"head {lr}", trainable="head", optimizer=partial(torch.optim.SGD, lr=lr)
        )
        for lr in (0.1, 0.2)
    ]
    splits = pe.Splits(points(41, 1), points(17, 2))
    one = pe.Task("one", datasets={"a": splits}, num_classes=2)
    pe.sweep({"w": Watched()}, [one], strategies[:1], [0], progress=False)
    once = dict(seen)
    seen.clear()
    pe.sweep({"w": Watched()}, [one], strategies, range(3), progress=False)
    del seen[2], once[2]  # two samples tell beforehand whether all fits
    assert dict(seen) == once


def test_finished_runs_do_not_stay_in_memory(tmp_path, monkeypatch):
    """While a sweep with a store goes on, no finished run is held."""
    alive = []
    plain = places.Here.run

    def run(here, cells, on_epoch):
        gc.collect()
        alive.append(sum(type(each) is pe.Run for each in gc.get_objects()))
        return plain(here, cells, on_epoch)

    monkeypatch.setattr(places.Here, "run", run)
    before = sum(type(each) is pe.Run for each in gc.get_objects())
    runs = grid(store=tmp_path / "runs.db")
    assert (len(runs), len(alive)) == (16, 12)  # the four pairs of heads go together
    assert max(alive) <= before + 2


# --- what goes wrong


@pytest.mark.parametrize(
    ("act", "status", "message"),
    [
        (raise_error, "error", "KeyError: 'no such thing'"),
        (raise_memory, "oom", "can't allocate memory"),
        (raise_cuda, "oom", "CUDA out of memory"),
    ],
)
def test_a_run_that_fails_is_recorded_and_the_others_go_on(
    tmp_path, act, status, message
):
    """A failure has a status and a message, is kept, and is tried again on demand."""
    bad = strategy("bad", loss=Trouble(tmp_path, act, times=2))
    sweep = partial(
        pe.sweep,
        {"one": net(1)},
        [task()],
        [bad, strategy()],
        store=tmp_path / "runs.db",
        strict=False,
        progress=False,
    )
    runs = sweep()
    assert [run.status for run in runs] == [status, "completed"] * 2
    assert message in runs[0].message
    assert runs[0].scores == {}
    assert sweep() == runs
    assert sweep(retry=["diverged"]) == runs
    again = sweep(retry=[status])
    assert [run.status for run in again] == ["completed"] * 4
    assert (again[1], again[3]) == (runs[1], runs[3])


def test_a_retried_status_gets_one_more_try_at_once(tmp_path, counted):
    """With retry a fresh failure is tried once more before it is recorded."""
    for times, statuses in ((1, {"completed"}), (10**9, {"error"})):
        folder = tmp_path / str(times)
        folder.mkdir()
        bad = strategy("bad", loss=Trouble(folder, raise_error, times))
        one = pe.Task("t", datasets={"a": task().datasets["a"]}, num_classes=2)
        counted.clear()
        runs = pe.sweep(
            {"m": net()}, [one], [bad], retry=["error"], strict=False, progress=False
        )
        assert {run.status for run in runs} == statuses
        assert len(counted) == 2


@pytest.mark.filterwarnings("ignore:.* is NaN")  # metrics say so on the way
def test_a_run_that_diverges_is_a_record(tmp_path):
    """An infinite learning rate ends as diverged, with the curve until then."""
    wild = strategy("wild", optimizer=partial(torch.optim.SGD, lr=1e38))
    runs = pe.sweep({"m": net()}, [task()], [wild], progress=False)
    assert {run.status for run in runs} == {"diverged"}
    assert len(runs[0].curve["accuracy"]) == 1


def test_a_run_that_takes_too_long_is_a_record():
    """A timeout ends the run at its next step and says how far it came."""
    slow = strategy("slow", epochs=10**6)
    runs = pe.sweep({"m": net()}, [task()], [slow], timeout=0.2, progress=False)
    assert {run.status for run in runs} == {"timeout"}
    assert "steps were taken" in runs[0].message


def test_ctrl_c_keeps_what_is_done_and_releases_the_rest(tmp_path, counted, capsys):
    """An interrupted sweep goes on where it stopped, at once."""
    last = strategy("last", loss=Trouble(tmp_path, raise_interrupt, times=1))
    sweep = partial(
        pe.sweep,
        {"m": net()},
        [task()],
        [strategy(), last],
        store=tmp_path / "runs.db",
        strict=False,
    )
    with pytest.raises(KeyboardInterrupt):
        sweep()
    assert "stopped; finished runs are kept in RunStore(" in capsys.readouterr().err
    with pe.RunStore(tmp_path / "runs.db") as store:
        assert [run.strategy for run in store] == ["full"]
        query = "SELECT count(*) FROM claims"
        assert store._database.connection.execute(query).fetchone() == (0,)
    assert [run.status for run in sweep(progress=False)] == ["completed"] * 4
    assert len(counted) == 2 + 3


def test_leaving_a_sweep_cancels_what_an_executor_still_holds(tmp_path):
    """Ctrl-C withdraws the jobs that the caller's executor has not begun."""

    class Idle(Executor):
        def __init__(self):
            self.futures = []

        def submit(self, fn, /, *args, **kwargs):
            if len(self.futures) == 3:
                raise KeyboardInterrupt
            self.futures.append(Future())
            return self.futures[-1]

    executor = Idle()
    with pytest.raises(KeyboardInterrupt):
        grid(executor=executor, store=tmp_path / "runs.db")
    assert [future.cancelled() for future in executor.futures] == [True] * 3
    assert len(grid(store=tmp_path / "runs.db")) == 16


def test_a_killed_worker_costs_one_try_of_its_own_run(tmp_path, caplog):
    """A run whose process dies is tried again; one that always kills is recorded."""
    once, always = tmp_path / "once", tmp_path / "always"
    once.mkdir()
    always.mkdir()
    runs = pe.sweep(
        {"m": net()},
        [task()],
        [
            strategy("once", loss=Trouble(once, die, times=1)),
            strategy("always", loss=Trouble(always, die)),
            strategy(),
        ],
        workers=2,
        store=tmp_path / "runs.db",
        strict=False,
        progress=False,
    )
    statuses = {(run.dataset, run.strategy): run.status for run in runs}
    assert statuses == {
        (label, name): "error" if name == "always" else "completed"
        for label in "ab"
        for name in ("once", "always", "full")
    }
    assert "killed by SIGKILL" in runs[1].message
    assert len(list(always.iterdir())) == 2 * schedule._NUM_DEATHS


# --- before the first hour


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "workers of at least 1, got 0"),
        ({"retry": "oom"}, "retry to be some of"),
        ({"retry": ["completed"]}, "retry to be some of"),
        ({"timeout": 0}, "a positive timeout, got 0"),
        ({"device": ["cuda:99"]}, "one that is there, got 'cuda:99'"),
        ({"retry": ["oom", "timeout"], "timeout": 100.0, "device": "cpu"}, None),
    ],
)
def test_options_are_checked_before_anything_runs(counted, options, message):
    """A wrong option raises and no run starts; a right one goes through."""
    if message is None:
        assert {run.status for run in grid(**options)} == {"completed"}
        return
    with pytest.raises(ValueError, match=message):
        grid(**options)
    assert counted == []


def test_what_cannot_be_sent_is_told_before_the_first_run(tmp_path):
    """A strategy that holds an open file is named, and no run starts."""

    def sweep(loss):
        with ThreadPoolExecutor(1) as executor:
            return pe.sweep(
                {"m": net()},
                [task()],
                [strategy("odd", loss=loss)],
                executor=executor,
                progress=False,
            )

    with (
        (tmp_path / "log").open("w") as log,
        pytest.raises(ValueError, match="strategy 'odd' cannot be sent to a worker"),
    ):
        sweep(lambda outputs, targets: print(file=log) or outputs.sum())
    runs = sweep(lambda outputs, targets: nn.functional.cross_entropy(outputs, targets))
    assert {run.status for run in runs} == {"completed"}


def test_a_disk_without_room_is_told_before_the_first_run(
    tmp_path, monkeypatch, counted
):
    """The runs to come are weighed against what the disk has left."""
    free = type("Usage", (), {"free": 10_000})()
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(OSError, match=r"runs\.db: the disk has 0 MB left"):
        grid(store=tmp_path / "runs.db")
    assert counted == []


def test_the_plan_and_the_summary_are_printed(tmp_path, capsys):
    """What is to do, what is reused, and how it ended are said; quiet says nothing."""
    bad = strategy("bad", loss=Trouble(tmp_path, raise_error, times=1))
    sweep = partial(
        pe.sweep,
        {"m": net()},
        [task()],
        [bad],
        store=tmp_path / "runs.db",
        strict=False,
    )
    sweep()
    first = capsys.readouterr().err
    assert "2 runs: 2 to do, 0 reused" in first
    assert "2 runs, 1 not completed (1 error)" in first
    sweep()
    again = capsys.readouterr().err
    assert "2 runs: 0 to do, 2 reused" in again
    assert "of the reused, 1 error; retry=['error'] tries them again" in again
    sweep(progress=False)
    assert capsys.readouterr() == ("", "")


# --- several processes, and kills


SCRIPT = """
import os, random, signal, sys, time
import torch
torch.set_num_threads(1)
sys.path[:0] = sys.argv[1:3]
import test_sweep
from pretrain_eval._sweep import places
store, log = sys.argv[3:5]
plain = places.Here.run
def run(here, cells, on_epoch):
    runs = plain(here, cells, on_epoch)
    with open(log, "a") as file:
        print(*(cell.name for cell in cells), sep="\\n", file=file)
    return runs
places.Here.run = run
def child():
    pid = os.fork()
    if pid == 0:
        test_sweep.grid(store=store)
        os._exit(0)
    return pid
"""


def run_script(script, *arguments):
    """Run Python that knows `child`, which sweeps the grid in a new process."""
    here, root = Path(__file__).parent, Path(pe.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-c", SCRIPT + textwrap.dedent(script)]
        + [str(each) for each in (here, root, *arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_two_processes_share_a_grid(tmp_path):
    """Two sweeps into one store at the same time train every run exactly once."""
    script = """
        children = [child(), child()]
        sys.exit(sum(os.waitpid(pid, 0)[1] for pid in children))
    """
    log = tmp_path / "log"
    result = run_script(script, tmp_path / "runs.db", log)
    assert result.returncode == 0, result.stderr
    counts = Counter(log.read_text().splitlines())
    assert len(counts) == 16
    assert set(counts.values()) == {1}
    assert measured(grid(store=tmp_path / "runs.db")) == measured(grid())


def test_kills_and_resumes_lose_and_repeat_nothing(tmp_path):
    """After a dozen SIGKILLs, each with a resume, the table is the uninterrupted one."""
    script = """
        rng = random.Random(0)
        for _ in range(12):
            pid = child()
            time.sleep(rng.uniform(0.02, 0.3))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        sys.exit(os.waitpid(child(), 0)[1])
    """
    log = tmp_path / "log"
    result = run_script(script, tmp_path / "runs.db", log)
    assert result.returncode == 0, result.stderr
    counts = Counter(log.read_text().splitlines())
    # Runs, at most a pair of heads, may be trained twice only where the kill came
    # before they were kept.
    assert len(counts) == 16
    assert sum(counts.values()) <= 16 + 2 * 12
    assert measured(grid(store=tmp_path / "runs.db")) == measured(grid())
