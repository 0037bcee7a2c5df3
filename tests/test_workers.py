"""Tests of the worker processes: a death costs one call and no more."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import BrokenExecutor, wait
from pathlib import Path

import pytest
import torch

import pretrain_eval
from pretrain_eval._runs import claims
from pretrain_eval._sweep import workers
from pretrain_eval._sweep.jobs import Job, Part
from pretrain_eval._sweep.workers import WorkerPool
from pretrain_eval._training import Surroundings


@pytest.fixture(scope="module")
def pool():
    """Two workers, for all tests of this file."""
    with WorkerPool(2) as opened:
        yield opened


def load_and_add(part, number):
    """What a call makes of a part."""
    return part.load() + number


def test_calls_run_in_other_processes_and_return_or_raise(pool):
    """Values come back, exceptions come back, and printing disturbs neither."""
    futures = [pool.submit(pow, base, 2) for base in range(10)]
    assert [future.result(60) for future in futures] == [b * b for b in range(10)]
    assert pool.submit(os.getpid).result(60) != os.getpid()
    assert pool.submit(print, "to the terminal").result(60) is None
    with pytest.raises(RuntimeError, match="ZeroDivisionError: "):
        pool.submit(divmod, 1, 0).result(60)
    with pytest.raises(RuntimeError, match="cannot pickle"):
        pool.submit(open, os.devnull).result(60)
    with pytest.raises(Exception, match=r"pickle|get local object"):
        pool.submit(lambda: 1).result(60)


def imported(names):
    """Which of these packages are imported here."""
    return [name for name in names if name in sys.modules]


def test_a_worker_imports_nothing_that_it_does_not_use(pool):
    """Its start costs what torch costs, and none of what a score or a picture needs."""
    optional = ("IPython", "matplotlib", "pandas", "scipy", "sklearn", "torchvision")
    assert pool.submit(imported, optional).result(60) == []


def test_threads_are_divided_among_workers(pool):
    """Workers together use no more threads than this process would."""
    threads = pool.submit(torch.get_num_threads).result(60)
    assert threads == max(1, torch.get_num_threads() // 2)


def test_a_killed_worker_costs_its_own_call_and_is_replaced(pool):
    """A worker that dies fails the call it ran; calls before and after succeed."""
    doomed = pool.submit(os._exit, 3)
    killed = pool.submit(os.abort)
    others = [pool.submit(pow, 2, n) for n in range(8)]
    with pytest.raises(BrokenExecutor, match="ended with code 3"):
        doomed.result(60)
    with pytest.raises(BrokenExecutor, match="killed by SIGABRT"):
        killed.result(60)
    assert [future.result(60) for future in others] == [2**n for n in range(8)]


def test_a_part_travels_once_and_is_forgotten_when_others_came(pool):
    """Parts are known by content; a worker is sent one again that it has dropped."""
    parts = [Part.of(100 * index, "a number") for index in range(12)]
    twice = [*parts, *parts, parts[0], parts[0]]
    futures = [pool.submit(load_and_add, part, 1) for part in twice]
    expected = [100 * (index % 12) + 1 for index in range(24)] + [1, 1]
    assert [future.result(60) for future in futures] == expected
    for worker in pool._workers:
        assert len(worker._parts) <= workers._NUM_PARTS


def where(job):
    """Where a job is to be run; slow, so that no worker takes two of two."""
    time.sleep(0.5)
    return job.surroundings.device


def test_each_worker_has_a_device_for_its_jobs(pool):
    """A job that names no device is told that of its worker, if there is one."""
    job = Job(parts={}, fields={}, surroundings=Surroundings())
    assert pool.submit(where, job).result(60) is None
    with WorkerPool(2, devices=["cpu", "cuda:1"]) as other:
        list(other.map(pow, [2, 2], [1, 1]))  # both have started
        assert set(other.map(where, [job, job])) == {"cpu", "cuda:1"}
    assert job.surroundings.device is None


def test_a_call_that_hangs_is_killed(monkeypatch):
    """A call that is still running after its time raises TimeoutError."""
    monkeypatch.setattr(workers, "_GRACE_SECONDS", 0.3)
    with WorkerPool(1, timeout=0.2) as pool:
        with pytest.raises(TimeoutError, match=r"did not end in 0\.2 s"):
            pool.submit(time.sleep, 60).result(60)
        assert pool.submit(pow, 2, 3).result(60) == 8


def test_leaving_early_ends_what_is_under_way():
    """A shutdown that cancels kills the workers and leaves no future waiting."""
    pool = WorkerPool(1)
    assert pool.submit(pow, 2, 3).result(60) == 8
    futures = [pool.submit(time.sleep, 60) for _ in range(3)]
    while not futures[0].running():
        time.sleep(0.01)
    start = time.monotonic()
    pool.shutdown(cancel_futures=True)
    done, waiting = wait(futures, timeout=10)
    assert time.monotonic() - start < 10
    assert (len(done), len(waiting)) == (3, 0)


PARENT = """
import sys, time
sys.path[:0] = sys.argv[1:2]
from pretrain_eval._sweep.workers import WorkerPool
pool = WorkerPool(2)
for future in [pool.submit(pow, 2, 2) for _ in range(8)]:
    future.result()
for _ in range(2):
    pool.submit(time.sleep, 60)
time.sleep(0.5)
print(*[worker._process.pid for worker in pool._workers if worker._process], flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX ones")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGTERM", "SIGHUP"])
def test_workers_end_with_their_parent(name):
    """However the parent ends, no worker goes on with its call."""
    root = Path(pretrain_eval.__file__).parents[1]
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(root)], stdout=subprocess.PIPE, text=True
    )
    with parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2
        parent.send_signal(getattr(signal, name))
    deadline = time.monotonic() + 2
    while any(map(_is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_is_running, pids))


def _is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not claims._process(pid).endswith("dead")  # not yet asked for
