"""The five protocols side by side."""

from __future__ import annotations

import dataclasses

import pytest
from scoring import BUDGET, make_grid, make_run

import pretrain_eval as pe


def test_every_protocol_is_that_of_its_evaluator() -> None:
    """The scorecard holds what the five evaluators say of the same runs."""
    runs = make_grid()
    card = pe.scorecard(runs, budget=BUDGET)
    for evaluator in (
        pe.OptimizabilityEvaluator(),
        pe.UsabilityEvaluator(budget=BUDGET),
        pe.VariabilityEvaluator(),
        pe.ReusabilityEvaluator(budget=BUDGET),
        pe.PersistenceEvaluator(),
    ):
        assert card[evaluator.protocol] == evaluator.compare(runs)
    assert card.best == card["persistence"].best
    assert card.decision == card["persistence"].decision


def test_another_protocol_may_decide() -> None:
    """The models are ordered by the protocol that is named."""
    card = pe.scorecard(make_grid(), budget=BUDGET, decided_by="usability")
    assert card.best == card["usability"].best
    assert "best first by usability" in str(card)
    with pytest.raises(ValueError, match="decided_by must be one of"):
        pe.scorecard(make_grid(), decided_by="accuracy")


def test_a_protocol_without_its_measurements_is_absent() -> None:
    """Runs without curves have no optimizability, and the card says why."""
    runs = [dataclasses.replace(run, curve={}, baseline={}) for run in make_grid()]
    card = pe.scorecard(runs)
    assert set(card.absent) == {"optimizability", "variability"}
    assert "optimizability: OptimizabilityEvaluator reads the validation curve" in str(
        card
    ).replace("\n", " ")
    assert card.report("optimizability", "a") is None
    with pytest.raises(KeyError, match="no 'optimizability' here"):
        card["optimizability"]
    with pytest.raises(ValueError, match="reads the validation curve"):
        pe.scorecard(runs, decided_by="optimizability")


def test_it_survives_json_and_makes_rows() -> None:
    """Exact in JSON; in CSV one row a model and protocol."""
    card = pe.scorecard(make_grid(), scratch="b", budget=BUDGET)
    assert pe.Scorecard.from_json(card.to_json()) == card
    assert len(card.rows()) == 10
    assert len(card.to_csv().splitlines()) == 11
    assert "<table>" in card._repr_html_()


def test_one_model_has_a_card() -> None:
    """A single model is shown without a ranking."""
    card = pe.scorecard(make_grid(models=("a",)))
    assert card.models == ("a",)
    assert card.decision.startswith("Use a; the whole decision cost")


def test_without_a_budget_usability_is_open() -> None:
    """No number is invented, and the card says so."""
    text = str(pe.scorecard(make_grid()))
    assert "usability: no budget is stated" in text


def test_the_pareto_front_is_named() -> None:
    """Score against each cost; costs of one front share a sentence."""
    runs = [
        make_run(
            model=model,
            seed=seed,
            accuracy=level + seed / 100,
            cost=pe.Cost(num_parameters=size, macs=10, seconds=1.0),
        )
        for model, level, size in (("a", 0.9, 20), ("b", 0.6, 10), ("c", 0.5, 15))
        for seed in range(3)
    ]
    text = str(pe.scorecard(runs))
    assert "Pareto front of persistence against parameters: a and b." in text
    assert "Pareto front of persistence against macs and seconds: a." in text
    assert "Pareto" not in str(pe.scorecard(make_grid(models=("a",))))
