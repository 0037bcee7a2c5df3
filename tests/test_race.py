"""Races: who is dropped, how surely, at what cost, over runs and over trainings."""

import dataclasses
import math
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import BrokenExecutor, Executor, Future
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import points
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval._selection.choice import choice_of
from pretrain_eval._selection.paired import drawn, error_of_mean, resolution
from pretrain_eval._selection.race import Measured, Race, Rules

SGD = partial(torch.optim.SGD, lr=0.05)


class World:
    """Scores that are drawn: a level a model, a shift a block and seed, and noise."""

    is_long = True

    def __init__(self, levels, blocks, seeds, noise, rng, bias=0.0):
        self.levels, self.rng = dict(levels), rng
        self.models, self.seeds = tuple(levels), tuple(range(seeds))
        self.num_blocks = blocks
        self.tasks = tuple(f"t{number}" for number in range(blocks))
        self.num_examples = np.full(blocks, np.nan)
        self.total_steps = float(len(levels) * blocks * seeds)
        effects = rng.normal(0, 0.05, (len(levels), blocks))
        effects -= effects.mean(axis=1, keepdims=True)  # levels are those of the blocks
        self.effects = dict(zip(levels, effects, strict=True))
        self.noise, self.bias = noise, bias

    def measure(self, models, seed, *, short):
        shift = self.rng.normal(0, 0.05, self.num_blocks)
        found = {}
        for name in models:
            values = self.levels[name] + self.effects[name] + shift
            values = values + self.rng.normal(0, self.noise, self.num_blocks)
            steps = self.num_blocks * (0.25 if short else 1.0 if seed else 0.75)
            found[name] = Measured(values, steps)
        return found


def raced(world, **rules):
    race = Race(world, Rules(**rules))
    race.run()
    return race, choice_of(race, ())


@pytest.mark.parametrize(
    ("blocks", "gaps"),
    [
        (8, [0.0] * 6),
        (8, [0.0, 0.01, 0.02, 0.1]),
        (3, [0.0] * 4),
        (2, [0.0, 0.02, 0.05]),
    ],
)
def test_the_best_is_not_dropped_and_the_limit_holds(blocks, gaps):
    """Over all looks together, in at least 95 % of worlds; equal ones are the hardest."""
    rng = np.random.default_rng(0)
    kept = held = 0
    count = 400
    for _ in range(count):
        levels = {f"m{i}": 0.8 - gap for i, gap in enumerate(gaps)}
        # Models that a short round drops are beyond the promise: here none is dropped.
        world = World(levels, blocks, 5, 0.02, rng)
        race, choice = raced(world, at_least=len(gaps), tolerance=0.0)
        lost = {n for each in race.rounds for n in each.dropped}
        kept += any(levels[n] == max(levels.values()) for n in levels.keys() - lost)
        regret = max(levels.values()) - levels[choice.model]
        held += regret <= choice.regret_limit + 1e-12
    assert kept / count >= 0.95
    assert held / count >= 0.95


def test_equal_models_stop_at_the_tolerance_and_are_not_told_apart():
    """What could be lost is small, and half of the grid is not run."""
    rng = np.random.default_rng(1)
    costs, reasons = [], set()
    for _ in range(50):
        world = World({f"m{i}": 0.8 for i in range(8)}, 8, 5, 0.004, rng)
        _, choice = raced(world, tolerance=0.01)
        costs.append(choice.cost_share)
        reasons.add(choice.stopped)
        assert choice.p_best[choice.model] < 0.95 or not choice.not_separable
    assert max(costs) <= 0.5
    assert "what could be lost is within the tolerance" in reasons


def test_a_clear_winner_is_found_at_once():
    """One seed of every block, and the rest is dropped."""
    rng = np.random.default_rng(2)
    levels = {"best": 0.9} | {f"m{i}": 0.5 for i in range(15)}
    world = World(levels, 8, 5, 0.01, rng)
    world.effects = {n: 0.1 * e for n, e in world.effects.items()}
    _, choice = raced(world)
    assert choice.model == "best"
    assert choice.stopped == "one model is left"
    assert choice.cost_share <= 0.12
    assert choice.p_best["best"] == 1.0
    assert "13 models" not in str(choice)
    assert "10 models were dropped after a short round" in str(choice)


