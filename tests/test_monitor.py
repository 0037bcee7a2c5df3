"""A deployed model that is looked at again and again."""

import json
from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import torch

import pretrain_eval as pe

Array = npt.NDArray[np.float64]
Predictions = dict[str, npt.NDArray[np.generic]]


def bits(rng: np.random.Generator, share: float, size: int = 400) -> Predictions:
    return {"values": rng.random(size) < share}


def year(
    share: Callable[[int], float],
    *,
    seed: int = 0,
    weeks: int = 12,
    reference: int = 3000,
    size: int = 400,
) -> pe.Monitor:
    """A reference of the share at 0, and weeks from 1 on."""
    rng = np.random.default_rng(seed)
    before = bits(rng, share(0), reference)
    looks = {f"W{w:02d}": bits(rng, share(w), size) for w in range(1, weeks + 1)}
    return pe.monitor(before, looks)


def classified(
    rng: np.random.Generator, size: int, *, shift: float = 0.0, harder: float = 0.0
) -> Predictions:
    """Logits of ten classes, targets, and 24 features."""
    targets = rng.integers(0, 10, size)
    outputs = rng.standard_normal((size, 10))
    outputs[np.arange(size), targets] += 3 - harder
    features = rng.standard_normal((size, 24)) + shift
    return {"outputs": outputs, "targets": targets, "features": features}


# --- what the numbers are


def test_the_statistic_is_the_largest_two_sample_z_over_windows() -> None:
    """A twin in numpy: each window against everything before it, shares pooled."""
    watch = year(lambda week: 0.9 if week < 5 else 0.84, weeks=7)
    sizes = [3000, *[400] * 7]
    signal = watch["accuracy"]
    counts = np.array(
        [signal.mean[0] * 3000, *(400 * p.mean[0] for p in signal.points)]
    )
    for look, point in enumerate(signal.points, start=1):
        found = {}
        for window in {1, 2, 4, look} - {w for w in (2, 4) if w > look}:
            start = look + 1 - window
            n, m = sum(sizes[:start]), sum(sizes[start : look + 1])
            x, y = counts[:start].sum(), counts[start : look + 1].sum()
            share = (x + y + 0.5) / (n + m + 1)
            error = np.sqrt(share * (1 - share) * (1 / n + 1 / m))
            found[window] = (x / n - y / m) / error
        assert point.statistic == pytest.approx(max(found.values()), abs=1e-9)
        assert point.statistic == pytest.approx(found[point.window], abs=1e-9)


def test_whitened_features_are_measured_by_their_length() -> None:
    """The reference's coordinates have mean 0 and covariance 1, and T² is theirs."""
    rng = np.random.default_rng(0)
    before, week = (classified(rng, n)["features"] for n in (800, 300))
    watch = pe.monitor({"features": before}, {"W1": {"features": week}})
    signal = watch["features"]
    assert signal.directions is not None
    rows = signal.directions.coordinates(before.astype(float))
    assert np.allclose(rows.mean(axis=0), 0, atol=1e-5)
    assert np.allclose(np.cov(rows, rowvar=False), np.eye(rows.shape[1]), atol=1e-3)
    mean = signal.directions.coordinates(week.astype(float)).mean(axis=0)
    length = np.linalg.norm(mean) / np.sqrt(1 / 800 + 1 / 300)
    assert signal.points[0].statistic == pytest.approx(length, rel=1e-5)


def test_a_look_at_a_time_is_all_looks_at_once() -> None:
    """Also to the bit, and through JSON in between."""
    rng = np.random.default_rng(3)
    before = classified(rng, 400)
    looks = {f"W{week}": classified(rng, 50 + week) for week in range(6)}
    watch = pe.monitor(before)
    for name, predictions in looks.items():
        watch = pe.Monitor.from_json(watch.look(name, predictions).to_json())
    assert watch == pe.monitor(before, looks)
    assert "NaN" not in json.dumps(watch.to_dict(), allow_nan=False)


# --- what is promised


def test_unchanged_years_are_quiet_over_all_looks() -> None:
    """At most one of twenty has an alarm in its horizon; 120 may show eleven by chance."""
    alarms = 0
    for seed in range(120):
        rng = np.random.default_rng(seed)
        looks = {str(week): bits(rng, 0.9, 100) for week in range(10)}
        watch = pe.monitor(bits(rng, 0.9, 600), looks, horizon=10)
        alarms += watch.exit_code > 0
    assert 1 <= alarms <= 11


