"""Tests of the submitit adapter on submitit's own executor of this machine."""

import os
import signal
import sys
import time
from concurrent.futures import BrokenExecutor
from functools import partial

import pytest
import submitit
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval.integrations.submitit import SubmititExecutor


@pytest.fixture
def executor(tmp_path):
    """One job a process of this machine, which SIGINT ends.

    Whoever runs the tests in the background of a shell has it ignored, and processes
    that are started inherit that.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield SubmititExecutor(submitit.LocalExecutor(tmp_path / "%j"))
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def package_path(monkeypatch):
    """Processes that are started find the package that is tested."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, sys.path)))


def task():
    """A task of one dataset."""
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    samples = TensorDataset(inputs, (inputs.sum(1) > 0).long())
    splits = pe.Splits(TensorDataset(*samples[:30]), TensorDataset(*samples[30:]))
    return pe.Task("sign", datasets={"sum": splits}, num_classes=2)


def test_a_sweep_on_submitit_gives_the_runs_of_one_process(
    executor, tmp_path, package_path
):
    """Equal runs, kept by the sweep; what jobs share lies beside them."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    network.head = nn.Linear(8, 2)
    full = pe.Strategy("full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=1)
    sweep = partial(pe.sweep, {"m": network}, [task()], [full], [0, 1], progress=False)
    with executor:
        runs = sweep(executor=executor, store=tmp_path / "runs.db")
    alone = sweep()
    assert [run.status for run in runs] == ["completed"] * len(alone)
    assert [run.scores for run in runs] == [run.scores for run in alone]
    assert len(list(tmp_path.glob("*.part"))) == 3
    with pe.RunStore(tmp_path / "runs.db") as store:
        assert list(store) == list(runs)


def test_a_job_without_a_result_breaks_and_one_that_raises_tells_why(
    executor, monkeypatch
):
    """A process that dies is told apart from a function that raises."""
    monkeypatch.setattr(submitit.LocalJob, "_results_timeout_s", 0)
    dead, wrong = executor.submit(os._exit, 1), executor.submit(int, "seven")
    good = executor.submit(int, "7")
    with pytest.raises(BrokenExecutor, match="has not produced any output"):
        dead.result(60)
    with pytest.raises(Exception, match="invalid literal for int") as caught:
        wrong.result(60)
    assert not isinstance(caught.value, BrokenExecutor)
    assert good.result(60) == 7


def test_what_is_cancelled_is_cancelled_on_the_cluster(executor):
    """Leaving a sweep leaves no job behind."""
    future = executor.submit(time.sleep, 60)
    (job,) = executor._jobs.values()
    executor.shutdown(cancel_futures=True)
    assert future.cancelled()
    start = time.monotonic()
    while not job.done() and time.monotonic() < start + 30:
        time.sleep(0.1)
    assert job.done()


def test_without_submitit_the_way_to_install_it_is_told(monkeypatch):
    """A missing package raises with the line that installs it."""
    for name in [name for name in sys.modules if name.split(".")[0] == "submitit"]:
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "pretrain-eval\[submitit\]"'):
        SubmititExecutor(None)