def test_a_short_round_drops_by_rank_and_keeps_enough():
    """The share that is asked for, three at least, and none where there are few."""
    rng = np.random.default_rng(3)
    for count, kept in ((16, 6), (8, 3), (4, 3), (3, 3), (2, 2)):
        levels = {f"m{i}": 0.5 + 0.05 * i for i in range(count)}
        race, _ = raced(World(levels, 4, 3, 0.001, rng))
        first = race.rounds[0]
        assert first.short == (count > 3)
        full = next(each for each in race.rounds if not each.short)
        assert len(full.models) == kept
        assert set(first.dropped) == (
            set(levels) - set(full.models) if first.short else set(first.dropped)
        )


def test_a_failed_run_takes_its_model_out():
    """It cannot be told what it would have scored."""
    rng = np.random.default_rng(4)
    world = World({"a": 0.9, "b": 0.5, "c": 0.5}, 4, 3, 0.01, rng)
    plain = world.measure

    def measure(models, seed, *, short):
        found = plain(models, seed, short=short)
        if "a" in found:
            found["a"] = found["a"]._replace(values=np.full(4, math.nan))
        return found

    world.measure = measure
    race, choice = raced(world)
    assert choice.model != "a"
    assert race.rounds[0].dropped["a"] == "a run has failed"


EXACT = np.zeros(2)


def test_the_error_of_paired_differences_by_hand():
    """Several seeds: blocks are given. One seed: blocks stand for draws."""
    gaps = np.array([[0.1, 0.4], [0.3, 0.2]])
    error, freedom = error_of_mean(gaps, EXACT)
    assert error == pytest.approx(math.sqrt(np.mean([0.02, 0.02]) / 4))
    assert freedom == 2
    error, freedom = error_of_mean(gaps[:1], EXACT)
    assert error == pytest.approx(np.std(gaps[0], ddof=1) / math.sqrt(2))
    assert freedom == 1
    assert error_of_mean(gaps[:1, :1], EXACT) == (math.inf, 0.0)


def test_blocks_that_share_the_luck_of_a_seed_do_not_count_as_several():
    """Where all blocks move together the error is that of the seeds' means."""
    seeds = np.array([0.1, 0.4, 0.3])
    gaps = np.tile(seeds[:, None], 4)
    error, freedom = error_of_mean(gaps, np.zeros(4))
    assert error == pytest.approx(np.std(seeds, ddof=1) / math.sqrt(3))
    assert freedom == 8


def test_equal_scores_differ_by_less_than_a_step_and_not_by_nothing():
    """A score of 45 examples has steps of 1/45; one that is continuous has none."""
    step = 1 / 45
    seen = np.array([[1.0, 0.5], [1.0 - step, 0.5], [1.0, 0.5], [1.0 - 4 * step, 0.5]])
    found = resolution(np.vstack([seen, [np.nan, np.nan]]))
    assert found == pytest.approx([step, 0.0], abs=1e-6)
    error, _ = error_of_mean(np.zeros((3, 1)), found[:1])
    assert error == pytest.approx(step / math.sqrt(6) / math.sqrt(3), rel=1e-4)
    uneven = np.random.default_rng(0).random((40, 1))
    assert resolution(uneven)[0] < 0.01
    chances = (drawn(np.ones((2, 3, 1)), found[:1]).argmax(axis=0) == 0).mean()
    assert chances == pytest.approx(0.5, abs=0.05)


def test_two_seeds_of_one_dataset_with_equal_scores_end_no_race():
    """All right on few examples is no proof: there the limit is not nothing."""
    world = World({"a": 0.9, "b": 0.9, "c": 0.9}, 1, 5, 0.0, np.random.default_rng(0))

    def measure(models, seed, *, short):
        counted = {"a": 1.0, "b": 1.0, "c": 1.0 - 1 / 40}
        return {n: Measured(np.array([counted[n]]), 1.0) for n in models}

    world.measure = measure
    race, choice = raced(world, tolerance=0.01)
    limits = [each.regret_limit for each in race.rounds]
    assert limits[1] > 0.01
    assert limits == sorted(limits, reverse=True)
    assert set(choice.not_separable) | {choice.model} >= {"a", "b"}


