"""Whatever is called, the caller finds the world as it was."""

import logging
import os
import random
import threading
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from networks import Small, points, three_classes
from scoring import BUDGET, make_grid
from torch.utils.data import DataLoader

import pretrain_eval as pe
from pretrain_eval import plot

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2)
HEAD = pe.Strategy("head", optimizer=SGD, epochs=2, trainable="head")
NARROW, WIDE = Small(), Small(16)
TASK = three_classes()


def world() -> dict[str, Any]:
    """What a caller can see of its process, in values that can be compared."""
    kind, words, *rest = np.random.get_state()
    loggers = [logging.getLogger(), logging.getLogger("pretrain_eval")]
    return {
        "generator of python": random.getstate(),
        "generator of numpy": (kind, words.tolist(), *rest),
        "generator of torch": torch.get_rng_state().tolist(),
        "threads of torch": (torch.get_num_threads(), torch.get_num_interop_threads()),
        "default dtype": torch.get_default_dtype(),
        "gradients": (torch.is_grad_enabled(), torch.is_inference_mode_enabled()),
        "deterministic": (
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
        ),
        "precision": torch.get_float32_matmul_precision(),
        "printing": (str(torch.tensor(1 / 3)), np.get_printoptions()),
        "floating-point errors": np.geterr(),
        "warnings": (list(warnings.filters), warnings.showwarning),
        "logging": [(log.level, log.disabled, list(log.handlers)) for log in loggers],
        "environment": {**os.environ, "PYTEST_CURRENT_TEST": ""},
        "folder": (Path.cwd(), sorted(Path.cwd().iterdir())),
        "threads": {thread.name for thread in threading.enumerate()},
    }


@pytest.fixture
def world_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[[], dict[str, Any]]:
    """The world in an empty folder, whose generators are no fresh ones."""
    # Their first import adds to the filters of warnings, whoever imports them.
    for package in (
        "torch._dynamo",  # which torch's optimizers import
        "scipy.stats",
        "sklearn.linear_model",
        "sklearn.model_selection",
    ):
        pytest.importorskip(package, reason='pip install "pretrain-eval[plot]"')
    monkeypatch.chdir(tmp_path)
    random.seed(1)
    np.random.seed(2)
    np.random.standard_normal(1)  # of a pair, so that its state holds the second
    torch.manual_seed(3)
    torch.rand(5)
    return world  # to be called in the test, before which generators may be seeded


def unchanged(before: dict[str, Any]) -> None:
    """Every value of the world is what it was."""
    after = world()
    assert [what for what in before if before[what] != after[what]] == []


def swept(*strategies: pe.Strategy, seeds: int = 3, **options: Any) -> Any:
    """A sweep over a module and a builder, whose weights each seed draws."""
    models = {"module": NARROW, "builder": partial(Small, 16)}
    return pe.sweep(models, [TASK], strategies, range(seeds), progress=False, **options)


def apart() -> None:
    """Heads whose optimizer cannot step them side by side."""
    optimizer = partial(torch.optim.Adam, lr=0.1, amsgrad=True)
    swept(pe.Strategy("Adam", optimizer=optimizer, epochs=1, trainable="head"))
    sharing = partial(torch.optim.Adafactor, lr=0.1)
    swept(pe.Strategy("Adafactor", optimizer=sharing, epochs=1, trainable="head"))


def failing() -> None:
    """Sweeps that are refused, and whose runs fail."""

    def refuse(parameters: Any) -> Any:
        torch.rand(1)
        raise RuntimeError("no optimizer today")

    bad = pe.Strategy("bad", optimizer=refuse, epochs=1)
    with pytest.raises(ValueError, match="no optimizer today"):
        swept(bad)
    assert {run.status for run in swept(bad, strict=False)} == {"error"}


def loading() -> None:
    """A sweep of a loader that draws from a generator of its own."""
    generator = torch.Generator().manual_seed(5)
    train = DataLoader(points(48, 1), 16, shuffle=True, generator=generator)
    before = generator.get_state()
    splits = pe.Splits(train, points(40, 2))
    task = pe.Task("loaded", datasets={"points": splits}, num_classes=3)
    pe.sweep({"m": NARROW}, [task], [FULL, HEAD], (0, 1), progress=False)
    assert torch.equal(generator.get_state(), before)


