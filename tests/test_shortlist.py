"""Estimates filter and races decide: who is not trained, what it costs, what is said."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from networks import points
from torch import nn

import pretrain_eval as pe
from pretrain_eval._selection.evidence import Evidence, evidence_of
from pretrain_eval._selection.race import Rules

WORDS = "abcdefghijkl"
SGD = partial(torch.optim.SGD, lr=0.05)


def estimated(values, task="t", dataset="d", name="logme", better="higher", passes=1.0):
    """Estimates by hand; models without a value have NaN."""
    found = [
        pe.Estimate(
            model=model, task=task, dataset=dataset, name=name, value=value,
            better=better,
        )
        for model, value in values.items()
    ]  # fmt: skip
    read = dict.fromkeys(((model, dataset) for model in values), passes)
    return pe.Estimates(estimates=tuple(found), seconds={}, passes=read)


def grid_of(levels, tasks=("t",), seeds=3, epochs=4):
    """Runs whose curves rise to a level, with a little noise a seed."""
    rng = np.random.default_rng(0)
    return [
        pe.Run(
            model=model, task=task, dataset="d", strategy=strategy, seed=seed,
            scores={"accuracy": level},
            curve={
                "step": tuple(range(0, 5 * epochs + 1, 5)),
                "accuracy": tuple(
                    level * k / epochs + float(rng.normal(0, 0.002))
                    for k in range(epochs + 1)
                ),
            },
        )
        for model, level in levels.items()
        for task in tasks
        for strategy in ("full", "head")
        for seed in range(seeds)
    ]  # fmt: skip


LEVELS = {word: 0.9 - 0.03 * number for number, word in enumerate(WORDS)}
RUNS = grid_of(LEVELS)


def test_ranks_are_means_over_names_and_datasets():
    """Ties share a rank; lower is better where it is said; NaN ranks nobody."""
    nan = float("nan")
    found = evidence_of(
        [
            estimated({"a": 3.0, "b": 3.0, "c": 1.0, "d": nan, "other": 9.0}, "t"),
            estimated({"a": 5.0, "c": 2.0, "d": nan}, "u", better="lower"),
        ],
        ["a", "b", "c", "d"],
        {"t": ["d"], "u": ["d"]},
    )
    assert found.ranks == {"a": 1.75, "b": 1.5, "c": 2.0}
    assert found.names == ("logme",)
    assert found.ordered("dcba") == ["b", "a", "c", "d"]
    assert found.passes == {("t", "d"): 4.0, ("u", "d"): 3.0}


def test_who_is_unknown_is_never_filtered():
    """The last of those with a rank go, as many as the share says, eight at least."""
    ranks = {word: float(n) for n, word in enumerate("abcdefghij")}
    known = Evidence(("logme",), ranks)
    models = [*"abcdefghij", "x", "y"]
    assert known.filtered(models, 0.5, 8) == ["g", "h", "i", "j"]
    assert known.filtered(models, 0.75, 8) == ["h", "i", "j"]
    assert known.filtered(models[:8], 0.5, 8) == []
    assert known.filtered(models, 1.0, 8) == []
    assert Evidence().filtered(models, 0.5, 8) == []
    # Where fewer are known than would have to go, nothing is told apart.
    assert Evidence(("logme",), {"a": 1.0, "b": 2.0}).filtered(models, 0.5, 8) == []


def test_the_sentence_says_who_was_filtered_by_what():
    """And that neither number covers them; the report names them."""
    choice = pe.replay(RUNS, estimates=estimated(LEVELS))
    assert choice.model == "a"
    assert choice.filtered == ("i", "j", "k", "l")
    assert choice.evidence == ("logme",)
    assert (
        "4 models were filtered before any training, by rank under logme: neither the"
        " limit nor P(best) covers them." in str(choice)
    )
    assert "filtered: i, j, k, l" in choice.report()
    assert all("l" not in each.models for each in choice.rounds)
    assert choice.p_best["l"] == 0.0
    one = pe.replay(RUNS, estimates=estimated(LEVELS), shortlist=11 / 12)
    assert "1 model was filtered before any training" in str(one)
    assert "covers it." in str(one)


def test_a_wrong_filter_is_not_covered_and_a_race_without_one_is_unchanged():
    """What estimates lose is lost, which is why they keep half; without, all race."""
    turned = {model: -level for model, level in LEVELS.items()}
    wrong = pe.replay(RUNS, estimates=estimated(turned))
    assert "a" in wrong.filtered
    assert wrong.model == "e"
    plain = pe.replay(RUNS)
    assert plain.model == "a"
    assert (plain.filtered, plain.evidence) == ((), ())
    assert "filtered" not in str(plain)


def test_what_estimates_read_is_part_of_the_cost():
    """A pass of a model counts as an epoch: here 12 of 12 x 2 x 3 x 4 epochs."""
    estimates = estimated(LEVELS)
    free = dataclasses.replace(estimates, passes={})
    paid, unpaid = (pe.replay(RUNS, estimates=e) for e in (estimates, free))
    assert paid.cost_share - unpaid.cost_share == pytest.approx(12 / (12 * 2 * 3 * 4))
    half = pe.replay(RUNS, estimates=estimated(LEVELS, passes=0.5))
    assert half.cost_share - unpaid.cost_share == pytest.approx(6 / (12 * 2 * 3 * 4))


def test_ranks_on_other_tasks_count_in_a_race_of_one_task_alone():
    """Else the race's own runs would change what it resumes from."""
    several = {"t": ["d"], "u": ["d"]}
    given = estimated(LEVELS, name="rank_on_other_tasks", better="lower")
    assert evidence_of(given, list(LEVELS), {"t": ["d"]}).ranks
    assert not evidence_of(given, list(LEVELS), several).ranks


