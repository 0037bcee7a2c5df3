"""Whatever text comes in, it is a run that comes back exactly, or one clear error."""

import csv
import json
import string
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scoring import make_run

import pretrain_eval as pe

WHOLE = json.loads(make_run(seed=1).to_json())
REPORT = pe.Report(
    protocol="p",
    model="a",
    score=0.5,
    parts={"one": 0.5},
    interval=pe.Interval(low=0.4, high=0.6, confidence=0.9, over="seeds", method="t"),
    bounds=(0.1, 0.9),
    num_runs=3,
    cost=pe.Cost(seconds=1.0),
    notes=("A sentence.",),
).to_dict()
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
# Names of every kind, and those that tables, shells and spreadsheets act on.
NAMES = st.text(min_size=1, max_size=12).filter(str.strip) | st.sampled_from(
    [
        "a\rb",
        "a\nb",
        "a\0b",
        'a"b',
        "a,b",
        "=1+1",
        "@x",
        "-",
        "'",
        "\u2028x",
        "é",
        "../x",
    ]
)


def as_run(text: str) -> pe.Run | None:
    """The run, or None where it is refused in words; anything else is raised."""
    try:
        return pe.Run.from_json(text)
    except ValueError:
        return None


@given(text=st.text(max_size=60) | PLAIN.map(json.dumps))
def test_any_text_is_a_run_or_a_clear_error(text: str) -> None:
    """A ValueError, whatever stands in it, and nothing from inside."""
    as_run(text)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(WHOLE)), value=PLAIN, drop=st.booleans())
def test_a_field_of_any_value_is_right_or_refused(
    name: str, value: Any, drop: bool
) -> None:
    """What is accepted comes back equal from its own JSON."""
    fields = {key: each for key, each in WHOLE.items() if not (drop and key == name)}
    if not drop:
        fields[name] = value
    run = as_run(json.dumps(fields))
    if run is not None:
        assert pe.Run.from_json(run.to_json()).to_json() == run.to_json()


@given(
    part=st.sampled_from(["cost", "scores", "curve", "history", "settings", "chance"]),
    name=st.text(max_size=6),
    value=PLAIN,
)
def test_an_entry_of_any_value_is_right_or_refused(
    part: str, name: str, value: Any
) -> None:
    """Mappings inside a record are checked as its fields are."""
    entries = {**WHOLE[part], name: value}
    run = as_run(json.dumps({**WHOLE, part: entries}))
    if run is not None:
        assert pe.Run.from_json(run.to_json()).to_json() == run.to_json()


def same_report(text: str) -> None:
    """What is taken in is read again from its own JSON, and can be shown."""
    try:
        report = pe.Report.from_json(text)
    except ValueError:
        return
    assert pe.Report.from_json(report.to_json()).to_json() == report.to_json()
    assert report.rows()[0]["model"] == report.model
    str(report.table())


@given(text=st.text(max_size=60) | PLAIN.map(json.dumps))
def test_any_text_is_a_report_or_a_clear_error(text: str) -> None:
    """A ValueError, whatever stands in it, and nothing from inside."""
    same_report(text)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(name=st.sampled_from(sorted(REPORT)), value=PLAIN)
def test_a_field_of_a_report_is_right_or_refused(name: str, value: Any) -> None:
    """Numbers, counts, names and intervals are checked as those of a run are."""
    same_report(json.dumps({**REPORT, name: value}))


@given(name=st.sampled_from(sorted(REPORT["interval"])), value=PLAIN)
def test_a_field_of_an_interval_is_right_or_refused(name: str, value: Any) -> None:
    """An interval inside a report is checked too."""
    interval = {**REPORT["interval"], name: value}
    same_report(json.dumps({**REPORT, "interval": interval}))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("score", "high"),
        ("model", ""),
        ("num_runs", -1),
        ("parts", {"one": "x"}),
        ("bounds", [1.0]),
        ("notes", "text"),
        ("interval", 3),
        ("cost", None),
    ],
)
def test_a_wrong_field_of_a_report_is_named(name: str, value: Any) -> None:
    """The message says which field, what is expected and what came."""
    with pytest.raises(ValueError, match=rf"Report\.{name} must be .*, got "):
        pe.Report.from_json(json.dumps({**REPORT, name: value}))


@given(line=st.text(max_size=40) | PLAIN.map(json.dumps))
def test_any_line_is_an_item_or_names_its_file_and_number(line: str) -> None:
    """Nothing of a file with a wrong line is taken in."""
    good = json.dumps({"key": "k", "run": WHOLE})
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.jsonl")
        path.write_text(f"{good}\n{line}", encoding="utf-8", errors="replace")
        with pe.RunStore(Path(folder, "runs.db")) as store:
            if not line:
                assert store.read_jsonl(path) == 1
                return
            with pytest.raises(ValueError, match=r"runs\.jsonl, line [1-9]"):
                store.read_jsonl(path)
            assert len(store) == 0


def test_a_schema_that_is_no_text_is_damage_of_a_named_file(tmp_path: Path) -> None:
    """SQLite quotes the damaged words, which Python cannot decode."""
    path = tmp_path / "runs.db"
    with pe.RunStore(path) as store:
        store.add("k", make_run())
    content = path.read_bytes()
    assert b"NULL" in content
    path.write_bytes(content.replace(b"NULL", b"NUL\xcc"))
    with pytest.raises(ValueError, match=r"runs\.db is damaged: "):
        pe.RunStore(path)


@settings(max_examples=30, deadline=None)
@given(names=st.lists(NAMES, min_size=1, max_size=4), message=st.text(max_size=20))
def test_a_csv_has_a_row_a_run_and_its_exact_names(
    names: list[str], message: str
) -> None:
    """Python's own reader finds what was written, whatever the names hold.

    The character 0, which Python 3.10 cannot read, stands there in words.
    """
    runs = []
    for seed, name in enumerate(names):
        try:
            runs.append(make_run(model=name, seed=seed, message=message))
        except ValueError:
            continue  # a name that cannot be written is refused by the record
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "runs.csv")
        with pe.RunStore(Path(folder, "runs.db")) as store:
            for place, run in enumerate(runs):
                assert store.add(string.ascii_letters[place], run)
            store.write_csv(path)
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    found = {int(row["seed"]): (row["model"], row["message"]) for row in rows}
    texts = {run.seed: (run.model, run.message) for run in runs}
    assert found == {
        seed: tuple(text.replace("\0", r"\x00") for text in each)
        for seed, each in texts.items()
    }
    assert len(rows) == len(runs)
