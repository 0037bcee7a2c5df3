"""Where a run's draws come from: independent cells, models that are paired."""

import hashlib
import json
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

import pretrain_eval as pe


class Watched(Dataset):
    """Samples that note in which order they are read."""

    def __init__(self, number: int, start: int, order: list[int] | None = None) -> None:
        self.inputs = torch.linspace(-1, 1, number * 4).view(number, 4) + start / 100
        self.order = order

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int):
        if self.order is not None:
            self.order.append(index)
        return self.inputs[index], int(self.inputs[index].sum() > 0)


class Net(nn.Module):
    """A network with a head, wide or narrow."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, width), nn.Linear(width, 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(inputs).relu())


def strategy(name: str = "full", **settings) -> pe.Strategy:
    sgd = partial(torch.optim.SGD, lr=0.0)  # so that the drawn head stays
    return pe.Strategy(name, optimizer=sgd, epochs=1, batch_size=8, **settings)


def task(name: str = "t", order: list[int] | None = None) -> pe.Task:
    splits = pe.Splits(Watched(24, 0, order), Watched(16, 1))
    return pe.Task(name, datasets={"d": splits}, num_classes=2)


def heads(model, the_task: pe.Task, **asked) -> torch.Tensor:
    """The drawn head of a run."""
    kept: list[torch.Tensor] = []

    def keep(network: nn.Module, run: pe.Run) -> None:
        kept.append(network.head.weight.detach().clone())

    way = asked.pop("strategy", strategy())
    pe.finetune(model, the_task, way, name="m", on_end=keep, **asked)
    return kept[0]


def order_of(model, **asked) -> list[int]:
    """In which order the training reads its samples, first readings apart."""
    order: list[int] = []
    pe.finetune(model, task(order=order), strategy(), baseline=False, **asked)
    return order[-24:]


def test_the_draw_is_what_the_docs_say() -> None:
    """Four bytes of BLAKE2b over the names and the seed, kept with the run."""
    run = pe.finetune(Net(), task(), strategy(), seed=3)
    text = json.dumps(["t", "d", "full", 3]).encode()
    digest = hashlib.blake2b(text, digest_size=16).digest()
    assert run.settings["draw"] == int.from_bytes(digest[:4], "big")
    assert run.seed == 3
    former = pe.finetune(Net(), task(), strategy(), seed=3, draws="seed")
    assert "draw" not in former.settings


def test_cells_of_a_model_share_no_draw() -> None:
    """Another task, strategy or seed draws another head; by the seed alone they share."""
    net = Net()
    first = heads(net, task())
    assert torch.equal(first, heads(net, task()))
    for other in (
        heads(net, task("u")),
        heads(net, task(), strategy=strategy("other")),
        heads(net, task(), seed=1),
    ):
        assert not torch.equal(first, other)
    shared = heads(net, task(), draws="seed")
    assert torch.equal(shared, heads(net, task("u"), draws="seed"))


def test_models_of_a_cell_are_paired() -> None:
    """Whatever the model is, its samples come in the same order."""
    small, large = Net(2), Net(64)
    assert order_of(small) == order_of(large)
    assert order_of(small) != order_of(small, seed=1)
    assert torch.equal(heads(small, task()), heads(Net(2), task()))


def test_random_weights_are_those_of_the_cell() -> None:
    """A builder draws anew for each task and strategy, and alike for each model name."""

    def body(the_task: pe.Task, **asked) -> torch.Tensor:
        kept: list[torch.Tensor] = []
        pe.finetune(
            Net,
            the_task,
            strategy(),
            on_end=lambda network, _: kept.append(network.body.weight.detach()),
            **asked,
        )
        return kept[0]

    assert torch.equal(body(task()), body(task(), name="twin"))
    assert not torch.equal(body(task()), body(task("u")))
    assert torch.equal(body(task(), draws="seed"), body(task("u"), draws="seed"))


@pytest.mark.parametrize("draws", ["cell", "seed"])
@pytest.mark.parametrize("model", ["module", "builder"])
def test_a_sweep_draws_as_finetune_does(draws: str, model: str) -> None:
    """Side by side or alone, a head is the same to the last bit."""
    net = Net() if model == "module" else Net
    adam = partial(torch.optim.Adam, lr=0.05)
    ways = [
        pe.Strategy("probe", optimizer=adam, epochs=2, trainable="head"),
        pe.Strategy("other", optimizer=adam, epochs=2, trainable="head"),
    ]
    tasks = [task("t"), task("u")]
    runs = pe.sweep({"m": net}, tasks, ways, range(2), draws=draws, progress=False)
    for run in runs:
        way = next(each for each in ways if each.name == run.strategy)
        place = next(each for each in tasks if each.name == run.task)
        alone = pe.finetune(net, place, way, name="m", seed=run.seed, draws=draws)
        assert (alone.scores, alone.curve) == (run.scores, run.curve), run.name
        assert alone.settings == run.settings


def test_a_store_of_the_former_way_is_told_and_reused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A sweep says what is there, and `draws="seed"` takes it."""
    grid = ({"m": Net()}, [task()], [strategy()], range(3))
    store = tmp_path / "runs.db"
    old = pe.sweep(*grid, store=store, draws="seed", progress=False)
    capsys.readouterr()
    pe.sweep(*grid, store=store)
    words = "3 of them are in the store with draws from the seed alone"
    assert words in capsys.readouterr().err
    again = pe.sweep(*grid, store=store, draws="seed")
    assert again == old
    assert "0 to do, 3 reused" in capsys.readouterr().err
    pe.sweep(*grid, store=store)
    assert words not in capsys.readouterr().err
    with pe.RunStore(store) as kept:
        assert len(kept) == 6


def test_a_renamed_task_is_another_draw_and_another_run(tmp_path: Path) -> None:
    """The names that draws come from are part of the key; the model's is not."""
    store, net = tmp_path / "runs.db", Net()
    for model, place in (("m", "t"), ("renamed", "t"), ("m", "u")):
        pe.sweep({model: net}, [task(place)], [strategy()], store=store, progress=False)
    with pe.RunStore(store) as kept:
        assert [run.task for run in kept] == ["t", "u"]


def test_a_training_of_ones_own_has_the_draw() -> None:
    """`Trial.draw`, from which the global generators start; the seed stays the seed."""
    found: dict[str, tuple[int, int, float]] = {}

    def train(model, the_task, dataset, seed, trial):
        found[the_task.name] = seed, trial.draw, float(torch.rand(()))
        return {"accuracy": 0.5}

    own = pe.Strategy("own", train=train)
    for name in ("t", "u", "t"):
        run = pe.finetune(Net(), task(name), own, seed=5)
        assert run.settings["draw"] == found[name][1]
    assert found["t"][0] == found["u"][0] == 5
    assert found["t"][1] != found["u"][1]
    assert found["t"][2] != found["u"][2]


def test_another_word_is_refused() -> None:
    """The two ways are named."""
    with pytest.raises(ValueError, match='"cell" or "seed", got \'both\''):
        pe.finetune(Net(), task(), strategy(), draws="both")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='"cell" or "seed"'):
        pe.sweep({"m": Net()}, [task()], [strategy()], draws="both")  # type: ignore[arg-type]