def test_a_drop_of_five_points_is_seen_within_four_looks() -> None:
    """With 400 examples a look, in more than four of five years, whenever it comes."""
    for start in (1, 9):
        seen = []
        for seed in range(40):
            drop = lambda week: 0.9 if week < start else 0.85  # noqa: B023, E731
            watch = year(drop, seed=seed, weeks=start + 3)
            alarm = watch["accuracy"].alarm
            seen.append(alarm is not None and int(alarm.look[1:]) >= start)
        assert np.mean(seen) > 0.8


def test_a_slow_decline_is_seen_by_long_windows() -> None:
    """Most of them before any week by itself is out of its limits."""
    windows = []
    for seed in range(8):
        slow = lambda week: 0.9 - 0.0008 * week  # noqa: E731
        signal = year(slow, weeks=40, reference=5000, seed=seed)["accuracy"]
        assert signal.alarm is not None
        windows.append(signal.alarm.window)
        low, high = signal.limits_of(signal.alarm)
        assert high == np.inf
        assert (signal.alarm.mean[0] < low) == (signal.alarm.window == 1)
    assert np.median(windows) > 4


def test_what_would_be_seen_is_seen_as_often_as_it_says() -> None:
    """The least visible drop of the sentence, in about 80 % of drops of that size."""
    quiet = year(lambda week: 0.9, weeks=4, seed=1)
    least = quiet["accuracy"].visible()
    assert least is not None
    assert 0.02 < least < 0.06
    assert f"{least:.3f} would be seen" in quiet.verdict
    seen = [
        year(lambda week: 0.9 if week < 5 else 0.9 - least, weeks=8, seed=seed).dropped
        for seed in range(60)
    ]
    assert 0.65 < np.mean([bool(each) for each in seen]) <= 1.0


# --- verdicts


def test_a_drop_is_told_with_its_date_and_size() -> None:
    """The window that made the alarm says since when."""
    watch = year(lambda week: 0.9 if week < 6 else 0.78)
    assert watch.dropped
    assert watch.exit_code == 2
    assert watch["accuracy"].since == "W06"
    assert watch.verdict.startswith("accuracy has dropped by 0.1")
    assert "since W06" in watch.verdict
    assert "0.7" in str(watch)
    assert "*" in str(watch)
    quiet = year(lambda week: 0.9)
    assert quiet.exit_code == 0
    assert quiet.dropped is False
    assert quiet.verdict.startswith("No drop of accuracy in 12 looks")


def test_a_monitor_and_its_signals_print_in_one_line() -> None:
    """What is watched, how often, and what was found; no packed numbers."""
    watch = year(lambda week: 0.9 if week < 6 else 0.78)
    assert repr(watch) == "Monitor(accuracy, 12 looks: dropped)"
    assert repr(watch["accuracy"]) == "Signal(accuracy, 12 looks: since W06)"
    assert (
        repr(year(lambda week: 0.9, weeks=1)) == "Monitor(accuracy, 1 look: as before)"
    )


def test_features_tell_of_drift_before_labels_come() -> None:
    """Exit code 1, and the sentence says that drift is no drop."""
    rng = np.random.default_rng(0)
    watch = pe.monitor(classified(rng, 1000))
    for week in range(6):
        shifted = classified(rng, 200, shift=0.0 if week < 3 else 0.3)
        watch = watch.look(f"W{week}", {**shifted, "targets": None})
    assert watch.dropped is None
    assert watch.exit_code == 1
    assert watch.drifted == ("features",)
    assert watch["features"].since == "W3"
    assert "Drift is no drop" in watch.verdict


def test_confidence_is_watched_both_ways() -> None:
    """A model that becomes more sure has changed as one that becomes less sure."""
    for harder in (0.5, -0.5):
        rng = np.random.default_rng(1)
        watch = pe.monitor(classified(rng, 1000))
        for week in range(4):
            each = classified(rng, 200, harder=harder)
            watch = watch.look(f"W{week}", (each["outputs"], None))
        assert "confidence" in watch.drifted
        assert "The confidence has drifted since W0" in watch.verdict


def test_labels_may_come_late() -> None:
    """The same look again, with targets; its confidence is counted once."""
    rng = np.random.default_rng(2)
    watch = pe.monitor(classified(rng, 500))
    week = classified(rng, 100)
    watch = watch.look("W1", {**week, "targets": None})
    before = watch["confidence"]
    watch = watch.look("W1", week)
    assert watch["confidence"] == before
    assert watch["accuracy"].points[0].look == "W1"
    with pytest.raises(ValueError, match="'W1' has been counted"):
        watch.look("W1", week)


