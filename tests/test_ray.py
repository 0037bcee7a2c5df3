"""Tests of the Ray adapter against a stand-in that does what Ray promises."""

import sys
import types
from concurrent.futures import BrokenExecutor, Future
from functools import partial

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._sweep.jobs import Part
from pretrain_eval.integrations.ray import RayExecutor


class ObjectRef:
    """A value in the store or a task's answer."""

    def __init__(self, value=None, error=None):
        """Keep what it will give."""
        self.value, self.error = value, error

    def future(self):
        """The answer, which is there at once."""
        answer = Future()
        if self.error is None:
            answer.set_result(self.value)
        else:
            answer.set_exception(self.error)
        return answer


@pytest.fixture
def ray(monkeypatch):
    """A module that is called `ray`; its references are fetched before a task runs."""
    module = types.ModuleType("ray")
    module.put_values, module.options, module.broken = [], [], []
    module.exceptions = types.SimpleNamespace(RayTaskError=KeyError)
    module.is_initialized = lambda: True

    def put(value):
        module.put_values.append(value)
        return ObjectRef(value)

    def remote(**options):
        module.options.append(options)

        def decorate(function):
            def call(*args):
                if module.broken:
                    return ObjectRef(error=module.broken.pop())
                found = [a.value if isinstance(a, ObjectRef) else a for a in args]
                return ObjectRef(function(*found))

            return types.SimpleNamespace(remote=call)

        return decorate

    module.put, module.remote = put, remote
    module.wait = lambda tasks, num_returns: (tasks, [])
    monkeypatch.setitem(sys.modules, "ray", module)
    return module


def sweep(**options):
    """A grid of four runs."""
    inputs = torch.randn(40, 4, generator=torch.Generator().manual_seed(0))
    samples = TensorDataset(inputs, (inputs.sum(1) > 0).long())
    splits = pe.Splits(TensorDataset(*samples[:30]), TensorDataset(*samples[30:]))
    torch.manual_seed(0)
    network = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
    network.head = nn.Linear(8, 2)
    full = pe.Strategy("full", optimizer=partial(torch.optim.SGD, lr=0.1), epochs=1)
    task = pe.Task("sign", datasets={"sum": splits}, num_classes=2)
    return pe.sweep({"m": network}, [task], [full], range(4), progress=False, **options)


def test_a_sweep_on_ray_gives_the_runs_of_one_process(ray):
    """Scores are equal, and each model, task and strategy is put once."""
    threads = torch.get_num_threads()
    try:
        with RayExecutor(num_cpus=threads, num_gpus=0.5, max_retries=2) as executor:
            runs = sweep(executor=executor)
    finally:
        torch.set_num_threads(threads)
    assert [run.scores for run in runs] == [run.scores for run in sweep()]
    assert len(ray.put_values) == 3
    assert all(isinstance(value, Part) for value in ray.put_values)
    assert ray.options == [{"num_cpus": threads, "num_gpus": 0.5, "max_retries": 2}]


def test_a_lost_node_is_a_broken_executor_and_the_run_is_tried_again(ray):
    """What Ray gives up is tried once more by the sweep, then recorded."""
    ray.broken = [RuntimeError("node died")]
    assert {run.status for run in sweep(executor=RayExecutor())} == {"completed"}
    ray.broken = [RuntimeError("node died")]
    with pytest.raises(BrokenExecutor, match="RuntimeError: node died"):
        RayExecutor().submit(pow, 2, 3).result(10)
    assert RayExecutor().submit(pow, 2, 3).result(10) == 8


def test_without_ray_the_way_to_install_it_is_told(monkeypatch):
    """A missing package raises with the line that installs it."""
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(ImportError, match=r'pip install "pretrain-eval\[ray\]"'):
        RayExecutor()
