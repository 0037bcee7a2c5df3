"""What must not change unnoticed: run keys, what a sweep measures, the public surface.

`python tests/test_frozen.py` writes the frozen files anew where a change is meant.
"""

import inspect
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import pretrain_eval as pe
from pretrain_eval import typing

FROZEN = Path(__file__).parent / "frozen"
DRAWN_BY_CELL = {
    "full, seed 0": "da8da9e7e06f1cda4c3ead43c6c51431",
    "full, seed 1": "90a4e611810e33ecd9d2e3c1f9efeb2b",
    "head, seed 0": "41b55f4c2c743be297f91e7c58d234be",
    "head, seed 1": "e3629597118e72bbe1d24513498e3d0a",
}
KEYS = {
    "full, seed 0": "f7b7074b604a43ab50c586534f725add",
    "full, seed 1": "5ba5ad842c0f0e353f21a3718b94e6a8",
    "head, seed 0": "9c3a0a976b091caba3327a99502c945c",
    "head, seed 1": "37412bf6f230029f3df6c9a76d032c0c",
}


def numbers(*shape, start):
    """Numbers in [-1, 1) by integer arithmetic, the same on every machine."""
    count = torch.Size(shape).numel()
    residues = (torch.arange(start, start + count) * 7919) % 1009
    return (residues.double() / 1009 * 2 - 1).float().reshape(shape)


def network():
    """A network of torch's own modules, so that its key holds no compiled code."""
    layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 5))
    with torch.no_grad():
        for start, parameter in enumerate(layers.parameters()):
            parameter.copy_(numbers(*parameter.shape, start=start))
    return layers


def samples(count, start):
    """Points whose class is the largest of their first three numbers."""
    inputs = numbers(count, 4, start=start)
    return TensorDataset(inputs, inputs[:, :3].argmax(1))


def grid(store, draws="seed"):
    """The runs of two strategies and two seeds, kept in `store`."""
    splits = pe.Splits(samples(48, 0), samples(40, 192))
    sgd = partial(torch.optim.SGD, lr=0.3, momentum=0.9)
    return pe.sweep(
        {"net": network()},
        [pe.Task("largest", datasets={"points": splits}, num_classes=3)],
        [
            pe.Strategy("full", optimizer=sgd, epochs=4),
            pe.Strategy("head", optimizer=sgd, epochs=4, trainable="head"),
        ],
        seeds=(0, 1),
        store=store,
        heads={"net": "2"},
        device="cpu",
        progress=False,
        draws=draws,
    )


def measured(path):
    """What each run of a store measured, by key."""
    with pe.RunStore(path) as store:
        return dict(store.items())


def surface():
    """Every public name with its parameters, a line each."""
    lines = []
    for home in (pe, pe.functional, pe.plot):
        for name in home.__all__:
            value = getattr(home, name)
            lines += _lines(f"{home.__name__}.{name}", value)
    lines += [f"{typing.__name__}.{name}" for name in typing.__all__]
    return sorted(lines)


def _lines(path, value):
    if not callable(value):
        return [f"{path}"]
    if not inspect.isclass(value):
        return [f"{path}({_parameters(value)})"]
    lines = [f"{path}({_parameters(value)})"]
    for name in dir(value):
        member = inspect.getattr_static(value, name)
        theirs = getattr(member, "__module__", None) or getattr(
            getattr(member, "__func__", None), "__module__", ""
        )
        if name.startswith("_"):
            continue
        if isinstance(member, property):
            lines.append(f"{path}.{name}")
        elif callable(getattr(value, name)) and theirs.startswith("pretrain_eval"):
            lines.append(f"{path}.{name}({_parameters(getattr(value, name))})")
    return lines


def _parameters(function):
    """Names, kinds and defaults of the parameters; types are the type checker's."""
    parameters = []
    starred = False
    for each in inspect.signature(function).parameters.values():
        if each.kind is each.KEYWORD_ONLY and not starred:
            parameters.append("*")
        starred |= each.kind in (each.KEYWORD_ONLY, each.VAR_POSITIONAL)
        stars = {each.VAR_POSITIONAL: "*", each.VAR_KEYWORD: "**"}.get(each.kind, "")
        given = each.default is not each.empty
        parameters.append(f"{stars}{each.name}" + f"={each.default!r}" * given)
    return ", ".join(parameters)


def test_keys_are_those_of_old_stores(tmp_path):
    """The same grid has the same keys as ever, so that old stores resume."""
    grid(tmp_path / "runs.db")
    runs = measured(tmp_path / "runs.db")
    found = {f"{run.strategy}, seed {run.seed}": key for key, run in runs.items()}
    assert found == KEYS


def test_keys_of_draws_by_cell_are_as_ever(tmp_path):
    """So are those of runs whose draws come from the whole cell."""
    grid(tmp_path / "runs.db", draws="cell")
    runs = measured(tmp_path / "runs.db")
    found = {f"{run.strategy}, seed {run.seed}": key for key, run in runs.items()}
    assert found == DRAWN_BY_CELL


def test_an_old_store_is_resumed_to_its_end(tmp_path):
    """A store of an earlier version is read, and nothing in it is trained again."""
    shutil.copy(FROZEN / "runs.db", tmp_path / "runs.db")
    before = measured(tmp_path / "runs.db")
    runs = grid(tmp_path / "runs.db")
    assert measured(tmp_path / "runs.db") == before
    assert sorted(runs, key=repr) == sorted(before.values(), key=repr)


def test_a_sweep_measures_what_it_measured(tmp_path):
    """Scores, curves and step metrics are those of the frozen runs."""
    grid(tmp_path / "runs.db")
    found, frozen = measured(tmp_path / "runs.db"), measured(FROZEN / "runs.db")
    for key, run in frozen.items():
        again = found[key]
        # Other versions of torch may round the last bits in another way.
        assert again.scores == pytest.approx(run.scores, rel=1e-5)
        assert again.baseline == pytest.approx(run.baseline, rel=1e-5)
        assert again.chance == run.chance
        assert again.confusion == run.confusion
        for table, expected in (
            (again.curve, run.curve),
            (again.history, run.history),
        ):
            assert table.keys() == expected.keys()
            for name, column in expected.items():
                assert table[name] == pytest.approx(column, rel=1e-4)


def test_the_public_surface_is_what_is_promised():
    """A name, a parameter or a default that changes is a change for users."""
    frozen = (FROZEN / "surface.txt").read_text(encoding="utf-8")
    assert surface() == frozen.splitlines()


if __name__ == "__main__":
    (FROZEN / "surface.txt").write_text("\n".join(surface()) + "\n", encoding="utf-8")
    print("wrote surface.txt; runs.db is never written anew: old stores must resume")
