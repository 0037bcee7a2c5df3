"""Two dates of one model: has it dropped?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scoring import make_grid, make_run

import pretrain_eval as pe
from pretrain_eval._scoring.formulas.intervals import newcombe

EVALUATOR = pe.PersistenceEvaluator()


def at(levels: tuple[float, ...], **fields: object) -> list[pe.Run]:
    """One cell with a seed a level."""
    return [make_run(seed=i, accuracy=x, **fields) for i, x in enumerate(levels)]


def test_runs_are_paired_by_seed() -> None:
    """A deployed model is compared with itself: the paired t of one sample."""
    before, after = (0.70, 0.80, 0.90), (0.66, 0.75, 0.86)
    change = EVALUATOR.change(at(before), at(after))
    gaps = np.array(after) - before
    expected = stats.t.interval(0.95, 2, gaps.mean(), stats.sem(gaps))
    assert change.interval is not None
    found = change.interval.low, change.interval.high
    assert found == pytest.approx(expected, abs=1e-9)
    assert change.dropped is True
    assert "a has dropped by -0.043" in change.verdict


def test_other_seeds_are_compared_unpaired() -> None:
    """Models trained anew are Welch's two samples."""
    before, after = (0.70, 0.80, 0.90), (0.66, 0.75)
    change = EVALUATOR.change(at(before), at(after))
    welch = stats.ttest_ind(after, before, equal_var=False).confidence_interval(0.95)
    assert change.interval is not None
    found = change.interval.low, change.interval.high
    assert found == pytest.approx((welch.low, welch.high), abs=1e-9)
    assert change.dropped is False
    assert "within chance" in change.verdict


def test_few_examples_keep_a_drop_uncertain() -> None:
    """Seeds agree on the same few examples; new examples might not."""
    before, after = at((0.8, 0.8, 0.81)), at((0.7, 0.7, 0.71))
    few = [
        [
            make_run(seed=r.seed, accuracy=r.scores["accuracy"], num_examples=50)
            for r in d
        ]
        for d in (before, after)
    ]
    change = EVALUATOR.change(*few)
    assert change.examples is not None
    shares = [np.mean([r.scores["accuracy"] for r in runs]) for runs in few]
    expected = newcombe(shares[1], shares[0], (50, 50), 0.95)
    assert (change.examples.low, change.examples.high) == pytest.approx(expected)
    assert change.interval is not None
    assert change.interval.high < 0
    assert change.dropped is False
    assert EVALUATOR.change(before, after).dropped is True


def test_a_rise_is_said() -> None:
    """What lies above 0 in every interval has risen."""
    change = EVALUATOR.change(at((0.5, 0.51, 0.52)), at((0.6, 0.61, 0.625)))
    assert "a has risen by +0.102" in change.verdict


def test_one_seed_says_nothing() -> None:
    """With one seed and no number of examples nothing is claimed."""
    change = EVALUATOR.change(at((0.8,)), at((0.2,)))
    assert change.dropped is None
    assert "nothing can be said of chance" in str(change)


def test_only_common_cells_count() -> None:
    """A cell of one date is left out and counted; the worst cell is printed first."""
    before = [make_run(dataset=name, accuracy=0.8) for name in "def"]
    after = [
        make_run(dataset=name, accuracy=x)
        for name, x in zip("ef", (0.7, 0.5), strict=True)
    ]
    change = EVALUATOR.change(before, after)
    assert dict(change.cells) == pytest.approx({"t/e/full": -0.1, "t/f/full": -0.3})
    assert change.difference == pytest.approx(-0.2, abs=1e-12)
    assert "1 cell stands at one date only" in str(change)
    text = str(change)
    assert text.index("t/f/full") < text.index("t/e/full")
    assert len(change.rows()) == 2


def test_it_survives_json() -> None:
    """A change is a record like the others."""
    change = EVALUATOR.change(at((0.7, 0.8)), at((0.6, 0.75)))
    assert pe.Change.from_json(change.to_json()) == change


@pytest.mark.parametrize(
    ("after", "message"),
    [
        ([make_run(model="b")], r"one model at two dates, got \['a', 'b'\]"),
        (make_grid(), r"change expects the runs of one model, got \['a', 'b'\]"),
        ([make_run("other")], "no cell of a has runs at both dates"),
        ([], "at least one run"),
        ([make_run()], None),
    ],
)
def test_dates_that_do_not_match_are_refused(
    after: list[pe.Run], message: str | None
) -> None:
    """Two dates are of one model and share a cell."""
    if message is None:
        assert EVALUATOR.change([make_run()], after).difference == 0
        return
    with pytest.raises(ValueError, match=message):
        EVALUATOR.change([make_run()], after)