def choosing() -> None:
    """A race of two models."""
    models = {"narrow": NARROW, "wide": WIDE}
    pe.choose(models, [TASK], [FULL, HEAD], range(2), progress=False)


def validating() -> None:
    """Shuffled batches of a loader without a generator."""
    pe.validate(NARROW, DataLoader(points(40, 2), 8, shuffle=True), pe.Accuracy())


def attaching() -> None:
    """A step that is watched, of a network without dropout."""
    model = torch.nn.Linear(4, 3, device="meta").to_empty(device="cpu")
    torch.nn.init.ones_(model.weight)
    optimizer = SGD(model.parameters())
    metrics = pe.MetricCollection(pe.GradNorm(), pe.UpdateRatio())
    with metrics.attach(optimizer, model):
        model(points(8, 1).tensors[0]).sum().backward()
        optimizer.step()
    assert len(metrics.history["grad_norm"]) == 1


def monitoring() -> None:
    """Predictions of a shuffled loader, and the simulation behind a look."""
    loader = DataLoader(points(40, 2), 8, shuffle=True)
    watch = pe.monitor(pe.predict(NARROW, loader, features=False))
    assert watch.look("W1", pe.predict(NARROW, loader, features=False)).looks


CALLS: dict[str, Callable[[], Any]] = {
    "finetune": lambda: pe.finetune(NARROW, TASK, FULL),
    "checkpoint": lambda: pe.finetune(NARROW, TASK, FULL, checkpoint="c.pt"),
    "sweep": lambda: swept(FULL),
    "heads side by side": lambda: swept(HEAD),
    "one head": lambda: swept(HEAD, seeds=1),
    "heads apart": apart,
    "frozen features": lambda: swept(pe.probe(), pe.nearest_neighbours(3)),
    "failures": failing,
    "loaders": loading,
    "choose": choosing,
    "validate": validating,
    "monitor": monitoring,
    "attach": attaching,
    "count_macs": lambda: pe.count_macs(NARROW, torch.zeros(1, 4)),
}


@pytest.mark.parametrize("call", CALLS)
def test_what_trains_and_measures_leaves_no_trace(
    call: str, world_before: Callable[[], dict[str, Any]]
) -> None:
    """Generators, settings, environment and folder are as before the call."""
    earlier = world_before()
    CALLS[call]()
    unchanged(earlier)


def test_a_store_is_all_that_a_sweep_leaves(
    world_before: Callable[[], dict[str, Any]],
) -> None:
    """Beside the file itself, and what a resume reads of it, nothing is new."""
    earlier = world_before()
    for _ in range(2):
        swept(FULL, HEAD, store="runs.db")
    assert [each.name for each in Path.cwd().iterdir()] == ["runs.db"]
    Path("runs.db").unlink()
    unchanged(earlier)


def test_scores_and_their_words_leave_no_trace(
    world_before: Callable[[], dict[str, Any]],
) -> None:
    """The draws of intervals and decisions are of generators of their own."""
    earlier = world_before()
    runs = make_grid()
    card = pe.scorecard(runs)
    for text in (card, card["persistence"], card["persistence"].verdict):
        assert str(text)
    choice = pe.PersistenceEvaluator().compare(runs)
    assert choice.ranks()
    assert choice.pairwise()
    unchanged(earlier)


def test_pictures_leave_no_trace(world_before: Callable[[], dict[str, Any]]) -> None:
    """Also matplotlib's settings and backend are the caller's."""
    mpl = pytest.importorskip("matplotlib", reason='pip install "pretrain-eval[plot]"')
    mpl.use("agg")
    plt = pytest.importorskip("matplotlib.pyplot")
    settings, before = dict(mpl.rcParams), world()
    runs = make_grid()
    card = pe.scorecard(runs, budget=BUDGET)
    plot.scorecard(card)
    plot.scores(card["persistence"])
    plot.ranks(card["usability"])
    for draw in (plot.curves, plot.profiles):
        draw(runs)
    for draw in (plot.grid, plot.before_after):
        draw([run for run in runs if run.model == "a"])
    plot.history({"step": [1, 2], "grad_norm": [1.0, 0.5]})
    plt.close("all")
    assert dict(mpl.rcParams) == settings
    unchanged(before)
