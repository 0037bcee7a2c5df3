"""Tests of features in files: the bits of those in memory, or computed anew."""

import itertools
import json
import shutil
import subprocess
import sys
import textwrap
from functools import partial
from pathlib import Path

import pytest
import torch
from networks import Small, three_classes
from torch import nn

import pretrain_eval as pe
from pretrain_eval._sweep import places
from pretrain_eval._training import feature_files
from pretrain_eval._training.feature_files import FeatureFiles, in_memory

CPU = torch.device("cpu")


class Source:
    """Gives batches, and counts how often it was asked."""

    def __init__(self, dtype=torch.float32, kind=torch.int64):
        """Draw seven samples."""
        generator = torch.Generator().manual_seed(0)
        self.inputs = torch.randn(7, 3, 2, generator=generator).to(dtype)
        self.targets = torch.arange(7).to(kind)
        self.calls = 0

    def __call__(self):
        """Batches of three, the last of one."""
        self.calls += 1
        for start in (0, 3, 6):
            cut = slice(start, start + 3)
            yield self.inputs[cut], self.targets[cut]


def files_in(folder, content="a", shared=True):
    """Files of some content."""
    return FeatureFiles(Path(folder, "features"), content, shared)


def read(files, source, part="train"):
    """The features of a split."""
    return files.features(part, 7, CPU, source)


@pytest.mark.parametrize(
    ("dtype", "kind"),
    [
        (torch.float32, torch.int64),
        (torch.bfloat16, torch.int32),
        (torch.float16, torch.float32),
        (torch.float64, torch.bool),
    ],
)
def test_features_come_back_to_the_bit(tmp_path, dtype, kind):
    """Numbers of every precision are those in memory, written once and read after."""
    source = Source(dtype, kind)
    expected = in_memory(source())
    assert torch.equal(expected.inputs, source.inputs)
    for _ in range(3):
        found = read(files_in(tmp_path), source)
        assert (found.inputs.dtype, found.targets.dtype) == (dtype, kind)
        assert torch.equal(found.inputs, source.inputs)
        assert torch.equal(found.targets, source.targets)
        assert found.seconds > 0
    assert source.calls == 2
    names = {path.suffix for path in (tmp_path / "features").iterdir()}
    assert names == {".inputs", ".targets", ".json", ".lock"}


def test_files_are_told_apart_by_content_part_and_threads(tmp_path):
    """Another model, split or number of threads has features of its own."""
    source = Source()
    read(files_in(tmp_path), source)
    read(files_in(tmp_path, "b"), source)
    read(files_in(tmp_path), source, "valid")
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    try:
        read(files_in(tmp_path), source)
    finally:
        torch.set_num_threads(threads)
    assert source.calls == 4
    read(files_in(tmp_path), source)
    assert source.calls == 4


