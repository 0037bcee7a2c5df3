"""Runs as a model card, read back by the library that made the format."""

import sys

import pytest

import pretrain_eval as pe
from pretrain_eval.integrations import model_card

RUNS = pe.Runs(
    pe.Run(
        model=model,
        task=task,
        dataset="all: of it",
        strategy=strategy,
        seed=seed,
        scores={"accuracy": 0.5 + seed / 8, "f1": 0.25},
    )
    for model in ("a", "b")
    for task in ("pets", "cars")
    for strategy in ("full", "head")
    for seed in (0, 1)
)


@pytest.fixture
def hub():
    return pytest.importorskip("huggingface_hub", reason="pip install huggingface_hub")


def test_a_card_comes_back_as_it_was(hub):
    """Means over seeds by task, dataset, strategy and metric; text stays below."""
    text = model_card.card(
        RUNS.filter(model="a"),
        text=pe.compare(RUNS).to_markdown(),
        task_types={"pets": "image-classification"},
    )
    card = hub.ModelCard(text, ignore_metadata_errors=False)
    assert card.data.model_name == "a"
    found = {
        (r.task_name, r.metric_config, r.metric_type): r for r in card.data.eval_results
    }
    assert len(found) == len(card.data.eval_results) == 2 * 2 * 2
    one = found["pets", "head", "accuracy"]
    assert (one.metric_value, one.metric_args) == (0.5625, {"num_seeds": 2})
    assert (one.task_type, one.dataset_name) == ("image-classification", "all: of it")
    assert found["cars", "full", "f1"].task_type == "cars"
    assert found["cars", "full", "f1"].metric_value == 0.25
    assert "## Evaluation" in card.text
    assert "| model |" in card.text
    assert "## Evaluation" not in model_card.card(RUNS.filter(model="a"))


def test_what_did_not_complete_counts_in_no_mean(hub):
    """A failed seed is left out, and the number of seeds says so."""
    failed = pe.Run(
        model="a",
        task="pets",
        dataset="all: of it",
        strategy="full",
        seed=2,
        status="error",
        message="no",
    )
    results = model_card.eval_results([*RUNS.filter(model="a"), failed])
    assert results[0].metric_args == {"num_seeds": 2}
    with pytest.raises(ValueError, match="no run of a has completed"):
        model_card.card([failed])


@pytest.mark.parametrize(("runs", "got"), [(RUNS, r"\['a', 'b'\]"), ((), r"\[\]")])
def test_a_card_is_about_one_model(hub, runs, got):
    """Several, or none, are refused in words."""
    with pytest.raises(ValueError, match=f"of one model, got {got}"):
        model_card.card(runs)


def test_a_missing_package_is_told(monkeypatch):
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        model_card.card(RUNS.filter(model="a"))
