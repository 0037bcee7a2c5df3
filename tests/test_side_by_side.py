"""Tests of heads trained side by side: each run is the one that it is alone."""

import itertools
import time
from collections import Counter
from concurrent.futures import Future
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from networks import Small, points, three_classes
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR, StepLR
from torch.utils.data import DataLoader, Dataset, TensorDataset

import pretrain_eval as pe
from pretrain_eval._sweep import places, schedule
from pretrain_eval._sweep.keeper import Memory
from pretrain_eval._sweep.places import Place
from pretrain_eval._sweep.progress import Progress
from pretrain_eval._sweep.schedule import Pending, complete
from pretrain_eval._training import side_by_side
from pretrain_eval._training.side_by_side import stackable

SGD, ADAM, ADAMW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW


def network():
    """The same small network each time."""
    torch.manual_seed(0)
    return Small()


def head(name, optimizer=None, **fields):
    """Two epochs of the head alone; of 48 samples the last batch holds 8."""
    return pe.Strategy(
        name,
        **{
            "optimizer": optimizer or partial(SGD, lr=0.1),
            "epochs": 2,
            "batch_size": 10,
            "trainable": "head",
            **fields,
        },
    )


def numbers():
    """A regression task of two numbers."""

    def split(num_samples, seed):
        inputs = points(num_samples, seed).tensors[0]
        return TensorDataset(inputs, inputs[:, :2] * 2 + 1)

    splits = pe.Splits(split(45, 1), split(20, 2), split(23, 3))
    return pe.Task("numbers", datasets={"d": splits}, num_outputs=2)


def sweep(strategies, task=None, model=None, seeds=range(3), **options):
    """A quiet sweep of one model."""
    return pe.sweep(
        {"m": model or network()},
        [task or three_classes()],
        strategies,
        seeds,
        progress=False,
        **options,
    )


def alone(runs, strategies, task=None, model=None):
    """`finetune` of each run by itself."""
    by_name = {each.name: each for each in strategies}
    return [
        pe.finetune(
            model or network(),
            task or three_classes(),
            by_name[run.strategy],
            seed=run.seed,
            name="m",
        )
        for run in runs
    ]


def measured(runs):
    """All that runs say, without the seconds they took."""
    tables = [run.to_dict() for run in runs]
    for table in tables:
        del table["cost"]["seconds"], table["cost"]["total_seconds"]
        if torch.cuda.is_available():  # an allocator sees all heads together
            del table["cost"]["peak_memory"]
    return tables


@pytest.fixture
def groups(monkeypatch):
    """How many cells were trained together, in the order of the starts."""
    sizes = []
    plain = places.Here.run

    def run(here, cells, on_epoch):
        runs = plain(here, cells, on_epoch)
        sizes.append(len(cells))
        return runs

    monkeypatch.setattr(places.Here, "run", run)
    return sizes


# --- equal to each alone