def test_an_error_that_grows_is_a_drop() -> None:
    """Lower is better of errors, which are skewed; the word is then another."""
    rng = np.random.default_rng(4)

    def errors(scale: float, size: int) -> tuple[Array, Array]:
        targets = rng.standard_normal(size)
        return targets + scale * rng.standard_normal(size), targets

    weeks = {f"W{w}": errors(1.0 if w < 4 else 1.25, 300) for w in range(8)}
    watch = pe.monitor(errors(1.0, 2000), weeks, metric="mse")
    assert watch.better == "lower"
    assert watch.dropped
    assert watch["mse"].since == "W4"
    assert "mse has risen by" in watch.verdict
    falling = {f"W{w}": errors(0.7, 300) for w in range(4)}
    better = pe.monitor(errors(1.0, 2000), falling, metric="mse")
    assert better.dropped is False


def test_looks_that_swing_by_more_than_chance_are_said() -> None:
    """Examples of one week that are alike make alarms too easy."""
    swing = np.random.default_rng(5).normal(0.7, 0.03, 13)
    watch = year(lambda week: swing[week] if week else 0.7, weeks=12, size=800)
    if watch["accuracy"].alarm is None:
        assert any("times as much" in note for note in watch.notes)
    signal = year(lambda week: 0.7, weeks=12)["accuracy"]
    assert signal.dispersion is None


# --- forms


def test_scores_of_examples_are_those_of_the_metrics() -> None:
    """The mean over a look is what the metric of the library says of it."""
    rng = np.random.default_rng(6)
    week = classified(rng, 200)
    outputs, targets = torch.tensor(week["outputs"]), torch.tensor(week["targets"])
    for metric in (pe.Accuracy(), pe.LogLoss(scores="logits")):
        watch = pe.monitor((outputs, targets), metric=metric.key)
        metric.update(outputs, targets)
        assert watch[metric.key].value == pytest.approx(metric.compute())
        assert watch.better == ("higher" if metric.higher_is_better else "lower")
    for metric in (pe.MeanSquaredError(), pe.MeanAbsoluteError()):
        wide = outputs[:, :3], outputs[:, 3:6]
        watch = pe.monitor(wide, metric=metric.key)
        metric.update(*wide)
        assert watch[metric.key].value == pytest.approx(metric.compute())


def test_predictions_come_in_several_forms() -> None:
    """Tensors of any precision, classes, probabilities and files are the same."""
    rng = np.random.default_rng(7)
    week = classified(rng, 100)
    logits = torch.tensor(week["outputs"])
    whole = pe.monitor((logits, week["targets"]))
    halved = pe.monitor((logits.bfloat16(), torch.tensor(week["targets"])))
    classes = pe.monitor((logits.argmax(1), week["targets"]))
    shares = pe.monitor((logits.softmax(1), week["targets"]), scores="probabilities")
    for watch in (whole, halved, classes, shares):
        assert watch["accuracy"].mean[0] == pytest.approx(
            whole["accuracy"].mean[0], abs=0.02
        )
    assert shares["confidence"].mean == pytest.approx(whole["confidence"].mean)
    assert [signal.name for signal in classes.signals] == ["accuracy"]
    assert [signal.name for signal in whole.signals] == [
        *("accuracy", "confidence", "outputs")
    ]


def test_runs_are_looks() -> None:
    """By their outcomes, or by an accuracy on so many examples."""

    def run(scores: dict[str, float], **more: object) -> pe.Run:
        place = {"model": "m", "task": "t", "dataset": "d", "strategy": "s", "seed": 0}
        return pe.Run(**place, scores=scores, **more)

    values = [True] * 90 + [False] * 10
    outcomes = pe.Outcomes.of("accuracy", "digits", values)
    known = run({"accuracy": 0.9}, outcomes=outcomes)
    told = run({"accuracy": 0.9}, num_examples=100)
    assert pe.monitor(known) == pe.monitor(told) == pe.monitor({"values": values})
    with pytest.raises(ValueError, match="says nothing of single examples"):
        pe.monitor(run({"accuracy": 0.9}))
    with pytest.raises(ValueError, match="has no 'accuracy', it has \\['f1'\\]"):
        pe.monitor(told, {"W1": run({"f1": 0.9}, num_examples=10)})