@pytest.mark.parametrize("blocks", [1, 3, 6, 20])
@pytest.mark.parametrize("seeds", [1, 2, 5])
def test_what_is_spent_on_all_looks_is_what_may_go_wrong(blocks, seeds):
    """Half of it on the first look where blocks are many, nothing where there is one."""
    world = World({"a": 0.9, "b": 0.5}, blocks, seeds, 0.01, np.random.default_rng(0))
    race = Race(world, Rules(confidence=0.9))
    looks = range(2 if blocks == 1 and seeds > 1 else 1, seeds + 1)
    spent = [race._error_of_look(number) for number in looks]
    assert sum(spent) == pytest.approx(0.1)
    assert (spent[0] == pytest.approx(0.05)) == (
        (blocks >= 6 and seeds > 1) or (seeds == 2 and blocks == 3)
    )


def test_the_limit_holds_where_the_blocks_of_a_seed_move_together():
    """In at least 93 % of worlds whose blocks share all of a seed's luck."""
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        levels = {"a": 0.8, "b": 0.79, "c": 0.79}
        world = World(levels, 4, 5, 0.0, rng)
        plain = world.measure

        def measure(models, seed, *, short, plain=plain):
            found = plain(models, seed, short=short)
            return {
                name: each._replace(values=each.values + rng.normal(0, 0.02))
                for name, each in found.items()
            }

        world.measure = measure
        _, choice = raced(world, tolerance=0.0, at_least=3)
        regret = max(levels.values()) - levels[choice.model]
        held += regret <= choice.regret_limit + 1e-12
    assert held / 300 >= 0.93


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"confidence": 1.0}, "confidence must lie between 0 and 1"),
        ({"short": 0.0}, "short must lie"),
        ({"keep": 1.5}, "keep must lie"),
        ({"tolerance": -0.1}, "tolerance must be at least 0"),
        ({"tolerance": math.nan}, "tolerance must be at least 0"),
        ({"budget": 0.0}, "budget must be a share"),
        ({"budget": 2.0}, "budget must be a share"),
    ],
)
def test_numbers_out_of_range_are_refused(rules, message):
    """Before anything is run."""
    with pytest.raises(ValueError, match=message):
        Rules(**rules)


# --- trainings and their records


class Net(nn.Module):
    """A body, a random part that training uses, and a head."""

    def __init__(self, width, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU(), nn.Dropout(0.1))
        self.head = nn.Linear(width, 2)

    def forward(self, inputs):
        return self.head(self.body(inputs))


MODELS = {f"m{i}": Net(4 + 4 * i, i) for i in range(5)}


def task(shuffled=False, name="largest"):
    """Three classes; a reported split whose labels may be shuffled."""
    inputs, targets = points(60, 3).tensors
    if shuffled:
        targets = targets[
            torch.randperm(60, generator=torch.Generator().manual_seed(0))
        ]
    splits = pe.Splits(points(48, 1), points(60, 2), TensorDataset(inputs, targets))
    return pe.Task(name, datasets={"d": splits}, num_classes=3)


STRATEGIES = [
    pe.Strategy("full", optimizer=SGD, epochs=8, batch_size=16),
    pe.Strategy("head", optimizer=SGD, epochs=8, batch_size=16, trainable="head"),
]
chosen = partial(pe.choose, MODELS, [task()], STRATEGIES, range(3), progress=False)


def measured(runs):
    """What the runs of a sweep hold that does not depend on the machine's load."""
    return [
        dataclasses.replace(run, cost=pe.Cost(), versions={}, settings={})
        for run in runs
    ]


@pytest.fixture(scope="module")
def choice():
    return chosen()


@pytest.fixture(scope="module")
def grid():
    return pe.sweep(MODELS, [task()], STRATEGIES, range(3), progress=False)


