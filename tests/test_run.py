"""Run and Cost: frozen, plain, validated at the door, exact in JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import pickle
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import pretrain_eval as pe
from pretrain_eval._runs.run import FieldKind, FrozenDict, fields_of

NAMES = {"model": "a", "task": "t", "dataset": "d", "strategy": "full", "seed": 0}


SHARE = {"accuracy": pe.Scale(better="higher", low=0.0, high=1.0)}


def run(**fields: Any) -> pe.Run:
    """A run of which only what is given is known."""
    return pe.Run(**NAMES | fields)


def test_json_brings_everything_back() -> None:
    """Every field survives the round trip, to the last bit."""
    full = run(
        status="diverged",
        message="loss became NaN",
        scores={"accuracy": 0.1 + 0.2},
        baseline={"accuracy": 1 / 3},
        chance={"accuracy": 0.25},
        num_examples=300,
        curve={"step": (0, 5), "accuracy": (0.5, math.nan)},
        history={"step": (1, 2), "grad_norm": (math.inf, -math.inf)},
        cost=pe.Cost(num_parameters=3, seconds=0.1),
        settings={"trainable": "head", "epochs": 5, "clip": None, "amp": False},
        versions={"torch": "2.15.0"},
    )
    text = full.to_json()
    again = pe.Run.from_json(text)
    assert again == full
    assert again.to_json() == text
    assert "NaN" not in json.dumps(json.loads(text)["scores"])


@given(
    scores=st.dictionaries(
        st.text(min_size=1).filter(str.strip),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
    history=st.lists(st.floats()),
    model=st.text(min_size=1).filter(str.strip),
)
def test_any_floats_and_names_survive(
    scores: dict[str, float], history: list[float], model: str
) -> None:
    """NaN, infinities, subnormal numbers and every letter come back."""
    first = pe.Run(
        **NAMES
        | {"model": model, "scores": scores, "history": {"loss": tuple(history)}}
    )
    assert pe.Run.from_json(first.to_json()) == first


def test_a_record_cannot_be_changed() -> None:
    """Neither a field nor what a field holds; and what was passed in is not kept."""
    scores = {"accuracy": 0.5}
    frozen = run(scores=scores)
    scores["accuracy"] = 0.9
    assert frozen.scores["accuracy"] == 0.5
    with pytest.raises(AttributeError):
        frozen.seed = 1  # type: ignore[misc]
    for change in (
        lambda: frozen.scores.update(accuracy=1.0),  # type: ignore[attr-defined]
        lambda: frozen.scores.__setitem__("accuracy", 1.0),  # type: ignore[attr-defined]
        lambda: frozen.scores.pop("accuracy"),  # type: ignore[attr-defined]
    ):
        with pytest.raises(TypeError, match=r"use dataclasses\.replace"):
            change()


def test_a_record_is_hashed_and_pickled_by_value() -> None:
    """Equal runs are one in a set, also after a trip to another process."""
    first = run(scores={"accuracy": 0.5, "f1": 0.4})
    second = run(scores={"f1": 0.4, "accuracy": 0.5})
    assert len({first, second, pickle.loads(pickle.dumps(first))}) == 1
    assert isinstance(pickle.loads(pickle.dumps(first)).scores, FrozenDict)


def test_numpy_scalars_become_plain_numbers() -> None:
    """A score from numpy is stored as a float, a step as an int."""
    made = run(
        scores={"accuracy": np.float32(0.5)},
        history={"step": np.arange(2), "loss": np.ones(2)},
    )
    assert type(made.scores["accuracy"]) is float
    assert type(made.history["step"][0]) is int
    assert type(made.history["loss"][0]) is float


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": ""}, r"Run\.model must be a name, got ''"),
        ({"dataset": 3}, r"Run\.dataset must be a name, got 3"),
        ({"seed": -1}, "seed must be an int >= 0, got -1"),
        ({"seed": True}, "seed must be an int >= 0, got True"),
        ({"status": "ok"}, "status must be one of .*, got 'ok'"),
        ({"scores": {"accuracy": math.nan}}, "must be a finite number, got nan"),
        ({"scores": {"accuracy": math.inf}}, "must be a finite number, got inf"),
        ({"scores": {"accuracy": True}}, "must be a finite number, got True"),
        ({"scores": {"": 0.5}}, "a metric key must be a name"),
        ({"scores": [0.5]}, "scores must be a mapping"),
        ({"num_examples": 0}, "num_examples must be an int >= 1 or None"),
        ({"cost": 3}, "cost must be a Cost, got 3"),
        ({"cost": {"seconds": 1.0}}, r"cost must be a Cost, .*Cost\(seconds=1\.5\)"),
        ({"cost": pe.Cost(seconds=1.0)}, None),
        ({"seed": 2**63}, r"seed must be below 2\*\*63"),
        ({"seed": 2**63 - 1}, None),
        ({"model": "half \ud800"}, r"Run\.model must be a name, got 'half \\ud800'"),
        ({"message": 3}, "message must be text, got 3"),
        ({"scores": {"x": 10**400}}, "must be a finite number"),
        ({"scores": {"accuracy": 7.0}, "scales": SHARE}, "must lie in its range"),
        ({"chance": {"accuracy": 2.0}, "scales": SHARE}, "must lie in its range"),
        ({"scores": {"accuracy": 1.0}, "scales": SHARE}, None),
        ({"settings": {"a": object()}}, r"settings\['a'\] must be text, a number"),
        ({"settings": {"a": np.int64(3), "b": None, "c": 1.5}}, None),
        ({"confusion": 3}, "confusion expects triples"),
        ({"confusion": [3]}, "confusion expects triples"),
        ({"history": {"loss": 3}}, "must hold numbers, got 3"),
        ({"history": {"step": (0.5,)}}, "a step is whole, got 0.5"),
        ({"history": {"step": (math.nan,)}}, "must hold numbers"),
        ({"history": {"loss": (10**400,)}}, "must hold numbers"),
        ({"curve": {"a": (1.0,), "b": ()}}, "columns of equal length"),
        ({"curve": {"step": (5, 5), "a": (1.0, 2.0)}}, r"\['step'\] must increase"),
        ({"history": {"loss": ("x",)}}, "must hold numbers, got 'x'"),
        ({"scores": {"accuracy": 0.0}, "num_examples": 1, "seed": 7}, None),
        ({"curve": {"step": (0, 5), "a": (1.0, math.nan)}}, None),
    ],
)
def test_a_run_is_validated_at_the_door(
    fields: dict[str, Any], message: str | None
) -> None:
    """Every wrong field has a message, and its neighbour is accepted."""
    if message is None:
        assert run(**fields)
        return
    with pytest.raises(ValueError, match=message):
        run(**fields)


def test_half_a_character_in_a_message_is_spelt_out() -> None:
    """What a message of the system holds can be kept and printed."""
    assert run(message="no file caf\udce9").message == "no file caf\\udce9"


def test_messages_name_a_run_on_one_line() -> None:
    """What would move the cursor is spelt out."""
    assert run(model="a\r\x1b[2Kb").name == r"a\r\x1b[2Kb on t/d, full, seed 0"


@pytest.mark.parametrize("text", ["", "[]", "3", "null", "{", "[" * 100_000, "{}"])
def test_what_is_no_run_is_refused_in_words(text: str) -> None:
    """Whatever the text is, the error is a ValueError that says what it should be."""
    with pytest.raises(ValueError, match="Run"):
        pe.Run.from_json(text)


def test_a_mapping_is_never_taken_for_a_number() -> None:
    """A setting of the name "float" comes back beside infinite ones."""
    for settings in ({"float": "NaN"}, {"float": "Infinity"}, {"a": math.inf}):
        made = run(settings=settings)
        assert pe.Run.from_json(made.to_json()) == made


@pytest.mark.parametrize(
    ("fields", "valid"),
    [
        ({"seconds": -0.1}, False),
        ({"seconds": math.nan}, False),
        ({"num_parameters": 1.5}, False),
        ({"macs": True}, False),
        ({"seconds": 0.0, "macs": 0}, True),
        ({}, True),
    ],
)
def test_a_cost_is_a_number_or_unknown(fields: dict[str, Any], valid: bool) -> None:
    """Costs are at least 0, counts are whole, None is unknown."""
    if valid:
        assert pe.Cost(**fields)
        return
    with pytest.raises(ValueError, match="number of at least 0 or None"):
        pe.Cost(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (NAMES | {"colour": 1}, r"Run has no field \['colour'\]"),
        ({"model": "a"}, "cannot be read from"),
        (NAMES, None),
    ],
)
def test_foreign_fields_are_refused(
    fields: dict[str, Any], message: str | None
) -> None:
    """A record is read from its own fields and no others."""
    if message is None:
        assert pe.Run.from_dict(fields) == run()
        return
    with pytest.raises(ValueError, match=message):
        pe.Run.from_dict(fields)


CONFUSION = ((0, 0, 3), (0, 1, 1), (1, 0, 2))


def test_confusions_survive_json() -> None:
    """Lists become tuples again, and empty is the default."""
    known = run(confusion=CONFUSION)
    assert pe.Run.from_json(known.to_json()) == known
    assert pe.Run.from_json(known.to_json()).confusion == CONFUSION
    given = [list(triple) for triple in CONFUSION]
    assert dataclasses.replace(known, confusion=given) == known
    assert pe.Run.from_json(run().to_json()).confusion == ()


@pytest.mark.parametrize(
    ("confusion", "num_examples", "message"),
    [
        (CONFUSION, 6, None),
        (CONFUSION, None, None),
        (CONFUSION, 7, "confusion counts 6 examples, num_examples says 7"),
        (((0, 0),), None, r"expects \(target, prediction, count\)"),
        (((0, 0, 0),), None, "counts from 1"),
        (((-1, 0, 1),), None, "classes from 0"),
        (((0, 0, 1.0),), None, "as int"),
        (((0, 1, 1), (0, 0, 1)), None, "must be sorted"),
        (((0, 0, 1), (0, 0, 1)), None, "each pair of classes once"),
    ],
)
def test_confusions_are_checked(
    confusion: Any, num_examples: int | None, message: str | None
) -> None:
    """Sorted triples of whole numbers that add up to the number of examples."""
    fields = {"num_examples": num_examples, "confusion": confusion}
    if message is None:
        assert run(**fields).confusion == confusion
        return
    with pytest.raises(ValueError, match=message):
        run(**fields)


def test_a_field_has_one_kind() -> None:
    """Every field of a run is checked, stored and exported by one kind."""
    names = [name for kind in get_args(FieldKind) for name in fields_of(kind)]
    assert sorted(names) == sorted(field.name for field in dataclasses.fields(pe.Run))
    assert fields_of("name", "column") == fields_of("column", "name")