def flipped(path):
    """Change one bit in the middle."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def shorter(path):
    """Lose the end."""
    path.write_bytes(path.read_bytes()[:-3])


def longer(path):
    """Gain something."""
    path.write_bytes(path.read_bytes() + b"\0\0\0\0")


def slower(path):
    """Tell other seconds."""
    content = json.loads(path.read_text())
    content["record"]["seconds"] += 1
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("harm", "suffix"),
    [
        *itertools.product(
            [flipped, shorter, Path.unlink], ["inputs", "targets", "json"]
        ),
        *itertools.product([longer], ["inputs", "targets"]),
        (slower, "json"),
    ],
)
def test_a_damaged_file_is_computed_anew(tmp_path, harm, suffix, caplog):
    """Whatever happened to a file, its numbers are never believed."""
    source = Source()
    before = read(files_in(tmp_path), source)
    (path,) = (tmp_path / "features").glob(f"*.{suffix}")
    harm(path)
    after = read(files_in(tmp_path), source)
    assert source.calls == 2
    assert torch.equal(after.inputs, source.inputs)
    assert torch.equal(after.targets, source.targets)
    assert after.seconds < before.seconds + 1
    if not (harm is Path.unlink and suffix == "json"):
        assert "is damaged and computed anew" in caplog.text
    assert torch.equal(read(files_in(tmp_path), source).inputs, source.inputs)
    assert source.calls == 2


def test_small_features_of_one_process_stay_in_memory(tmp_path, monkeypatch):
    """Only what is large, or needed elsewhere, is written."""
    source = Source()
    assert torch.equal(
        read(files_in(tmp_path, shared=False), source).inputs, source.inputs
    )
    assert not (tmp_path / "features").exists()
    monkeypatch.setattr(feature_files, "LARGE", 7 * 6 * 4 + 7 * 8)
    for _ in range(2):
        found = read(files_in(tmp_path, shared=False), source)
        assert torch.equal(found.inputs, source.inputs)
    assert source.calls == 2
    assert (tmp_path / "features").exists()


@pytest.mark.parametrize("trouble", ["full", "file"])
def test_without_room_features_stay_in_memory(tmp_path, monkeypatch, caplog, trouble):
    """A disk that is full, or a folder that cannot be made, costs no run."""
    if trouble == "full":
        usage = type("Usage", (), {"free": 300})()
        monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    else:
        (tmp_path / "features").touch()
    source = Source()
    found = read(files_in(tmp_path), source)
    assert torch.equal(found.inputs, source.inputs)
    assert "features stay in memory" in caplog.text
    assert not list(tmp_path.glob("features/*.inputs"))


def test_an_error_of_the_samples_is_theirs(tmp_path):
    """What computing raises is raised, and nothing is left that looks whole."""

    def broken():
        yield torch.zeros(3, 2), torch.zeros(3)
        raise KeyError("sample 3")

    with pytest.raises(KeyError, match="sample 3"):
        files_in(tmp_path).features("train", 7, CPU, broken)
    assert not list(tmp_path.glob("features/*.json"))
    source = Source()
    assert torch.equal(read(files_in(tmp_path), source).inputs, source.inputs)


SCRIPT = """
import sys, time
sys.path[:0] = sys.argv[1:3]
import torch
torch.set_num_threads(1)
from test_feature_files import Source, files_in, read
class Slow(Source):
    def __call__(self):
        with open(sys.argv[4], "a") as file:
            print("computed", file=file)
        time.sleep(0.5)
        yield from super().__call__()
