"""One run that makes most of a score's variance is named."""

import numpy as np
import pytest
from scoring import make_run

import pretrain_eval as pe
from pretrain_eval._scoring.dominant import dominant_run


def runs(collapsed: float | None, *, num_seeds: int = 3, seed: int = 0) -> list[pe.Run]:
    """Two models on four tasks; one run of the first may have collapsed."""
    rng = np.random.default_rng(seed)
    found = []
    for model, level in (("a", 0.8), ("b", 0.6)):
        for task in range(4):
            for number in range(num_seeds):
                accuracy = level + float(rng.normal(0, 0.01))
                if collapsed is not None and (model, task, number) == ("a", 2, 1):
                    accuracy = collapsed
                found.append(
                    make_run(
                        model=model, task=f"t{task}", seed=number, accuracy=accuracy
                    )
                )
    return found


def test_a_collapsed_run_is_named() -> None:
    """With its share of the variance, which is that of leaving it out by hand."""
    given = runs(0.3)
    printed = " ".join(str(pe.compare(given)).split())
    assert "of the variance over seeds of a is one run's: a on t2/" in printed
    assert "seed 1; see whether it is as it should be" in printed
    grid = pe.PersistenceEvaluator().grids(given)["a"]
    named = dominant_run(grid)
    assert named is not None
    run, share = named
    assert (run.task, run.seed) == ("t2", 1)
    values = np.array(
        [[r.scores["accuracy"] for r in given if (r.model, r.task) == ("a", f"t{t}")]
         for t in range(4)]
    )  # fmt: skip
    parts = (values - values.mean(1, keepdims=True)) ** 2
    assert share == pytest.approx(parts[2, 1] / parts.sum(), rel=1e-9)


@pytest.mark.parametrize("num_seeds", [2, 3])
def test_honest_noise_names_nobody(num_seeds: int) -> None:
    """In forty worlds, of two seeds a cell never, of three at most once."""
    named = [
        dominant_run(
            pe.PersistenceEvaluator().grids(runs(None, seed=s, num_seeds=num_seeds))[
                "a"
            ]
        )
        for s in range(40)
    ]
    assert sum(each is not None for each in named) <= (num_seeds == 3)


def test_equal_seeds_name_nobody() -> None:
    """Nothing varies, so nothing is one run's."""
    same = [
        make_run(model=m, task=f"t{t}", seed=s, accuracy=0.5)
        for m in "ab"
        for t in range(4)
        for s in range(3)
    ]
    assert dominant_run(pe.PersistenceEvaluator().grids(same)["a"]) is None
