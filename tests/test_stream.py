"""Training splits that are read one sample after the other, and data modules."""

import copy
from functools import partial
from pathlib import Path

import pytest
import torch
from networks import Small, draw_of, points, train_by_hand
from torch import nn
from torch.utils.data import DataLoader, IterableDataset

import pretrain_eval as pe

SGD = partial(torch.optim.SGD, lr=0.1)
FULL = pe.Strategy("full", optimizer=SGD, epochs=2, batch_size=8)
HEAD = pe.Strategy("head", optimizer=SGD, epochs=2, batch_size=8, trainable="head")


class Endless(IterableDataset):
    """The samples of a dataset, again and again."""

    def __init__(self, dataset) -> None:
        self.dataset = dataset

    def __iter__(self):
        while True:
            for index in range(len(self.dataset)):
                inputs, target = self.dataset[index]
                yield inputs, int(target)


def stream(number: int = 48, **fields) -> pe.Stream:
    return pe.Stream(Endless(points(48, 1)), number, version="points 1", **fields)


def task(train=None, name: str = "t") -> pe.Task:
    splits = pe.Splits(stream() if train is None else train, points(40, 2))
    return pe.Task(name, datasets={"d": splits}, num_classes=3)


def test_an_epoch_is_the_first_samples_mixed() -> None:
    """Every sample once, in another order by another draw; a buffer of one keeps it."""
    plain = [inputs for inputs, _ in stream(20)]
    orders = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        mixed = [inputs for inputs, _ in stream(20, buffer=6).mixed()]
        rows = torch.stack(mixed)
        assert sorted(rows[:, 0].tolist()) == sorted(x[0].item() for x in plain)
        orders.append(rows)
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])
    kept = [inputs for inputs, _ in stream(20, buffer=1).mixed()]
    assert torch.equal(torch.stack(kept), torch.stack(plain))


def test_a_large_buffer_makes_every_order_equally_likely() -> None:
    """Of three samples, six orders: each about a sixth of 1,200 passes."""
    torch.manual_seed(0)
    rows = pe.Stream(lambda: iter([(0, 0), (1, 0), (2, 0)]), 3, version="1", buffer=3)
    counts: dict[tuple[int, ...], int] = {}
    for _ in range(1200):
        order = tuple(inputs for inputs, _ in rows.mixed())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert all(140 < count < 260 for count in counts.values())  # five deviations