found = read(files_in(sys.argv[3]), Slow())
assert torch.equal(found.inputs, Source().inputs)
"""


def test_processes_that_need_the_same_compute_it_once(tmp_path):
    """Those that come later wait for the first and map what it has written."""
    here, root = Path(__file__).parent, Path(pe.__file__).parents[1]
    log = tmp_path / "log"
    command = [sys.executable, "-c", textwrap.dedent(SCRIPT), here, root, tmp_path, log]
    processes = [subprocess.Popen([str(each) for each in command]) for _ in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    assert log.read_text() == "computed\n"


# --- in a sweep


class Watched(Small):
    """Writes into a file how many samples its backbone reads at a time."""

    def __init__(self, path):
        """Draw the same weights each time."""
        super().__init__()
        self.path = path

    def forward(self, inputs):
        """The outputs."""
        if not torch.is_grad_enabled() and type(self.head) is nn.Identity:
            with Path(self.path).open("a") as file:
                print(len(inputs), file=file)
        return super().forward(inputs)


HEADS = [
    pe.Strategy(
        f"head {lr}",
        optimizer=partial(torch.optim.SGD, lr=lr),
        epochs=1,
        trainable="head",
    )
    for lr in (0.1, 0.2)
]


def sweep(model, store, **options):
    """A quiet sweep of four heads."""
    return pe.sweep(
        {"m": model},
        [three_classes()],
        HEADS,
        range(2),
        store=store,
        progress=False,
        **options,
    )


def watched(path):
    """The same weights each time."""
    torch.manual_seed(0)
    return Watched(path)


def test_workers_share_the_features(tmp_path):
    """The samples of each split are read by one worker, and the folder goes after."""
    log = tmp_path / "log"
    runs = sweep(watched(log), tmp_path / "runs.db", workers=2)
    assert {run.status for run in runs} == {"completed"}
    # Two samples show whether features suffice; all of a split are read once.
    sizes = sorted(size for size in log.read_text().split() if size != "2")
    assert sizes == ["40", "48"]
    assert not (tmp_path / "runs.db.features").exists()
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        alone = sweep(watched(log), tmp_path / "other.db")
    finally:
        torch.set_num_threads(threads)
    assert [run.scores for run in runs] == [run.scores for run in alone]


def test_large_features_are_mapped_and_give_the_same_runs(tmp_path, monkeypatch):
    """A sweep that keeps its features in files gives the runs of memory."""
    folder, seen = tmp_path / "runs.db.features", []
    model = watched(tmp_path / "log")
    expected = sweep(model, tmp_path / "memory.db")
    assert not list(tmp_path.glob("*.features"))
    monkeypatch.setattr(feature_files, "LARGE", 1)
    plain = places.Here.run

    def run(here, cells, on_epoch):
        runs = plain(here, cells, on_epoch)
        seen.extend(path.suffix for path in folder.iterdir())
        return runs

    monkeypatch.setattr(places.Here, "run", run)
    runs = sweep(model, tmp_path / "runs.db")
    assert seen.count(".inputs") == 2
    assert not folder.exists()
    assert [run.scores for run in runs] == [run.scores for run in expected]
    assert [run.history for run in runs] == [run.history for run in expected]
    assert [run.baseline for run in runs] == [run.baseline for run in expected]


def test_an_interrupted_sweep_leaves_no_features(tmp_path, monkeypatch):
    """Ctrl-C removes them too."""
    monkeypatch.setattr(feature_files, "LARGE", 1)

    def stop(here, cells, on_epoch):
        here._files(cells[0], "").features("train", 7, CPU, Source())
        assert (tmp_path / "runs.db.features").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(places.Here, "run", stop)
    with pytest.raises(KeyboardInterrupt):
        sweep(watched(tmp_path / "log"), tmp_path / "runs.db")
    assert not (tmp_path / "runs.db.features").exists()


# --- what is somebody else's


@pytest.mark.parametrize("kind", ["file", "folder", "not a folder"])
def test_a_folder_with_anything_foreign_is_an_error_at_the_start(tmp_path, kind):
    """A sweep touches nothing that it has not named, and says so before any work."""
    folder = tmp_path / "runs.db.features"
    if kind == "not a folder":
        folder.write_text("thesis")
    else:
        folder.mkdir()
        (folder / f"{'a' * 32}.json").write_text("{}")
        mine = folder / "my_precious.txt"
        _ = mine.write_text("thesis") if kind == "file" else mine.mkdir()
    before = sorted(tmp_path.rglob("*.*"))
    log = tmp_path / "log"
    with pytest.raises(FileExistsError, match=r"runs\.db\.features is where a sweep"):
        sweep(watched(log), tmp_path / "runs.db")
    assert set(before) <= set(tmp_path.rglob("*.*"))
    assert not log.exists()


def test_what_is_put_into_the_folder_meanwhile_stays(tmp_path, monkeypatch):
    """A sweep removes its own files at its end, those of killed workers too."""
    folder = tmp_path / "runs.db.features"
    folder.mkdir()
    (folder / f"{'0' * 32}.inputs.123.partial").write_text("left by a dead worker")
    plain = places.Here.run

    def run(here, cells, on_epoch):
        (folder / "my_precious.txt").write_text("thesis")
        return plain(here, cells, on_epoch)

    monkeypatch.setattr(places.Here, "run", run)
    monkeypatch.setattr(feature_files, "LARGE", 1)
    sweep(watched(tmp_path / "log"), tmp_path / "runs.db")
    assert [path.name for path in folder.iterdir()] == ["my_precious.txt"]


def test_an_empty_folder_of_that_name_goes_with_the_rest(tmp_path):
    """A folder without anything in it is nobody's loss."""
    (tmp_path / "runs.db.features").mkdir()
    sweep(watched(tmp_path / "log"), tmp_path / "runs.db")
    assert not (tmp_path / "runs.db.features").exists()


def test_features_that_another_process_needs_are_left_to_it(tmp_path, monkeypatch):
    """Of two processes on one store the last one removes them."""
    folder = tmp_path / "runs.db.features"
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import pretrain_eval as pe;"
        "store = pe.RunStore(sys.argv[2]); store.claim('another run');"
        "print('claimed', flush=True); sys.stdin.read(); store.close()"
    )
    root = Path(pe.__file__).parents[1]
    other = subprocess.Popen(
        [sys.executable, "-c", script, str(root), str(tmp_path / "runs.db")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "claimed\n"
    monkeypatch.setattr(feature_files, "LARGE", 1)
    sweep(watched(tmp_path / "log"), tmp_path / "runs.db")
    assert len(list(folder.glob("*.inputs"))) == 2
    other.communicate()
    sweep(watched(tmp_path / "log"), tmp_path / "runs.db")
    assert not folder.exists()
