"""Several runs as one sequence, and the store's path in their place."""

import pickle
from pathlib import Path

import pytest

import pretrain_eval as pe


def made(num_models: int = 2, num_seeds: int = 3) -> pe.Runs:
    return pe.Runs(
        pe.Run(
            model=f"m{model}",
            task="t",
            dataset="d",
            strategy="full",
            seed=seed,
            scores={"accuracy": 0.5 + model / 10 + seed / 100},
            history={"step": (1.0, 2.0), "grad_norm": (1.0, 2.0)},
        )
        for model in range(num_models)
        for seed in range(num_seeds)
    )


def test_runs_are_a_tuple_whose_slices_are_runs() -> None:
    """What took a tuple takes them, and a part of them is whole again."""
    runs = made()
    assert runs == tuple(runs)
    assert isinstance(runs[1:3], pe.Runs)
    assert runs[1:3] == tuple(runs)[1:3]
    assert runs[-1].seed == 2
    assert isinstance(runs + runs[:1], pe.Runs)
    assert pickle.loads(pickle.dumps(runs)) == runs


def test_a_filter_keeps_the_order() -> None:
    """Names narrow the runs; seed 0 is a name like any other."""
    runs = made()
    assert [run.model for run in runs.filter(seed=0)] == ["m0", "m1"]
    assert runs.filter(model="m1", seed=2) == (runs[-1],)
    assert runs.filter(status="error") == ()


def test_many_runs_print_in_few_lines() -> None:
    """A notebook's cell that ends in runs holds at most 30 lines, in text or HTML."""
    runs = made(30, 20)
    assert repr(runs).count("\n") == 0
    assert "600 of 30 models" in repr(runs)
    assert len(str(runs).splitlines()) <= 30
    page = runs._repr_html_()
    assert page.count("<tr>") <= 22
    assert "580 more" in page
    assert len(repr(runs[0])) < 100


def test_names_are_escaped_in_a_notebook() -> None:
    """A name or a message that is HTML stays text."""
    run = pe.Run(
        model="<b>",
        task="t",
        dataset="d",
        strategy="s",
        seed=0,
        status="error",
        message='"><script>',
    )
    page = pe.Runs([run])._repr_html_()
    assert "<b>" not in page
    assert "<script>" not in page


def test_only_runs_are_runs() -> None:
    """Anything else is named."""
    with pytest.raises(TypeError, match="got 'a'"):
        pe.Runs("abc")  # type: ignore[arg-type]


def test_the_path_of_a_store_stands_for_its_runs(tmp_path: Path) -> None:
    """Every door that takes runs takes the path, and gives the same answer."""
    runs, path = made(), tmp_path / "runs.db"
    with pe.RunStore(path) as store:
        for index, run in enumerate(runs):
            store.add(str(index), run)
        assert store.runs() == runs
        assert pe.compare(store) == pe.compare(runs)
    assert pe.compare(path) == pe.compare(runs)
    assert pe.compare(str(path), pe.PersistenceEvaluator(rope=0.5)).rope == 0.5
    assert str(pe.scorecard(path)) == str(pe.scorecard(runs))
    assert runs.compare(pe.PersistenceEvaluator()) == pe.compare(runs)
    one = pe.PersistenceEvaluator().score(runs.filter(model="m0"))
    assert one.model == "m0"


def test_a_wrong_path_makes_no_file(tmp_path: Path) -> None:
    """To read a store that is not there is an error, and leaves nothing."""
    with pytest.raises(
        FileNotFoundError, match=r"typo\.db: there is no such run store"
    ):
        pe.compare(tmp_path / "typo.db")
    with pytest.raises(ValueError, match=r"got the URL 'sqlite:///b\.db'"):
        pe.compare("sqlite:///b.db")
    assert not list(tmp_path.iterdir())


def test_a_data_frame_is_refused_in_words() -> None:
    """It lacks curves and histories."""
    pytest.importorskip("pandas", reason='pip install "pretrain-eval[pandas]"')
    with pytest.raises(TypeError, match="got a data frame"):
        pe.compare(made().to_pandas())


def test_a_store_says_how_it_is_read_as_a_sequence(tmp_path: Path) -> None:
    """store[0] fails with what to write."""
    with (
        pe.RunStore(tmp_path / "runs.db") as store,
        pytest.raises(TypeError, match=r"store\.runs\(\)\[0\]"),
    ):
        store[0]