def test_the_weights_are_those_of_a_hand_written_loop() -> None:
    """The batches of torch's DataLoader over the mixed stream, to the bit."""
    start, kept = Small(), []
    pe.finetune(start, task(), FULL, on_end=lambda model, _: kept.append(model))
    twin = copy.deepcopy(start)
    draw = draw_of(task(), FULL)
    from pretrain_eval._metrics import seed_all

    seed_all(draw)
    torch.empty((), dtype=torch.int64).random_()  # a loader that is opened draws
    twin.head = nn.Linear(8, 3)
    train_by_hand(
        twin,
        DataLoader(stream().mixed(), 8),
        SGD(twin.parameters()),
        lambda m, batch: nn.functional.cross_entropy(m(batch[0]), batch[1]),
        draw=draw,
    )
    for mine, theirs in zip(kept[0].parameters(), twin.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_a_stream_is_swept_stored_and_resumed(tmp_path: Path) -> None:
    """By both strategies, also in workers; another version is another run."""
    torch.manual_seed(0)
    grid = partial(
        pe.sweep,
        {"net": Small()},
        strategies=[FULL, HEAD],
        seeds=range(2),
        store=tmp_path / "runs.db",
        progress=False,
    )
    runs = grid(tasks=[task()], workers=2)
    assert {run.status for run in runs} == {"completed"}
    assert runs[0].cost.num_samples == 96
    assert runs[0].baseline["accuracy"] > runs[0].chance["accuracy"]
    assert grid(tasks=[task()]) == runs
    newer = pe.Stream(Endless(points(48, 1)), 48, version="points 2")
    grid(tasks=[task(newer)])
    with pe.RunStore(tmp_path / "runs.db") as store:
        assert len(store) == 8


def test_a_model_reads_a_stream_in_its_own_way() -> None:
    """A transform of the model's, and a target that is named."""

    def named():
        for inputs, target in points(48, 1):
            yield {"x": inputs, "y": int(target)}

    rows = pe.Stream(named, 48, version="1")
    valid = [{"x": x, "y": int(y)} for x, y in points(40, 2)]
    splits = pe.Splits(rows, valid, target="y")
    the_task = pe.Task("t", datasets={"d": splits}, num_classes=3)
    model = pe.Pretrained(Small(), transform=lambda sample: sample["x"])
    run = pe.finetune(model, the_task, FULL, name="m")
    plain = pe.finetune(Small(), task(), FULL, name="m")
    assert run.status == plain.status == "completed"
    assert run.num_examples == 40


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: pe.Splits(Endless(points(9, 1)), points(9, 2)), TypeError, "Stream"),
        (lambda: pe.Splits(points(9, 1), stream(9)), TypeError, "to train on alone"),
        (
            lambda: pe.Stream(iter([1]), 1, version="1"),
            TypeError,
            "read only once; give the function",
        ),
        (lambda: pe.Stream(3, 1, version="1"), TypeError, "an iterable"),
        (lambda: pe.Stream([(1, 1)], 0, version="1"), ValueError, "num_samples"),
        (lambda: pe.Stream([(1, 1)], 1, version=""), ValueError, "names the content"),
        (lambda: pe.Stream([(1, 1)], 1, version="1", buffer=0), ValueError, "buffer"),
        (
            lambda: list(pe.Stream([(1, 1)], 2, version="1")),
            ValueError,
            "ended after 1 samples, num_samples says 2",
        ),
    ],
)
def test_wrong_streams_are_refused(make, error, message) -> None:
    """Each says what was expected."""
    with pytest.raises(error, match=message):
        make()


def test_a_table_that_streams_is_a_source() -> None:
    """Of datasets, read twice to the same samples."""
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    rows = [{"x": x.tolist(), "label": int(y)} for x, y in points(48, 1)]
    table = datasets.Dataset.from_list(rows).to_iterable_dataset()
    train = pe.Stream(table, 48, version="1")
    first, second = list(train), list(train)
    assert first == second
    assert first[0]["label"] == rows[0]["label"]


@pytest.mark.filterwarnings("ignore")  # Lightning's, of workers
@pytest.mark.parametrize("has_test", [True, False])
def test_a_data_module_gives_its_splits(has_test: bool) -> None:
    """Prepared, set up, and its loaders used as they are."""
    pytest.importorskip("lightning", reason="pip install lightning")
    from lightning.pytorch import LightningDataModule

    class Points(LightningDataModule):
        def __init__(self) -> None:
            super().__init__()
            self.called: list[str] = []

        def prepare_data(self) -> None:
            self.called.append("prepare")

        def setup(self, stage: str) -> None:
            self.called.append(stage)
            self.seed = 1

        def train_dataloader(self):
            return DataLoader(points(48, self.seed), 8, shuffle=True)

        def val_dataloader(self):
            return DataLoader(points(40, 2), 20)

    class Tested(Points):
        def test_dataloader(self):
            return DataLoader(points(30, 3), 20)

    module = Tested() if has_test else Points()
    splits = pe.Splits.of(module)
    assert module.called == ["prepare", "fit", *(["test"] if has_test else [])]
    assert (splits.test is not None) == has_test
    run = pe.finetune(
        Small(), pe.Task("t", datasets={"d": splits}, num_classes=3), FULL
    )
    assert run.num_examples == (30 if has_test else 40)


def test_what_is_no_data_module_is_refused() -> None:
    """So is one that measures on several loaders."""
    with pytest.raises(TypeError, match="Lightning data module"):
        pe.Splits.of([1, 2])

    class Several:
        def prepare_data(self):
            pass

        def setup(self, stage):
            pass

        def train_dataloader(self):
            return DataLoader(points(48, 1), 8)

        def val_dataloader(self):
            return [DataLoader(points(40, 2), 20)] * 2

    with pytest.raises(TypeError, match="gives 2 loaders"):
        pe.Splits.of(Several())