def test_a_race_over_trainings_is_the_one_over_their_records(choice, grid):
    """The same decision, trail and cost; its whole runs are a sweep's, to the bit."""
    replayed = pe.replay(grid)
    assert str(replayed.rounds) == str(choice.rounds)  # NaN is not NaN
    assert str(replayed) == str(choice)
    by_name = {run.name: run for run in grid}
    whole = [run for run in choice.runs if run.status == "completed"]
    assert measured(whole) == measured(by_name[run.name] for run in whole)
    pruned = [run for run in choice.runs if run.status == "pruned"]
    assert pruned
    for run in pruned:
        assert run.scores == {}
        assert len(run.curve["step"]) == 3
        assert run.curve["accuracy"] == by_name[run.name].curve["accuracy"][:3]


def test_workers_decide_the_same(choice, monkeypatch):
    """Whatever happens where; each worker is started once, however many rounds."""
    from pretrain_eval._sweep import workers

    started = []
    plain = workers.subprocess.Popen

    def counted(*args, **more):
        started.append(args)
        return plain(*args, **more)

    monkeypatch.setattr(workers.subprocess, "Popen", counted)
    assert len(choice.rounds) > 1
    assert str(chosen(workers=2)) == str(choice)
    assert len(started) == 2


class Whole(Executor):
    """Runs nothing before so many calls as a round has were handed over."""

    def __init__(self, rounds):
        self.rounds, self.waiting = list(rounds), []
        self.late = threading.Timer(60.0, self.give_up)
        self.late.daemon = True
        self.late.start()

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        self.waiting.append((future, partial(function, *args, **kwargs)))
        if len(self.waiting) == self.rounds[0]:
            del self.rounds[0]
            for each, call in reversed(self.waiting):
                each.set_result(call())
            self.waiting.clear()
        return future

    def give_up(self):
        """Let the test fail instead of waiting for ever."""
        for future, _ in self.waiting:
            future.set_exception(TimeoutError("a round was not handed over whole"))


def test_an_executor_gets_a_whole_round_at_once(choice):
    """None of its workers waits for another run of the round; the order is no matter."""
    rounds = [len(STRATEGIES) * len(each.models) for each in choice.rounds]
    executor = Whole(rounds)
    assert str(chosen(executor=executor)) == str(choice)
    assert executor.rounds == []
    executor.late.cancel()


class Dead(Executor):
    """Its processes are gone."""

    def submit(self, function, /, *args, **kwargs):
        future = Future()
        future.set_exception(BrokenExecutor("they have died"))
        return future


def test_an_executor_that_died_is_no_decision():
    """One sentence says so, with what the first run has told."""
    with pytest.raises(ValueError, match=r"all 10 runs of a round have failed.*died"):
        chosen(executor=Dead())


def test_a_failed_first_run_hides_no_curve_of_the_others(grid):
    """The score is what the curves that exist share."""
    first = dataclasses.replace(grid[0], status="error", curve={}, scores={})
    choice = pe.replay([first, *grid[1:]])
    assert choice.model != grid[0].model


def test_the_reported_split_decides_nothing(choice):
    """With its labels shuffled the trail is the same."""
    other = chosen.func(
        *[MODELS, [task(shuffled=True)], STRATEGIES, range(3)], progress=False
    )
    assert str(other.rounds) == str(choice.rounds)


def test_runs_serve_before_and_after(tmp_path, choice, grid):
    """A race takes what a store holds; a sweep finishes what a race has cut short."""
    store = tmp_path / "runs.db"
    first = chosen(store=store)
    assert str(first) == str(choice)
    assert not store.with_name("runs.db.checkpoints").exists()
    again = chosen(store=store)
    assert str(again) == str(first)
    with pe.RunStore(store) as kept:
        assert set(kept.statuses().values()) == {"completed", "pruned"}
        runs = [run for _, run in kept.items()]
    lost = next(run.model for run in runs if run.status == "pruned")
    with pytest.raises(ValueError, match=f"no run of {lost} has a result"):
        pe.PersistenceEvaluator().score([run for run in runs if run.model == lost])
    swept = pe.sweep(
        MODELS, [task()], STRATEGIES, range(3), store=store, progress=False
    )
    assert measured(swept) == measured(grid)