MANY = [
    head("sgd", partial(SGD, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.01)),
    head("plain", partial(SGD, lr=0.5)),
    head("adam", partial(ADAM, lr=0.03, weight_decay=0.1)),
    head("adamw", partial(ADAMW, lr=0.03, weight_decay=0.1, amsgrad=True)),
    head("rms", partial(torch.optim.RMSprop, lr=0.01, momentum=0.5, centered=True)),
    head("cosine", partial(SGD, lr=0.3), schedule=CosineAnnealingLR),
    head("steps", partial(ADAM, lr=0.1), schedule=lambda o, n: StepLR(o, n // 3)),
    head("clipped", partial(SGD, lr=0.3, momentum=0.9), max_grad_norm=0.05),
    head(
        "no decay of the bias",
        lambda parameters: ADAMW(
            [
                {"params": [p for p in parameters if p.ndim > 1]},
                {"params": [p for p in parameters if p.ndim == 1], "weight_decay": 0.0},
            ],
            lr=0.03,
            weight_decay=0.3,
        ),
    ),
]


@pytest.mark.parametrize(
    ("task", "strategies", "num_seeds"),
    [(three_classes(), MANY, 2), (numbers(), MANY[:2], 3)],
    ids=["classes", "numbers"],
)
def test_heads_side_by_side_are_those_alone(groups, task, strategies, num_seeds):
    """Optimizers, schedules, clipping and seeds in one group give finetune's runs."""
    runs = sweep(strategies, task, seeds=range(num_seeds))
    assert groups == [len(strategies) * num_seeds]
    assert {run.status for run in runs} == {"completed"}
    assert measured(runs) == measured(alone(runs, strategies, task))
    assert len({run.history["grad_norm"] for run in runs}) == len(runs)


def test_every_optimizer_that_is_stacked_is_the_one_alone(groups):
    """Slices of one tensor move as tensors of their own do."""
    several = [
        head(each.__name__, partial(each, lr=0.02), epochs=1)
        for each in side_by_side._ELEMENTWISE
    ]
    runs = sweep(several, seeds=range(2))
    assert groups == [2 * len(several)]
    assert measured(runs) == measured(alone(runs, several))


@pytest.mark.parametrize("size", [9, 10, 11, 48])
def test_short_last_batches_are_those_alone(groups, size):
    """A last batch of any size, of one sample too, is taken or dropped as alone."""
    both = MANY[:2]
    runs = sweep(both, three_classes(train=size), seeds=range(2))
    assert groups == [4]
    assert measured(runs) == measured(alone(runs, both, three_classes(train=size)))


def test_a_head_of_unknown_width_is_the_one_alone(groups):
    """A backbone that ends in an Identity gets the same heads in a group."""
    model = network()
    model.head = nn.Identity()
    runs = sweep(MANY[:2], model=model)
    assert groups == [6]
    assert measured(runs) == measured(alone(runs, MANY[:2], model=model))


def test_two_threads_give_the_heads_alone():
    """Dividing the work among threads is the same for one head and for several."""
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        runs = sweep(MANY[:2], seeds=range(2))
        assert measured(runs) == measured(alone(runs, MANY[:2]))
    finally:
        torch.set_num_threads(threads)


def test_a_head_that_diverges_touches_no_other(groups):
    """It is recorded where it happened, as alone, and the others go on."""
    several = [
        head("wild", partial(SGD, lr=1e10)),
        head("late", partial(SGD, lr=0.1), schedule=lambda o, _: LambdaLR(o, wild)),
        head("calm", partial(SGD, lr=0.01)),
    ]
    runs = sweep(several, numbers(), seeds=range(2))
    assert groups == [6]
    assert [run.status for run in runs] == ["diverged"] * 4 + ["completed"] * 2
    assert "the loss was not finite after 2 steps, in epoch 1" in runs[0].message
    assert "a weight was not finite after epoch 1" in runs[2].message
    assert measured(runs) == measured(alone(runs, several, numbers()))


def wild(step):
    """Infinite in the last step of an epoch, whose weights show it first."""
    return float("inf") if step == 4 else 1.0


def test_when_all_heads_have_diverged_the_group_ends(groups):
    """No head is left to train, and each is recorded."""
    both = [head("wild", partial(SGD, lr=1e30)), head("wilder", partial(SGD, lr=1e35))]
    runs = sweep(both, numbers(), seeds=[0])
    assert groups == [2]
    assert {run.status for run in runs} == {"diverged"}
    assert measured(runs) == measured(alone(runs, both, numbers()))


def test_a_part_of_a_group_gives_the_same_runs(tmp_path, groups):
    """What is stored is left out of a group, and the rest is as it was."""
    store = tmp_path / "runs.db"
    first = sweep(MANY[:2], seeds=[1], store=store)
    runs = sweep(MANY[:3], store=store)
    assert groups == [2, 7]
    assert [run for run in runs if run in first] == list(first)
    assert measured(runs) == measured(sweep(MANY[:3]))


def test_weights_that_are_drawn_divide_the_groups(groups):
    """No cell shares a backbone that each cell draws anew."""
    runs = sweep(MANY[:2], model=Small)
    assert groups == [1] * 6
    expected = [
        pe.finetune(
            Small,
            three_classes(),
            MANY[0] if run.strategy == "sgd" else MANY[1],
            seed=run.seed,
            name="m",
        )
        for run in runs
    ]
    assert measured(runs) == measured(expected)


def test_weights_that_a_seed_draws_divide_the_groups(groups):
    """By the seed alone, the strategies of one seed share a backbone."""
    runs = sweep(MANY[:2], model=Small, draws="seed")
    assert groups == [2, 2, 2]
    expected = [
        pe.finetune(
            Small,
            three_classes(),
            MANY[0] if run.strategy == "sgd" else MANY[1],
            seed=run.seed,
            name="m",
            draws="seed",
        )
        for run in runs
    ]
    assert measured(runs) == measured(expected)


def test_the_seconds_of_a_group_are_divided(monkeypatch):
    """Each run has an equal part of its group's seconds, and the first pass's whole."""
    ticks = itertools.count(step=1000)
    clock = SimpleNamespace(perf_counter=ticks.__next__, monotonic=time.monotonic)
    monkeypatch.setattr(side_by_side, "time", clock)
    start = time.monotonic()
    runs = sweep([head("a"), head("b")], seeds=range(2))
    wall = time.monotonic() - start
    # An epoch lasts from one tick to the next: two of them, for four heads.
    assert all(500 < run.cost.seconds < 500 + wall for run in runs)
    assert 0 < sum(run.cost.total_seconds for run in runs) < wall


# --- what trains alone


class Noisy(Dataset):
    """Samples that change from one reading to the next."""

    def __init__(self):
        """Sixteen points."""
        self.samples = points(16, 5)

    def __len__(self):
        """As many as there are."""
        return len(self.samples)

    def __getitem__(self, index):
        """One sample with noise."""
        inputs, target = self.samples[index]
        return inputs + 0.1 * torch.randn_like(inputs), target


class OwnSGD(SGD):
    """An optimizer that torch does not know."""


class Convolution(nn.Module):
    """A head that is a convolution."""

    def __init__(self):
        """Draw weights."""
        super().__init__()
        torch.manual_seed(0)
        self.body, self.head = nn.Conv2d(4, 8, 1), nn.Conv2d(8, 7, 1)

    def forward(self, inputs):
        """The outputs."""
        return self.head(self.body(inputs[:, :, None, None]).relu()).flatten(1)


def task_of(train):
    """Three classes with other training samples."""
    splits = pe.Splits(train, points(40, 2))
    return pe.Task("largest", datasets={"points": splits}, num_classes=3)


def smooth(outputs, targets):
    """A loss of one's own."""
    return nn.functional.cross_entropy(outputs, targets, label_smoothing=0.1)


@pytest.mark.parametrize(
    ("strategy", "task", "model"),
    [
        (head("loss", loss=smooth), None, None),
        (head("optimizer", partial(OwnSGD, lr=0.1)), None, None),
        (head("rows", partial(torch.optim.Adafactor, lr=0.1)), None, None),
        (head("all", trainable="all"), None, None),
        (head("rule", trainable=lambda name, _: "head" in name), None, None),
        (head("noisy"), task_of(Noisy()), None),
        (head("loader"), task_of(DataLoader(points(16, 5), 4)), None),
        (head("convolution"), None, Convolution()),
    ],
    ids=lambda each: getattr(each, "name", ""),
)
def test_what_cannot_be_stacked_trains_alone(groups, strategy, task, model):
    """One run at a time, with the numbers of `finetune`."""
    runs = sweep([strategy], task, model, seeds=range(2))
    assert groups == [1, 1]
    assert {run.status for run in runs} == {"completed"}
    assert measured(runs) == measured(alone(runs, [strategy], task, model))


def test_other_epochs_or_batch_sizes_are_other_groups(groups):
    """Only heads that step together are stacked."""
    several = [head("a"), head("b", epochs=3), head("c", batch_size=9), head("d")]
    assert len(sweep(several, seeds=range(2))) == 8
    assert Counter(groups) == {4: 1, 2: 2}


def test_a_timeout_is_kept_run_by_run(groups):
    """With a timeout no run waits for others."""
    assert len(sweep([head("a")], timeout=100.0)) == 3
    assert groups == [1, 1, 1]


def test_one_head_that_raises_leaves_the_others_whole(groups):
    """A group that raises is tried one by one, and only the guilty run fails."""

    def schedule(optimizer, num_steps):
        return LambdaLR(optimizer, lambda step: 1 // (7 - step))

    both = [head("bad", schedule=schedule), head("good")]
    runs = sweep(both, seeds=range(2))
    assert groups == [1] * 4
    assert [run.status for run in runs] == ["error", "error", "completed", "completed"]
    assert "ZeroDivisionError" in runs[0].message
    assert measured(runs[2:]) == measured(alone(runs[2:], both))


def test_an_optimizer_that_needs_a_closure_is_an_error_as_alone():
    """LBFGS fails in a group, then each run fails by itself with its reason."""
    runs = sweep([head("lbfgs", torch.optim.LBFGS)], strict=False)
    assert {run.status for run in runs} == {"error"}
    assert "closure" in runs[0].message


def test_a_group_has_a_size(groups, monkeypatch):
    """More heads than may go together make several groups."""
    monkeypatch.setattr(schedule, "MOST_HEADS", 4)
    runs = sweep(MANY[:3])
    assert groups == [4, 4, 1]
    assert {run.status for run in runs} == {"completed"}


def test_large_heads_train_one_by_one(groups, monkeypatch):
    """Many copies of a large head would fill the memory and save no time."""
    num_numbers = 6 * (3 * 8 + 3)
    monkeypatch.setattr(side_by_side, "_MOST_NUMBERS", num_numbers)
    assert len(sweep(MANY[:2])) == 6
    assert groups == [6]
    monkeypatch.setattr(side_by_side, "_MOST_NUMBERS", num_numbers - 1)
    assert len(sweep(MANY[:2])) == 6
    assert groups == [6] + [1] * 6


def test_ctrl_c_in_a_group_releases_it(tmp_path):
    """Nothing of the group is kept or claimed, and the next sweep runs it."""
    calls = []

    def interrupt(step):
        calls.append(step)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return 1.0

    stopped = head("stopped", schedule=lambda o, _: LambdaLR(o, interrupt))
    with pe.RunStore(tmp_path / "runs.db") as store:
        with pytest.raises(KeyboardInterrupt):
            sweep([stopped, head("calm")], store=store)
        assert len(store) == 0
        query = "SELECT count(*) FROM claims"
        assert store._database.connection.execute(query).fetchone() == (0,)
        runs = sweep([stopped, head("calm")], store=store)
    assert {run.status for run in runs} == {"completed"}


# --- which go together


class Busy(Memory):
    """A store in which another process holds one run for a while."""

    def __init__(self, held):
        """Refuse a key the first time."""
        super().__init__()
        self.held = [held]

    def claim(self, key, *, attempts):
        """Not what is held."""
        if key in self.held:
            self.held.remove(key)
            return False
        return True


class Instant(Place):
    """Gives a run at once for each cell that is started; one of them is alone."""

    window = 1

    def __init__(self, alone):
        """Nothing was started."""
        self.alone, self.started = alone, []

    def group(self, cell):
        """One for all but one."""
        return None if cell.name == self.alone else "group"

    def start(self, cells):
        """Give a run for each."""
        self.started.append([cell.name for cell in cells])
        futures = [Future() for _ in cells]
        for future in futures:
            run = pe.Run(model="m", task="t", dataset="d", strategy="s", seed=0)
            future.set_result(run)
        return futures


def test_a_run_that_is_claimed_elsewhere_is_left_out_of_its_group(monkeypatch):
    """What another process holds is not trained with the others, but waited for."""
    monkeypatch.setattr(schedule, "_POLL_SECONDS", 0.01)
    plan = [
        Pending(type("C", (), {"name": key}), key, due=True, attempts=0)
        for key in "abcd"
    ]
    store, place = Busy("c"), Instant("b")
    complete(plan, place, store, (), Progress(4, "runs", show=False))
    assert place.started == [["a", "d"], ["b"], ["c"]]
    assert set(store.statuses()) == set("abcd")


def test_a_strategy_with_a_new_field_trains_alone():
    """What is not known to be safe is not stacked."""
    assert stackable(head("a")) == stackable(head("b", partial(ADAM, lr=1.0)))
    assert stackable(head("a", loss=smooth)) is None
    assert stackable(head("a", trainable="all")) is None