@pytest.mark.parametrize(
    ("more", "error", "message"),
    [
        ({"estimates": "logme"}, TypeError, "expects what estimate\\(\\) gives"),
        ({"estimates": [1]}, TypeError, "expects what estimate\\(\\) gives"),
        ({"estimates": estimated(LEVELS, "x")}, ValueError, "of task 'x', which is"),
        ({"estimates": [estimated(LEVELS)] * 2}, ValueError, "one a task, got several"),
        ({"shortlist": 0.0}, ValueError, "shortlist must be a share"),
        ({"shortlist": 1.5}, ValueError, "shortlist must be a share"),
    ],
)
def test_what_is_no_evidence_is_refused(more, error, message):
    """Before the race."""
    with pytest.raises(error, match=message):
        pe.replay(RUNS, **more)


def test_names_are_chosen_by_only():
    """Those of some estimators; what was read stays, since it was paid."""
    task = pe.Task(
        "largest", datasets={"d": pe.Splits(points(40, 1), points(30, 2))},
        num_classes=3,
    )  # fmt: skip
    found = pe.estimate(MODELS, task, by=["logme"], pairs=0, progress=False)
    few = found.only(["logme", "log_parameters"])
    assert few.names == ["logme", "log_parameters"]
    assert few.passes == found.passes
    assert set(found.passes.values()) == {1.0}
    with pytest.raises(TypeError, match="a list of names"):
        found.only("logme")
    with pytest.raises(ValueError, match="there are estimates by"):
        found.only(["leep"])
    static = pe.estimate(MODELS, task, by=[], progress=False)
    assert static.passes == {}


def test_a_shortlist_at_most_keeps_its_rules():
    """The default lets in half, eight at least."""
    assert (Rules().shortlist, Rules().shortest) == (0.5, 8)


# --- trainings


class Net(nn.Module):
    """A body of some width, and a head."""

    def __init__(self, width, seed):
        super().__init__()
        torch.manual_seed(seed)
        self.body = nn.Sequential(nn.Linear(4, width), nn.ReLU())
        self.head = nn.Linear(width, 2)

    def forward(self, inputs):
        return self.head(self.body(inputs))


MODELS = {f"m{i}": Net(2 + i, i) for i in range(10)}


def test_a_race_with_estimates_resumes_and_is_the_one_over_its_records(tmp_path):
    """The same decision, trail and cost; who was filtered is never trained."""
    task = pe.Task(
        "largest", datasets={"d": pe.Splits(points(48, 1), points(60, 2))},
        num_classes=3,
    )  # fmt: skip
    strategy = pe.Strategy("full", optimizer=SGD, epochs=4, batch_size=16)
    estimates = pe.estimate(MODELS, task, by=["logme"], pairs=0, progress=False)
    store = tmp_path / "runs.db"
    call = partial(
        pe.choose, MODELS, [task], [strategy], range(2), store=store,
        estimates=estimates, progress=False,
    )  # fmt: skip
    first = call()
    assert len(first.filtered) == 2
    assert not {run.model for run in first.runs} & set(first.filtered)
    assert str(call()) == str(first)
    grid = pe.sweep(MODELS, [task], [strategy], range(2), store=store, progress=False)
    again = pe.replay(grid, estimates=estimates)
    assert str(again) == str(first)
    assert [r.models for r in again.rounds] == [r.models for r in first.rounds]