def test_what_cannot_be_raced_is_refused():
    """One model, one seed, trainings without a curve, and unlike metrics."""
    with pytest.raises(ValueError, match="two models or more"):
        pe.choose({"one": MODELS["m0"]}, [task()], STRATEGIES)
    with pytest.raises(ValueError, match="two seeds or more"):
        pe.choose(MODELS, [task()], STRATEGIES, [0])
    own = pe.Strategy("own", train=lambda *_: {"accuracy": 1.0})
    with pytest.raises(ValueError, match="which a training of one's own has not"):
        pe.choose(MODELS, [task()], [own])
    numbers = [
        TensorDataset(part.tensors[0], part.tensors[0].sum(1))
        for part in (points(40, 1), points(30, 2))
    ]
    sums = pe.Task("sums", datasets={"d": pe.Splits(*numbers)}, num_outputs=1)
    with pytest.raises(ValueError, match="share no score"):
        pe.choose(MODELS, [task(), sums], STRATEGIES[:1], range(2), progress=False)


def test_a_replay_needs_the_whole_grid(grid):
    """A missing run is named; seeds may be given in any order."""
    with pytest.raises(ValueError, match="1 runs are missing, such as m0 on largest/d"):
        pe.replay(grid[1:])
    with pytest.raises(ValueError, match="expects runs"):
        pe.replay([])
    backwards = pe.replay(grid, seeds=[2, 1, 0])
    assert backwards.rounds[0].seed == 2
    odd = [
        dataclasses.replace(
            run,
            scales={},
            curve={"step": run.curve["step"], "q": run.curve["accuracy"]},
        )
        for run in grid
    ]
    with pytest.raises(ValueError, match="higher or lower 'q' is better is not known"):
        pe.replay(odd)


def test_lower_is_better_where_the_metric_says_so(grid):
    """Errors instead of accuracies: the same choice."""
    errors = [
        dataclasses.replace(
            run,
            scales={"error": pe.Scale(better="lower", low=0.0, high=1.0)},
            curve={
                "step": run.curve["step"],
                "error": tuple(1 - value for value in run.curve["accuracy"]),
            },
        )
        for run in grid
    ]
    plain, turned = pe.replay(grid), pe.replay(errors)
    assert (turned.model, turned.stopped) == (plain.model, plain.stopped)
    assert [r.dropped for r in turned.rounds] == [r.dropped for r in plain.rounds]


def test_each_round_is_said_when_it_is_over(caplog, choice):
    """With what it dropped and has cost until then."""
    caplog.set_level("INFO", logger="pretrain_eval")
    pe.choose(MODELS, [task()], STRATEGIES, range(3), progress="log")
    said = [record.getMessage() for record in caplog.records]
    assert [s for s in said if s in {r.sentence for r in choice.rounds}] == [
        each.sentence for each in choice.rounds
    ]


SCRIPT = """
import os, sys, signal, threading, random
sys.path[:0] = [sys.argv[1], sys.argv[2]]
import test_race
store, wait = sys.argv[3], float(sys.argv[4])
if wait:
    threading.Timer(wait, os.kill, (os.getpid(), signal.SIGKILL)).start()
print(test_race.chosen(store=store))
"""


def test_a_race_that_is_killed_goes_on_to_the_same_choice(tmp_path, choice):
    """Four SIGKILLs on the way, then the decision that there is without one."""
    here, root = Path(__file__).parent, Path(pe.__file__).parents[1]

    places = [str(here), str(root), str(tmp_path / "runs.db")]

    def call(wait):
        return subprocess.run(
            [sys.executable, "-c", SCRIPT, *places, str(wait)],
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
            env=dict(os.environ),
        )

    for wait in (0.3, 0.6, 0.9, 1.2):
        ended = call(wait)
        assert ended.returncode in (0, -signal.SIGKILL), ended.stderr
    last = call(0)
    assert last.returncode == 0, last.stderr
    assert last.stdout.strip() == str(choice)
