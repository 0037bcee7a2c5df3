"""Whatever stands in a file of a comparison or a scorecard, it is that or an error."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scoring import BUDGET, make_grid
from test_fuzz_records import PLAIN

import pretrain_eval as pe

Place = tuple[Any, ...]
RUNS = make_grid(("a", "b", "c"))
CARD = pe.scorecard(RUNS, budget=BUDGET)
CHANGE = pe.PersistenceEvaluator().change(RUNS[:24], RUNS[:24])
WATCH = pe.monitor(
    {
        "values": [True] * 30 + [False] * 10,
        "features": [[n % 7, n % 3] for n in range(40)],
    },
    {"W1": {"values": [True, False] * 10}, "W2": {"features": [[1.0, 2.0]] * 9}},
)
# What damage leaves: another value, or one that looks nearly right.
VALUES = PLAIN | st.sampled_from(
    [0, 1, -1, 2.5, "a", "persistence", [], {}, [0.5, 0.5]]
)
RECORDS: dict[str, Any] = {
    "comparison": CARD["persistence"],
    "scorecard": CARD,
    "difference": CARD["persistence"].differences[0],
    "interval": CARD["persistence"].reports[0].interval,
    "change": CHANGE,
    "budget": BUDGET,
    "monitor": WATCH,
}


def places(value: Any, place: Place = ()) -> Iterator[Place]:
    """The way to everything in a tree of plain values."""
    if place:
        yield place
    if isinstance(value, dict | list):
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, each in pairs:
            yield from places(each, (*place, key))


PLACES = {name: list(places(record.to_dict())) for name, record in RECORDS.items()}
NAMED = pytest.mark.parametrize("name", RECORDS)


def changed(fields: Any, place: Place, change: Callable[[Any, Any], None]) -> Any:
    """The tree, after a change of what holds the place."""
    tree = json.loads(json.dumps(fields))
    holder = tree
    for key in place[:-1]:
        holder = holder[key]
    change(holder, place[-1])
    return tree


def read(name: str, text: str) -> None:
    """It is refused in words, or every field is what stands there, and can be shown."""
    kind = type(RECORDS[name])
    try:
        record = kind.from_json(text)
    except ValueError:
        return
    assert kind.from_json(record.to_json()).to_json() == record.to_json()
    fields = record.to_dict()
    for field, value in json.loads(text).items():
        assert same(fields[field], value), field
    if name in ("comparison", "scorecard", "change", "monitor"):
        assert str(record)
        record.rows()


def same(found: Any, given: Any) -> bool:
    """Whether each value that stands there came in; what did not has its default."""
    if isinstance(given, dict) and isinstance(found, dict):
        return all(same(found[key], value) for key, value in given.items())
    if isinstance(given, list) and isinstance(found, list):
        return len(given) == len(found) and all(map(same, found, given))
    nan = given != given and found == {"float": "NaN"}
    infinite = {"float": "Infinity"}, {"float": "-Infinity"}
    return nan or given == found or (found in infinite and given in (1e999, -1e999))


@NAMED
def test_what_was_written_is_read(name: str) -> None:
    """The round trip is exact."""
    record = RECORDS[name]
    assert type(record).from_json(record.to_json()) == record


@NAMED
@given(data=st.data())
def test_any_text_is_refused_in_words(name: str, data: st.DataObject) -> None:
    """A ValueError, and nothing from inside."""
    read(name, data.draw(st.text(max_size=40) | PLAIN.map(json.dumps)))


@NAMED
@settings(deadline=None)
@given(data=st.data())
def test_a_file_cut_short_is_refused(name: str, data: st.DataObject) -> None:
    """No text that ends early is one."""
    text = RECORDS[name].to_json()
    cut = data.draw(st.integers(0, len(text) - 1))
    with pytest.raises(
        ValueError, match=r"from_json expects the text of a JSON object"
    ):
        type(RECORDS[name]).from_json(text[:cut])


@NAMED
@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None, max_examples=200)
@given(data=st.data())
def test_a_changed_value_is_right_or_refused(name: str, data: st.DataObject) -> None:
    """Wherever another value stands, or none, it is what is shown or an error."""
    place = data.draw(st.sampled_from(PLACES[name]))
    value = data.draw(VALUES)

    def change(holder: Any, key: Any) -> None:
        if data.draw(st.booleans(), label="drop"):
            del holder[key]
        else:
            holder[key] = value

    read(name, json.dumps(changed(RECORDS[name].to_dict(), place, change)))


@pytest.mark.parametrize(
    ("name", "field", "value", "message"),
    [
        ("comparison", "reports", [], "one report a model, of one at least"),
        ("comparison", "reports", 3, "a tuple of Report"),
        ("comparison", "p_best", {"a": 1.5}, "probabilities by model"),
        ("comparison", "p_best", {"z": 0.5}, "probabilities by model"),
        ("comparison", "p_best_range", {"a": [0.5]}, "two probabilities"),
        ("comparison", "acceptability", {"a": 0.5}, "tuples of shares"),
        ("comparison", "not_separable", ["z"], r"some of \['a', 'b', 'c'\]"),
        ("comparison", "regret_limit", "small", "a number or None"),
        ("comparison", "confidence", 95, "a number between 0 and 1"),
        ("comparison", "rope", -0.1, "a number of at least 0"),
        ("comparison", "over", "seeds", "a tuple of names"),
        ("comparison", "cells", [["t", "d"]], "triples of names"),
        ("comparison", "seeds", {"a": [[0]]}, "the seeds of 8 cells by model"),
        ("comparison", "spreads", {"a": [0.1]}, "a number for 8 cells by model"),
        ("comparison", "tasks", {"a": {"t": "x"}}, "numbers by task, by model"),
        ("comparison", "cost", 3, "Cost or the fields of one"),
        ("comparison", "notes", "text", "a tuple of sentences"),
        ("scorecard", "comparisons", {}, "a tuple of Comparison"),
        ("scorecard", "comparisons", [3], "a tuple of Comparison"),
        ("scorecard", "absent", {"usability": 3}, "sentences by protocol"),
        ("scorecard", "decided_by", "luck", r"one of \['optimizability', "),
        ("difference", "first", "", "a name"),
        ("difference", "difference", None, "a number"),
        ("difference", "p_better", 2, "a probability or None"),
        ("difference", "errors", {"seeds": -1.0}, "numbers of at least 0 by name"),
        ("difference", "sizes", {"seeds": 1.5}, "positive whole numbers by name"),
        ("difference", "sizes", {"seeds": 0}, "positive whole numbers by name"),
        ("difference", "sizes", {}, r"the numbers of \['seeds', 'tasks'\]"),
        ("interval", "confidence", 95, "a number between 0 and 1"),
        ("interval", "high", -1.0, "a number of at least low"),
        ("difference", "num_cells", -1, "a whole number of at least 0"),
        ("monitor", "better", "more", "'higher' or 'lower'"),
        ("monitor", "false_alarms", 5, "a number between 0 and 1"),
        ("monitor", "horizon", 0, "a whole number of at least 1"),
        ("monitor", "signals", [], "one signal or more, of different names"),
        ("monitor", "looks", ["W1"], "the names of all looks"),
        ("change", "before", None, "Report or the fields of one"),
        ("change", "difference", "up", "a number"),
        ("change", "cells", {"t/d/full": None}, "numbers by name"),
    ],
)
def test_a_wrong_field_is_named(
    name: str, field: str, value: Any, message: str
) -> None:
    """The message says which field, what is expected and what came."""
    kind = type(RECORDS[name])
    fields = {**RECORDS[name].to_dict(), field: value}
    with pytest.raises(
        ValueError, match=rf"{kind.__name__}\.{field} must be {message}"
    ):
        kind.from_json(json.dumps(fields))


def test_a_pair_of_other_models_is_refused() -> None:
    """Differences are between models that are ranked."""
    fields = CARD["persistence"].to_dict()
    fields["differences"][0]["second"] = "z"
    with pytest.raises(ValueError, match=r"differences must be of two of .*'z'"):
        pe.Comparison.from_dict(fields)


def test_a_scorecard_of_some_protocols_is_shown() -> None:
    """What is neither compared nor said to be absent has a dash."""
    few = pe.Scorecard(comparisons=(CARD["persistence"],))
    assert few.best == CARD.best
    assert "–" in str(few)