WRONG = {
    "fewer": ({"values": [1] * 29}, {}, "needs 30 examples or more, got 29"),
    "empty": ({"values": []}, {}, "there is no example"),
    "nothing": ({"targets": [1] * 40}, {}, "need outputs, values or features"),
    "unknown": ({"output": [1] * 40}, {}, "got \\['output'\\]"),
    "lengths": ((np.ones((40, 2)), [1] * 39), {}, "targets are of 39 examples"),
    "nan": ({"values": [np.nan] * 40}, {}, "must be finite numbers"),
    "texts": ({"values": ["a"] * 40}, {}, "must be finite numbers"),
    "wide": ({"values": np.ones((40, 2))}, {}, "one an example, \\(40,\\)"),
    "floats": ((np.ones((40, 2)), np.ones(40)), {}, 'metric="mse" or "mae"'),
    "range": ((np.eye(40), np.full(40, 40)), {"scores": "probabilities"}, "0..39"),
    "shares": ((np.eye(40), np.arange(40)), {}, 'scores="probabilities"'),
    "logits": (
        (2 * np.eye(40), np.arange(40)),
        {"scores": "probabilities"},
        'scores="logits"',
    ),
    "one logit": ((np.ones(40), np.ones(40, int)), {}, "of one logit make classes"),
    "no metric": ((np.eye(40), np.arange(40)), {"metric": "f1"}, "no mean over examples"),
    "direction": ({"values": [0.1, 0.2] * 20}, {"metric": "q"}, 'better="higher" or'),
    "alike": ({"values": [0.5] * 40}, {"metric": "mse"}, "99 % of the reference"),
    "name": ({"values": [0.1, 2] * 20}, {"metric": "outputs", "better": "lower"}, "anyway"),
    "rate": ({"values": [0, 1] * 20}, {"false_alarms": 5}, "between 0 and 1, got 5"),
    "horizon": ({"values": [0, 1] * 20}, {"horizon": 0}, "1 look or more, got 0"),
    "better": ({"values": [0, 1] * 20}, {"better": "more"}, "'higher' or 'lower'"),
    "scores": ({"values": [0, 1] * 20}, {"scores": "odds"}, "scores must be one of"),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_reference_is_refused_in_words(name: str) -> None:
    """What was expected, what came and what to do."""
    reference, settings, words = WRONG[name]
    with pytest.raises(ValueError, match=words):
        pe.monitor(reference, **settings)


def test_wrong_looks_are_refused_in_words() -> None:
    """And the monitor is as it was: it is frozen."""
    rng = np.random.default_rng(8)
    watch = pe.monitor(classified(rng, 100))
    with pytest.raises(TypeError, match="predict\\(model, loader\\) makes them"):
        watch.look("W1", [1, 2, 3])
    with pytest.raises(TypeError, match="looks as a mapping"):
        pe.monitor(classified(rng, 100), [classified(rng, 100)])
    narrow = classified(rng, 100)
    narrow["features"] = narrow["features"][:, :3]
    with pytest.raises(ValueError, match="W1: features are"):
        watch.look("W1", narrow)
    with pytest.raises(ValueError, match="to have a name"):
        watch.look("", classified(rng, 100))
    own = pe.monitor({"values": [0, 1] * 20})
    with pytest.raises(ValueError, match="must be 0 or 1"):
        own.look("W1", {"values": [0.5]})
    with pytest.raises(AttributeError, match="look\\(name, predictions\\)"):
        own.update("W1", {"values": [1]})
    with pytest.raises(ValueError, match="pool batches"):
        own.after({str(n): {"values": [1]} for n in range(2001)})
    with pytest.raises(KeyError, match="'f1' is not watched"):
        own["f1"]
    assert watch.looks == own.looks == ()


def test_what_json_has_changed_is_refused() -> None:
    """Fields are checked when a monitor is read."""
    watch = year(lambda week: 0.9, weeks=2)
    fields = json.loads(watch.to_json())
    fields["signals"][0]["kind"] = "letters"
    with pytest.raises(ValueError, match=r"Signal\.kind must be"):
        pe.Monitor.from_json(json.dumps(fields))
    with pytest.raises(ValueError, match="expects the text of a JSON object"):
        pe.Monitor.from_json("{")


def test_a_monitor_is_a_table_and_a_page(tmp_path) -> None:
    """A row a look, also as CSV, Markdown and a data frame's rows."""
    watch = year(lambda week: 0.9, weeks=3)
    rows = watch.rows()
    assert [row["look"] for row in rows] == ["W01", "W02", "W03"]
    assert rows[0]["value"] == watch["accuracy"].points[0].value
    for name in ("w.html", "w.md", "w.tex", "w.csv", "w.txt", "w.json"):
        watch.save(tmp_path / name)
        assert (tmp_path / name).stat().st_size
    assert "No drop of accuracy" in (tmp_path / "w.html").read_text()


def test_a_list_of_dates_is_sent_from_change_to_monitor() -> None:
    """Two dates have an interval, many a rate of false alarms."""
    place = {"model": "m", "task": "t", "dataset": "d", "strategy": "s", "seed": 0}
    week = [pe.Run(**place, scores={"accuracy": 0.9})]
    for later in ([week, week], {"W1": week}):
        with pytest.raises(TypeError, match=r"monitor\(reference"):
            pe.PersistenceEvaluator().change(week, later)
